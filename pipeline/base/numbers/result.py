"""What comes out of a stage: estimates (numbers with errors) and curves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

Bound = Literal["exact", "variational", "projected", "extrapolated", "stochastic", "none"]
SigmaKind = Literal["none", "standard-error", "truncation", "numerical", "bootstrap"]


@dataclass(frozen=True)
class Estimate:
    """One number.

    Attributes:
        name: quantity, e.g. ``energy``.
        value: the estimate, in ``unit``.
        sigma: standard error of ``value`` (autocorrelation included); 0 for a deterministic number, None if unknown.
        sigma_kind: where ``sigma`` comes from.
        spread: standard deviation over the units that were averaged (seeds, subspaces), or None.
        unit: e.g. ``total`` (total energy, Pauli convention) or ``1``.
        bound: relation to the exact value: ``variational`` is an upper bound by construction.
        n: number of units averaged.
        tau: integrated autocorrelation time in units of measurements; None where samples are independent.
    """

    name: str
    value: float
    sigma: float | None = None
    sigma_kind: SigmaKind = "none"
    spread: float | None = None
    unit: str = "1"
    bound: Bound = "none"
    n: int = 1
    tau: float | None = None

    def scaled(self, factor: float, unit: str) -> Estimate:
        """The same number in another unit, ``factor`` times as large."""
        sigma, spread = (None if v is None else abs(factor) * v for v in (self.sigma, self.spread))
        return replace(self, value=factor * self.value, sigma=sigma, spread=spread, unit=unit)


@dataclass(frozen=True)
class Curve:
    """A named series ``y(x)``; ``sigma`` holds the standard errors of ``y`` or is empty."""

    name: str
    x_name: str
    y_name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    sigma: tuple[float, ...] = ()
    unit: str = "1"

    @staticmethod
    def of(
        name: str,
        x_name: str,
        y_name: str,
        x: Iterable[float],
        y: Iterable[float],
        sigma: Iterable[float] = (),
        unit: str = "1",
    ) -> Curve:
        """Build a curve from any sequences of numbers (arrays included)."""
        xs, ys, sigmas = (tuple(float(v) for v in values) for values in (x, y, sigma))
        return Curve(name, x_name, y_name, xs, ys, sigmas, unit)


@dataclass(frozen=True)
class Result:
    """Estimates and curves of one stage. ``notes`` are sentences that a report prints verbatim."""

    estimates: tuple[Estimate, ...] = ()
    curves: tuple[Curve, ...] = ()
    notes: tuple[str, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)

    def estimate(self, name: str) -> Estimate:
        """The estimate called ``name``; KeyError (listing what there is) if absent."""
        for estimate in self.estimates:
            if estimate.name == name:
                return estimate
        raise KeyError(f"no estimate '{name}' (have: {', '.join(e.name for e in self.estimates)})")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON-serialisable form; floats survive the round trip bit for bit."""
        return asdict(self)

    @staticmethod
    def from_json(data: dict[str, Any]) -> Result:
        """Inverse of :meth:`to_json`."""
        curves = tuple(Curve.of(**curve) for curve in data["curves"])
        estimates = tuple(Estimate(**e) for e in data["estimates"])
        return Result(estimates, curves, tuple(data["notes"]), dict(data["extra"]))
