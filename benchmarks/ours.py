"""Our side, in float32, built from the same configuration classes as every run."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from benchmarks.contract import Work
from pipeline.spin.ansatz.schema import PixelCNNConfig, RBMConfig
from pipeline.spin.sampler.schema import MetropolisConfig
from pipeline.spin.systems import ChainTFIM, SquareTFIM

if TYPE_CHECKING:
    from torch import Tensor


def square(length: int, field: float) -> SquareTFIM:
    """Open lattice with unit coupling."""
    return SquareTFIM(length_x=length, length_y=length, periodic=False, coupling=1.0, field=field)


def pixelcnn(length: int, depth: int, width: int, field: float, branches: int) -> Any:
    """Without phases, initial weights as in ``conf/ansatz/pixelcnn.yaml``."""
    from pipeline.spin.ansatz.build import build_ansatz

    config = PixelCNNConfig(
        depth=depth,
        width=width,
        phase=False,
        spread=0.03,
        output_scale=0.1,
        symmetries=[],
        magnetisation=None,
        branches=branches,
    )
    return build_ansatz(config, square(length, field), 1)


def draw_directly(length: int, depth: int, width: int, samples: int, field: float, branches: int) -> Work:
    """Fresh configurations, one batch, random numbers included, of a PixelCNN of one or two branches."""
    import torch

    network = pixelcnn(length, depth, width, field, branches)
    return Work(
        lambda: network.draw(torch.rand((samples, network.n_uniforms), dtype=torch.float64)),
        parameters(network),
        multiply_adds(length, depth, width, branches),
    )


def local_energies(length: int, depth: int, width: int, samples: int, field: float, branches: int, reuse: bool) -> Work:
    """E_loc of a fixed batch; without ``reuse`` every flipped configuration is a whole forward pass."""
    import torch

    from pipeline.spin.chunks import Chunks
    from pipeline.spin.hamiltonian import Hamiltonian
    from pipeline.spin.terms import pauli_terms
    from pipeline.spin.vmc.local_energy import local_energy
    from pipeline.spin.wave_function import WaveFunction

    network = pixelcnn(length, depth, width, field, branches)
    system, chunks = square(length, field), Chunks(None)
    hamiltonian = Hamiltonian(pauli_terms(system), system.size)
    spins = network.draw(torch.rand((samples, network.n_uniforms), dtype=torch.float64))

    class FullPasses(WaveFunction):
        def log_amplitude(self, spins: Tensor) -> Tensor:
            amplitudes: Tensor = network.log_amplitude(spins)
            return amplitudes

    ansatz = network if reuse else FullPasses()
    return Work(
        lambda: local_energy(hamiltonian, ansatz, spins, chunks),
        parameters(network),
        multiply_adds(length, depth, width, branches),
    )


def metropolis(system: SquareTFIM | ChainTFIM, chains: int, draws: int, deviation: float) -> Work:
    """Single flips under an RBM with as many hidden units as spins; N proposals between draws."""
    from pipeline.spin.ansatz.build import build_ansatz
    from pipeline.spin.chunks import Chunks
    from pipeline.spin.sampler.metropolis import MetropolisSampler
    from pipeline.spin.space import space_of

    network: Any = build_ansatz(RBMConfig(alpha=1, deviation=deviation, parameters="real"), system, 1)
    config = MetropolisConfig(
        samples=chains * draws,
        chains=chains,
        rule="local",
        pairs="neighbours",
        global_flip=0.0,
        thinning=None,
        burn_in=0,
        start="random",
    )
    sampler = MetropolisSampler(config, space_of(system), "cpu", Chunks(None))
    state, batches = sampler.start(1, "benchmark"), itertools.count()
    return Work(
        lambda: sampler.sample(network, state, None, 1, "benchmark", next(batches)),
        parameters(network),
        system.size * (system.size + 1),
    )


def multiply_adds(length: int, depth: int, width: int, branches: int) -> int:
    """Of one forward pass of a PixelCNN without phases."""
    total = 0
    for block in range(depth):
        fan_in, outputs = (width if block else 1), (2 if block == depth - 1 else width)
        if branches == 1:
            total += (8 if block else 7) * fan_in * outputs
        else:
            total += 9 * (fan_in * width + (fan_in + width) * outputs)
    return length**2 * total


def parameters(network: Any) -> int:
    """Number of trained values."""
    return sum(p.numel() for p in network.parameters())
