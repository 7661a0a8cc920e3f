"""Conditional flows of pseudofermions over gauge fields: gauge-covariant linear maps that estimate the determinant."""
