"""Stochastic reconfiguration through an operator (ViT paper, Eqs. 3-11), with momentum (SPRING)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.spin.sr.operator import LogDerivatives
from pipeline.spin.sr.solve import solve


class StochasticReconfiguration:
    """δθ = -τ (S + λ)^{-1} ∇E, S = X Xᵀ the quantum geometric tensor and ∇E = -X f.

    X is an operator (:class:`pipeline.spin.sr.operator.LogDerivatives`): nothing here needs it as a matrix.

    With μ > 0 the step before, d', is the guess for this one (Goldshlager, Abrahamsen, Lin, J. Comput. Phys. 516,
    113351 (2024), "SPRING"): d minimises |Xᵀd - f|² + λ |d - μ d'|², so that what a few samples cannot tell apart is
    remembered from the batches before.

    Args:
        parameters: real; in the order of the rows of X.
        lr: τ.
        shift: λ > 0.
        momentum: 0 <= μ < 1.
        max_distance: longest step, in units of the standard deviation of the change of log ψ over the batch (the
            Fubini-Study distance); longer ones are shortened. None: no limit.

    Attributes:
        param_groups: one group with ``lr``, as optimizers of torch have it.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        shift: float,
        momentum: float,
        max_distance: float | None,
    ) -> None:
        self._parameters = [p for p in parameters if p.requires_grad]
        self.param_groups = [{"lr": lr}]
        self.shift, self.momentum, self.max_distance = shift, momentum, max_distance
        self._previous: Tensor | None = None

    def direction(self, operator: LogDerivatives, target: Tensor) -> tuple[Tensor, Tensor]:
        """δθ/τ, and the change of log ψ over the batch that it makes.

        Args:
            operator: X, (P, R).
            target: f, (R,) float64 (:func:`pipeline.spin.sr.operator.forces`).

        Returns:
            (P,) float64, and sqrt(Σ w |δ log ψ - ⟨δ log ψ⟩|²)/τ, a scalar; NaN where any argument is not finite.
        """
        previous = self._previous if self.momentum else None
        if previous is not None:
            target = target - self.momentum * operator.push(previous)
        change = solve(operator, target, self.shift)
        if previous is not None:
            change = change + self.momentum * previous
        return change, operator.push(change).norm()

    @torch.no_grad()
    def step(self, operator: LogDerivatives, target: Tensor) -> float:
        """One update of the parameters; none, and nothing remembered, where it would not be finite.

        Returns:
            The Fubini-Study distance of the step; NaN or infinity where none was made.
        """
        change, speed = self.direction(operator, target)
        if not (change.isfinite().all() and speed.isfinite()):
            return float("nan")
        tau = self.param_groups[0]["lr"]
        if self.max_distance is not None and tau * float(speed) > self.max_distance:
            tau = self.max_distance / float(speed)
        pieces = (tau * change).split([p.numel() for p in self._parameters])
        for parameter, piece in zip(self._parameters, pieces, strict=True):
            parameter.add_(piece.view_as(parameter).to(parameter.dtype))
        self._previous = change
        return tau * float(speed)

    def state_dict(self) -> dict[str, Any]:
        return {"previous": self._previous}

    def load_state_dict(self, tree: dict[str, Any]) -> None:
        previous = tree["previous"]
        # a checkpoint comes back on the CPU
        self._previous = None if previous is None else previous.to(self._parameters[0].device)
