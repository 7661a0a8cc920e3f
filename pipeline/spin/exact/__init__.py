"""Exact and independent references for spin systems, one solver a file. Torch-free at import."""
