"""Normalising flows that propose spin configurations."""
