"""What is said about ensembles of hybrid Monte Carlo: masses, condition numbers, independence, agreement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from pipeline.base.numbers.result import Estimate, Result
from pipeline.base.store.entry import Entry
from reproduce.artefact import load_artefact
from reproduce.plan import Found, make_tasks
from reproduce.pseudofermion import hmc
from reproduce.tables import Finished, Table

Numbers = Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Made:
    """As much of an entry as tables look at."""

    estimates: tuple[Estimate, ...]
    name: str = "baseline/0"
    seconds: float = 1.0
    device: str = "cpu"
    memory: str = "1 MB of memory"
    status: dict[str, Any] = field(default_factory=lambda: {"device": "cpu", "kind": "made up"})

    def result(self) -> Result:
        return Result(self.estimates)


def table_of(numbers: Mapping[str, Numbers], taus: Mapping[str, float] | None = None) -> Table:
    """A table whose runs found ``numbers`` (value, sigma) by cell; the others failed."""
    taus = taus or {}
    finished = []
    for task in make_tasks(load_artefact("pseudofermion-hmc"), "smoke", ()):
        known = {c.estimate: (0.5, 0.1) for c in task.cell.columns} | dict(numbers.get(task.cell.id, {}))
        estimates = tuple(Estimate(name, v, s, tau=taus.get(name)) for name, (v, s) in known.items())
        entry = cast(Entry, Made(estimates)) if task.cell.id in numbers else None
        finished.append(Finished(task, Found(None, None, entry, None, ()), None if entry else "not done"))
    return Table(hmc.ARTEFACT, "smoke", finished)


def test_masses_are_judged_by_the_printed_digits() -> None:
    def seen(schwinger: float, su3: float) -> list[str]:
        numbers = {
            "schwinger-L16/hmc": {"pseudoscalar_mass": (schwinger, 0.002)},
            "su3-L16/hmc": {"pseudoscalar_mass": (su3, 0.002)},
        }
        return [claim.seen for claim in hmc.masses(table_of(numbers))]

    assert seen(0.353, 0.716) == ["yes", "yes"]
    assert seen(0.37, 0.70) == ["no", "no"]
    assert [claim.seen for claim in hmc.masses(table_of({}))] == ["not run", "not run"]


def test_condition_numbers() -> None:
    def seen(none: float, even_odd: float) -> str:
        found = {
            name + end: (value, 1.0)
            for name, value in (("condition_number", none), ("condition_number_even_odd", even_odd))
            for end in ("", "_median", "_max")
        }
        (claim,) = hmc.condition_numbers(hmc.runs(table_of({"schwinger-L8/hmc": found})))
        return claim.seen

    assert seen(1000.0, 190.0) == "yes"
    assert seen(1000.0, 300.0) == "in 1 of 2"
    assert seen(100.0, 20.0) == "no"
    assert hmc.condition_numbers([])[0].seen == "not run"


def test_independence_needs_two_autocorrelation_times_within_the_thinning() -> None:
    def seen(plaquette: float, charge: float) -> str:
        numbers = {"schwinger-L16/hmc": {"topological_charge": (0.0, 0.1)}, "su3-L16/hmc": {}}
        taus = {"plaquette": plaquette, "topological_charge": charge}
        return hmc.independence(hmc.runs(table_of(numbers, taus))).seen

    assert seen(4.0, 5.0) == "yes"
    assert seen(4.0, 50.0) == "in 2 of 3"


def test_agreement_with_references_and_between_samplers() -> None:
    def pulls(exact: float) -> tuple[str, str]:
        numbers = {
            "schwinger-L8/hmc": {"plaquette": (0.735, 0.001), "exp_minus_delta_h": (1.0, 0.01)},
            "schwinger-L8/hmc-exact": {"plaquette": (exact, 0.001), "exp_minus_delta_h": (1.02, 0.01)},
            "schwinger-L8/reference": {"plaquette": (0.736, 0.001)},
        }
        weight, agreement = hmc.checks(table_of(numbers))
        assert weight.seen == "yes"
        return agreement.seen, agreement.evidence

    seen, evidence = pulls(0.736)
    assert seen == "yes"
    assert "schwinger-L8/hmc#0 plaquette -0.7 σ" in evidence
    # Against the reference and against the other sampler.
    assert pulls(0.742)[0] == "in 5 of 7"


def test_pure_gauge_plaquettes_have_to_be_exact_and_precise() -> None:
    def seen(value: float, sigma: float) -> str:
        numbers = {f"{g}-pure-L8/hmc": {"plaquette": (value, sigma)} for g in ("u1", "su3")}
        references = {f"{g}-pure-L8/reference": {"plaquette": (0.5, 0.0)} for g in ("u1", "su3")}
        return hmc.pure_gauge(table_of(numbers | references)).seen

    assert seen(0.5003, 1.5e-4) == "yes"
    assert seen(0.5006, 1.5e-4) == "no"
    assert seen(0.5003, 3e-4) == "no"
    assert hmc.pure_gauge(table_of({})).seen == "not run"


def test_a_frozen_charge_agrees_with_nothing() -> None:
    """Its error is zero, as that of an exact value is."""
    numbers = {
        "u1-pure-L8/hmc": {"plaquette": (0.5, 0.1), "topological_susceptibility": (0.0, 0.0)},
        "u1-pure-L8/reference": {"plaquette": (0.5, 0.0), "topological_susceptibility": (0.019, 0.0)},
    }
    agreement = hmc.checks(table_of(numbers))[1]
    assert agreement.seen == "in 1 of 2"
    assert "susceptibility -inf σ" in agreement.evidence


def test_table_has_a_line_for_each_ensemble_and_reference() -> None:
    cells = ("schwinger-L16/hmc", "schwinger-L8/hmc", "schwinger-L8/reference")
    rendering = hmc.render(table_of({cell: {"acceptance": (0.87, 0.01)} for cell in cells}))
    lines = [(line[0], line[1]) for line in rendering.body]
    assert ("Schwinger model, L = 16", "hmc") in lines
    assert ("Schwinger model, L = 8", "made up") in lines
    line = next(line for line in rendering.body if line[0] == "Schwinger model, L = 16")
    assert line[3] == "0.87"
    assert "~0.35" in line
    assert all(len(line) == len(rendering.header) for line in rendering.body)
