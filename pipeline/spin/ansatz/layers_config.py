"""What configurations of several networks share (torch-free)."""

ACTIVATIONS = ("relu", "gelu")
"""Names of activation functions."""
