"""Hybrid Monte Carlo."""
