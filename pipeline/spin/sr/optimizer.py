"""Stochastic reconfiguration through an operator (ViT paper, Eqs. 3-11), with momentum (SPRING), MARCH and a guard."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.spin.sr.guard import Energy, Guard
from pipeline.spin.sr.march import SecondMoment
from pipeline.spin.sr.operator import LogDerivatives
from pipeline.spin.sr.solve import Solver, solve

RETRIES = 3
"""Times that a step which would not be finite is tried with a larger shift."""

RETRY_FACTOR = 10.0
"""By which the shift grows each time."""

FARTHEST = 100.0
"""Fubini-Study distance at which a guarded step without ``max_distance`` counts as exploding."""

REMEMBERED = 4.0
"""Length of the step that a guarded SPRING remembers, at most, over that of the one made: ordinary ones are not cut."""

log = logging.getLogger(__name__)


class StochasticReconfiguration:
    """δθ = -τ (S + λ)^{-1} ∇E, S = X Xᵀ the quantum geometric tensor and ∇E = -X f.

    X is an operator (:class:`pipeline.spin.sr.operator.LogDerivatives`): nothing here needs it as a matrix.

    With μ > 0 the step before, d', is the guess for this one (Goldshlager, Abrahamsen, Lin, J. Comput. Phys. 516,
    113351 (2024), "SPRING"): d minimises |Xᵀd - f|² + λ |d - μ d'|², so that what a few samples cannot tell apart is
    remembered from the batches before.

    Args:
        parameters: real; in the order of the rows of X.
        lr: τ.
        shift: λ > 0; with ``guard`` its least value.
        momentum: 0 <= μ < 1.
        max_distance: longest step, in units of the standard deviation of the change of log ψ over the batch (the
            Fubini-Study distance); longer ones are shortened. None: no limit.
        derivatives: the operator that updates make, see :func:`pipeline.spin.sr.choice.derivatives_of`.
        solver, rtol, atol: see :class:`pipeline.spin.sr.solve.Solver`.
        second_moment: β of :class:`pipeline.spin.sr.march.SecondMoment`; 0: all parameters count alike.
        guard: undo steps that raised the energy, see :class:`pipeline.spin.sr.guard.Guard`. SPRING remembers none after
            one that was undone. Where all configurations are summed over, what it remembers is at most four
            times as long as what ``max_distance`` left: far too long steps, one after the other in a direction, end
            where nothing is left that could be undone.

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
        derivatives: str = "auto",
        solver: str = "cholesky",
        rtol: float = 1e-12,
        atol: float = 0.0,
        second_moment: float = 0.0,
        guard: bool = False,
    ) -> None:
        self._parameters = [p for p in parameters if p.requires_grad]
        self.param_groups = [{"lr": lr}]
        self.shift, self.momentum, self.max_distance = shift, momentum, max_distance
        self.derivatives, self._solver = derivatives, Solver(solver, rtol, atol)
        self.guard = Guard(shift) if guard else None
        self._moment = SecondMoment(second_moment) if second_moment else None
        self._previous: Tensor | None = None

    def direction(self, operator: LogDerivatives, target: Tensor) -> tuple[Tensor, Tensor]:
        """δθ/τ, and the change of log ψ over the batch that it makes.

        Args:
            operator: X, (P, R).
            target: f, (R,) float64 (:func:`pipeline.spin.sr.operator.forces`).

        Returns:
            (P,) float64, and sqrt(Σ w |δ log ψ - ⟨δ log ψ⟩|²)/τ, a scalar; NaN where any argument is not finite.
        """
        change, moved = self._direction(operator, target, self.shift if self.guard is None else self.guard.shift)
        return change, moved.norm()

    def _direction(self, operator: LogDerivatives, target: Tensor, shift: float) -> tuple[Tensor, Tensor]:
        """δθ/τ, and Xᵀδθ/τ."""
        previous = self._previous if self.momentum else None
        if previous is not None:
            target = target - self.momentum * operator.push(previous)
        if self._moment is not None:
            change = self._moment.solve(operator, target, shift, self._solver)
        else:
            change = solve(operator, target, shift, self._solver)
        if previous is not None:
            change = change + self.momentum * previous
        return change, operator.push(change)

    def undo(self, energy: Energy) -> bool:
        """Whether the last step is taken back, with what was remembered of it, as the batch after it says."""
        if self.guard is None or not self.guard.rejects(energy):
            return False
        assert self.guard.before is not None
        with torch.no_grad():
            for parameter, values in zip(self._parameters, self._split(self.guard.before), strict=True):
                parameter.copy_(values)
        # towards the step remembered is where a larger shift would lead, once more
        self._previous = None
        if self._moment is not None:
            self._moment.undo()
        self.guard.before = None
        log.info("step undone: the energy rose beyond its noise; the shift is %g now", self.guard.shift)
        return True

    @torch.no_grad()
    def step(self, operator: LogDerivatives, target: Tensor) -> float:
        """One update of the parameters; none, and nothing remembered, where it would not be finite.

        Returns:
            The Fubini-Study distance of the step; NaN or infinity where none was made.
        """
        tau: float = self.param_groups[0]["lr"]
        found = self._finite_direction(operator, target, tau)
        if found is None:
            return float("nan")
        change, moved, speed = found
        if self.max_distance is not None and tau * speed > self.max_distance:
            tau = self.max_distance / speed
        if self.guard is not None:
            self.guard.starts(self._flat(), -tau * float(target @ moved), tau * speed)
        step = tau * change
        if self.guard is not None and self.guard.sums_over_all:
            change = change * min(1.0, REMEMBERED * tau / self.param_groups[0]["lr"])
        for parameter, piece in zip(self._parameters, self._split(step), strict=True):
            parameter.add_(piece.to(parameter.dtype))
        if self._moment is not None:
            self._moment.remember(change, self._previous)
        self._previous = change
        return tau * speed

    def _finite_direction(
        self, operator: LogDerivatives, target: Tensor, tau: float
    ) -> tuple[Tensor, Tensor, float] | None:
        """δθ/τ, Xᵀδθ/τ and the norm of that, from as large a shift as it takes; None where X or f is not finite."""
        shift = self.shift if self.guard is None else self.guard.shift
        for attempt in range(1 + RETRIES):
            change, moved = self._direction(operator, target, shift)
            # one wait for the device: a sum is finite only if all its terms are
            size, speed = torch.stack([change.abs().sum(), moved.norm()]).tolist()
            explodes = self.guard is not None and self.max_distance is None and tau * speed > FARTHEST
            if math.isfinite(size) and math.isfinite(speed) and not explodes:
                if self.guard is not None:
                    self.guard.shift = shift
                return change, moved, speed
            if attempt == RETRIES or not operator.pull(target).isfinite().all():
                if self.guard is not None and explodes:
                    self.guard.shift = shift
                break
            shift *= RETRY_FACTOR
            log.warning("a step that is %s: trying the shift %g", "too long" if explodes else "not finite", shift)
        return None

    def _flat(self) -> Tensor:
        return torch.cat([p.detach().flatten() for p in self._parameters])

    def _split(self, flat: Tensor) -> list[Tensor]:
        """By parameter, in the shapes that they have."""
        pieces = flat.split([p.numel() for p in self._parameters])
        return [piece.view_as(p) for piece, p in zip(pieces, self._parameters, strict=True)]

    def state_dict(self) -> dict[str, Any]:
        tree: dict[str, Any] = {"previous": self._previous}
        if self._moment is not None:
            tree["second_moment"] = self._moment.state_dict()
        if self.guard is not None:
            tree["guard"] = self.guard.state_dict()
        return tree

    def load_state_dict(self, tree: dict[str, Any]) -> None:
        device = self._parameters[0].device  # a checkpoint comes back on the CPU
        previous = tree["previous"]
        self._previous = None if previous is None else previous.to(device)
        if self._moment is not None:
            self._moment.load_state_dict(tree["second_moment"], device)
        if self.guard is not None:
            self.guard.load_state_dict(tree["guard"], device)
