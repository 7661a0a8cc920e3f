"""Independent configurations of pure U(1) gauge theory, drawn exactly: no Markov chain, no correlation."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def draw_links(batch: int, length: int, beta: float, generator: np.random.Generator) -> Tensor:
    """Links with density ∝ e^{β Σ cos θ_P}, up to a gauge transformation; (batch, 2, L, L), float64, not wrapped.

    The gauge is complete: θ_1 = 0 but at x_1 = L-1, and θ_0 = 0 at x_1 = 0 but at x_0 = L-1. What is left are
    the plaquettes and the two holonomies around the torus, which the action does not see: they are uniform.
    """
    theta_p = draw_plaquettes(batch, length, beta, generator)
    around_0, around_1 = generator.uniform(-math.pi, math.pi, size=(2, batch))
    links = np.zeros((batch, 2, length, length))
    links[:, 0, -1, :] = around_0[:, None]
    links[:, 0, :, 1:] -= theta_p[:, :, :-1].cumsum(axis=2)
    # Around a row of plaquettes: what its last plaquette lacks is the difference of the links at x_1 = L-1.
    links[:, 1, 0, -1] = around_1
    links[:, 1, 1:, -1] = around_1[:, None] + theta_p[:, :-1].sum(axis=2).cumsum(axis=1)
    return torch.from_numpy(links)


def draw_plaquettes(batch: int, length: int, beta: float, generator: np.random.Generator) -> NDArray[np.float64]:
    """Plaquette angles of a torus: von Mises, given that their sum is 0 mod 2π; (batch, L, L), the last not wrapped.

    All but the last are drawn freely, the last makes up the sum and is accepted with its weight e^{β (cos θ - 1)}.
    """
    found: list[NDArray[np.float64]] = []
    missing = batch
    while missing:
        angles = generator.vonmises(0.0, beta, size=(4 * missing, length**2 - 1))
        last = -angles.sum(axis=1, keepdims=True)
        accepted = generator.uniform(size=len(last)) < np.exp(beta * (np.cos(last[:, 0]) - 1.0))
        found.append(np.hstack([angles, last])[accepted][:missing])
        missing -= len(found[-1])
    return np.concatenate(found).reshape(batch, length, length)
