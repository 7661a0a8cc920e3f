"""Second moments of the steps, which scale the parameters (MARCH)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pipeline.spin.sr.operator import LogDerivatives, Scalable
from pipeline.spin.sr.solve import Solver, solve

FLOOR = 1e-8
"""Added to v^{1/4}: parameters that never moved."""


class SecondMoment:
    """MARCH, "moment-adaptive reconfiguration" (Gu et al., arXiv:2507.02644): SPRING with a metric that adapts.

    d minimises |Xᵀd - f|² + λ |V (d - μ d')|² with V = diag(v)^{1/4} and v = β v' + (d' - d'')², where d' and d'' are
    the two steps before: what keeps changing from batch to batch is held back, what moves steadily is let go. In units
    in which V is one it is the problem of SPRING,

    d = μ d' + V⁻¹ Y (YᵀY + λ)^{-1} (f - μ Xᵀd'), Y = V⁻¹ X.

    V = 1 before the first step; the step before that one counts as 0.

    Args:
        decay: 0 < β < 1.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self._moment: Tensor | None = None
        self._before: Tensor | None = None

    def solve(self, operator: LogDerivatives, target: Tensor, shift: float, solver: Solver) -> Tensor:
        """V⁻² X (Xᵀ V⁻² X + λ)^{-1} f, (P,)."""
        if self._moment is None:
            return solve(operator, target, shift, solver)
        if not isinstance(operator, Scalable):
            raise TypeError(f"{type(operator).__name__} cannot be scaled")
        scale = 1.0 / (self._moment**0.25 + FLOOR)
        return scale * solve(operator.scaled(scale), target, shift, solver)

    def remember(self, change: Tensor, previous: Tensor | None) -> None:
        """Of a step d that is taken, (P,), after d' or None."""
        square = (change if previous is None else change - previous).square()
        self._before = self._moment
        self._moment = square if self._moment is None else self.decay * self._moment + square

    def undo(self) -> None:
        """Forget the last step."""
        self._moment = self._before

    def state_dict(self) -> dict[str, Any]:
        return {"moment": self._moment, "before": self._before}

    def load_state_dict(self, tree: dict[str, Any], device: torch.device) -> None:
        moment, before = tree["moment"], tree["before"]
        self._moment = None if moment is None else moment.to(device)
        self._before = None if before is None else before.to(device)
