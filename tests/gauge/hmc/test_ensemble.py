"""Summaries of records whose statistics are known."""

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.base.contracts import Record
from pipeline.gauge.hmc import ensemble


def records_of(trajectories: int = 1, **series: NDArray[Any]) -> list[Record]:
    """Records of so many trajectories from series of shape (chains, trajectories or measurements, ...)."""
    chains, n = next(iter(series.values())).shape[:2]
    n //= trajectories if set(series) & set(ensemble.ALONG) else 1
    constant = {
        "plaquette": np.random.default_rng(0).normal(0.7, 0.1, (chains, n * trajectories)),
        "accepted": np.random.default_rng(1).uniform(size=(chains, n * trajectories)) < 0.9,
        "exp_minus_delta_h": np.ones((chains, n * trajectories)),
        "broken": np.zeros((chains, n * trajectories), dtype=bool),
    }

    def part(name: str, x: NDArray[Any], k: int) -> NDArray[Any]:
        return x[:, k * trajectories : (k + 1) * trajectories] if name in ensemble.ALONG else x[:, k]

    return [{name: part(name, x, k) for name, x in (constant | series).items()} | {"volume": 16} for k in range(n)]


def noisy_correlators(chains: int, n: int, noise: float, extent: int = 16) -> NDArray[np.float64]:
    """One state of mass 0.4, with noise common to neighbouring times, as in an ensemble."""
    times = np.arange(extent)
    generator = np.random.default_rng(1)
    masses = 0.4 + noise * generator.normal(size=(chains, n, 1))
    return np.asarray(np.cosh(masses * (times - extent / 2)) * (1 + noise * generator.normal(size=(chains, n, 1))))


@pytest.mark.parametrize(("chains", "n"), [(30, 10), (1, 200), (7, 40)])
def test_the_mass_comes_back_with_an_error_that_holds(chains: int, n: int) -> None:
    result = ensemble.summarise(records_of(correlator=noisy_correlators(chains, n, 0.02)))
    mass = result.estimate("pseudoscalar_mass")
    assert mass.sigma is not None
    assert mass.sigma == pytest.approx(0.02 / math.sqrt(chains * n), rel=0.5)
    assert abs(mass.value - 0.4) < 4 * mass.sigma + 1e-3
    assert any(
        note.startswith("pseudoscalar_mass: the fit of one state, t >= 6; others give 0.") for note in result.notes
    )
    curves = {curve.name: curve for curve in result.curves}
    assert curves["correlator"].x == tuple(range(9))
    assert curves["effective_mass"].x == tuple(range(1, 9))
    np.testing.assert_allclose(curves["effective_mass"].y, 0.4, atol=0.02)
    assert all(0 < s < 0.02 for s in curves["effective_mass"].sigma)


@pytest.mark.parametrize(("extent", "noise"), [(2, 0.02), (3, 0.02), (8, 0.0)])
@pytest.mark.filterwarnings("error")
def test_there_is_no_mass_without_times_or_errors(extent: int, noise: float) -> None:
    result = ensemble.summarise(records_of(correlator=noisy_correlators(32, 4, noise, extent)))
    assert "pseudoscalar_mass" not in [e.name for e in result.estimates]
    assert ensemble.NO_MASS in result.notes
    assert ensemble.NO_MASS not in ensemble.summarise(records_of(correlator=noisy_correlators(32, 4, 0.02, 4))).notes


def test_susceptibility_and_charge() -> None:
    charge = np.random.default_rng(2).integers(-2, 3, size=(8, 300))
    result = ensemble.summarise(records_of(5, topological_charge=charge))
    susceptibility = result.estimate("topological_susceptibility")
    assert susceptibility.value == pytest.approx((charge**2).mean() / 16)
    assert susceptibility.tau == pytest.approx(0.5, abs=0.15)
    assert result.estimate("topological_charge").value == pytest.approx(charge.mean())
    history = next(curve for curve in result.curves if curve.name == "topological_charge_3")
    assert history.y == tuple(charge[3])
    assert history.x[:3] == (1, 2, 3)
    acceptance = result.estimate("acceptance")
    assert acceptance.sigma is not None
    assert abs(acceptance.value - 0.9) < 4 * acceptance.sigma


def test_long_histories_are_thinned() -> None:
    charge = np.zeros((2, 1701), dtype=int)
    charge[1] = np.arange(1701)
    result = ensemble.summarise(records_of(topological_charge=charge))
    curves = {curve.name: curve for curve in result.curves}
    assert curves["topological_charge_1"].x == tuple(range(1, 1702, 4))
    assert curves["topological_charge_1"].y == tuple(range(0, 1701, 4))
    assert len(curves["plaquette"].x) == len(curves["plaquette"].y) == len(curves["plaquette"].sigma) == 426


def test_condition_numbers_have_means_medians_and_maxima() -> None:
    values = np.exp(np.random.default_rng(3).normal(5.0, 1.0, size=(25, 200)))
    result = ensemble.summarise(records_of(condition_number=values, condition_number_monomial_0=values + 1.0))
    for end in ("", "_median", "_max"):
        shifted, plain = (result.estimate(f"condition_number{kind}{end}").value for kind in ("_monomial_0", ""))
        assert shifted == pytest.approx(plain + 1.0)
    median, mean = result.estimate("condition_number_median"), result.estimate("condition_number")
    assert median.sigma is not None
    assert abs(median.value - math.exp(5.0)) < 4 * median.sigma
    # Standard error of a median: sqrt(π/2) σ/sqrt(n) of the logarithm.
    assert median.sigma == pytest.approx(math.exp(5.0) * math.sqrt(math.pi / 2 / values.size), rel=0.5)
    assert mean.value == pytest.approx(math.exp(5.5), rel=0.1)
    assert result.estimate("condition_number_max").value == values.max()


def test_what_is_kept() -> None:
    charge, correlator = np.arange(60).reshape(3, 20), np.ones((3, 4, 8))
    records = records_of(5, topological_charge=charge, correlator=correlator)
    # That of the last of five trajectories, which the correlator belongs to.
    found = np.stack([ensemble.kept(record)["topological_charge"] for record in records], axis=1)
    np.testing.assert_array_equal(found, charge[:, 4::5])
    assert {name: x.shape for name, x in ensemble.kept(records[0]).items()} == {
        "plaquette": (3,),
        "topological_charge": (3,),
        "correlator": (3, 8),
    }
