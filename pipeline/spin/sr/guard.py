"""A shift that adapts, and steps that are undone, as the energy of the batch after them says."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass
from typing import Any

import torch
from torch import Tensor

from pipeline.spin.sampler.contract import Batch

DEVIATIONS = 3.0
"""Standard errors of a difference of energies that pass for noise."""

RAISED, LOWERED = 4.0, 1.5
"""Factors of the shift after a step that is undone, and after one that did what was predicted."""

POOR = 0.25
"""Share of the predicted change that a step must bring."""

CHAINS = 8
"""From so many on the scatter of their means counts, too."""

FARTHEST_RISE = 2.0
"""Rise for which a step is blamed, at most, over the largest change that one of its length makes to first order."""

ROUNDING = 16
"""Units in the last place that pass for noise: those of the network's dtype times the deviation of local energies, and
those of double precision times the energy."""


@dataclass(frozen=True)
class Energy:
    """The energy of a batch.

    Attributes:
        value: Re E.
        error: standard error; 0 where all configurations are summed over.
        rounding: of the sum over all configurations, in units of energy.
        deviation: standard deviation of the local energies that were drawn; infinite where all configurations are
            summed over.
    """

    value: float
    error: float
    rounding: float
    deviation: float = math.inf

    @staticmethod
    def of(batch: Batch, local: Tensor, dtype: torch.dtype) -> Energy:
        """From local energies (B,), perhaps clipped, of a network of a dtype.

        Draws of a Markov chain count as less where the means of the chains say so. An error δ of log ψ makes one of
        2 Cov(E_loc, δ) in the energy.
        """
        values = local.real.double()
        mean = batch.weights @ values
        deviations, square = values - mean, mean.new_zeros(())
        if batch.order is not None:
            # a row that was drawn c times is c draws, each with its share of the weight
            counts = torch.bincount(batch.order.flatten(), minlength=len(local))
            square = (batch.weights.square() * deviations.square() / counts).sum()
            if len(batch.order) >= CHAINS:
                of_chains = deviations[batch.order].mean(1)
                square = torch.maximum(square, of_chains.square().mean() / (len(batch.order) - 1))
        variance = batch.weights @ deviations.square()
        value, error, deviation = torch.stack([mean, square.sqrt(), variance.sqrt()]).tolist()
        rounding = torch.finfo(dtype).eps * deviation + torch.finfo(torch.float64).eps * abs(value)
        return Energy(value, error, ROUNDING * rounding, math.inf if batch.order is None else deviation)


class Guard:
    """Levenberg and Marquardt's rule for λ, with noise.

    A step from an energy E₀ to E₁ was predicted to change it by ∇E·δθ < 0. If E₁ - E₀ falls short of a quarter of the
    prediction beyond the noise of both, the step is to be undone and λ grows: it need not have raised the energy, for
    one that is too long can make configurations so rare that they never come back. Else λ shrinks, down to its
    configured value. After a step that was undone the next batch is drawn from where it began, and tells E₀ anew.

    Draws say nothing of configurations too rare to be among them, which still matter to the local energies of those
    that are: the energy of a batch without them rises as they become as rare as they should be. No step of length d
    changes an energy by more than 2 σ d to first order, σ the deviation of local energies: what rises by far more
    between two batches is not taken for what the step did.

    Args:
        floor: least λ.

    Attributes:
        shift: λ.
        before: parameters from which the last step was made, (P,); None where there is none to undo.
        undone: number of steps undone.
    """

    def __init__(self, floor: float) -> None:
        self._floor = self.shift = floor
        self.undone = 0
        self.before: Tensor | None = None
        self._energy: Energy | None = None
        self._predicted = self._length = 0.0

    def rejects(self, energy: Energy) -> bool:
        """Whether the last step is to be undone; adapts λ. Called once a batch, before the next step."""
        last = self._energy
        if last is None or self.before is None:
            self._energy = energy
            return False
        change = energy.value - last.value
        doubt = DEVIATIONS * math.hypot(energy.error, last.error)
        doubt += energy.rounding + last.rounding
        most = 2.0 * FARTHEST_RISE * self._length * max(energy.deviation, last.deviation)
        if doubt < change - POOR * self._predicted < doubt + most:
            self.shift *= RAISED
            self.undone += 1
            return True
        self._energy = energy
        self.shift = max(self._floor, self.shift / LOWERED)
        return False

    @property
    def sums_over_all(self) -> bool:
        """Whether the energies are sums over all configurations, not means over draws."""
        return self._energy is not None and math.isinf(self._energy.deviation)

    def starts(self, parameters: Tensor, predicted: float, length: float) -> None:
        """A step from ``parameters`` (P,), that is predicted to change the energy by ``predicted``.

        ``length`` > 0 is its Fubini-Study distance over the batch.
        """
        self.before, self._predicted, self._length = parameters, predicted, length

    def forget(self) -> None:
        """The energies to come are of another system."""
        self.before = self._energy = None

    def state_dict(self) -> dict[str, Any]:
        energy = self._energy
        return {
            "shift": self.shift,
            "undone": self.undone,
            "before": self.before,
            "predicted": self._predicted,
            "length": self._length,
            "energy": None if energy is None else list(astuple(energy)),
        }

    def load_state_dict(self, tree: dict[str, Any], device: torch.device) -> None:
        self.shift, self.undone, self._predicted = tree["shift"], tree["undone"], tree["predicted"]
        self._length = tree.get("length", 1.0)  # checkpoints from before there was one
        self.before = None if tree["before"] is None else tree["before"].to(device)
        self._energy = None if tree["energy"] is None else Energy(*tree["energy"])
