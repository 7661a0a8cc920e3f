"""Deep ViT and stochastic reconfiguration: a linear algebra identity to optimize large neural quantum states."""

TITLE = "A simple linear algebra identity to optimize Large-Scale Neural Network Quantum States"
AUTHORS = "R. Rende, L. L. Viteritti, L. Bardone, F. Becca, S. Goldt"
WHERE = "Commun. Phys. 7, 260 (2024)"
