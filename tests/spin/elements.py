"""The full matrix of a Hamiltonian, put together from its elements."""

from __future__ import annotations

import numpy as np
import torch

from pipeline.spin.hamiltonian import Hamiltonian
from tests.spin import dense


def assembled(hamiltonian: Hamiltonian, dtype: torch.dtype = torch.int8) -> np.ndarray:
    """All 2^N × 2^N elements, float64, in the order of :func:`tests.spin.dense.basis`."""
    spins = torch.from_numpy(dense.basis(hamiltonian.n_sites)).to(dtype)
    elements = hamiltonian.off_diagonal(spins)
    assert elements.dtype == torch.float64
    connected = torch.where(hamiltonian.flip_masks, -spins[:, None, :], spins[:, None, :])
    columns = dense.row(connected.numpy())
    rows = np.broadcast_to(np.arange(len(spins))[:, None], columns.shape)
    matrix = np.diag(hamiltonian.diagonal(spins).numpy())
    np.add.at(matrix, (rows, columns), elements.numpy())
    return matrix
