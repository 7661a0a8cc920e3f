"""Local energies of a determinant of several states: row updates against whole determinants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.contract import Work
from benchmarks.ours import parameters, square
from pipeline.spin.ansatz.log_mlp_config import LogMLPConfig

if TYPE_CHECKING:
    from torch import Tensor


def local_energies(length: int, states: int, depth: int, width: int, samples: int, field: float, update: bool) -> Work:
    """E_loc of a fixed batch of K copies; without ``update`` every flipped configuration is a whole determinant."""
    import torch

    from pipeline.spin.ansatz.build import build_ansatz
    from pipeline.spin.ansatz.determinant import Determinant
    from pipeline.spin.chunks import Chunks
    from pipeline.spin.hamiltonian import Hamiltonian
    from pipeline.spin.terms import of_copies, pauli_terms
    from pipeline.spin.vmc.local_energy import local_energy
    from pipeline.spin.wave_function import WaveFunction

    system = square(length, field)
    config = LogMLPConfig(depth=depth, width=width, activation="gelu", amplitudes="signed", states=states)
    network: Any = build_ansatz(config, system, 1)
    assert isinstance(network, Determinant)

    class Whole(Determinant):
        connected_log_amplitudes = WaveFunction.connected_log_amplitudes

        def single_log_amplitudes(self, rows: Tensor) -> Tensor:
            return self._evaluate(rows)

    ansatz = network if update else Whole([n for n in network.networks if isinstance(n, WaveFunction)], system.size)
    hamiltonian = Hamiltonian(of_copies(pauli_terms(system), system.size, states), states * system.size)
    generator, chunks = torch.Generator().manual_seed(1), Chunks(None)
    spins = (2 * torch.randint(0, 2, (samples, states * system.size), generator=generator) - 1).to(torch.int8)
    work = width * (system.size + (depth - 1) * width + 2) * states**2
    return Work(lambda: local_energy(hamiltonian, ansatz, spins, chunks), parameters(network), work)
