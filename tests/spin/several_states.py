"""Amplitudes from a table, and determinants and matrices of several states written out, that tests of these share."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.spin.ansatz.determinant import Determinant
from pipeline.spin.ansatz.schema import AnsatzConfig
from pipeline.spin.systems import SpinSystem
from pipeline.spin.wave_function import WaveFunction
from tests.spin import dense


class Table(WaveFunction):
    """ψ(s) as parameters, by the rows of dense matrices; real ones are signed, complex ones kept in two parts."""

    def __init__(self, amplitudes: np.ndarray) -> None:
        super().__init__()
        self.signed = not np.iscomplexobj(amplitudes)
        parts = [amplitudes] if self.signed else [amplitudes.real, amplitudes.imag]
        self.amplitudes = nn.Parameter(torch.from_numpy(np.stack(parts)))

    def log_amplitude(self, spins: Tensor) -> Tensor:
        powers = 2 ** torch.arange(spins.shape[1] - 1, -1, -1)
        values = self.amplitudes[:, ((spins < 0) * powers).sum(-1)]
        if self.signed:
            return torch.complex(values[0].abs().log(), torch.pi * (values[0] < 0).to(values.dtype))
        return torch.complex(values[0], values[1]).log()


@dataclass
class TableConfig(AnsatzConfig):
    """Random tables, real or complex."""

    log_domain: ClassVar[bool] = True
    implementation: ClassVar[str] = "tests.spin.several_states:random_table"

    name: str = "table"
    complex: bool = False
    states: int = 1
    projection: list[str] = field(default_factory=list)


def random_table(config: TableConfig, system: SpinSystem) -> Table:
    parts = torch.randn(2, 2**system.size, dtype=torch.float64).numpy()
    return Table(parts[0] + 1j * parts[1] if config.complex else parts[0])


def of_tables(vectors: np.ndarray) -> Determinant:
    """The determinant of the columns of ``vectors``, (2^N, K)."""
    return Determinant([Table(vector) for vector in vectors.T], int(np.log2(len(vectors))))


@torch.no_grad()
def columns(determinant: Any) -> np.ndarray:
    """ψ_j on the rows of dense matrices, (2^N, K), network by network."""
    spins = torch.from_numpy(dense.basis(determinant.n_sites)).to(torch.int8)
    logs = [network.log_amplitude(spins).to(torch.complex128) for network in determinant.networks]
    return np.exp(torch.stack(logs, 1).numpy())


def whole(vectors: np.ndarray) -> np.ndarray:
    """Ψ on all rows of K copies, by the sum over permutations: (2^N, K) → (2^{NK},)."""
    size, states = vectors.shape
    total = np.zeros((size,) * states, dtype=complex)
    for order in itertools.permutations(range(states)):
        sign = np.linalg.det(np.eye(states)[list(order)])
        total += sign * np.einsum(",".join("abcd"[:states]), *[vectors[:, j] for j in order])
    return total.reshape(-1)


def on_copies(matrix: np.ndarray, psi: np.ndarray) -> np.ndarray:
    """H of K copies, the sum of H on each of them, times Ψ on all rows, (2^{NK},)."""
    states = round(np.log(len(psi)) / np.log(len(matrix)))
    tensor = psi.reshape((len(matrix),) * states)
    return np.asarray(sum(np.moveaxis(np.tensordot(matrix, tensor, (1, k)), 0, k) for k in range(states))).reshape(-1)


def ritz(vectors: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Levels of H in the space of the columns, ascending."""
    q = np.linalg.qr(vectors)[0]
    return np.asarray(np.linalg.eigvalsh(q.conj().T @ matrix @ q))
