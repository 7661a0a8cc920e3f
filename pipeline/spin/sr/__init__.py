"""Stochastic reconfiguration."""
