"""Restricted Boltzmann machine with real or complex parameters (Carleo and Troyer 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.spin.networks import WaveFunction
from pipeline.spin.schema import RBMConfig, SpinSystem


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

    @torch.inference_mode()
    def walk(self, spins: Tensor, sites: Tensor, thresholds: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`pipeline.spin.networks.WaveFunction.walk`; real parameters.

        Keeps φ = 2(b + Wx), of which a flip changes one column of W; its rounding errors add up over the S proposals.
        """
        x, one = spins.to(self.visible_bias.dtype), torch.ones_like(self.visible_bias[0])
        phi, columns, minus_two = 2.0 * self.dense(x), -4.0 * self.dense.weight.T.contiguous(), -2.0 * one
        visible, half = -2.0 * self.visible_bias[sites], 0.5 * one
        log_psi, accepted = _sum_log_2cosh(phi.clone(), half, one), []
        for site, bias, threshold in zip(
            sites.unbind(), visible.unbind(), thresholds.to(x.dtype).unbind(), strict=True
        ):
            here = x.gather(1, site[:, None])
            column = columns.index_select(0, site)
            there = _sum_log_2cosh(torch.addcmul(phi, column, here), half, one)
            accept = threshold < torch.addcmul(there - log_psi, bias, here[:, 0])
            moved = here.mul_(accept[:, None])
            phi.addcmul_(column, moved)
            x.scatter_add_(1, site[:, None], moved * minus_two)
            log_psi = torch.where(accept, there, log_psi)
            accepted.append(accept)
        return x.to(torch.int8), torch.stack(accepted)


def _sum_log_2cosh(phi: Tensor, half: Tensor, one: Tensor) -> Tensor:
    """Σ_j log 2cosh(φ_j/2) = Σ_j |φ_j|/2 + log(1 + exp(-|φ_j|)), in place; numbers as tensors, which cost least."""
    phi.abs_()
    linear = phi.sum(-1)
    return torch.addcmul(phi.neg_().exp_().add_(one).log_().sum(-1), linear, half)


def _parameters(config: RBMConfig, n_sites: int) -> tuple[nn.Parameter, nn.Linear]:
    """Visible biases and the hidden layer, normally distributed."""
    visible_bias = nn.Parameter(config.deviation * torch.randn(n_sites))
    dense = nn.Linear(n_sites, config.alpha * n_sites)
    nn.init.normal_(dense.weight, std=config.deviation)
    nn.init.normal_(dense.bias, std=config.deviation)
    return visible_bias, dense
