"""What is said about ensembles of hybrid Monte Carlo: masses, condition numbers, independence, agreement."""

from __future__ import annotations

import ast
import functools
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import numpy as np
import pytest
from matplotlib.figure import Figure

from pipeline.base.numbers.result import Curve, Estimate, Result
from pipeline.base.store.entry import Entry
from reproduce.artefact import FOLDER, Claim, load_artefact
from reproduce.plan import Found, Task, make_tasks
from reproduce.pseudofermion import claims, hmc, shared
from reproduce.published import published
from reproduce.recorded import read_report
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

    def ensemble(self) -> dict[str, Any]:
        return {}


@dataclass(frozen=True)
class WithCurves(Made):
    """An entry with curves."""

    curves: tuple[Curve, ...] = ()
    kept: dict[str, Any] = field(default_factory=dict)

    def ensemble(self) -> dict[str, Any]:
        return self.kept

    def result(self) -> Result:
        return Result(self.estimates, self.curves)


@functools.cache
def tasks() -> tuple[Task, ...]:
    """Composed once for all tests."""
    return tuple(make_tasks(load_artefact("pseudofermion-hmc"), "smoke", ()))


def table_of(numbers: Mapping[str, Numbers], taus: Mapping[str, float] | None = None) -> Table:
    """A table whose runs found ``numbers`` (value, sigma) by cell; the others failed."""
    taus = taus or {}
    finished = []
    for task in tasks():
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
        return [claim.seen for claim in claims.masses(table_of(numbers))]

    assert seen(0.353, 0.716) == ["yes", "yes"]
    assert seen(0.37, 0.70) == ["no", "no"]
    assert [claim.seen for claim in claims.masses(table_of({}))] == ["not run", "not run"]


def test_condition_numbers_of_other_ensembles_are_not_compared() -> None:
    """Medians stand beside means of heavy tails; what the paper prints is of flows."""
    found = {
        name + end: (value, 1.0)
        for name, values in (
            ("condition_number", (630.0, 396.0, 9e4)),
            ("condition_number_even_odd", (99.0, 65.0, 2e3)),
        )
        for end, value in zip(("", "_median", "_max"), values, strict=True)
    }
    table = table_of({"schwinger-L8/hmc": found})
    average, largest, monomials = claims.condition_numbers(shared.runs(table))
    assert (average.seen, largest.seen, monomials.seen) == ("not-comparable", "not-comparable", "not run")
    assert "∼960" in average.text
    assert "∼195" in average.text
    assert "pseudofermions, no preconditioning: median 396(1), mean 630(1)" in average.evidence
    assert "O(10^5)" in largest.text
    assert "O(10)" in monomials.text
    assert "less than 100" in monomials.text
    for name, value in (("condition_number", 960.0), ("condition_number_even_odd", 195.0)):
        row = table.row("schwinger-L8", "hmc", name)
        assert row is not None
        assert (row.published, row.vs_paper) == (value, "not-comparable")
        median = table.row("schwinger-L8", "hmc", f"{name}_median")
        assert median is not None
        assert (median.ours, median.published) == (found[f"{name}_median"][0], None)
    assert claims.condition_numbers([])[0].seen == "not run"


def test_the_fit_range_is_a_systematic_error_of_the_mass() -> None:
    """Of the committed ensembles of the paper's two theories, from their correlators alone."""
    report = read_report(FOLDER.parent / "results" / "pseudofermion" / "hmc" / "laptop")
    found = {}
    for row in claims.THEORIES:
        done = report.finished(next(task for task in tasks() if task.cell.id == f"{row}/hmc"))
        assert done is not None
        mass = shared.mass(done)
        fitted = shared.estimate(done, "pseudoscalar_mass")
        assert mass is not None
        assert fitted is not None
        assert mass.fits["one state, t >= 6"] == pytest.approx(fitted.value, abs=1e-6)
        assert mass.sigma == fitted.sigma
        assert min(mass.fits.values()) <= mass.value <= max(mass.fits.values())
        found[row] = str(mass)
    assert found == {"schwinger-L16": "0.350(1)(1)", "su3-L16": "0.71567(54)(5)"}


def test_both_errors_are_shown_by_their_digits() -> None:
    assert shared.with_errors(0.35039, 0.00085, 0.00063) == "0.350(1)(1)"
    assert shared.with_errors(0.453, 0.0052, 0.0073) == "0.453(5)(7)"
    assert shared.with_errors(0.71567, 0.00054, 0.00005) == "0.71567(54)(5)"
    assert shared.with_errors(0.7, 0.02, 0.0) == "0.70(2)(0)"
    assert shared.with_errors(0.7, 0.0, 0.0) == "0.7"


def test_every_number_of_section_four_is_printed_once_and_none_is_in_the_code() -> None:
    """Masses, condition numbers, effective sample sizes, acceptance rates; each with where it stands."""
    numbers = published("pseudofermion")
    named = {(n.cell, n.method, n.quantity): n.value for n in numbers}
    assert len(named) == len(numbers)
    assert all("Section IV" in n.location or "Fig" in n.location for n in numbers)
    values = {quantity: {c: v for (c, m, q), v in named.items() if (m, q) == quantity} for quantity in (
        ("hmc", "pseudoscalar_mass"), ("flow", "joint_ess"), ("flow", "marginal_ess"), ("flow", "acceptance")
    )}  # fmt: skip
    assert list(values.values()) == [
        {"schwinger-L16": 0.35, "su3-L16": 0.72}, {"schwinger-L16": 0.05, "su3-L16": 0.03},
        {"schwinger-L16": 0.35}, {"schwinger-L16": 0.18, "su3-L16": 0.08},
    ]  # fmt: skip
    counts = {(c, m, q): v for (c, m, q), v in named.items() if q.endswith("configurations") and m != "hmc"}
    assert counts == {
        ("schwinger-L16", "flow", "configurations"): 52e3, ("schwinger-L16", "all", "independent_configurations"): 1e4,
        ("su3-L16", "flow", "configurations"): 41e3, ("su3-L16", "all", "independent_configurations"): 500,
    }  # fmt: skip
    typed = set()
    for path in (FOLDER / "pseudofermion").glob("*.py"):
        constants = (n for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Constant))
        typed |= {c.value for c in constants if isinstance(c.value, int | float)}
    assert not typed & {0.35, 0.72, 960, 195, 1e5, 100, 0.18, 0.08, 0.05, 0.03}


def test_the_verdict_speaks_of_masses_and_of_what_cannot_be_compared() -> None:
    said = " ".join(hmc.render(table_of({"u1-pure-L8/hmc": {}})).verdict)
    assert "neither confirms nor contradicts" in said
    assert "Of our own checks, not run: the exact mean plaquettes of the pure gauge theories, ⟨e^−ΔH⟩ = 1, and" in said
    weights = {"u1-pure-L8/hmc": {"exp_minus_delta_h": (1.0, 0.01)}, "su3-L8/hmc": {"exp_minus_delta_h": (1.5, 0.01)}}
    assert "Our own checks do NOT confirm ⟨e^−ΔH⟩ = 1." in hmc.render(table_of(weights)).verdict
    del weights["su3-L8/hmc"]
    assert "Our own checks confirm ⟨e^−ΔH⟩ = 1." in hmc.render(table_of(weights)).verdict


def test_independence_needs_two_autocorrelation_times_within_the_thinning() -> None:
    def claim(plaquette: float, charge: float) -> Claim:
        numbers = {"schwinger-L16/hmc": {"topological_charge": (0.0, 0.1)}, "su3-L16/hmc": {}}
        taus = {"plaquette": plaquette, "topological_charge": charge}
        return claims.independence(shared.runs(table_of(numbers, taus)))

    fine, frozen = claim(4.0, 5.0), claim(4.0, 50.0)
    assert fine.text == "HMC configurations thinned by a factor of 10 to yield independent samples"
    assert (fine.seen, frozen.seen) == ("yes", "in 2 of 3")
    assert "the topology is not frozen, τ_int(Q) = 5.0" in fine.evidence
    assert "the topology is all but frozen, τ_int(Q) = 50.0" in frozen.evidence


def test_agreement_with_references_and_between_samplers() -> None:
    def pulls(exact: float) -> tuple[str, str]:
        numbers = {
            "schwinger-L8/hmc": {"plaquette": (0.735, 0.001), "exp_minus_delta_h": (1.0, 0.01)},
            "schwinger-L8/hmc-exact": {"plaquette": (exact, 0.001), "exp_minus_delta_h": (1.02, 0.01)},
            "schwinger-L8/reference": {"plaquette": (0.736, 0.001)},
        }
        weight, agreement = claims.checks(table_of(numbers))
        assert weight.seen == "yes"
        return agreement.seen, agreement.evidence

    seen, evidence = pulls(0.736)
    assert seen == "yes"
    assert "Schwinger model, L = 8, pseudofermions: plaquette -0.7 σ" in evidence
    # Against the reference and against the other sampler.
    assert pulls(0.742)[0] == "in 5 of 7"


def test_pure_gauge_plaquettes_have_to_be_exact_and_precise() -> None:
    def seen(value: float, sigma: float) -> str:
        numbers = {f"{g}-pure-L8/hmc": {"plaquette": (value, sigma)} for g in ("u1", "su3")}
        references = {f"{g}-pure-L8/reference": {"plaquette": (0.5, 0.0)} for g in ("u1", "su3")}
        return claims.pure_gauge(table_of(numbers | references)).seen

    assert seen(0.5003, 1.5e-4) == "yes"
    assert seen(0.5006, 1.5e-4) == "no"
    assert seen(0.5003, 3e-4) == "no"
    assert claims.pure_gauge(table_of({})).seen == "not run"


def test_a_frozen_charge_agrees_with_nothing() -> None:
    """Its error is zero, as that of an exact value is."""
    numbers = {
        "u1-pure-L8/hmc": {"plaquette": (0.5, 0.1), "topological_susceptibility": (0.0, 0.0)},
        "u1-pure-L8/reference": {"plaquette": (0.5, 0.0), "topological_susceptibility": (0.019, 0.0)},
    }
    agreement = claims.checks(table_of(numbers))[1]
    assert agreement.seen == "in 1 of 2"
    assert "susceptibility -inf σ" in agreement.evidence


def test_nothing_is_judged_by_an_error_that_is_unknown() -> None:
    numbers = {
        "su3-L8/hmc": {"exp_minus_delta_h": (1.3, math.nan)},
        "u1-pure-L8/hmc": {"exp_minus_delta_h": (1.0, 0.1)},
    }
    weight = claims.checks(table_of(numbers))[0]
    assert weight.seen == "yes"
    assert "SU(3), N_f = 2, L = 8, pseudofermions undecided (its error is unknown)" in weight.evidence
    del numbers["u1-pure-L8/hmc"]
    assert claims.checks(table_of(numbers))[0].seen == "undecided"


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


def test_charge_of_one_chain_and_of_all_as_a_histogram() -> None:
    """The chain is the first one; fractions are of all configurations, errors of the scatter of chains."""
    history = [Curve.of(f"topological_charge_{k}", "trajectory", "Q", [0.0, 1.0], [k, k + 1.0]) for k in range(3)]
    charge = np.array([[0, 1, 0, -1], [0, 0, 2, 0]])
    table = table_of({})
    done = next(done for done in table.finished if done.task.cell.id == "schwinger-L16/hmc")
    entry = cast(Entry, WithCurves((), curves=tuple(history), kept={"topological_charge": charge}))
    finished = Finished(done.task, Found(None, None, entry, None, ()), None)
    table.finished = [finished]
    axes = Figure().subplots()
    hmc._draw_history([finished], axes)
    assert [np.asarray(line.get_ydata()).tolist() for line in axes.lines] == [[0.0, 1.0]]
    charges = hmc.charges_of(table)
    assert charges is not None
    assert (charges.charges, charges.configurations) == ((-1.0, 0.0, 1.0, 2.0), 8)
    assert charges.fractions == pytest.approx((1 / 8, 5 / 8, 1 / 8, 1 / 8))
    assert charges.errors == pytest.approx((1 / 8, 1 / 8, 1 / 8, 1 / 8))
    table.kept = json.loads(json.dumps({"charges": asdict(charges)}))
    assert hmc.charges_of(table) == charges
    table.kept, table.finished = {"charges": None}, []
    assert hmc.charges_of(table) is None
