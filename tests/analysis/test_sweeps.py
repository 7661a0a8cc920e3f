"""Runs of a sweep: means over seeds, sizes and variances that go to their limits."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
from scipy.stats import t

from pipeline.analysis.sweeps import Point, Value, averaged, finite_size, per_site, power_of, zero_variance
from pipeline.base.numbers.result import Estimate


def energy(value: float, sigma: float | None = None) -> Estimate:
    return Estimate("energy", value, sigma, unit="total", bound="variational")


def ring(n: int, seed: int = 0, value: float | None = None, sigma: float | None = None, **axes: float) -> Point:
    exact = -2 / math.sin(math.pi / (2 * n))
    return Point(
        {"system.n_sites": n, "train.seed": seed, **axes},
        {"kind": "chain_tfim", "n_sites": n},
        {"energy": energy(exact if value is None else value, sigma)},
        "energy",
        {"energy": Estimate("energy", exact, 0.0, unit="total", bound="exact")},
    )


def test_means_are_over_seeds_alone() -> None:
    points = [ring(8, seed, value) for seed, value in ((0, -10.0), (1, -10.2), (2, -10.1))] + [ring(10)]
    first, second = averaged(points)
    assert first.axes == {"system.n_sites": 8}
    assert (first.runs, second.runs) == (3, 1)
    assert first.main is not None
    assert first.main.value == pytest.approx(-10.1)
    assert first.main.sigma == pytest.approx(0.1 / math.sqrt(3))
    assert first.against(first.main) == points[0].reference["energy"]


def test_what_some_seeds_lack_is_left_out() -> None:
    more = Point({"train.seed": 1}, {}, {"energy": energy(-1.0), "variance": energy(0.1)}, "energy")
    (mean,) = averaged([Point({"train.seed": 0}, {}, {"energy": energy(-2.0)}, "energy"), more])
    assert list(mean.estimates) == ["energy"]


@pytest.mark.parametrize(
    ("system", "sites", "linear"),
    [
        ({"n_sites": 12}, 12, 12.0),
        ({"length_x": 4, "length_y": 9}, 36, 6.0),
        ({"length": 6}, 36, 6.0),
        ({"kind": "cloud"}, None, None),
        ({"n_sites": None}, None, None),
    ],
)
def test_sizes(system: dict[str, int | str | None], sites: int | None, linear: float | None) -> None:
    point = Point({}, system, {}, "")
    assert point.sites == sites
    assert point.linear == (None if linear is None else pytest.approx(linear))


def test_totals_are_shown_per_site_where_sizes_differ() -> None:
    small, large = per_site([ring(8), ring(16)])
    assert small.main is not None
    assert small.main.unit == "per site"
    assert small.main.value == pytest.approx(-2 / math.sin(math.pi / 16) / 8)
    assert large.reference["energy"].value == pytest.approx(-2 / math.sin(math.pi / 32) / 16)
    assert per_site([ring(8), ring(8)])[0] == ring(8)


def test_the_infinite_ring_of_each_series() -> None:
    """Its energy per site is -4/π; two sizes are no extrapolation."""
    points = [ring(n, coupling=j) for j in (1.0, 2.0) for n in (32, 64, 96)] + [ring(8, coupling=3.0)]
    first, second = finite_size(averaged(points), 2.0)
    assert (first.series, second.series) == ({"coupling": 1.0}, {"coupling": 2.0})
    assert first.intercept.value == pytest.approx(-4 / math.pi, abs=1e-7)
    assert first.reference is not None
    assert first.reference.value == pytest.approx(first.intercept.value)
    assert first.intercept.bound == "extrapolated"


def test_energies_against_variances_reach_the_exact_one() -> None:
    """ψ = cos a |0> + sin a |1>: E = E_0 + Δ sin²a, variance Δ² sin²a cos²a, a line for small a alone."""
    gap, exact = 0.5, -7.0
    angles = np.array([0.02, 0.05, 0.08, 0.1])
    points = []
    for k, s in enumerate(np.sin(angles) ** 2):
        estimates = {"energy": energy(exact + gap * s), "variance": Estimate("variance", gap**2 * s * (1 - s))}
        points.append(Point({"train.steps": k}, {}, estimates, "energy", {"energy": energy(exact)}))
    (found,) = zero_variance(points)
    assert found.intercept.value == pytest.approx(exact, abs=1e-5)
    assert found.line.slope == pytest.approx(1 / gap, rel=0.02)
    assert found.reference == energy(exact)
    assert zero_variance(points[:2]) == []


@pytest.mark.parametrize(
    ("system", "power"),
    [
        ({"kind": "chain_tfim"}, 2.0),
        ({"kind": "open_chain_tfim"}, 1.0),
        ({"kind": "square_tfim", "periodic": False}, 1.0),
        ({"kind": "square_tfim", "periodic": True}, 2.0),
    ],
)
def test_open_ends_add_1_over_l(system: dict[str, Value], power: float) -> None:
    assert power_of(system) == power
    points = [replace(ring(n), system={**system, "n_sites": n}) for n in (8, 12, 16)]
    assert finite_size(points)[0].against == f"1/L^{power:g}"
    assert finite_size(points, 3.0)[0].against == "1/L^3"


def test_a_doubt_about_a_point_is_one_about_the_limit() -> None:
    points = [ring(n, sigma=0.1) for n in (8, 12, 16)]
    assert finite_size(points)[0].intercept.doubt == ""
    short = replace(points[1].estimates["energy"], doubt="chains are only 5 τ_int long")
    points[1] = replace(points[1], estimates={"energy": short})
    (found,) = finite_size(points)
    assert found.intercept.doubt == short.doubt
    assert found.reference is not None
    assert found.reference.doubt == ""


def test_few_seeds_are_pooled() -> None:
    """Two seeds at each size: one that happens to have almost no spread does not decide alone."""
    spreads = {8: 1e-6, 12: 0.03, 16: 0.03}
    points = [ring(n, s, -n + (-1) ** s * spread) for n, spread in spreads.items() for s in (0, 1)]
    (found,) = finite_size(averaged(points))
    pooled = math.sqrt(sum(2 * (spread / n) ** 2 for n, spread in spreads.items()) / 3)
    x, errors = np.array(found.x), pooled / math.sqrt(2)
    plain = math.sqrt(np.linalg.inv([[3, x.sum()], [x.sum(), (x**2).sum()]])[0, 0]) * errors
    assert found.intercept.value == pytest.approx(-1.0)
    assert found.line.intercept_sigma == pytest.approx(plain * math.sqrt(3 / 4) * t.ppf(NormalDist().cdf(1), 4))
