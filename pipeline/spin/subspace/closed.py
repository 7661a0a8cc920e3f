"""Closed subspaces of the σz basis: exact Rayleigh quotients and the lowest energy they allow."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor

from pipeline.spin.bits import pack, unpack
from pipeline.spin.hamiltonian import Hamiltonian
from pipeline.spin.systems import SITES_A_WORD


class Subspace:
    """The span S of a set of basis states, with H restricted to it (sparse, float64).

    Energies are Rayleigh quotients in a closed subspace, hence upper bounds on the ground-state energy by
    construction: no sampling enters.

    Args:
        codes: packed basis states, any order, repetitions allowed, shape (n,).
        hamiltonian: supplies the matrix elements; its device is used.

    Raises:
        ValueError: more sites than fit one word.
    """

    def __init__(self, codes: Tensor, hamiltonian: Hamiltonian) -> None:
        if hamiltonian.n_sites > SITES_A_WORD:
            raise ValueError(f"{hamiltonian.n_sites} sites do not fit one word of {SITES_A_WORD} bits")
        self.codes = torch.unique(codes)
        self.spins = unpack(self.codes[:, None], hamiltonian.n_sites)
        self.matrix = self._restricted(hamiltonian)

    def __len__(self) -> int:
        return int(self.codes.shape[0])

    def _restricted(self, hamiltonian: Hamiltonian) -> Tensor:
        """H_S as CSR: single look-up of every flipped code in the sorted list of codes."""
        size = len(self)
        masks = pack(1 - 2 * hamiltonian.flip_masks.to(torch.int8))[:, 0]
        targets = self.codes[:, None] ^ masks[None, :]
        columns = torch.searchsorted(self.codes, targets).clamp_(max=size - 1)
        rows, groups = torch.nonzero(self.codes[columns] == targets, as_tuple=True)
        elements = hamiltonian.off_diagonal(self.spins)[rows, groups]
        here = torch.arange(size, device=rows.device)
        rows, columns = torch.cat([rows, here]), torch.cat([columns[rows, groups], here])
        values = torch.cat([elements, hamiltonian.diagonal(self.spins)])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that sparse matrices are in beta state, and go unchecked
            entries = torch.sparse_coo_tensor(torch.stack([rows, columns]), values, (size, size))
            return entries.coalesce().to_sparse_csr()

    def apply(self, psi: Tensor) -> Tensor:
        """H_S ψ for ψ of shape (|S|,), float64."""
        return self.matrix @ psi

    def energy_and_gradient(self, psi: Tensor) -> tuple[float, Tensor]:
        """E = ψᵀHψ / ψᵀψ (Eq. 4 restricted to S) and dE/dψ = 2 (Hψ - Eψ) / ψᵀψ, for real ψ (|S|,) float64."""
        h_psi = self.apply(psi)
        norm = psi @ psi
        energy = (psi @ h_psi) / norm
        return float(energy), 2.0 * (h_psi - energy * psi) / norm

    def floor(self) -> float:
        """Lowest eigenvalue of H_S: what the best possible wave function on S would give."""
        from scipy.sparse import csr_matrix
        from scipy.sparse.linalg import eigsh

        matrix = self.matrix.cpu()
        size = len(self)
        h = csr_matrix(
            (matrix.values().numpy(), matrix.col_indices().numpy(), matrix.crow_indices().numpy()), shape=(size, size)
        )
        if size <= 32:
            return float(np.linalg.eigvalsh(h.toarray())[0])
        if not h.data.any():
            return 0.0
        # A start vector weighted towards low diagonal energies overlaps with the (positive) ground state and keeps
        # the result independent of ARPACK's own random start; where states are not connected, ARPACK exhausts what
        # the vector reaches and draws another one, from a generator that must be fixed too.
        diagonal = h.diagonal()
        start = 1.0 / (1.0 + diagonal - diagonal.min())
        values = eigsh(h, k=1, which="SA", v0=start, tol=1e-10, rng=np.random.default_rng(0), return_eigenvectors=False)
        return float(values[0])
