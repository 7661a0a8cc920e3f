"""Samplers of |ψ|², one a file."""
