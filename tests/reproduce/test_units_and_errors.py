"""Energies in the unit that a paper prints, thinned curves, a thermal mixture."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pipeline.base.numbers.result import Curve, Estimate, Result
from reproduce.artefact import Artefact, Cell, Column, Rendering, yes_no
from reproduce.curves import MOST_HISTORY, MOST_POINTS, thinned
from reproduce.naqs.table1 import MOST_MIXING, MOST_SHIFT, thermal
from reproduce.plan import Found
from reproduce.tables import Finished, Table, _shown

ENERGY = Estimate("energy", -251.4624, 0.0008, "standard-error", None, "total", "stochastic")


def test_total_energies_become_what_the_paper_prints() -> None:
    """10 x 10 Heisenberg: -251.4624 in Pauli matrices is the printed -0.628656 per site in spins."""
    shown = _shown(ENERGY, "per site", "spin-1/2", 100)
    assert shown is not None
    assert shown.value == pytest.approx(-0.628656, abs=1e-12)
    assert shown.sigma == pytest.approx(2e-6)
    assert shown.unit == "per site, spin-1/2"
    moment = Estimate("absolute_magnetisation", 0.8, 0.1)
    assert _shown(moment, "per site", "spin-1/2", 100) == moment
    assert _shown(ENERGY, "total", "pauli", 100) == ENERGY
    assert _shown(None, "per site", "pauli", 100) is None


def test_a_column_in_another_unit_than_the_printed_number_is_refused() -> None:
    cell = Cell("10x10", "naqs", (), (Column("naqs", "energy", "energy", "per site", "pauli"),))
    artefact = Artefact("naqs", "table2", "", lambda: [cell], lambda table: Rendering((), ()))
    task: Any = SimpleNamespace(cell=cell, cuts=(), seed=0)
    with pytest.raises(ValueError, match="printed per site, spin-1/2, shown as"):
        Table(artefact, "smoke", [Finished(task, Found(None, None, None, None, ()), "not run")])


def test_most_of_a_thermal_mixture() -> None:
    """What two levels at distance x (in units of the temperature) can raise the energy by."""
    x = np.linspace(0.0, 10.0, 100001)
    assert (x / (1 + np.exp(x))).max() == pytest.approx(MOST_MIXING, abs=1e-4)
    difference = x / (1 + np.exp(x / 2)) - x / (1 + np.exp(x))
    assert difference.max() == pytest.approx(MOST_SHIFT, abs=1e-4)
    shift = Estimate("beta_doubling_shift", 0.0288, 0.0144, unit="total")
    result = Result((shift,), (), (), {"beta": 48.0})
    reference: Any = SimpleNamespace(cell=SimpleNamespace(row="G2.5", method="reference"))
    reference.run = SimpleNamespace(system=SimpleNamespace(size=144))
    table: Any = SimpleNamespace(finished=[SimpleNamespace(task=reference, result=result)])
    bound, seen = thermal(table)
    assert "at β = 48/J (Γ = 2.5)" in bound
    assert "0.28/(βN) = 4.0e-05 a site" in bound
    assert "G2.5 0.0002(1)" in seen
    shift, energy = replace(shift, value=0.0576), Estimate("energy", -300.0, 0.00144, unit="total")
    table.finished[0].result = Result((shift, energy), (), (), {"beta": 48.0})
    assert thermal(table)[-1].startswith(
        "At Γ = 2.5 that is 4.0 σ from zero and 40 times the quoted error of the reference, 1.0e-05"
    )
    table.finished[0].result = None
    assert thermal(table) == []


def test_yes_no() -> None:
    cases = {"not run": [], "yes": [True, True], "no": [False], "in 1 of 2": [True, False]}
    assert {text: yes_no(seen) for text, seen in cases.items()} == {text: text for text in cases}


def test_curves_are_thinned_and_constants_shown_by_their_ends() -> None:
    x = [float(k) for k in range(1000)]
    curve = thinned(Curve.of("train/energy", "step", "energy", x, [-value for value in x], unit="total"))
    assert (len(curve.x), curve.x[0], curve.x[-1]) == (MOST_POINTS, 0.0, 999.0)
    assert all(y == -value for value, y in zip(curve.x, curve.y, strict=True))
    history = thinned(Curve.of("charge", "trajectory", "charge", x, x, sigma=x))
    assert len(history.x) == MOST_HISTORY
    assert history.sigma == history.x == history.y
    short = Curve.of("train/energy", "step", "energy", x[:5], x[:5])
    assert thinned(short) == short
    assert thinned(Curve.of("train/lr", "step", "lr", x, [0.1] * len(x))).x == (0.0, 999.0)
    one = Curve.of("train/energy", "step", "energy", [0.0], [1.0])
    assert thinned(one) == one, "a training of one step has a curve"
