"""Dense Hamiltonians written out from the definition of each model with np.kron, independent of the package's terms.

The first site is the leftmost factor of the Kronecker product; basis state 0 is all spins up (+1).
"""

from __future__ import annotations

import itertools

import numpy as np

IDENTITY = np.eye(2)
SIGMA_X = np.array([[0.0, 1.0], [1.0, 0.0]])
SIGMA_Y = np.array([[0.0, -1.0j], [1.0j, 0.0]])
SIGMA_Z = np.array([[1.0, 0.0], [0.0, -1.0]])


def operator(n_sites: int, **factors: np.ndarray) -> np.ndarray:
    """Product of single-site matrices given as ``s3=SIGMA_Z`` (site 3), identity elsewhere."""
    matrix = np.eye(1)
    for site in range(n_sites):
        matrix = np.kron(matrix, factors.get(f"s{site}", IDENTITY))
    return matrix


def ising(n_sites: int, couplings: dict[tuple[int, int], float], fields: list[float]) -> np.ndarray:
    """-Σ V_ij σz_i σz_j - Σ h_i σx_i, shape (2^N, 2^N)."""
    matrix = np.zeros((2**n_sites, 2**n_sites))
    for (i, j), coupling in couplings.items():
        matrix -= coupling * operator(n_sites, **{f"s{i}": SIGMA_Z, f"s{j}": SIGMA_Z})
    for site, field in enumerate(fields):
        matrix -= field * operator(n_sites, **{f"s{site}": SIGMA_X})
    return matrix


def ring(n_sites: int, interaction_range: int, coupling: float, field: float) -> np.ndarray:
    """Periodic chain: every pair at ring distance d(i, j) = min(|i-j|, N-|i-j|) <= L, once."""
    couplings = {}
    for i in range(n_sites):
        for j in range(i + 1, n_sites):
            if min(j - i, n_sites - (j - i)) <= interaction_range:
                couplings[i, j] = coupling
    return ising(n_sites, couplings, [field] * n_sites)


def square(length_x: int, length_y: int, periodic: bool, coupling: float, field: float) -> np.ndarray:
    """Nearest neighbours of a lattice with site = y * length_x + x; periodic extents must be at least 3."""
    n_sites = length_x * length_y
    couplings = {}
    for i in range(n_sites):
        for j in range(i + 1, n_sites):
            dx, dy = abs(i % length_x - j % length_x), abs(i // length_x - j // length_x)
            if periodic:
                dx, dy = min(dx, length_x - dx), min(dy, length_y - dy)
            if dx + dy == 1:
                couplings[i, j] = coupling
    return ising(n_sites, couplings, [field] * n_sites)


def open_chain(n_sites: int, interaction_range: int, coupling: float, field: float) -> np.ndarray:
    """Open chain: every pair with j - i <= L."""
    couplings = {(i, j): coupling for i in range(n_sites) for j in range(i + 1, n_sites) if j - i <= interaction_range}
    return ising(n_sites, couplings, [field] * n_sites)


def heisenberg(n_sites: int, couplings: dict[tuple[int, int], float]) -> np.ndarray:
    """Σ J_ij (σx_i σx_j + σy_i σy_j + σz_i σz_j), real symmetric of shape (2^N, 2^N)."""
    matrix = np.zeros((2**n_sites, 2**n_sites), dtype=complex)
    for (i, j), coupling in couplings.items():
        for pauli in (SIGMA_X, SIGMA_Y, SIGMA_Z):
            matrix += coupling * operator(n_sites, **{f"s{i}": pauli, f"s{j}": pauli})
    assert not matrix.imag.any()
    return matrix.real


def chain_heisenberg(n_sites: int, periodic: bool, j1: float, j2: float) -> np.ndarray:
    """Distance 1 couples with J1, distance 2 with J2; each pair once."""
    couplings = {}
    for i in range(n_sites):
        for j in range(i + 1, n_sites):
            distance = min(j - i, n_sites - (j - i)) if periodic else j - i
            if distance <= 2:
                couplings[i, j] = (j1, j2)[distance - 1]
    return heisenberg(n_sites, couplings)


def square_heisenberg(length_x: int, length_y: int, periodic: bool, j1: float, j2: float) -> np.ndarray:
    """(|dx|, |dy|) = (1, 0) or (0, 1) couples with J1, (1, 1) with J2; periodic extents must be at least 3."""
    couplings = {}
    for i in range(length_x * length_y):
        for j in range(i + 1, length_x * length_y):
            dx, dy = abs(i % length_x - j % length_x), abs(i // length_x - j // length_x)
            if periodic:
                dx, dy = min(dx, length_x - dx), min(dy, length_y - dy)
            if max(dx, dy) == 1:
                couplings[i, j] = j1 if dx + dy == 1 else j2
    return heisenberg(length_x * length_y, couplings)


def lowest(matrix: np.ndarray) -> float:
    """Lowest eigenvalue."""
    return float(np.linalg.eigvalsh(matrix)[0])


def basis(n_sites: int) -> np.ndarray:
    """Spins ±1 of every basis state, in the order of the rows of the matrices above; shape (2^N, N)."""
    return np.array(list(itertools.product((1, -1), repeat=n_sites)))


def row(spins: np.ndarray) -> np.ndarray:
    """Rows of the matrices above that belong to ``spins`` of shape (..., N)."""
    n_sites = spins.shape[-1]
    return ((spins < 0) * 2 ** np.arange(n_sites - 1, -1, -1)).sum(-1)


def strings(n_sites: int, terms: list[tuple[float, str, tuple[int, ...]]]) -> np.ndarray:
    """Σ coefficient * Π σ for (coefficient, letters, sites); complex when the sum is."""
    letters = {"x": SIGMA_X, "y": SIGMA_Y, "z": SIGMA_Z}
    matrix = np.zeros((2**n_sites, 2**n_sites), dtype=complex)
    for coefficient, word, sites in terms:
        factors = {f"s{site}": letters[letter] for letter, site in zip(word, sites, strict=True)}
        matrix = matrix + coefficient * operator(n_sites, **factors)
    return matrix
