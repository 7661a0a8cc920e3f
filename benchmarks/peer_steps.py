"""The same steps by NetKet: its sampler, its local energies, its driver of stochastic reconfiguration, in float32.

The networks are written for flax from the papers, and have the layers and the parameters of ours.
"""

from __future__ import annotations

import time
from typing import Any

from benchmarks import steps
from benchmarks.contract import Work


def step(network: str, length: int, samples: int, chunk: int, on_the_fly: bool) -> Work:
    """One step of ``netket.driver.VMC_SR`` with the kernel of M samples.

    Args:
        network: key of :data:`benchmarks.steps.NETWORKS`.
        length: extent of the torus.
        samples: M, one a chain.
        chunk: configurations that are evaluated at once, and rows of the kernel or of the Jacobian.
        on_the_fly: its kernel without the Jacobian.
    """
    import jax
    import jax.numpy as jnp
    import netket as nk
    import optax

    graph = nk.graph.Square(length, max_neighbor_order=2)
    hilbert = nk.hilbert.Spin(0.5, length**2, total_sz=0)
    hamiltonian = nk.operator.Heisenberg(hilbert, graph, J=[1.0, steps.J2], sign_rule=[False, False])
    nearest = nk.graph.Square(length)
    sampler = nk.sampler.MetropolisExchange(
        hilbert, graph=nearest, n_chains=samples, sweep_size=length**2, dtype=jnp.int8
    )
    model = _resnet(length) if network == "resnet" else _vit(length)
    state = nk.vqs.MCState(
        sampler, model, n_samples=samples, n_discard_per_chain=0, chunk_size=min(chunk, samples), seed=1
    )
    driver = nk.driver.VMC_SR(
        hamiltonian,
        optax.sgd(steps.RATE),
        diag_shift=steps.SHIFT,
        variational_state=state,
        mode="complex",
        use_ntk=True,
        on_the_fly=on_the_fly,
        chunk_size_bwd=min(chunk, samples),
    )
    local_estimators, done = state.local_estimators, [0.0]

    def watched(operator: Any) -> Any:
        """Local energies, and when they were there."""
        energies = jax.block_until_ready(local_estimators(operator))
        done[0] = time.perf_counter()
        return energies

    object.__setattr__(state, "local_estimators", watched)

    def run() -> dict[str, float]:
        begin = time.perf_counter()
        driver.reset_step()
        jax.block_until_ready(state.samples)
        sampled = time.perf_counter()
        _, change = driver.compute_loss_and_update()
        driver.update_parameters(change)
        jax.block_until_ready(state.parameters)
        return steps.seconds([begin, sampled, done[0], time.perf_counter()])

    return Work(run, state.n_parameters, steps.multiply_adds(network, length))


def _resnet(length: int) -> Any:
    import flax.linen as nn
    import jax.numpy as jnp

    config = steps.NETWORKS["resnet"]

    class Normed(nn.Module):
        """Convolution, LayerNorm over channels, activation."""

        @nn.compact
        def __call__(self, x: Any) -> Any:
            x = nn.Conv(config.width, (config.kernel, config.kernel), padding="CIRCULAR", param_dtype=jnp.float32)(x)
            return nn.gelu(nn.LayerNorm(param_dtype=jnp.float32)(x), approximate=False)

    class ResNet(nn.Module):
        """(B, N) → (B,) complex."""

        @nn.compact
        def __call__(self, spins: Any) -> Any:
            x = Normed()(spins.astype(jnp.float32).reshape(-1, length, length, 1))
            for _ in range(config.depth):
                x = x + Normed()(Normed()(x))
            parts = nn.Dense(2, param_dtype=jnp.float32)(x.mean((1, 2)))
            return (parts[:, 0] + 1j * parts[:, 1]).reshape(spins.shape[:-1])

    return ResNet()


def _vit(length: int) -> Any:
    import flax.linen as nn
    import jax.numpy as jnp
    import numpy as np

    config = steps.NETWORKS["vit"]
    patch, side, d, heads = config.patch, length // config.patch, config.width, config.heads
    n = side * side
    y, x = np.divmod(np.arange(n), side)
    differences = (y[:, None] - y) % side * side + (x[:, None] - x) % side
    dense = {"param_dtype": jnp.float32, "kernel_init": nn.initializers.xavier_uniform()}

    class Attention(nn.Module):
        """Factored, with weights that depend on the difference of patches."""

        @nn.compact
        def __call__(self, x: Any) -> Any:
            alpha = self.param("alpha", nn.initializers.xavier_uniform(), (heads, n), jnp.float32)
            values = nn.Dense(d, **dense)(x).reshape(-1, n, heads, d // heads)
            mixed = jnp.einsum("hij,bjhr->bihr", alpha[:, differences], values)
            return nn.Dense(d, **dense)(mixed.reshape(-1, n, d))

    class ViT(nn.Module):
        """(B, N) → (B,) complex."""

        @nn.compact
        def __call__(self, spins: Any) -> Any:
            blocks = spins.astype(jnp.float32).reshape(-1, side, patch, side, patch)
            x = nn.Dense(d, **dense)(blocks.transpose(0, 1, 3, 2, 4).reshape(-1, n, patch * patch))
            for _ in range(config.depth):
                x = x + Attention()(nn.LayerNorm(param_dtype=jnp.float32)(x))
                hidden = nn.Dense(2 * d, **dense)(nn.LayerNorm(param_dtype=jnp.float32)(x))
                x = x + nn.Dense(d, **dense)(nn.relu(hidden))
            z = nn.LayerNorm(param_dtype=jnp.float32)(x).sum(1)
            real, imaginary = (nn.LayerNorm(param_dtype=jnp.float32)(nn.Dense(d, **dense)(z)) for _ in range(2))
            return nk_log_cosh(real + 1j * imaginary).sum(-1).reshape(spins.shape[:-1])

    from netket.nn.activation import log_cosh as nk_log_cosh

    return ViT()
