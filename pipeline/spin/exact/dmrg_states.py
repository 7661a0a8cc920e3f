"""Several lowest states by DMRG: each orthogonal to those before it, sector by sector (torch-free)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pipeline.base.later import np
from pipeline.base.numbers.result import Bound, Curve, Estimate, Result

FEWEST_POINTS = 4
"""Bond dimensions that a power law with an offset takes: as many as it has parameters."""

OFFSETS, EXPONENTS = 200, 400
"""Of the grid on which a power law is sought."""


@dataclass(frozen=True)
class Point:
    """Converged state at one bond dimension: ``energy`` is ⟨ψ|H|ψ⟩ of the normalised state, an upper bound."""

    bond_dimension: int
    energy: float
    truncation_error: float


Sector = TypeVar("Sector")
Found = tuple[list[Point], Any]
"""The series of one state, and the state."""


def lowest_states(
    sectors: Sequence[Sector], count: int, next_of: Callable[[Sector, list[Any]], Found]
) -> list[list[Point]]:
    """The ``count`` lowest states of all sectors together, ascending.

    A sector is asked for another state only once its last one is among the lowest: ``count`` + the number of sectors
    - 1 states are computed.

    Args:
        next_of: the lowest state of a sector that is orthogonal to those given.
    """
    found = [[next_of(sector, [])] for sector in sectors]
    chosen: list[list[Point]] = []
    while True:
        number = min(range(len(sectors)), key=lambda i: found[i][-1][0][-1].energy)
        chosen.append(found[number][-1][0])
        if len(chosen) == count:
            return sorted(chosen, key=lambda series: series[-1].energy)
        found[number].append(next_of(sectors[number], [state for _, state in found[number]]))


def power_law(points: Sequence[Point]) -> float | None:
    """a of E(χ) = a + b (χ + c)^d with b > 0, d < 0, c > -χ_min (NIR paper, Section 4.4), by least squares.

    For every c and d of a grid a and b are linear; the best of them is refined once around itself. None for fewer than
    :data:`FEWEST_POINTS` points, or energies that do not decrease.
    """
    chi = np.array([float(p.bond_dimension) for p in points])
    energy = np.array([p.energy for p in points])
    if len(points) < FEWEST_POINTS or not (np.diff(energy) < 0).all():
        return None
    depth = energy[0] - energy[-1]
    y = (energy - energy[-1]) / depth
    low, high = math.log(1e-3 * chi[0]), math.log(1e3 * chi[-1])
    steep, flat = math.log(20.0), math.log(0.05)
    best = (math.inf, 0.0, 0.0, 0.0)
    for _ in range(6):
        # χ + c relative to the smallest χ, so that it stays positive
        for log_offset in np.linspace(low, high, OFFSETS):
            shifted = chi - chi[0] + math.exp(log_offset)
            powers = (shifted / shifted[0])[None, :] ** -np.exp(np.linspace(flat, steep, EXPONENTS))[:, None]
            centred = powers - powers.mean(1, keepdims=True)
            slopes = (centred * y).sum(1) / (centred**2).sum(1)
            constants = y.mean() - slopes * powers.mean(1)
            residuals = ((constants[:, None] + slopes[:, None] * powers - y) ** 2).sum(1)
            residuals = np.where(slopes > 0, residuals, np.inf)
            place = int(residuals.argmin())
            if residuals[place] < best[0]:
                exponent = float(np.linspace(flat, steep, EXPONENTS)[place])
                best = (float(residuals[place]), float(constants[place]), float(log_offset), exponent)
        width, spread = (high - low) / 20, (steep - flat) / 20
        low, high, flat, steep = best[2] - width, best[2] + width, best[3] - spread, best[3] + spread
    return float(energy[-1] + depth * best[1]) if math.isfinite(best[0]) else None


def report(
    series: Sequence[Sequence[Point]], extrapolate: Callable[[Sequence[Point]], tuple[float, float]], tolerance: float
) -> Result:
    """Estimates and curves of the states in ascending order: ``energy``, ``energy_1``, ... and their sum ``trace``.

    ``variational_energy``, ``truncation_error`` and, with four bond dimensions, ``power_law_energy`` of each as well;
    the error of the last is how far it is below the energy at the largest bond dimension.
    """
    estimates: list[Estimate] = []
    curves, notes, total, error = [], [], 0.0, 0.0
    for n, points in enumerate(series):
        after = f"_{n}" if n else ""
        last, (energy, sigma) = points[-1], extrapolate(points)
        total, error = total + energy, error + sigma
        estimates.append(Estimate(f"energy{after}", energy, sigma, "truncation", unit="total", bound="extrapolated"))
        # an upper bound of this level only as far as the lower states are exact
        bound: Bound = "none" if n else "variational"
        estimates.append(Estimate(f"variational_energy{after}", last.energy, 0.0, unit="total", bound=bound))
        if (limit := power_law(points)) is not None:
            name, distance = f"power_law_energy{after}", abs(last.energy - limit)
            estimates.append(Estimate(name, limit, distance, "truncation", unit="total", bound="extrapolated"))
        estimates.append(Estimate(f"truncation_error{after}", last.truncation_error))
        chi = [point.bond_dimension for point in points]
        curves.append(
            Curve.of(f"energy{after}", "bond_dimension", "energy", chi, [p.energy for p in points], unit="total")
        )
        change = points[-2].energy - last.energy
        if abs(change) > tolerance * abs(last.energy):
            notes.append(f"DMRG: the energy of state {n} still changes by {change:.1e} at bond dimension {chi[-1]}.")
    estimates.append(Estimate("trace", total, error, "truncation", unit="total", bound="extrapolated"))
    largest = max(points[-1].bond_dimension for points in series)
    return Result(tuple(estimates), tuple(curves), tuple(notes), {"bond_dimension": largest})
