"""What Pauli strings prove: conserved charges, stoquastic form, permutations, characters. Torch-free."""
