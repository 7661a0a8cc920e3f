"""What configurations cost: prices from runs, and what is said of them."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest

from pipeline.base.numbers.result import Estimate, Result
from pipeline.base.places import COMMITTED
from pipeline.stages.keys import Keys
from reproduce.plan import make_tasks
from reproduce.pseudofermion.cost import ARTEFACT, Price, price, verdict, worth
from reproduce.tables import Finished


def finished(method: str, estimates: list[Estimate]) -> Finished:
    """As much of a run as prices look at, 60 s of HMC or 100 s of training and 40 s with half a core of inference."""
    hmc = SimpleNamespace(chains=4, warmup=10, measurements=20, trajectories_per_measurement=2)
    made = SimpleNamespace(
        task=SimpleNamespace(
            cell=SimpleNamespace(row="L4", method=method),
            run=SimpleNamespace(
                baseline=SimpleNamespace(hmc=hmc),
                infer=SimpleNamespace(units=2, configurations=100, draws=16),
            ),
        ),
        found=SimpleNamespace(
            trained=SimpleNamespace(seconds=100.0, status={"device": "cpu"}),
            inferred=SimpleNamespace(seconds=40.0, status={"busy": 0.5}),
            reference=SimpleNamespace(seconds=60.0, status={"busy": 1.3}),
        ),
        result=Result(tuple(estimates)),
    )
    return cast("Finished", made)


def test_price_of_hmc_is_that_of_the_slowest_observable() -> None:
    estimates = [
        Estimate("plaquette", 0.7, 0.1, "standard-error", tau=1.5),
        Estimate("topological_charge", 0.0, 0.1, "standard-error", tau=8.0, doubt="short"),
        Estimate("dirac_applications", 500.0),
    ]
    one = price(finished("hmc", estimates))
    assert one is not None
    assert (one.draw, one.draws, one.applications, one.training, one.doubt) == (0.3, 16.0, 8000.0, 0.0, "short")
    assert one.seconds == pytest.approx(4.8)
    assert one.why == "2 τ_int of Q"
    assert price(finished("hmc", estimates[2:])) is None


@pytest.mark.parametrize(("counted", "applications"), [(None, None), (30.0, 30.0 * 16 / 0.2)])
def test_price_of_a_flow_is_that_of_its_weights(counted: float | None, applications: float | None) -> None:
    """Of sixteen draws, each of which takes as many applications as were counted of one."""
    estimates = [Estimate("joint_ess", 0.05), Estimate("ess_all_draws", 0.2)]
    more = [] if counted is None else [Estimate("dirac_applications", counted)]
    one = price(finished("even-odd", estimates + more))
    assert one is not None
    assert (one.draw, one.draws, one.training, one.applications) == (0.1, 5.0, 100.0, applications)
    assert one.sigma is None
    known = [Estimate("ess_all_draws", 0.2, 0.02, "standard-error")]
    with_sigma = price(finished("even-odd", known))
    assert with_sigma is not None
    assert with_sigma.sigma == pytest.approx(0.1 * with_sigma.seconds)
    first = price(finished("even-odd", estimates[:1]))
    assert first is not None
    assert first.draws == 20.0


def test_price_of_reweighting_is_seconds_over_effective_samples() -> None:
    one = price(finished("reference", [Estimate("ess", 0.25, n=1000)]))
    assert one is not None
    assert one.seconds == pytest.approx(60.0 / 250.0)
    assert (one.training, one.sigma) == (0.0, None)
    assert price(finished("reference", [Estimate("plaquette", 0.7)])) is None


def test_reweighting_is_said_to_die_with_the_volume() -> None:
    hmc = Price(0.3, 10.0, "2 τ_int of Q", None, 0.0, "")
    small, large = (Price(draw, draws, "1/ESS", None, 0.0, "") for draw, draws in ((0.1, 2.0), (1.0, 4.0)))
    known = {("L4", "hmc"): hmc, ("L4", "reference"): small, ("L8", "hmc"): hmc, ("L8", "reference"): large}
    said = verdict(known)
    assert "L = 4: 2e+02 ms by reweighting pure gauge fields; HMC takes 15 times that." in said[0]
    assert said[1].endswith("L = 8: 4e+03 ms by reweighting pure gauge fields; HMC takes 0.75 times that.")
    assert said[2] == "The ESS of a configuration of reweighting falls with the volume: 0.5 at L = 4, 0.25 at L = 8."
    other = verdict({**known, ("L4", "reference"): large, ("L8", "reference"): small})
    assert "does not fall with the volume here: 0.25 at L = 4, 0.5 at L = 8." in other[2]


def test_when_a_training_pays() -> None:
    hmc = Price(0.3, 10.0, "2 τ_int of Q", None, 0.0, "")
    cheap, dear = (Price(draw, 10.0, "1/ESS", 0.0, 100.0, "", relative=0.05) for draw in (0.1, 0.4))
    assert worth(cheap, hmc) == "50"
    for doubtful in (replace(cheap, relative=None), replace(cheap, doubt="few"), replace(dear, doubt="few")):
        assert worth(doubtful, hmc) == "undecided"
    assert worth(cheap, replace(hmc, doubt="short")) == "undecided"
    assert worth(replace(cheap, mixed=True), hmc) == "–"
    assert worth(replace(dear, mixed=True), hmc) == "never"
    assert worth(dear, hmc) == "never"
    assert worth(cheap, None) == "–"
    close = Price(0.29, 10.0, "1/ESS", None, 100.0, "", relative=0.02)
    assert worth(close, hmc) == "undecided"
    assert worth(replace(close, relative=0.01), hmc) == "1e+03"
    (open_,) = verdict({("L4", "even-odd"): close, ("L4", "hmc"): hmc})
    assert open_.endswith("; whether its training pays is undecided.")
    said = verdict({("L4", "even-odd"): cheap, ("L4", "hmc"): hmc, ("L8", "even-odd"): dear})
    assert len(said) == 1
    assert "1.00(5)e+03 ms by the flow, even/odd, 3e+03 ms by HMC (2 τ_int of Q); its training pays after 50" in said[0]
    (doubted,) = verdict({("L4", "even-odd"): replace(cheap, doubt="few"), ("L4", "hmc"): replace(hmc, doubt="short")})
    assert "even/odd (few), 3e+03 ms by HMC (2 τ_int of Q) (short); whether" in doubted


def test_cells_of_a_row_differ_by_the_sampler_alone() -> None:
    flows = {"L4": {"even-odd", "hasenbusch"}, "L8": {"hasenbusch-3"}, "L16": set()}
    for row, methods in flows.items():
        cells = [cell for cell in ARTEFACT.cells() if cell.row == row]
        assert {cell.method for cell in cells} == methods | {"hmc", "reference"}
        assert all(cell.overrides[0] == f"system.length={row[1:]}" for cell in cells)
        assert all(cell.exclusive for cell in cells)


def test_the_flow_of_the_largest_lattice_is_one_that_comes_with_the_repository() -> None:
    """It is priced, not trained: what takes minutes is what a reader has to wait for."""
    task = next(t for t in make_tasks(ARTEFACT, "laptop", []) if t.cell.id == "L8/hasenbusch-3")
    assert (COMMITTED / "checkpoints" / f"{Keys(task.run).train}.safetensors").is_file()
