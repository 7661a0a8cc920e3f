"""The page of a report: its order, tables no wider than a page, cuts by method, verdicts in words; the index."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.base.numbers.result import Estimate, Result
from pipeline.base.numbers.statistics import doubt_of_mixing
from reproduce.artefact import Artefact, Cell, Claim, Column, Rendering
from reproduce.changes import BUDGET, FULL_SCALE, changes
from reproduce.csv_files import write_csv
from reproduce.index import write_index
from reproduce.page import WIDTH, github, naming, page, parts_of
from reproduce.plan import Found
from reproduce.published import NO_POWER
from reproduce.summary import counted, coverage, summary
from reproduce.tables import CELL_FIELDS, CellRow, Finished, Table

PHYSICS = {"N30-L15": (-435.517246874, "-435.4 ± 0.1"), "N50-L25": (-1225.510205, "-1225.40 ± 0.02")}


def finished(
    row: str, method: str, value: float, sigma: float, cuts: tuple[str, ...] = (), deviations: Any = None
) -> Finished:
    """A run of Table I of the NF+NQS paper that found ``value``."""
    bound: Any = "exact" if method == "reference" else "variational"
    estimate = Estimate("energy", value, sigma, "standard-error", None, "total", bound)
    provenance = {"git": "0" * 40, "source": "s", "threads": 1, "hardware": {"cpu": "c"}, "packages": {"torch": "2"}}
    status = {"device": "cpu", "kind": "collective spin", "seconds": 2.0, "peak_bytes": 1e6}
    entry: Any = SimpleNamespace(seconds=2.0, name=f"infer/{row}{method}", status=status, device="cpu")
    entry.result, entry.provenance = lambda: Result((estimate,)), lambda: provenance
    cell = Cell(row, method, (), (Column(method, "energy", "energy"),))
    task: Any = SimpleNamespace(cell=cell, cuts=cuts, seed=0, id=f"{cell.id}#0", command="python -m pipeline ...")
    task.run = SimpleNamespace(system=SimpleNamespace(size=4), deviations=deviations or {})
    is_reference = method == "reference"
    found = Found(None, None if is_reference else entry, entry if is_reference else None, None, ())
    return Finished(task, found, None)


def table_of(*runs: Finished) -> Table:
    cells = [done.task.cell for done in runs]
    own = {"nqs+nf": "NQS+NF"}
    return Table(
        Artefact("nf_nqs", "table1", "Table I", lambda: cells, lambda t: Rendering((), ()), own=own), "laptop", runs
    )


def references() -> list[Finished]:
    return [finished(row, "reference", exact, 0.0) for row, (exact, _) in PHYSICS.items()]


def test_order_of_a_report() -> None:
    """One minute first, the referee's part after it; what no paper says stands apart."""
    cuts = ("train.steps: 10000 → 150", "train.method.prior: bimodal → normal")
    runs = [finished("N30-L15", "nqs+nf", -435.3, 0.001, cuts, {"train.method.prior": "two modes do not merge"})]
    table = table_of(*runs, *references())
    claims = [
        Claim("lower energies", "abstract", "yes", "N30", verbatim=True),
        Claim("QMC repeats", "ours", "no", "3 σ"),
    ]
    claims.append(Claim("it learns quickly", "Section V", "no", "N50"))
    rendering = Rendering(["N", "ours"], [["30", "-435.3(1)"]], claims, ["A note."], None)
    text = page(table, rendering, "python -m reproduce nf_nqs/table1", True)
    heads = [line for line in text.splitlines() if line.startswith("#")]
    assert heads == [
        "# Table I",
        "## Verdict",
        "## Table",
        "## Figure",
        "## What the paper says",
        "## Checks of our own",
        "## Cuts and deviations",
        "### nqs+nf",
        "## How errors were computed",
        "## Commands",
        "## Provenance",
    ]
    assert "- **yes**: “lower energies” (abstract): N30" in text
    assert "- **no**: it learns quickly (Section V): N50" in text, "quotation marks are for the paper's own words"
    assert "- **no**: QMC repeats: 3 σ" in text
    assert text.split("## Verdict")[1].split("##")[0].strip().startswith("NQS+NF has a relative error of +5.0e-04")
    assert max(len(line) for line in text.split("## Table")[1].split("##")[0].splitlines()) <= WIDTH
    own = replace(rendering, verdict=("NQS+NF stays above the exact energy.",))
    assert "\nNQS+NF stays above the exact energy.\n" in page(table, own, "", False)


def test_a_bug_is_the_first_line() -> None:
    table = table_of(finished("N30-L15", "nqs+nf", -436.0, 0.001), *references())
    lines = page(table, Rendering(["a"], [["b"]]), "", False).splitlines()
    assert lines[2] == "**BELOW-BOUND: N30-L15/nqs+nf lies below the exact reference. This is a bug.**"


def test_cuts_are_one_table_a_method_and_never_a_list_of_cells() -> None:
    why = {"infer.ansatz": "narrower", "train.optimizer.lr": "faster", "train.unused": "holds for nothing here"}
    cuts = ("train.steps: 10000 → 150", "infer.ansatz.hidden: [512,512] → [128]", "infer.ansatz.init: a → b")
    lr = "train.optimizer.lr: 0.1 → 0.3"
    runs = [finished(f"r{k}", "nqs+nf", -1.0, 0.1, cuts if k else (*cuts, lr), why) for k in range(3)]
    runs += [finished(f"r{k}", m, -1.0, 0.1, ("infer.samples: 50 → 20",)) for m in ("mps", "cnn-ar") for k in range(3)]
    runs.append(finished("r0", "exact", -1.0, 0.1))
    text = "\n".join(changes(table_of(*runs)))
    assert text.splitlines() == [
        FULL_SCALE,
        "",
        "### nqs+nf",
        "",
        "| setting | full scale | here | why |",
        "| --- | --- | --- | --- |",
        f"| `train.steps` | 10000 | 150 | {BUDGET} |",
        "| `infer.ansatz.hidden` | [512,512] | [128] | narrower |",
        "| `infer.ansatz.init` | a | b | narrower |",
        "| `train.optimizer.lr` | 0.1 | 0.3 (r0) | faster |",
        "",
        "### mps, cnn-ar",
        "",
        "| setting | full scale | here | why |",
        "| --- | --- | --- | --- |",
        f"| `infer.samples` | 50 | 20 | {BUDGET} |",
    ]
    assert changes(table_of(finished("r0", "m", -1.0, 0.1))) == ["Nothing is cut: these are the paper's own settings."]
    long = finished("r0", "m", -1.0, 0.1, (f"train.phases: [] → [{'x' * 500}]",))
    assert max(map(len, changes(table_of(long))[2:])) <= WIDTH


def test_the_reason_of_a_cut_is_that_of_its_own_recipe() -> None:
    more = {"baseline.hmc.chains": "more than the paper's"}
    runs = [finished("su3", "hmc", -1.0, 0.1, ("baseline.hmc.chains: 8 → 32", "baseline.hmc.warmup: 200 → 100"), more)]
    runs += [finished("u1", "hmc", -1.0, 0.1, ("baseline.hmc.chains: 128 → 64", "baseline.hmc.warmup: 200 → 100"))]
    runs += [finished("pure", "hmc", -1.0, 0.1)]
    assert changes(table_of(*runs))[6:] == [
        "| `baseline.hmc.chains` | 8 | 32 (su3) | more than the paper's |",
        f"| `baseline.hmc.warmup` | 200 | 100 (su3; u1) | {BUDGET} |",
        f"| `baseline.hmc.chains` | 128 | 64 (u1) | {BUDGET} |",
    ]


def test_values_of_cuts_in_words() -> None:
    phases = ",".join(f"{{steps:{100 + k},system:{{field:{k}.0}}}}" for k in range(14))
    cut = f"train.phases: [{phases}] → [{{steps:20,samples:100}}]"
    same = "train.phases: [{steps:20,lr:0.1}] → [{steps:20,lr:0.2}]"
    steps = f"train.snapshots: [{','.join(map(str, range(0, 60000, 1000)))}] → [0,5]"
    why = {"train.snapshots": "because " * 20}
    lines = changes(table_of(finished("r0", "annealed-ar", -1.0, 0.1, (cut, same, steps), why)))
    assert lines[6:] == [
        f"| `train.phases` | 14 phases, 1491 steps | 1 phase, 20 steps | {BUDGET} |",
        f"| `train.phases` | 1 phase, 20 steps | 1 phase, 20 steps, with other settings | {BUDGET} |",
        "| `train.snapshots` | 60 values from 0 to 59000 | [0,5] | see 1 |",
        "",
        f"1. {'because ' * 20}",
    ]


@pytest.mark.parametrize("breaks", [(), (2, 6, 10)])
def test_wide_tables_are_cut_to_parts_of_about_the_same_width_that_repeat_what_names_a_line(breaks: Any) -> None:
    widths = [3, 3, *[15] * 12]
    parts = parts_of(widths, 2, breaks)
    assert all(part[:2] == [0, 1] for part in parts)
    assert [k for part in parts for k in part[2:]] == list(range(2, 14))
    assert all(1 + sum(widths[k] + 3 for k in part) <= WIDTH for part in parts)
    assert [len(part) - 2 for part in parts] == [4, 4, 4]
    assert parts_of([5, 5], 1) == [[0, 1]]
    assert parts_of([5], 1) == [[0]]
    assert parts_of([5, 300, 5], 1) == [[0, 1], [0, 2]], "a column is never cut"
    wide = parts_of(widths, 2, (2, 12))
    assert [k for part in wide for k in part[2:]] == list(range(2, 14)), "what is wider than a page is cut anyway"
    assert all(1 + sum(widths[k] + 3 for k in part) <= WIDTH for part in wide)


def test_a_table_is_as_wide_as_its_cells() -> None:
    assert github(["N", "⟨|m|⟩"], [["30", "1(2)"]]).splitlines() == [
        r"| N   | ⟨\|m\|⟩ |",
        "| --- | ------- |",
        "| 30  | 1(2)    |",
    ]


def test_columns_that_name_a_line() -> None:
    assert naming([["30", "1", "a"], ["30", "8", "a"], ["40", "1", "b"]]) == 2
    assert naming([["a", "x"], ["b", "x"]]) == 1
    assert naming([["a", "x"], ["a", "x"]]) == naming([]) == naming([["a"]]) == 1


def test_a_verdict_speaks_of_the_papers_own_methods_first_and_of_each_by_itself() -> None:
    runs = [finished("N30-L15", "nqs+nf", -435.5149, 2e-5), finished("N50-L25", "nqs+nf", -1225.40, 0.003)]
    runs += [finished("N50-L25", "dense-ar", -1224.97, 0.03), finished("N50-L25", "mps", -1226.0, 0.01)]
    said = summary(table_of(*runs, *references()))
    first, second, third = said.removesuffix(".").split(". ")
    errors = "relative errors of the energy from +5.4e-06 (N30-L15) to +9.0e-05 (N50-L25), half of them above 4.8e-05"
    assert first == f"NQS+NF has {errors}"
    assert second.startswith("Our NQS+NF, beside 9 printed numbers: ")
    assert "ur dense-ar, beside 9 printed numbers: 1 is undecided" in third
    assert "ur mps, beside 9 printed numbers: 1 is lower" in third
    assert counted(["agrees", "lower", "lower", "odd"]) == "2 are lower, 1 agrees, 1 odd"


def test_the_page_says_why_numbers_are_undecided() -> None:
    runs = [finished(row, "dense-ar", value, 0.01) for row, value in (("N30-L15", -435.0), ("N50-L25", -1225.0))]
    text = page(table_of(*runs, *references()), Rendering(["a"], [["b"]]), "", False)
    assert f"- {NO_POWER}: dense-ar (N30-L15, N50-L25)" in text
    assert "within 3.64 combined errors" in text, "the rule behind the reason"


def test_reasons_of_one_kind_are_said_once_and_only_of_what_is_printed() -> None:
    table = table_of(*references())
    table.undecided = {
        ("N30-L1", "mps", "energy"): doubt_of_mixing(1.38),
        ("N40-L1", "mps", "energy"): doubt_of_mixing(1.15),
        ("N40-L1", "mps", "absolute_magnetisation"): "chains are only 5 τ_int long",
    }
    text = page(table, Rendering(["a"], [["b"]]), "", False).split("Undecided, because\n\n")[1].split("\n\n")[0]
    assert text == "- chains disagree: R-hat 1.15 to 1.38 is above 1.1: mps (N30-L1, N40-L1)"


def test_what_cannot_be_compared_stands_beside_nothing() -> None:
    table = table_of(finished("N30-L15", "nqs+nf", -435.5149, 2e-5), *references())
    table.rows = [replace(row, vs_paper="not-comparable") if row.ours else row for row in table.rows]
    assert coverage(table).endswith(
        f"0 of {sum(r.published is not None for r in table.rows)} printed numbers have ours "
        "beside them; 1 is not comparable."
    )


def test_the_index_speaks_of_the_papers_own_method_and_of_our_references_apart(tmp_path: Path) -> None:
    def line(cell: str, method: str, error: float | None, verdict: str) -> CellRow:
        row = CellRow("naqs/table1", cell, method, "energy", "per site", ours=-1.0, published=-1.0)
        return replace(row, rel_error_ours=error, vs_paper=verdict)

    rows = [line(f"G{k}", "naqs", error, "higher") for k, error in enumerate((1e-4, 2e-4, 3e-2))]
    rows.append(line("G9", "naqs", None, "not-comparable"))
    rows += [line("G0", "qmc", None, "agrees"), line("G1", "qmc", None, "lower"), line("G2", "peps", 0.9, "agrees")]
    folder = tmp_path / "naqs" / "table1" / "laptop"
    folder.mkdir(parents=True)
    write_csv(folder / "cells.csv", CELL_FIELDS, [vars(row) for row in rows])
    write_index(tmp_path)
    for name in ("README.md", "index.html"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert "NAQS median 2.0e-04, worst 3.0e-02 (G2)" in text
        assert "3 are higher, 1 is not comparable" in text
        assert "6 / 7" in text, "what is not comparable stands beside nothing"
        assert "1 agrees, 1 is lower" in text
        assert "9.0e-01" not in text
