"""From the outputs of a network to conditional wave functions, shared by the autoregressive ansätze."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def number_of_outputs(phase: bool) -> int:
    """A log-magnitude for either value of the spin and, with ``phase``, a phase for either."""
    return 4 if phase else 2


def normalise(outputs: Tensor) -> Tensor:
    """log ψ(s | ·) for s = +1, -1 from (..., 2 or 4) log-magnitudes and phases (NAQS paper, Eq. 3) → (..., 2)."""
    magnitudes = 0.5 * functional.log_softmax(2.0 * outputs[..., :2], -1)
    return torch.complex(magnitudes, outputs[..., 2:]) if outputs.shape[-1] == 4 else magnitudes


def choose(outputs: Tensor, spins: Tensor) -> Tensor:
    """log ψ(s | ·) for the values ``spins`` (...) ±1, of the dtype of ``outputs`` (..., 2 or 4)."""
    magnitudes = 0.5 * functional.logsigmoid(2.0 * spins * (outputs[..., 0] - outputs[..., 1]))
    if outputs.shape[-1] == 2:
        return magnitudes
    return torch.complex(magnitudes, torch.where(spins > 0, outputs[..., 2], outputs[..., 3]))
