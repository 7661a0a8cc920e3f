"""Single precision in the inference: networks are evaluated in it where its rounding is lost in the statistical error.

A local energy is Σ H(x,x') ψ(x')/ψ(x). If ψ(x') is rounded differently when it is reached from x and when it is
visited itself, as happens where flips reuse what is known of x, the mean is the energy of no state: one that has
converged to 10^-14 may come out below the ground state, by 10^-8 and without an error to say so. So the rounding is
measured on some configurations of each batch, and the whole batch evaluated in double precision where it counts. Draws
may be those of single precision: weights that are wrong by a relative δ lower the energy by at most δ²/4 times the
width of the spectrum.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from pipeline.spin.wave_function import WaveFunction

PROBED = 16
"""Configurations of a batch that are evaluated in both precisions: for an order of magnitude."""

NEGLIGIBLE = 0.01
"""Largest rounding of a local energy, in standard errors of the energy over all batches."""


def in_double(ansatz: WaveFunction) -> WaveFunction:
    """The state with the same parameters in double precision; ``ansatz`` itself where they are in it already."""
    if all(parameter.dtype == torch.float64 for parameter in ansatz.parameters()):
        return ansatz
    precise = copy.deepcopy(ansatz)
    # new tensors: a change of the dtype in place is lost on those that stand for others, of an accelerator or a shard
    for module in precise.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = nn.Parameter(parameter.detach().double(), parameter.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None and buffer.is_floating_point():
                module._buffers[name] = buffer.double()
    return precise


def probed_rows(count: int, device: torch.device) -> Tensor:
    """Rows spread evenly over ``count``, at most :data:`PROBED` of them, int64."""
    number = min(count, PROBED)
    return torch.arange(number, device=device) * count // number


def is_negligible(rounding: Tensor, local: Tensor, weights: Tensor, draws: int) -> bool:
    """Whether single precision is good enough for the mean of ``draws`` local energies.

    Args:
        rounding: E_loc of probed rows minus its value in double precision, (n,); its root mean square bounds the mean.
        local: E_loc of a batch, (B,); one that is not finite is not good enough.
        weights: (B,), sum 1.
        draws: of all batches together.
    """
    mean = (weights * local).sum()
    variance = (weights * (local - mean).abs().square()).sum()
    return bool(rounding.abs().square().mean() <= NEGLIGIBLE**2 * variance / draws)
