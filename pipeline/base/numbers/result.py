"""What comes out of a stage: estimates (numbers with errors) and curves."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

Bound = Literal["exact", "variational", "projected", "extrapolated", "stochastic", "none"]
SigmaKind = Literal["none", "standard-error", "truncation", "numerical", "bootstrap"]


@dataclass(frozen=True)
class Estimate:
    """One number.

    Attributes:
        name: quantity.
        value: the estimate, in ``unit``.
        sigma: standard error of ``value`` (autocorrelation included); 0 for a number without statistical error (an
            exact sum); None if unknown: too few samples, or all of them the same.
        sigma_kind: where ``sigma`` comes from.
        spread: standard deviation over the seeds or subspaces that were averaged; None where ``value`` is no such mean
            (samples, bins, trajectories and batches have none).
        unit: ``1`` for a pure number; else a word that whoever makes the estimate defines.
        bound: relation to the exact value: ``variational`` is an upper bound by construction.
        n: number of units averaged.
        tau: integrated autocorrelation time in units of measurements; None where samples are independent.
        ess: effective number of weighted draws; None where all weigh the same.
        against: name of the quantity of a reference that it is compared with; empty: its own name.
        doubt: why ``sigma`` is unknown or cannot be relied upon, in words (``chains are only 6.3 τ_int long``); empty
            where it can. Nothing is judged by an estimate with a doubt.
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
    ess: float | None = None
    against: str = ""
    doubt: str = ""

    @property
    def reliable(self) -> bool:
        """Whether the error is known and can be relied upon: without that no comparison says anything."""
        return self.sigma is not None and not self.doubt

    def scaled(self, factor: float, unit: str) -> Estimate:
        """The same number in another unit, ``factor`` times as large."""
        sigma, spread = (None if v is None else abs(factor) * v for v in (self.sigma, self.spread))
        return replace(self, value=factor * self.value, sigma=sigma, spread=spread, unit=unit)


@dataclass(frozen=True)
class Curve:
    """A named series ``y(x)``.

    ``sigma`` holds the standard errors of ``y`` (NaN: unknown), ``x_width`` the widths of bins around ``x``; either may
    be empty.
    """

    name: str
    x_name: str
    y_name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    sigma: tuple[float, ...] = ()
    unit: str = "1"
    x_width: tuple[float, ...] = ()

    @staticmethod
    def of(
        name: str,
        x_name: str,
        y_name: str,
        x: Iterable[float],
        y: Iterable[float],
        sigma: Iterable[float] = (),
        unit: str = "1",
        x_width: Iterable[float] = (),
    ) -> Curve:
        """Build a curve from any sequences of numbers (arrays included)."""
        xs, ys, sigmas, widths = (tuple(float(v) for v in values) for values in (x, y, sigma, x_width))
        return Curve(name, x_name, y_name, xs, ys, sigmas, unit, widths)


@dataclass(frozen=True)
class Result:
    """Estimates and curves of one stage.

    Attributes:
        notes: sentences that a report prints verbatim.
        headline: name of the estimate that stands for all of it; empty: the first one.
    """

    estimates: tuple[Estimate, ...] = ()
    curves: tuple[Curve, ...] = ()
    notes: tuple[str, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)
    headline: str = ""

    def estimate(self, name: str) -> Estimate:
        """The estimate called ``name``; KeyError (listing what there is) if absent."""
        for estimate in self.estimates:
            if estimate.name == name:
                return estimate
        raise KeyError(f"no estimate '{name}' (have: {', '.join(e.name for e in self.estimates)})")

    @property
    def main(self) -> Estimate | None:
        """The headline; None where there are no estimates."""
        return self.estimate(self.headline) if self.headline else next(iter(self.estimates), None)

    def not_finite(self) -> str | None:
        """The first estimate with NaN or infinity in it, as ``mass is nan``; None where all are finite."""
        for e in self.estimates:
            numbers = {"": e.value, "the error of ": e.sigma, "the spread of ": e.spread, "τ_int of ": e.tau}
            for what, number in numbers.items():
                if number is not None and not math.isfinite(number):
                    return f"{what}{e.name} is {number}"
        return None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON-serialisable form; floats survive the round trip bit for bit."""
        return asdict(self)

    @staticmethod
    def from_json(data: dict[str, Any]) -> Result:
        """Inverse of :meth:`to_json`; also of what was written before there were all of these fields, and when the
        standard deviation of samples was called a spread."""
        curves = tuple(Curve.of(**curve) for curve in data.get("curves", ()))
        estimates = tuple(Estimate(**e) for e in data.get("estimates", ()))
        estimates = tuple(e if e.tau is None and e.ess is None else replace(e, spread=None) for e in estimates)
        extra, headline = dict(data.get("extra", {})), data.get("headline", "")
        return Result(estimates, curves, tuple(data.get("notes", ())), extra, headline)
