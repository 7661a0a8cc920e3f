"""The arena from reports that are made up: who enters, who is best, and what is said of it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.base.errors import UserError
from reproduce import arena, arena_page, which_method
from reproduce.arena import Entry
from reproduce.csv_files import write_csv
from reproduce.site import LINKS
from reproduce.systems import ALL, FAMILIES, INTERMEDIATE, NEAREST, family, named, place
from reproduce.tables import CELL_FIELDS, RUN_FIELDS
from tests.base.test_html import HOSTILE, Tags

RING = {"kind": "chain_tfim", "n_sites": 10, "range": 5, "coupling": 1.0, "field": 1.0}
EXACT = -100.0


def entry(method: str, error: float, sigma: float, seconds: float, **more: Any) -> Entry:
    facts = {"system": named(RING), "family": family(RING), "run_keys": f"{method}{error}{seconds}", **more}
    made = Entry(
        "", "", 10, method, error, sigma, None, None, seconds, 100, 1, "exact", "nf_nqs/table1", "a", "laptop", "", ""
    )
    return replace(made, **facts)


def report(
    results: Path,
    cells: Mapping[str, tuple[float, float]],
    bound: str = "exact",
    scores: Sequence[float] = (),
    doubt: str = "",
    name: str = "table1",
    quantity: str = "energy",
    manifest: Mapping[str, Any] | None = None,
) -> Path:
    """A report of one system, ``cells`` being value and error by method, ``scores`` the V-scores of the seeds."""
    folder = results / "nf_nqs" / name / "laptop"
    folder.mkdir(parents=True)
    exact = {"cell": "a", "method": "reference", "quantity": quantity, "value": EXACT, "bound": bound}
    lines: list[dict[str, Any]] = []
    runs: list[dict[str, Any]] = [exact]
    for method, (value, sigma) in cells.items():
        known = {"artefact": f"nf_nqs/{name}", "cell": "a", "method": method}
        lines.append(
            known
            | {"quantity": quantity, "ours": value, "ours_sigma": sigma, "reference": EXACT, "reference_sigma": 0.0}
            | {"rel_error_ours": (value - EXACT) / abs(EXACT), "reference_kind": "ED", "scale": "laptop"}
            | {"seeds": max(1, len(scores)), "seconds": 30.0, "vs_reference": "above", "run_keys": f"train/{method}"}
        )
        for seed, score in enumerate(scores or [None]):
            own = known | {"seed": seed, "steps": 100 + seed}
            runs.append(own | {"quantity": quantity, "value": value, "doubt": doubt})
            runs.append(own | {"quantity": "v_score", "value": score, "sigma": 1e-3} if score is not None else own)
    write_csv(folder / "cells.csv", CELL_FIELDS, lines)
    write_csv(folder / "runs.csv", RUN_FIELDS, runs)
    made = manifest or {"runs": [{"run": f"a/{m}#0", "system": RING} for m in cells]}
    (folder / "manifest.json").write_text(json.dumps(made))
    return folder


def test_an_entry_holds_error_v_score_seconds_and_budget(tmp_path: Path) -> None:
    report(tmp_path, {"nqs+nf": (-99.0, 0.1)}, scores=[1e-3, 3e-3, 2e-3], doubt="few chains")
    (one,) = arena.collect(tmp_path)
    assert (one.system, one.family, one.sites) == ("ring, N = 10, L = 5, V = 1", ALL, 10)
    assert [one.size, one.error_sigma] == pytest.approx([0.01, 1e-3])
    assert [one.v_score, one.v_score_sigma] == pytest.approx([2e-3, 1e-3 / math.sqrt(3)])
    assert (one.seeds, one.seconds, one.steps, one.parameters) == (3, 10.0, 102, None)
    assert one.doubt == "few chains"


@pytest.mark.parametrize("bound", ["stochastic", "extrapolated", "variational"])
def test_only_exact_references_count(tmp_path: Path, bound: str) -> None:
    report(tmp_path, {"nqs+nf": (-99.0, 0.1)}, bound)
    assert arena.collect(tmp_path) == []


def test_parts_of_methods_failed_runs_and_smoke_do_not_enter(tmp_path: Path) -> None:
    folder = report(tmp_path, {"union-floor": (-99.0, 0.1), "mps": (math.nan, 0.1)})
    assert arena.collect(tmp_path) == []
    folder.rename(folder.with_name("smoke"))
    assert arena.collect(tmp_path) == []


def test_a_run_of_several_reports_enters_once(tmp_path: Path) -> None:
    report(tmp_path, {"nqs+nf": (-99.0, 0.1)})
    report(tmp_path, {"nqs+nf": (-99.0, 0.1)}, name="table2")
    assert len(arena.collect(tmp_path)) == 1


def test_the_sum_of_levels_is_a_system_of_its_own(tmp_path: Path) -> None:
    report(tmp_path, {"nqs+nf": (-99.0, 0.1)}, quantity="trace")
    (one,) = arena.collect(tmp_path)
    assert one.system.endswith("V = 1, sum of three levels")
    assert one.family == f"{ALL}, sum of three levels"


def test_half_a_report_is_left_out_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    folder = report(tmp_path, {"nqs+nf": (-99.0, 0.1)})
    (folder / "manifest.json").write_text("{")
    with pytest.raises(UserError, match=r"nf_nqs/table1/laptop: this report cannot be read"):
        arena.collect(tmp_path)
    (folder / "manifest.json").unlink()
    assert arena.collect(tmp_path) == []


def test_a_report_that_is_older_than_systems_in_manifests_is_left_out(tmp_path: Path) -> None:
    report(tmp_path, {"nqs+nf": (-99.0, 0.1)}, manifest={"runs": [{"run": "a/nqs+nf#0"}]})
    assert arena.collect(tmp_path) == []


def test_best_is_within_noise_and_unbeaten_is_within_time() -> None:
    precise, cheap = entry("annealed-ar", 1e-5, 1e-6, 50.0), entry("dense-ar", 1e-2, 1e-4, 5.0)
    noisy, slow = entry("mps", 2e-5, 1e-5, 60.0), entry("nqs+nf", -1e-3, 1e-6, 100.0)
    lucky = entry("cnn-ar", 1e-9, 1e-10, 1.0, doubt="all samples have the same value")
    there = [precise, cheap, noisy, slow, lucky]
    assert arena.best(there) == [precise, noisy]
    assert arena.unbeaten(there) == [precise, cheap, noisy]
    assert arena.spread(there) == 100.0


def test_an_error_with_one_bad_seed_is_beaten_by_ranks() -> None:
    """By its mean and standard error it would not: 0.07(4), 1.75 errors above nothing."""
    seeds = {"seeds": 3}
    good = entry("rbm", 1.4e-4, 2e-5, 8.0, errors=(1e-4, 1.4e-4, 1.8e-4), **seeds)
    bad = entry("cnn-ar", 7e-2, 4e-2, 8.0, errors=(2e-2, 4e-2, 1.5e-1), **seeds)
    mixed = entry("mcmc", 2e-4, 1e-4, 8.0, errors=(1e-4, 1.5e-4, 4e-4), **seeds)
    assert arena.best([good, bad, mixed]) == [good, mixed]
    assert arena.best([replace(one, errors=()) for one in (good, bad)]) == [
        replace(good, errors=()),
        replace(bad, errors=()),
    ]


@pytest.mark.parametrize(("seconds", "beaten"), [(19.0, True), (21.0, False)])
def test_times_within_a_factor_of_two_count_as_equal(seconds: float, beaten: bool) -> None:
    precise, quick = entry("annealed-ar", 1e-5, 1e-6, seconds), entry("dense-ar", 1e-2, 1e-4, 10.0)
    assert arena.unbeaten([precise, quick]) == ([precise] if beaten else [precise, quick])


def test_without_an_opponent_nobody_wins() -> None:
    alone, doubted = entry("mcmc", 1e-3, 1e-5, 5.0), entry("nir", 1e-2, 1e-5, 5.0, doubt="few")
    for there in ([alone], [doubted], [alone, doubted]):
        assert arena.best(there) == arena.unbeaten(there) == []
    assert which_method.records([[alone, doubted]]) == []


def test_waiting_for_shared_cores_is_no_cost() -> None:
    def stage(seconds: float, **more: Any) -> dict[str, Any]:
        return {"seconds": seconds, "provenance": {"threads": 1}, **more}

    runs: list[dict[str, Any]] = [
        {"run": "a/mps#0", "stages": [stage(10.0, busy=0.5), stage(10.0)]},
        {"run": "a/mps#1", "stages": [stage(20.0, busy=0.25, device="cuda")]},
        {"run": "b/mps#0", "stages": [stage(4.0, busy=1.7)]},
        {"run": "c/mps#0"},
    ]
    assert arena.own_shares(runs) == pytest.approx({"a/mps": 35.0 / 40.0, "b/mps": 1.0})


def test_recorded_shares_of_cores_correct_the_seconds(tmp_path: Path) -> None:
    stages = [{"seconds": 30.0, "busy": 0.5, "provenance": {"threads": 1}}]
    report(tmp_path, {"mps": (-99.0, 0.1)}, manifest={"runs": [{"run": "a/mps#0", "system": RING, "stages": stages}]})
    assert arena.collect(tmp_path)[0].seconds == 15.0


def test_of_several_settings_one_is_shown_whatever_error_and_clock_say() -> None:
    weakest = entry("vit", 1e-9, 0.0, 900.0, setting="c", parameters=10)
    first, second = (replace(weakest, error=1e-2, seconds=s, setting=name) for s, name in ((1.0, "a"), (9.0, "b")))
    larger, longer = replace(first, parameters=20, setting="d"), replace(first, steps=200, parameters=5, setting="e")
    for there in ([weakest, second, first], [first, second, weakest]):
        assert arena.shown(there) == {first.system: [first]}
    assert arena.shown([weakest, larger, first]) == {first.system: [larger]}
    assert arena.shown([larger, longer, first]) == {first.system: [longer]}


def test_records_count_systems_with_rivals_alone() -> None:
    one = [entry("annealed-ar", 1e-5, 1e-6, 50.0, v_score=1e-4), entry("mps", 1e-3, 1e-6, 60.0)]
    alone = [entry("mps", 1e-9, 0.0, 1.0)]
    winner, loser = which_method.records([one, alone])
    assert (winner.method, winner.best, winner.unbeaten, winner.systems) == ("annealed-ar", 1, 1, 1)
    assert winner.v_score == 1e-4
    assert (loser.method, loser.best, loser.unbeaten, loser.worst) == ("mps", 0, 0, 1e-3)
    assert which_method.records([alone]) == []


def test_which_method_says_what_the_numbers_say(tmp_path: Path) -> None:
    collapsed = entry("cnn-ar", 1e-2, 1e-6, 5.0, v_score=1e-9)
    there = [entry("annealed-ar", 1e-5, 1e-6, 50.0), entry("mps", 1e-3, 1e-6, 60.0), collapsed]
    text = which_method.markdown(there, tmp_path)
    assert f"## {ALL} (10 sites, 1 system)" in text
    assert "**Annealed AR** is best on 1 of 1 (median error 1.0e-05 in 50 s)." in text
    assert "Cheapest: CNN AR (5.0 s, median error 1.0e-02)." in text
    assert "1 of 1 system has several methods whose errors are known; the dearest took 12 times the seconds" in text
    assert "Beaten everywhere by something no dearer: MPS." in text
    assert (
        "In 1 of 1 cells with a V-score it lies below 1e-06 while the energy is off by more than 0.001 (CNN AR 1)"
        in text
    )
    alone = which_method.markdown(there[1:2], tmp_path)
    assert "Nothing to compare: no system here has two methods whose errors are known (MPS)." in alone


def test_a_method_whose_rival_is_in_doubt_wins_nothing_there(tmp_path: Path) -> None:
    pair = [entry("mcmc", 1e-3, 1e-6, 50.0), entry("nir", 1e-2, 1e-6, 200.0)]
    other = [replace(pair[0], system="b"), replace(pair[1], system="b", doubt="few")]
    text = which_method.markdown(pair + other, tmp_path)
    assert "1 of 2 systems has several methods" in text
    assert "the dearest took 4 times" in text
    assert "**MCMC** is best on 1 of 1" in text


def test_the_page_shows_every_family_and_escapes_what_it_is_given() -> None:
    there = [entry("annealed-ar", 1e-5, 1e-6, 50.0, v_score=2e-4), entry("mps", 1e-3, 1e-6, 60.0, doubt=HOSTILE)]
    tags = Tags(arena_page.html(there, LINKS, "arena.png", (10, 10)))
    assert tags.count("script") == 0
    assert [attributes["src"] for tag, attributes in tags.found if tag == "img"] == ["arena.png"]
    assert tags.count("h2") == 1
    assert "1.0(1)e-05" in tags.text
    assert "V 2.0e-04 · 50 s" in tags.text
    assert "1.000(1)e-03 ?" in tags.text
    assert "1 of 1 systems with several methods saw about equal ones" in tags.text


def test_an_error_that_scatters_is_not_shown_as_the_smallest() -> None:
    """Bold is one; what is too uncertain to be beaten is in italics, what is beaten plain."""
    there = [entry("annealed-ar", 1e-5, 1e-6, 50.0), entry("mps", 2e-5, 1e-5, 60.0), entry("nqs+nf", 1e-3, 1e-6, 9.0)]
    text = arena_page.html(there, LINKS, "arena.png", (10, 10))
    assert "<b>1.0(1)e-05</b>" in text
    assert "<i>2(1)e-05</i>" in text
    assert "<span>1.000(1)e-03</span>" in text
    assert "<b>1.0(1)e-05</b>" not in arena_page.html(there[:1], LINKS, "arena.png", (10, 10))


def test_systems_have_names_and_families() -> None:
    rings = [RING | {"range": n} for n in (1, 3, 5)]
    assert [family(ring) for ring in rings] == [NEAREST, INTERMEDIATE, ALL]
    square = {"kind": "square_tfim", "length_x": 4, "length_y": 2, "periodic": False, "coupling": 1.0, "field": 0.01}
    assert named(square) == "4 × 2, open, Γ = 0.01"
    heisenberg = {"kind": "square_heisenberg", "length_x": 4, "length_y": 4, "periodic": True, "j1": 1.0, "j2": 0.5}
    assert named(heisenberg) == "4 × 4, periodic, J2 = 0.5"
    assert family(heisenberg) != family(heisenberg | {"j2": 0.0})
    other = {"kind": "chain_xxz", "n_sites": 4, "periodic": True, "jz": 0.5}
    assert (family(other), named(other)) == ("chain xxz", "chain xxz, n_sites = 4, periodic = True, jz = 0.5")
    assert sorted(["chain xxz", *FAMILIES], key=place) == [*FAMILIES, "chain xxz"]


def test_gauge_prices_have_errors_and_those_in_doubt_are_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "pseudofermion/cost/laptop"
    folder.mkdir(parents=True)
    prices = {
        ("L4", "hmc"): (4e-3, None),
        ("L4", "reference"): (1e-3, None),
        ("L4", "even-odd"): (4e-2, 2e-2),
        ("L8", "reference"): (2e-3, None),
        ("L8", "even-odd"): (1e-4, 1e-5),
    }
    cells = [
        {"cell": cell, "method": method, "quantity": "seconds_per_independent", "ours": value, "ours_sigma": sigma}
        for (cell, method), (value, sigma) in prices.items()
    ]
    runs = [
        {"cell": "L8", "method": "even-odd", "quantity": "ess_all_draws", "value": 0.1, "doubt": "few"},
        {"cell": "L4", "method": "reference", "quantity": "ess", "value": 0.4},
        {"cell": "L8", "method": "reference", "quantity": "ess", "value": 0.2},
    ]
    write_csv(folder / "cells.csv", CELL_FIELDS, cells)
    write_csv(folder / "runs.csv", RUN_FIELDS, runs)
    text = which_method.markdown([], tmp_path)
    assert "L = 4: reweighted pure gauge is the cheapest, HMC takes 4 times as long" in text
    assert "L = 8: " not in text
    assert "0.4 on Schwinger model, L = 4, 0.2 on Schwinger model, L = 8" in text
    assert "4(2)e+01" in text
    (line,) = [line for line in text.splitlines() if line.startswith("| flow, even/odd ")]
    assert line.split("|")[3].strip() == "in doubt"


def test_reports_that_keep_a_budget_stand_apart_from_the_others(tmp_path: Path) -> None:
    cells = {"mps": (-99.0, 0.1), "dense-ar": (-98.0, 0.1)}
    runs = [{"run": f"a/{method}#0", "system": RING} for method in cells]
    report(tmp_path, cells, scores=[1e-3, 2e-3, 3e-3], manifest={"runs": runs, "kept": {"budget": 8.0}})
    report(tmp_path, {"annealed-ar": (-99.9, 0.1)}, name="table2")
    entries = arena.collect(tmp_path)
    (budget, equal), *more = arena.equals(entries).items()
    assert (budget, more) == (8.0, [])
    assert [e.method for e in equal] == ["mps", "dense-ar"]
    assert [e.method for e in arena.others(entries)] == ["annealed-ar"]
    text = which_method.markdown(entries, tmp_path / "none")
    title, told, table = text.partition("## Equal budgets: 8 s of one core a training, 3 seeds")[2].split("\n\n")[:3]
    assert title == ""
    assert "[nf_nqs/table1](nf_nqs/table1/laptop/report.md)" in told
    assert "| MPS      | **1.0(1)e-02** " in table
    assert f"## {ALL} (10 sites, 1 system)" in text
    tags = Tags(arena_page.html(entries, LINKS, "arena.png", (10, 10)))
    assert tags.count("h2") == 2
    assert "8 s of one core" in tags.text


def test_bold_is_the_smallest_and_what_scatters_too_much_is_in_italics() -> None:
    found = [entry("mps", 1e-4, 1e-5, 5.0, seeds=3), entry("cnn-ar", 7e-2, 4e-2, 5.0, seeds=3)]
    far = entry("dense-ar", 3e-2, 1e-3, 5.0, seeds=3)
    shown = [which_method._error(e.method, [*found, far]) for e in (*found, far)]
    assert shown == ["**1.0(1)e-04**", "*7(4)e-02*", "3.0(1)e-02"]


def test_errors_of_few_seeds_count_as_smaller_by_student() -> None:
    """2.776: t with four degrees of freedom, from a table; of one training, 2 σ of its many samples."""
    combined = math.hypot(1e-3, 1e-3)
    for seeds, limit in ((3, 2.776), (1, 2.0)):
        low = entry("mps", 1e-2, 1e-3, 5.0, seeds=seeds)
        above, within = (replace(low, error=1e-2 + f * limit * combined) for f in (1.02, 0.98))
        assert low.smaller_than(above)
        assert not low.smaller_than(within)
    known = entry("rbm", 1e-2, 0.0, 5.0, seeds=3)
    assert known.smaller_than(replace(known, error=1.1e-2)), "no error at all is no doubt"
