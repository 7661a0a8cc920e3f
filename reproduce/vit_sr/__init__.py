"""Deep ViT and stochastic reconfiguration: a linear algebra identity to optimize large neural quantum states."""
