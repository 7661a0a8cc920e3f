"""Ngairangbam, Spannowsky, Sypchenko: normalising-flow-assisted neural quantum states."""

TITLE = "Improved Ground State Estimation in Quantum Field Theories via Normalising Flow-Assisted Neural Quantum States"
AUTHORS = "V. S. Ngairangbam, M. Spannowsky, T. Sypchenko"
WHERE = ""
