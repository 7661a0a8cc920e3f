"""Wilson fermions: operators, solvers, monomials of the determinant, actions."""
