"""Restricted Boltzmann machine with real or complex parameters (Carleo and Troyer 2017)."""

from __future__ import annotations

import importlib.util

import torch
from torch import Tensor, nn

from pipeline.spin.ansatz.schema import RBMConfig
from pipeline.spin.systems import SpinSystem
from pipeline.spin.wave_function import WaveFunction

GATHERED_VALUES = 2**17
"""Weights that a walk gathers at once: less calls of one at a time, more falls out of a CPU's caches."""


class RBM(WaveFunction):
    """log ψ(x) = a·x + Σ_j log 2cosh(b_j + W_j·x).

    With real parameters all amplitudes are positive, as in the ground state of a stoquastic Hamiltonian. Complex ones
    are kept as two sets of real parameters, so that casts, optimizers and checkpoints treat them like any others.

    Args:
        config: hidden units per spin, deviation of the initial parameters, real or complex.
        system: gives the number of spins N.
    """

    def __init__(self, config: RBMConfig, system: SpinSystem) -> None:
        super().__init__()
        self.visible_bias, self.dense = _parameters(config, system.size)
        self.phase_visible_bias: nn.Parameter | None = None
        self.phase_dense: nn.Linear | None = None
        self.walks = config.parameters == "real"
        if config.parameters == "complex":
            self.phase_visible_bias, self.phase_dense = _parameters(config, system.size)

    def log_amplitude(self, spins: Tensor) -> Tensor:
        """log ψ(x), (B, N) → (B,), real or complex like the parameters."""
        x = spins.to(self.visible_bias.dtype)
        visible, theta = x @ self.visible_bias, self.dense(x)
        if self.phase_dense is not None and self.phase_visible_bias is not None:
            visible = torch.complex(visible, x @ self.phase_visible_bias)
            theta = torch.complex(theta, self.phase_dense(x))
            # log 2cosh θ = θ + log(1 + exp(-2θ)) with the sign of θ that makes Re θ >= 0
            theta = torch.where(theta.real < 0, -theta, theta)
            return visible + (theta + torch.log1p(torch.exp(-2.0 * theta))).sum(-1)
        # log 2cosh θ = |θ| + log(1 + exp(-2|θ|)), safe for large θ
        theta = theta.abs()
        return visible + (theta + nn.functional.softplus(-2.0 * theta)).sum(-1)

    def walk(self, spins: Tensor, sites: Tensor, thresholds: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`pipeline.spin.wave_function.WaveFunction.walk`; real parameters.

        On a CPU that has numba one compiled loop does it, in double precision, unless weights are so large that
        exp(2θ) may overflow.
        """
        possible = spins.device.type == "cpu" and importlib.util.find_spec("numba") is not None
        compiled = self._compiled_walk(spins, sites, thresholds) if possible else None
        return compiled or self._walk(spins, sites, thresholds)

    def _compiled_walk(self, spins: Tensor, sites: Tensor, thresholds: Tensor) -> tuple[Tensor, Tensor] | None:
        from pipeline.spin.ansatz import rbm_walk

        parameters = (self.dense.weight, self.dense.bias, self.visible_bias)
        weight, bias, visible_bias = (p.detach().double().numpy() for p in parameters)
        if not rbm_walk.fits(weight, bias):
            return None
        ended, accepted = rbm_walk.walk(
            weight, bias, visible_bias, spins.numpy(), sites.numpy(), thresholds.double().numpy()
        )
        return torch.from_numpy(ended), torch.from_numpy(accepted)

    @torch.inference_mode()
    def _walk(self, spins: Tensor, sites: Tensor, thresholds: Tensor) -> tuple[Tensor, Tensor]:
        """The same on any device.

        Keeps φ = 2(b + Wx), of which a flip changes one column of W; its rounding errors add up over the S proposals.
        """
        x = spins.to(self.visible_bias.dtype)
        minus_two, phi = -2.0 * x.new_ones(()), 2.0 * self.dense(x)
        flips, visible = -4.0 * self.dense.weight.T.contiguous(), -2.0 * self.visible_bias[sites][..., None]
        hidden = _HiddenLayer(self.dense.weight)
        value, accepted = hidden(phi.clone()), []
        # one column a chain, so that nothing has to be reshaped in the loop, where every operation counts
        indices, limits = sites[..., None], thresholds.to(x.dtype)[..., None]
        steps = max(1, GATHERED_VALUES // phi.numel())
        for some, biases, lowest in zip(indices.split(steps), visible.split(steps), limits.split(steps), strict=True):
            columns = flips.index_select(0, some.flatten()).view(len(some), *phi.shape)
            for index, column, bias, limit in zip(
                some.unbind(), columns.unbind(), biases.unbind(), lowest.unbind(), strict=True
            ):
                here = x.gather(1, index)
                there = hidden(torch.addcmul(phi, column, here))
                accept = torch.addcmul(there - value, bias, here).gt_(limit)
                value.lerp_(there, accept)
                phi.addcmul_(column, here.mul_(accept))
                x.scatter_add_(1, index, here.mul_(minus_two))
                accepted.append(accept)
        return x.to(torch.int8), torch.cat(accepted, 1).T > 0


class _HiddenLayer:
    """Σ_j log 2cosh(φ_j/2) = Σ_j |φ_j|/2 + log(1 + exp(-|φ_j|)), (C, H) → (C, 1); overwrites φ.

    Sums are products with vectors, and numbers are tensors: on a CPU that costs least.
    """

    def __init__(self, weight: Tensor) -> None:
        self._ones = weight.new_ones(len(weight), 1)
        self._minus_half, self._one = -0.5 * self._ones, weight.new_ones(())
        self._minus_one = -self._one

    def __call__(self, phi: Tensor) -> Tensor:
        phi.copysign_(self._minus_one)
        linear = phi.mm(self._minus_half)
        return linear.addmm_(phi.exp_().add_(self._one).log_(), self._ones)


def _parameters(config: RBMConfig, n_sites: int) -> tuple[nn.Parameter, nn.Linear]:
    """Visible biases and the hidden layer, normally distributed."""
    visible_bias = nn.Parameter(config.deviation * torch.randn(n_sites))
    dense = nn.Linear(n_sites, config.alpha * n_sites)
    nn.init.normal_(dense.weight, std=config.deviation)
    nn.init.normal_(dense.bias, std=config.deviation)
    return visible_bias, dense
