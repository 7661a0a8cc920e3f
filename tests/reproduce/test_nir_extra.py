"""Extra figures of the NIR paper: collapse and spikes of courses, costs of samplers, pulls between energies."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from types import SimpleNamespace
from typing import Any

import pytest
from matplotlib.figure import Figure

from reproduce.nir import divergences, error_per_second
from reproduce.nir.divergences import BACKWARD, FORWARD, Course
from reproduce.nir.error_per_second import DIRECT, EXHAUSTIVE, METROPOLIS, NIR, Mean, Rate


def course(
    method: str, seen: tuple[float, ...], minority: float, seed: int = 0, overlap: float | None = None
) -> Course:
    """By default a proposal that covers what its share of the rarer sign lets it."""
    overlap = 0.5 + min(minority, 0.5 - 1e-3) if overlap is None else overlap
    return Course(method, seed, seen, (0.0, 9.0), (0.9, overlap), (0.9, 1e-20), (0.5, minority), 0.5)


STEADY, SPIKED = (0.9,) * 30, (0.9,) * 12 + (0.01,) + (0.9,) * 17


def test_spikes_are_steps_far_below_their_neighbours() -> None:
    """Not a slow fall, nor the steps after it; the first and the last step have neighbours on one side."""
    assert course(BACKWARD, SPIKED, 0.5).spikes == [12]
    assert course(BACKWARD, STEADY, 0.5).spikes == []
    assert course(BACKWARD, tuple(0.9 * 0.97**k for k in range(40)), 0.5).spikes == []
    assert course(BACKWARD, (0.1, *STEADY, 0.1), 0.5).spikes == [0, 31]
    assert course(BACKWARD, (0.9,), 0.5).spikes == []


def test_claims_on_both_divergences() -> None:
    found = [course(FORWARD, STEADY, 0.48), course(BACKWARD, SPIKED, 1e-12), course(BACKWARD, STEADY, 0.5, seed=1)]
    assert [claim.seen for claim in divergences.claims(found)] == ["in 1 of 2", "in 1 of 2", "yes"]
    worse = [course(FORWARD, SPIKED, 0.48), *found]
    assert divergences.claims(worse)[2].seen == "in 1 of 2"
    forward, backward, warning = divergences.verdict(found)
    assert "0 of 1 proposals leave out much" in forward
    assert "1 of 2 proposals leave out much" in backward
    assert "0 to 1 spikes" in backward
    assert "it is 0.9 where 50 % of |Ψ|² are missing" in warning
    assert len(divergences.verdict(found[:1])) == 1


def test_a_proposal_on_both_signs_may_still_have_collapsed() -> None:
    """What counts is how much of |Ψ|² it leaves out."""
    found = [course(BACKWARD, STEADY, 0.5, overlap=0.017), course(BACKWARD, STEADY, 0.49, seed=1)]
    assert [one.collapsed for one in found] == [True, False]
    assert divergences.claims(found)[0].seen == "in 1 of 2"
    assert "98.3%, 1.0%" in divergences.claims(found)[0].evidence
    assert "98 % of |Ψ|² are missing" in divergences.verdict(found)[-1]


def test_courses_are_kept_for_rendering_anew() -> None:
    found = [course(FORWARD, STEADY, 0.48), course(BACKWARD, SPIKED, 1e-12)]
    kept = json.loads(json.dumps({"courses": [asdict(one) for one in found]}))
    table: Any = SimpleNamespace(kept=kept, finished=[])
    assert divergences.courses(table) == found
    rendering = divergences.render(table)
    assert [line[:2] for line in rendering.body] == [["forward divergence", "0"], ["backward divergence", "0"]]
    rendering.draw(Figure())  # type: ignore[misc]


def rate(sampler: str, sigma: float | None, unit: float = 0.1, seed: int = 0, **more: Any) -> Rate:
    return Rate(
        **{"sites": 6, "energy": -10.0, "units": 10, "start": 2.0, **more},
        sampler=sampler,
        seed=seed,
        sigma=sigma,
        unit=unit,
    )


def test_seconds_of_units_and_of_the_start() -> None:
    assert error_per_second.split([5.0, 6.0, 7.0, 9.0]) == (1.0, 4.0)
    assert error_per_second.split([0.5, 1.5]) == (1.0, 0.0)
    assert error_per_second.split([3.0]) == (3.0, 0.0)


def test_costs_do_not_depend_on_how_long_a_run_is() -> None:
    one, longer = rate(NIR, 0.2), rate(NIR, 0.1, units=40)
    assert one.cost == pytest.approx(longer.cost)
    assert one.whole == pytest.approx(0.04 * 3.0)
    assert rate(EXHAUSTIVE, 0.0).cost is None
    assert rate(NIR, None).cost is None


def test_means_over_seeds() -> None:
    mean = Mean.of([1.0, 4.0])
    assert mean is not None
    assert mean.value == pytest.approx(2.0)
    assert mean.relative == pytest.approx(math.log(2.0))
    assert str(Mean.of([0.5])) == "0.5"
    assert Mean.of([]) is None


def test_ratios_are_taken_state_by_state() -> None:
    found = [rate(DIRECT, 0.1, seed=k, unit=0.1 * 10**k) for k in range(2)]
    found += [rate(NIR, 0.2, seed=k, unit=0.1 * 10**k) for k in range(2)]
    ratio = error_per_second.over(found, 6, NIR)
    assert ratio is not None
    assert (ratio.value, ratio.relative) == pytest.approx((4.0, 0.0), abs=1e-12)
    assert error_per_second.over([*found, rate(NIR, None, seed=0)], 6, NIR) is None
    assert error_per_second.over(found[2:], 6, NIR) is None


@pytest.mark.parametrize(("energy", "seen"), [(-10.25, "yes"), (-10.5, "undecided"), (-10.75, "no")])
def test_energies_of_one_state_agree(energy: float, seen: str) -> None:
    """With the exact one where it is known, else with that of direct draws."""
    exact = [rate(EXHAUSTIVE, 0.0), rate(DIRECT, 0.1), rate(METROPOLIS, 0.1), rate(NIR, 0.2, energy=energy)]
    assert error_per_second.pulls(exact)[NIR] == pytest.approx([(energy + 10.0) / 0.2])
    unbiased, cheaper = error_per_second.claims(exact)
    assert (unbiased.seen, cheaper.seen) == (seen, "undecided")  # of one seed
    larger = [replace(one, sites=36) for one in exact[1:]]
    assert error_per_second.pulls(larger) == {
        METROPOLIS: [0.0],
        NIR: pytest.approx([(energy + 10.0) / math.hypot(0.2, 0.1)]),
    }


def test_one_of_many_energies_may_be_three_errors_off() -> None:
    """A bias of all of them may not, though none is as far off."""
    twelve = [replace(rate(NIR, 0.2), seed=k) for k in range(12)]
    exact = [replace(rate(EXHAUSTIVE, 0.0), seed=k) for k in range(12)]
    alternating = [replace(one, energy=one.energy + (-1) ** k * 0.2) for k, one in enumerate(twelve)]
    alternating[0] = replace(alternating[0], energy=-10.0 + 3.1 * 0.2)
    assert error_per_second.claims([*exact, *alternating])[0].seen == "yes"
    biased = [replace(one, energy=-10.0 + 2.0 * 0.2) for one in twelve]
    claim = error_per_second.claims([*exact, *biased])[0]
    assert claim.seen == "no"
    assert "χ² = 48.0 of 12" in claim.evidence
    assert "NIR 2.0 of 12" in claim.evidence


@pytest.mark.parametrize(
    ("ratios", "seen"),
    [
        ((0.3, 0.35, 0.4), "yes"),
        ((0.35, 0.5, 0.85), "undecided"),  # 0.53 +- 26 %: two normal errors below one, not two of Student's
        ((4.0, 4.4, 5.0), "no"),
        ((0.5,), "undecided"),
    ],
)
def test_few_seeds_decide_by_students_t(ratios: tuple[float, ...], seen: str) -> None:
    mean = Mean.of(ratios)
    assert mean is not None
    assert mean.below_one == seen


def test_verdict_in_one_sentence_a_sampler() -> None:
    found = [rate(s, sigma, sites=n) for s, sigma in ((DIRECT, 0.1), (NIR, 0.2)) for n in (6, 16, 36)]
    (said,) = error_per_second.verdict(found)
    assert said.startswith(
        "NIR: 4, 4 and 4 times the seconds of direct draws for the same error of the energy on 6, 16 "
    )
    assert error_per_second.verdict([rate(EXHAUSTIVE, 0.0, units=1)])[0].endswith("takes 0.1 s on 6 sites.")


def test_rates_are_kept_for_rendering_anew() -> None:
    found = [rate(s, 0.1, seed=k) for s in (DIRECT, METROPOLIS) for k in range(2)]
    found += [rate(NIR, 0.05, worth=0.8), rate(NIR, None, seed=1), rate(EXHAUSTIVE, 0.0, units=1, start=0.0)]
    kept = json.loads(json.dumps({"rates": [asdict(one) for one in found]}))
    table: Any = SimpleNamespace(kept=kept, finished=[])
    assert error_per_second.rates(table) == found
    rendering = error_per_second.render(table)
    lines = {line[1]: line for line in rendering.body}
    assert lines["NIR"][3] == "–"  # an error is unknown
    assert any("NIR on 6 sites, seed 1" in note for note in rendering.notes)
    assert lines["exhaustive"][6] == "0.1"
    rendering.draw(Figure())  # type: ignore[misc]


def test_states_are_enumerated_where_that_is_possible() -> None:
    cells = error_per_second.cells()
    assert {cell.row for cell in cells if cell.method == EXHAUSTIVE} == {"3x2", "4x4"}
    assert all(cell.exclusive for cell in cells)
    assert {cell.row for cell in cells if not cell.scales} == {"3x2", "4x4"}
