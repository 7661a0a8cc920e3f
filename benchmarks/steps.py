"""Whole steps of stochastic reconfiguration on the J1-J2 model, ours: chains, local energies, update."""

from __future__ import annotations

import itertools
import time
from typing import Any

from benchmarks.contract import Work
from pipeline.spin.ansatz.resnet_config import ResNetConfig
from pipeline.spin.ansatz.vit.config import ViTConfig
from pipeline.spin.sampler.schema import MetropolisConfig
from pipeline.spin.systems import SquareHeisenberg

J2 = 0.5
SHIFT = 1e-3
RATE = 1e-3
"""Small: no step of a benchmark should change how many proposals are accepted."""

SAMPLING, ENERGIES, UPDATE = "sampling", "local energies", "reconfiguration"
"""Parts of a step."""

NETWORKS: dict[str, Any] = {
    "resnet": ResNetConfig(
        depth=4, width=16, kernel=3, activation="gelu", averaged=[], first_up=False, magnetisation=None, projection=[]
    ),
    "vit": ViTConfig(
        patch=2, depth=4, width=36, heads=6, activation="relu", output_scale=1.0, magnetisation=None, projection=[]
    ),
}


def torus(length: int) -> SquareHeisenberg:
    """J1-J2 model with J1 = 1."""
    return SquareHeisenberg(length_x=length, length_y=length, periodic=True, j1=1.0, j2=J2)


def step(network: str, length: int, samples: int, derivatives: str) -> Work:
    """One step from as many chains as samples, one proposal a site apart, in the sector Σ σz = 0.

    Args:
        network: key of :data:`NETWORKS`.
        length: extent of the torus.
        samples: M.
        derivatives: how the update holds log-derivatives, see :class:`pipeline.base.config.phases.SRConfig`.
    """
    import torch

    from pipeline.base.config.phases import SRConfig
    from pipeline.base.run.memory import keep_freed_memory
    from pipeline.spin.ansatz.build import build_ansatz
    from pipeline.spin.chunks import Chunks
    from pipeline.spin.hamiltonian import Hamiltonian
    from pipeline.spin.optimizers import build_optimizer
    from pipeline.spin.sampler.metropolis import MetropolisSampler
    from pipeline.spin.space import space_of
    from pipeline.spin.terms import pauli_terms
    from pipeline.spin.vmc.local_energy import local_energy
    from pipeline.spin.vmc.update import update

    keep_freed_memory()  # as every run does
    system, chunks = torus(length), Chunks(None)
    ansatz: Any = build_ansatz(NETWORKS[network], system, 1)
    hamiltonian = Hamiltonian(pauli_terms(system), system.size)
    config = MetropolisConfig(
        samples=samples,
        chains=samples,
        rule="exchange",
        pairs="neighbours",
        global_flip=0.0,
        thinning=None,
        burn_in=0,
        start="random",
    )
    sampler = MetropolisSampler(config, space_of(system), "cpu", chunks)
    state, steps = sampler.start(1, "benchmark"), itertools.count()
    descent = SRConfig(lr=RATE, shift=SHIFT, momentum=0.0, max_distance=None, derivatives=derivatives)
    optimizer: Any = build_optimizer(descent, ansatz.parameters())

    def run() -> dict[str, float]:
        marks = [time.perf_counter()]
        batch = sampler.sample(ansatz, state, None, 1, "benchmark", next(steps))
        marks.append(time.perf_counter())
        local = local_energy(hamiltonian, ansatz, batch.spins, chunks, None, batch.log_amplitudes)
        marks.append(time.perf_counter())
        distance = update(optimizer, ansatz, batch, local, chunks, None)["distance"]
        marks.append(time.perf_counter())
        assert torch.isfinite(torch.tensor(distance))
        return seconds(marks)

    return Work(run, sum(p.numel() for p in ansatz.parameters()), multiply_adds(network, length))


def seconds(marks: list[float]) -> dict[str, float]:
    """Of each part, from the times of its beginning and of its end."""
    return {
        name: end - begin
        for name, (begin, end) in zip((SAMPLING, ENERGIES, UPDATE), itertools.pairwise(marks), strict=True)
    }


def multiply_adds(network: str, length: int) -> int:
    """Of one forward pass of one configuration, norms and activations left out."""
    c = NETWORKS[network]
    if network == "resnet":
        return int(length**2 * c.kernel**2 * (c.width + 2 * c.depth * c.width**2) + 2 * c.width)
    n, d = (length // c.patch) ** 2, c.width
    block = n * (2 * d * d + 4 * d * d) + n * n * d
    return int(n * c.patch**2 * d + c.depth * block + 2 * d * d)
