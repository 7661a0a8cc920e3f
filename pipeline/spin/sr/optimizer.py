"""Stochastic reconfiguration in the space of samples (ViT paper, Eqs. 5-11), with momentum (SPRING)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


class StochasticReconfiguration:
    """δθ = -τ (S + λ)^{-1} ∇E, S the quantum geometric tensor, through a linear system as large as the batch.

    With M samples of weights w, X = [Re, Im] of sqrt(w) (O - ⟨O⟩), one column a sample, and f = -2 [Re, Im] of
    sqrt(w) (E_loc - E): S = X Xᵀ, ∇E = -X f, and (X Xᵀ + λ)^{-1} X f = X (XᵀX + λ)^{-1} f.

    With μ > 0 the step before, d', is the guess for this one (Goldshlager, Abrahamsen, Lin, J. Comput. Phys. 516,
    113351 (2024), "SPRING"): d minimises |Xᵀd - f|² + λ |d - μ d'|², so that what a few samples cannot tell apart is
    remembered from the batches before.

    Args:
        parameters: real; in the order of the derivatives' columns.
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

    def direction(self, derivatives: Tensor, weights: Tensor, local: Tensor) -> tuple[Tensor, Tensor]:
        """δθ/τ, and the change of log ψ over the batch that it makes.

        Args:
            derivatives: O, (M, P), real or complex.
            weights: w, (M,), sum 1.
            local: E_loc, (M,), real or complex.

        Returns:
            (P,) float64, and sqrt(Σ w |δ log ψ - ⟨δ log ψ⟩|²)/τ, a scalar; NaN where any argument is not finite.
        """
        root = weights.double().sqrt()
        rows = (derivatives - (weights.to(derivatives.dtype)[:, None] * derivatives).sum(0)) * root[:, None]
        energies = -2.0 * root * (local - (weights * local).sum())
        if derivatives.is_complex():
            rows, target = torch.cat([rows.real, rows.imag]).double(), torch.cat([energies.real, energies.imag])
        else:
            rows, target = rows.double(), energies.real
        target = target.double()
        if self._previous is not None and self.momentum:
            target = target - self.momentum * (rows @ self._previous)
        change = rows.T @ _solve(rows @ rows.T, self.shift, target)
        if self._previous is not None and self.momentum:
            change = change + self.momentum * self._previous
        return change, (rows @ change).norm()

    @torch.no_grad()
    def step(self, derivatives: Tensor, weights: Tensor, local: Tensor) -> float:
        """One update of the parameters; none, and nothing remembered, where it would not be finite.

        Returns:
            The Fubini-Study distance of the step; NaN or infinity where none was made.
        """
        change, speed = self.direction(derivatives, weights, local)
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
        self._previous = None if previous is None else previous.to(self._parameters[0].device)


def _solve(gram: Tensor, shift: float, target: Tensor) -> Tensor:
    """(gram + shift)^{-1} target for a positive semidefinite matrix; NaN where it is not finite.

    Without what rounding makes of its null space, where the shift is too small to cover it.
    """
    if not gram.isfinite().all():
        return torch.full_like(target, float("nan"))
    rounding = len(gram) * torch.finfo(gram.dtype).eps * float(gram.diagonal().max())
    factor, failed = torch.linalg.cholesky_ex(gram + shift * torch.eye(len(gram), dtype=gram.dtype, device=gram.device))
    if shift > rounding and not failed:
        return torch.cholesky_solve(target[:, None], factor)[:, 0]
    values, vectors = torch.linalg.eigh(gram)
    inverse = torch.where(values > rounding, 1.0 / (values + shift), 0.0)
    return vectors @ (inverse * (vectors.T @ target))
