"""Whole configurations are evaluated once: batch, connected ones and images under symmetries together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.spin import bits
from pipeline.spin.ansatz.build import build_ansatz
from pipeline.spin.ansatz.rbm import RBM
from pipeline.spin.ansatz.schema import RBMConfig
from pipeline.spin.bits import pack
from pipeline.spin.chunks import Chunks
from pipeline.spin.hamiltonian import Hamiltonian
from pipeline.spin.representatives import Invariance, Representatives
from pipeline.spin.symmetry.groups import symmetry_group
from pipeline.spin.systems import ChainHeisenberg, ChainTFIM, OpenChainTFIM, SpinSystem, SquareHeisenberg
from pipeline.spin.terms import PauliTerm, pauli_terms
from pipeline.spin.vmc import local_energy as module
from pipeline.spin.vmc.local_energy import local_energy
from pipeline.spin.wave_function import WaveFunction
from tests import pretend
from tests.spin import dense
from tests.spin.small_vmc import COMPLEX_RBM, TRAIN, amplitudes

RING = ChainHeisenberg(n_sites=8, periodic=True, j1=1.0, j2=0.4)
TORUS = SquareHeisenberg(length_x=4, length_y=4, periodic=True, j1=1.0, j2=0.5)
ROWS = [7, 3, 200, 7, 77, 3, 3, 254]
"""With repeated ones, and 7 connected with 77's neighbours."""


def basis(n_sites: int) -> Tensor:
    return torch.from_numpy(dense.basis(n_sites)).to(torch.int8)


def hamiltonian_of(system: SpinSystem) -> Hamiltonian:
    return Hamiltonian(pauli_terms(system), system.size)


def connected(hamiltonian: Hamiltonian, spins: Tensor) -> Tensor:
    """``spins`` and all that H connects with them, one by one."""
    rows = [spins]
    for k, mask in enumerate(hamiltonian.flip_masks):
        wanted = hamiltonian.off_diagonal(spins)[:, k] != 0
        rows.append(torch.where(mask, -spins, spins)[wanted])
    return torch.cat(rows)


class Watched(WaveFunction):
    """Keeps what it is asked for, but for two rows that find the size of chunks."""

    def __init__(self, inner: WaveFunction, invariance: Invariance | None = None) -> None:
        super().__init__()
        self.inner, self.asked, self._invariance = inner, [torch.zeros(0, 1, dtype=torch.int64)], invariance

    def log_amplitude(self, spins: Tensor) -> Tensor:
        self.asked.append(pack(spins))
        return self.inner.log_amplitude(spins)

    def invariance(self) -> Invariance | None:
        return self._invariance


@pytest.mark.parametrize("config", [TRAIN.ansatz, COMPLEX_RBM], ids=["real", "complex"])
@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize(
    ("system", "matrix"),
    [
        (RING, dense.chain_heisenberg(8, True, 1.0, 0.4)),
        (ChainTFIM(n_sites=8, range=2, coupling=0.7, field=1.3), dense.ring(8, 2, 0.7, 1.3)),
        (OpenChainTFIM(n_sites=2, range=1, coupling=0.7, field=1.3), dense.open_chain(2, 1, 0.7, 1.3)),
        (ChainHeisenberg(n_sites=3, periodic=True, j1=1.0, j2=0.0), dense.chain_heisenberg(3, True, 1.0, 0.0)),
    ],
    ids=lambda x: f"{type(x).__name__}-{x.size}" if isinstance(x, SpinSystem) else "",
)
def test_dense_quotients_of_some_rows(system: SpinSystem, matrix: np.ndarray, config: Any, known: bool) -> None:
    ansatz: Any = build_ansatz(config, system, 1).double()
    rows = [row % len(matrix) for row in ROWS]
    spins, psi, hamiltonian = basis(system.size)[rows], amplitudes(ansatz, system.size), hamiltonian_of(system)
    logs = torch.from_numpy(np.log(psi[rows].astype(complex if np.iscomplexobj(psi) else float))) if known else None
    watched = Watched(ansatz)
    local = local_energy(hamiltonian, watched, spins, Chunks(None), log_amplitudes=logs)
    np.testing.assert_allclose(local.numpy(), (matrix @ psi / psi)[rows], rtol=1e-10, atol=1e-10)
    evaluated = torch.cat([words for words in watched.asked if len(words) != 2 or (words[0] != words[1]).any()])
    expected = set(pack(connected(hamiltonian, spins))[:, 0].tolist())
    if known:
        expected -= set(pack(spins)[:, 0].tolist())
    assert sorted(evaluated[:, 0].tolist()) == sorted(expected), "each of them once, and nothing else"


@pytest.mark.parametrize("phase", [0.0, 0.4j])
def test_a_single_spin(phase: complex) -> None:
    logs = torch.tensor([0.3 + phase, -0.2]) if phase else torch.tensor([0.3, -0.2], dtype=torch.float64)
    logs = logs.to(torch.complex128) if phase else logs

    class Table(WaveFunction):
        def log_amplitude(self, spins: Tensor) -> Tensor:
            return logs[(spins[:, 0] < 0).long()]

    local = local_energy(
        Hamiltonian([PauliTerm(-1.3, "x", (0,)), PauliTerm(0.7, "z", (0,))], 1),
        Table(),
        basis(1)[[1, 0, 1]],
        Chunks(None),
    )
    psi = np.exp(logs.numpy())
    matrix = np.array([[0.7, -1.3], [-1.3, -0.7]])
    np.testing.assert_allclose(local.numpy(), (matrix @ psi / psi)[[1, 0, 1]], rtol=1e-7)


def test_blocks_and_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    ansatz: Any = build_ansatz(COMPLEX_RBM, RING, 1).double()
    spins, hamiltonian = basis(8)[ROWS], hamiltonian_of(RING)
    expected = local_energy(hamiltonian, ansatz, spins, Chunks(None))
    for block, memory in ((1, None), (40, None), (40, 2e-5)):
        monkeypatch.setattr(module, "BLOCK", block)
        chunks = Chunks(memory)
        local = local_energy(hamiltonian, ansatz, spins, chunks)
        torch.testing.assert_close(local, expected, rtol=1e-13, atol=1e-13)
    assert chunks.size("connected amplitudes") < 10


class Short(RBM):
    """Finds no memory for more than ``most`` configurations at once."""

    most = 10**9
    largest = 0

    def log_amplitude(self, spins: Tensor) -> Tensor:
        if len(spins) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.largest = max(self.largest, len(spins))
        return super().log_amplitude(spins)


def test_memory_that_runs_out_halves_the_chunk() -> None:
    ansatz, hamiltonian, chunks = Short(TRAIN.ansatz, RING).double(), hamiltonian_of(RING), Chunks(None)
    expected = local_energy(hamiltonian, ansatz, basis(8)[ROWS], chunks)
    ansatz.most, ansatz.largest = 5, 0
    torch.testing.assert_close(local_energy(hamiltonian, ansatz, basis(8)[ROWS], chunks), expected)
    assert ansatz.largest <= 5
    assert chunks.size("connected amplitudes") == 4


@pytest.mark.parametrize("sites", [61, 70])
def test_words_that_are_mixed_up_are_told_apart(sites: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several words a configuration, with a bad mixture of them as with a good one."""
    ring = ChainHeisenberg(n_sites=sites, periodic=True, j1=1.0, j2=0.0)
    ansatz: Any = build_ansatz(RBMConfig(alpha=1, deviation=0.1, parameters="complex"), ring, 1).double()
    spins = torch.where(torch.rand((5, sites), generator=torch.Generator().manual_seed(1)) < 0.5, 1, -1).to(torch.int8)
    spins[3], spins[4] = spins[1], spins[0]
    spins[4, [-1, -2]] = -spins[4, [-1, -2]]
    hamiltonian = hamiltonian_of(ring)
    elements, masks = hamiltonian.off_diagonal(spins), hamiltonian.flip_masks
    with torch.no_grad():
        there = ansatz.connected_log_amplitudes(spins, masks) - ansatz.log_amplitude(spins)[:, None]
    expected = hamiltonian.diagonal(spins) + (elements * there.exp()).sum(1)
    for mixture in (bits.mixed, lambda words: words[:, -1], lambda words: 0 * words[:, 0]):
        monkeypatch.setattr(bits, "mixed", mixture if sites > 62 else bits.mixed)
        watched = Watched(ansatz)
        torch.testing.assert_close(local_energy(hamiltonian, watched, spins, Chunks(None)), expected)
        keys, rows, inverse = bits.distinct(pack(spins))
        assert torch.equal(spins[rows][inverse], spins)
        assert len(keys) == len(rows) == 4
        assert (keys.diff() >= 0).all()


class Averaged(WaveFunction):
    """ψ(s) = Σ_g χ_g ψ'(g s), complex and, but for its character, invariant."""

    def __init__(self, inner: WaveFunction, invariance: Invariance) -> None:
        super().__init__()
        self.inner, self._group = inner, invariance

    def log_amplitude(self, spins: Tensor) -> Tensor:
        images = spins[:, self._group.permutations] * self._group.signs[:, None].to(spins.dtype)
        logs = self.inner.log_amplitude(images.flatten(0, 1)).view(len(spins), -1)
        return (logs.exp() * (1 if self._group.log_factors is None else self._group.log_factors.exp())).sum(1).log()


@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize("known", [False, True])
def test_images_under_symmetries_are_evaluated_once(odd: bool, known: bool) -> None:
    """The same energies on the 4×4 torus as without, from one configuration an orbit."""
    group = symmetry_group(TORUS, ["translations", "spin_flip"])
    moves, signs = torch.tensor([move for move, _ in group]), torch.tensor([sign for _, sign in group])
    # momentum π along x
    factors = np.pi * 1j * (moves[:, 0] % 2).to(torch.complex128) if odd else None
    invariance = Invariance(moves, signs, factors)
    inner: Any = build_ansatz(COMPLEX_RBM, TORUS, 1)
    ansatz = Averaged(inner.double(), invariance)
    up = torch.rand((48, 16), generator=torch.Generator().manual_seed(2)).argsort(1) < 8
    spins, hamiltonian = torch.where(up, 1, -1).to(torch.int8), hamiltonian_of(TORUS)
    with torch.no_grad():
        # where images cancel, rounding is all there is
        spins = spins[ansatz.log_amplitude(spins).real.argsort(descending=True)[:12]]
        spins[1] = -spins[0, moves[5]]
        logs = ansatz.log_amplitude(spins) if known else None
    plain, watched = Watched(ansatz), Watched(ansatz, invariance)
    expected = local_energy(hamiltonian, plain, spins, Chunks(None), log_amplitudes=logs)
    local = local_energy(hamiltonian, watched, spins, Chunks(None), log_amplitudes=logs)
    torch.testing.assert_close(local, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(local[0], local[1], rtol=1e-9, atol=1e-9)
    assert local.imag.abs().max() > 0.1
    orbits, _ = Representatives(invariance)(pack(connected(hamiltonian, spins)))
    counts = [sum(map(len, w.asked)) for w in (plain, watched)]
    assert counts[1] <= len(torch.unique(orbits)) + 4  # two probes of two rows
    assert counts[1] < 0.8 * counts[0]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), complex("nan"), complex(float("inf"), 0.3)])
def test_one_bad_amplitude_spoils_the_rows_that_use_it(bad: complex) -> None:
    """Of a configuration that is no row, and of one that is."""
    hamiltonian = hamiltonian_of(RING)
    dtype = torch.complex128 if isinstance(bad, complex) else torch.float64
    logs = torch.from_numpy(np.random.default_rng(3).normal(size=256)).to(dtype)
    spins, matrix = basis(8)[ROWS], dense.chain_heisenberg(8, True, 1.0, 0.4)

    class Table(WaveFunction):
        def log_amplitude(self, spins: Tensor) -> Tensor:
            return table[torch.from_numpy(dense.row(spins.numpy()))]

    neighbour = int(np.flatnonzero(matrix[77])[0])
    for broken in (neighbour, 7):
        table = logs.clone()
        table[broken] = torch.tensor(bad, dtype=dtype)
        local = local_energy(hamiltonian, Table(), spins, Chunks(None))
        uses = [broken == row or matrix[row, broken] != 0 for row in ROWS]
        assert any(uses)
        assert local.isfinite().tolist() == [not used for used in uses]


def test_vanishing_rows_are_raised_where_they_divide_and_nowhere_else() -> None:
    hamiltonian, matrix = hamiltonian_of(RING), dense.chain_heisenberg(8, True, 1.0, 0.4)
    psi = np.random.default_rng(4).normal(size=256) ** 2
    psi[7] = 0.0

    class Table(WaveFunction):
        def log_amplitude(self, spins: Tensor) -> Tensor:
            return torch.from_numpy(psi)[torch.from_numpy(dense.row(spins.numpy()))].log()

    floor = torch.tensor(-20.0, dtype=torch.float64)
    for known in (None, torch.from_numpy(psi[ROWS]).log()):
        local = local_energy(hamiltonian, Table(), basis(8)[ROWS], Chunks(None), floor, known)
        divisor = np.maximum(psi, np.exp(-20.0))
        expected = (np.diag(matrix) + (matrix - np.diag(np.diag(matrix))) @ psi / divisor)[ROWS]
        np.testing.assert_allclose(local.numpy(), expected, rtol=1e-10)


def test_on_an_accelerator() -> None:
    group = symmetry_group(TORUS, ["translations", "spin_flip"])
    spins = torch.where(torch.rand((6, 16), generator=torch.Generator().manual_seed(2)) < 0.5, 1, -1).to(torch.int8)

    def energies(device: str) -> Tensor:
        moves = torch.tensor([move for move, _ in group], device=device)
        invariance = Invariance(moves, torch.tensor([sign for _, sign in group], device=device))
        inner: Any = build_ansatz(COMPLEX_RBM, TORUS, 1)
        ansatz = Averaged(inner.to(device, torch.float64), invariance)
        watched = Watched(ansatz, invariance)
        watched.asked.clear()
        hamiltonian = Hamiltonian(pauli_terms(TORUS), 16, device)
        return local_energy(hamiltonian, watched, spins.to(device), Chunks(0.01, device)).cpu()

    here = energies("cpu")
    with pretend.accelerator():
        torch.testing.assert_close(energies("cuda"), here, rtol=1e-10, atol=1e-10)
