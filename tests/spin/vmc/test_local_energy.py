"""Local energies against dense quotients, chunks of any size, and memory that runs out."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.base.run.memory import out_of_memory
from pipeline.spin.ansatz.build import build_ansatz
from pipeline.spin.ansatz.rbm import RBM
from pipeline.spin.chunks import CPU_GIB, Chunks, footprints_of
from pipeline.spin.hamiltonian import Hamiltonian
from pipeline.spin.systems import ChainHeisenberg, ChainTFIM, OpenChainTFIM, SpinSystem, SquareHeisenberg, SquareTFIM
from pipeline.spin.terms import PauliTerm, pauli_terms
from pipeline.spin.vmc.local_energy import local_energy
from pipeline.spin.wave_function import WaveFunction
from tests.spin import dense
from tests.spin.small_vmc import CHAIN, COMPLEX_RBM, TRAIN, TinyConfig, amplitudes

PLENTY = 0.1

SYSTEMS: list[tuple[SpinSystem, np.ndarray]] = [
    (ChainTFIM(n_sites=5, range=2, coupling=0.7, field=1.3), dense.ring(5, 2, 0.7, 1.3)),
    (OpenChainTFIM(n_sites=5, range=3, coupling=-0.7, field=1.3), dense.open_chain(5, 3, -0.7, 1.3)),
    (SquareTFIM(length_x=3, length_y=2, periodic=False, coupling=1.0, field=3.0), dense.square(3, 2, False, 1.0, 3.0)),
    (ChainTFIM(n_sites=4, range=1, coupling=0.7, field=0.0), dense.ring(4, 1, 0.7, 0.0)),
    (ChainHeisenberg(n_sites=6, periodic=True, j1=1.0, j2=0.0), dense.chain_heisenberg(6, True, 1.0, 0.0)),
    (ChainHeisenberg(n_sites=6, periodic=False, j1=1.0, j2=0.4), dense.chain_heisenberg(6, False, 1.0, 0.4)),
    (
        SquareHeisenberg(length_x=3, length_y=2, periodic=False, j1=1.0, j2=0.5),
        dense.square_heisenberg(3, 2, False, 1.0, 0.5),
    ),
]


def ansatz_of(config: Any, system: SpinSystem) -> Any:
    return build_ansatz(config, system, 1).double()


def basis(n_sites: int) -> Tensor:
    return torch.from_numpy(dense.basis(n_sites)).to(torch.int8)


@pytest.mark.parametrize("config", [TRAIN.ansatz, COMPLEX_RBM, TinyConfig(phases=True)], ids=["real", "complex", "ar"])
@pytest.mark.parametrize(("system", "matrix"), SYSTEMS, ids=lambda x: getattr(x, "kind", ""))
def test_dense_quotients(system: SpinSystem, matrix: np.ndarray, config: Any) -> None:
    ansatz = ansatz_of(config, system)
    psi = amplitudes(ansatz, system.size)
    local = local_energy(Hamiltonian(pauli_terms(system), system.size), ansatz, basis(system.size), Chunks(PLENTY))
    assert local.dtype == (torch.complex128 if np.iscomplexobj(psi) and system.bonds() else torch.float64)
    assert not local.requires_grad
    np.testing.assert_allclose(local.numpy(), matrix @ psi / psi, rtol=1e-10, atol=1e-10)


def test_general_strings() -> None:
    terms: list[tuple[float, str, tuple[int, ...]]] = [
        (0.5, "xx", (0, 3)),
        (0.8, "yy", (1, 2)),
        (-0.3, "zxz", (0, 2, 4)),
        (1.1, "yzy", (4, 0, 1)),
        (0.4, "z", (2,)),
    ]
    ansatz = ansatz_of(TRAIN.ansatz, CHAIN)
    psi = amplitudes(ansatz, 5)
    local = local_energy(Hamiltonian([PauliTerm(*term) for term in terms], 5), ansatz, basis(5), Chunks(PLENTY))
    np.testing.assert_allclose(local.numpy(), (dense.strings(5, terms).real @ psi) / psi, rtol=1e-10, atol=1e-10)


def test_amplitudes_that_overflow_have_ratios_that_do_not() -> None:
    ansatz = ansatz_of(TRAIN.ansatz, CHAIN)
    with torch.no_grad():
        ansatz.dense.bias[0] += 2000.0
        ansatz.dense.weight[0] = 0.0
    assert torch.exp(ansatz.log_amplitude(basis(5))).isinf().all()
    local = local_energy(Hamiltonian(pauli_terms(CHAIN), 5), ansatz, basis(5), Chunks(PLENTY))
    assert local.isfinite().all()


def test_vanishing_amplitudes_are_not_finite() -> None:
    """So that a step that meets them can be rejected."""
    ansatz = ansatz_of(TRAIN.ansatz, CHAIN)
    with torch.no_grad():
        ansatz.visible_bias[0] = float("nan")
    local = local_energy(Hamiltonian(pauli_terms(CHAIN), 5), ansatz, basis(5), Chunks(PLENTY))
    assert not local.isfinite().any()


@pytest.mark.parametrize("config", [TRAIN.ansatz, COMPLEX_RBM], ids=["real", "complex"])
@pytest.mark.parametrize("memory_gib", [1e-9, 3e-6, 1e-5, 1e-4])
def test_chunks_do_not_change_results(config: Any, memory_gib: float) -> None:
    system = ChainHeisenberg(n_sites=6, periodic=True, j1=1.0, j2=0.3)
    ansatz, hamiltonian = ansatz_of(config, system), Hamiltonian(pauli_terms(system), 6)
    chunks = Chunks(memory_gib)
    local = local_energy(hamiltonian, ansatz, basis(6), chunks)
    expected = local_energy(hamiltonian, ansatz, basis(6), Chunks(PLENTY))
    assert chunks.size("connected amplitudes") < 64 * len(hamiltonian.flip_masks)
    torch.testing.assert_close(local, expected, rtol=1e-13, atol=1e-13)


def test_chunks_depend_on_sizes_alone() -> None:
    """Not on the configurations or the number of them that come first: a resumed run splits its sums alike."""
    system = ChainHeisenberg(n_sites=6, periodic=True, j1=1.0, j2=0.3)
    ansatz, hamiltonian = ansatz_of(TRAIN.ansatz, system), Hamiltonian(pauli_terms(system), 6)
    sizes = set()
    for spins in (basis(6), basis(6)[:1], basis(6)[20:23]):
        chunks = Chunks(1e-5)
        local_energy(hamiltonian, ansatz, spins, chunks)
        sizes.add((chunks.size("amplitudes"), chunks.size("connected amplitudes")))
    assert len(sizes) == 1
    larger = Chunks(1e-4)
    local_energy(hamiltonian, ansatz, basis(6), larger)
    assert larger.size("amplitudes") == pytest.approx(10 * sizes.pop()[0], rel=0.1)


def test_automatic_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the kind of device alone: never of the memory that happens to be free."""
    ansatz, hamiltonian = ansatz_of(TRAIN.ansatz, CHAIN), Hamiltonian(pauli_terms(CHAIN), 5)
    automatic, stated = Chunks(None), Chunks(CPU_GIB)
    for chunks in (automatic, stated):
        local_energy(hamiltonian, ansatz, basis(5), chunks)
    assert automatic.size("amplitudes") == stated.size("amplitudes")
    gpu = SimpleNamespace(total_memory=80 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: gpu)
    large = Chunks(None, "cuda")
    local_energy(hamiltonian, ansatz, basis(5), large)
    assert large.size("amplitudes") == pytest.approx(320 * stated.size("amplitudes"), rel=1e-3)


class Counting(RBM):
    """Counts evaluations; finds no memory for more than ``most`` configurations at once.

    Its connected amplitudes are its own, so that nothing is done for it (``test_evaluated_once.py``: where it is).
    """

    evaluated = largest = 0
    most = 10**9
    error: Exception = torch.OutOfMemoryError("CUDA out of memory")

    def log_amplitude(self, spins: Tensor) -> Tensor:
        if len(spins) > self.most:
            raise self.error
        self.evaluated += len(spins)
        self.largest = max(self.largest, len(spins))
        return super().log_amplitude(spins)

    def connected_log_amplitudes(self, spins: Tensor, masks: Tensor, wanted: Tensor | None = None) -> Tensor:
        return super().connected_log_amplitudes(spins, masks, wanted)


def test_vanishing_elements_are_not_evaluated() -> None:
    """σ·σ on a parallel pair has no off-diagonal element."""
    system = ChainHeisenberg(n_sites=6, periodic=True, j1=1.0, j2=0.0)
    ansatz, spins = Counting(TRAIN.ansatz, system).double(), basis(6)
    hamiltonian, chunks = Hamiltonian(pauli_terms(system), 6), Chunks(PLENTY)
    local_energy(hamiltonian, ansatz, spins[:1], chunks)  # finds the chunks
    ansatz.evaluated = 0
    local_energy(hamiltonian, ansatz, spins, chunks)
    antiparallel = sum(int((spins[:, i] != spins[:, (i + 1) % 6]).sum()) for i in range(6))
    assert antiparallel == 3 * 64
    assert ansatz.evaluated == 64 + antiparallel


class Reusing(WaveFunction):
    """Overrides the connected amplitudes, as an autoregressive ansatz does to reuse prefixes."""

    def __init__(self, inner: WaveFunction) -> None:
        super().__init__()
        self.inner, self.asked = inner, [torch.zeros(0, 0)]

    def log_amplitude(self, spins: Tensor) -> Tensor:
        return self.inner.log_amplitude(spins)

    def connected_log_amplitudes(self, spins: Tensor, masks: Tensor, wanted: Tensor | None = None) -> Tensor:
        self.asked.append(torch.ones(len(spins), len(masks)) if wanted is None else wanted)
        values = self.inner.connected_log_amplitudes(spins, masks)
        return values if wanted is None else torch.where(wanted, values, torch.nan)


@pytest.mark.parametrize(("system", "matrix"), [SYSTEMS[0], SYSTEMS[4]], ids=["tfim", "heisenberg"])
def test_ansatz_that_reuses_what_it_knows(system: SpinSystem, matrix: np.ndarray) -> None:
    ansatz = Reusing(ansatz_of(TRAIN.ansatz, system))
    psi = amplitudes(ansatz, system.size)
    local = local_energy(Hamiltonian(pauli_terms(system), system.size), ansatz, basis(system.size), Chunks(PLENTY))
    np.testing.assert_allclose(local.numpy(), matrix @ psi / psi, rtol=1e-10, atol=1e-10)
    assert ansatz.asked[-1].shape[0] == 2**system.size
    assert ansatz.asked[-1].double().mean() == (1.0 if isinstance(system, ChainTFIM) else 0.5)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
    ids=["cuda", "cpu", "python"],
)
@pytest.mark.parametrize("most", [1, 7])
def test_out_of_memory_shrinks_the_chunk_and_goes_on(error: Exception, most: int) -> None:
    ansatz = Counting(TRAIN.ansatz, CHAIN).double()
    hamiltonian, chunks = Hamiltonian(pauli_terms(CHAIN), 5), Chunks(PLENTY)
    expected = local_energy(hamiltonian, ansatz, basis(5), chunks)
    assert ansatz.largest == 32 * 5
    ansatz.most, ansatz.error, ansatz.largest = most, error, 0
    torch.testing.assert_close(local_energy(hamiltonian, ansatz, basis(5), chunks), expected, rtol=1e-12, atol=0)
    assert 1 <= ansatz.largest <= most
    assert chunks.size("connected amplitudes") < 2 * 5
    ansatz.most = 0
    with pytest.raises(type(error)):
        local_energy(hamiltonian, ansatz, basis(5), chunks)


def test_other_errors_are_not_taken_for_lack_of_memory() -> None:
    assert not out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    ansatz = Counting(replace(TRAIN.ansatz, alpha=1), CHAIN).double()
    chunks = Chunks(PLENTY)
    local_energy(Hamiltonian(pauli_terms(CHAIN), 5), ansatz, basis(5), chunks)
    before = chunks.size("amplitudes")
    ansatz.most, ansatz.error = 3, RuntimeError("something else")
    with pytest.raises(RuntimeError, match="something else"):
        local_energy(Hamiltonian(pauli_terms(CHAIN), 5), ansatz, basis(5), chunks)
    assert chunks.size("amplitudes") == before


def test_the_cpu_allocator_is_recognised() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert out_of_memory(caught.value)


def test_footprints_are_found_once_for_all_who_ask_alike() -> None:
    asked: list[int] = []

    def size(what: str, values: int, gib: float) -> int:
        def probe() -> None:
            asked.append(values)
            torch.zeros(values)

        chunks = Chunks(gib, footprints=footprints_of("test of footprints", what))
        chunks.run("x", 1, lambda begin, size: 1, probe, 2)
        return chunks.size("x")

    alone = Chunks(0.5)
    alone.run("x", 1, lambda begin, size: 1, lambda: torch.zeros(1000), 2)
    assert size("float32", 1000, 0.5) == size("float32", 5, 0.5) == alone.size("x") == 2**29 * 2 // (4 * 4 * 1000)
    assert size("float32", 5, 0.25) == 2**28 * 2 // (4 * 4 * 1000), "each within its own budget"
    assert size("float64", 2000, 0.5) == 2**29 * 2 // (4 * 4 * 2000)
    assert asked == [1000, 2000]


def test_sizes_of_tensors_are_added_up_without_the_compiler_of_torch() -> None:
    """Which would be imported otherwise, for seconds and tens of MiB; a new torch may need another way around it."""
    code = (
        "import sys, torch; from pipeline.spin.chunks import Chunks; "
        "Chunks(None).run('x', 1, lambda begin, size: 1, lambda: torch.ones(3) + 1, 1); "
        "assert 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
