"""Two-dimensional lattice gauge theory: links, actions, hybrid Monte Carlo, exact values."""
