"""Spin systems: lattices, Hamiltonians, ansätze, samplers, training methods, exact references.

Conventions: Pauli matrices, total energy, spins ±1 with bit 0 ↔ +1, sites numbered row by row.
"""
