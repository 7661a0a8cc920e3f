"""NetKet's side: the same lattices, Hamiltonians and kinds of network, in float32. NetKet is imported on use."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from benchmarks.contract import Work

KERNEL = 3
"""Rows and columns of every convolution, as in our PixelCNN."""


def convolutional_state(length: int, depth: int, features: int, samples: int, chunk: int | None) -> Any:
    """MCState of a FastARNNConv2D on a square lattice, drawn from directly.

    NetKet takes the sites as a square. One branch of masked convolutions over the rows r-2..r, columns c-1..c+1.
    """
    import jax.numpy as jnp
    import netket as nk

    hilbert = nk.hilbert.Spin(0.5, length**2)
    model = nk.models.FastARNNConv2D(
        hilbert=hilbert,
        layers=depth,
        features=features,
        kernel_size=(KERNEL, KERNEL),
        param_dtype=jnp.float32,
    )
    sampler = nk.sampler.ARDirectSampler(hilbert, dtype=jnp.int8)
    return nk.vqs.MCState(sampler, model, n_samples=samples, seed=1, chunk_size=chunk)


def draw_directly(length: int, depth: int, features: int, samples: int) -> Work:
    """Fresh configurations, one batch."""
    state = convolutional_state(length, depth, features, samples, None)
    return Work(_sampling(state), state.n_parameters, multiply_adds(length, depth, features))


def local_energies(length: int, depth: int, features: int, samples: int, chunk: int, field: float) -> Work:
    """E_loc of a fixed batch for the open Ising model in a field, ``chunk`` configurations in memory."""
    import jax
    import netket as nk

    state = convolutional_state(length, depth, features, samples, chunk)
    graph = nk.graph.Grid([length, length], pbc=False)
    hamiltonian = nk.operator.IsingJax(hilbert=state.hilbert, graph=graph, h=field, J=-1.0)
    jax.block_until_ready(state.samples)
    return Work(
        lambda: jax.block_until_ready(state.local_estimators(hamiltonian)),
        state.n_parameters,
        multiply_adds(length, depth, features),
    )


def metropolis(n_sites: int, chains: int, draws: int, deviation: float) -> Work:
    """Single flips under an RBM with as many hidden units as spins; N proposals between draws."""
    import jax
    import jax.numpy as jnp
    import netket as nk

    hilbert = nk.hilbert.Spin(0.5, n_sites)
    model = nk.models.RBM(alpha=1, param_dtype=jnp.float32, kernel_init=jax.nn.initializers.normal(deviation))
    sampler = nk.sampler.MetropolisLocal(hilbert, n_chains=chains, sweep_size=n_sites, dtype=jnp.int8)
    state = nk.vqs.MCState(sampler, model, n_samples=chains * draws, n_discard_per_chain=0, seed=1)
    return Work(_sampling(state), state.n_parameters, n_sites * (n_sites + 1))


def multiply_adds(length: int, depth: int, features: int) -> int:
    """Of one forward pass, masked weights counted since they are multiplied as well."""
    widths = [1] + [features] * (depth - 1) + [2]
    return length**2 * KERNEL**2 * sum(a * b for a, b in itertools.pairwise(widths))


def _sampling(state: Any) -> Callable[[], object]:
    import jax

    def run() -> object:
        state.reset()
        return jax.block_until_ready(state.samples)

    return run
