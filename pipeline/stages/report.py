"""Stage 4, report: one run on a page, every estimate beside the reference, with a figure of the training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.analysis.verdict import shown_error, vs_reference
from pipeline.base.contracts import Shown
from pipeline.base.extras import advice, missing
from pipeline.base.numbers.formatting import with_error
from pipeline.base.numbers.result import Estimate
from pipeline.base.store.files import write_json
from pipeline.stages.context import Context
from pipeline.stages.run import RunOutput, said_of_stale
from pipeline.stages.table import STAGES


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    estimate: Estimate
    reference: Estimate | None

    @property
    def verdict(self) -> str:
        return vs_reference(self.estimate, self.reference)

    def cells(self) -> list[str]:
        """Quantity, value with error, spread, reference, relative error (absolute where that vanishes), verdict."""
        e, r = self.estimate, self.reference
        return [
            e.name,
            with_error(e.value, e.sigma),
            "–" if e.spread is None else f"{e.spread:.2g}",
            with_error(r.value, r.sigma, 12) if r else "–",
            shown_error(e.value, r),
            self.verdict if r else "–",
        ]


HEADERS = ["quantity", "value", "spread", "reference", "relative error", "verdict"]


def rows(output: RunOutput) -> list[Row]:
    """Estimates of the run (or, without one, of the baseline) beside the reference; then those of the profile."""
    reference = output.reference.result() if output.reference else None
    named = {e.name: e for e in reference.estimates} if reference else {}
    result = output.result
    if result is None:
        found = [Row(e, None) for e in named.values()]
    else:
        found = [Row(e, named.get(e.against or e.name)) for e in result.estimates]
    profiled = output.last("profile")
    return found + [Row(e, None) for e in (profiled.result().estimates if profiled else ())]


def headline(output: RunOutput) -> Row | None:
    """The row of the estimate that stands for the run."""
    results = [output.result, *(e.result() for e in (output.reference, output.last("profile")) if e)]
    names = [result.main.name for result in results if result is not None and result.main is not None]
    return next((row for row in rows(output) if names and row.estimate.name == names[0]), None)


def report(context: Context, output: RunOutput) -> Path:
    """Write ``report.md``, the same as ``report.html``, ``result.json`` and, for trained runs, ``training.png``; return
    their folder."""
    there = [entry for name in ("infer", "train", "baseline", "profile") if (entry := output.last(name)) is not None]
    folder = context.results / "_runs" / (there[0].path.name if there else context.keys.train)
    folder.mkdir(parents=True, exist_ok=True)
    figure = _figure(output, folder) if output.trained and not missing("matplotlib") else None
    text = _page(context, output, figure)
    (folder / "report.md").write_text(text, encoding="utf-8")
    if not missing("markdown_it"):
        from pipeline.base.html import from_markdown

        (folder / "report.html").write_text(from_markdown(text), encoding="utf-8")
    write_json(folder / "result.json", _data(output))
    return folder


def _page(context: Context, output: RunOutput, figure: Path | None) -> str:
    from tabulate import tabulate

    run = context.run
    lines = [f"# {describe(run.system)}", ""]
    table = [row.cells() for row in rows(output)]
    broken = [row for row in rows(output) if row.verdict == "BELOW-BOUND"]
    if broken:
        names = ", ".join(row.estimate.name for row in broken)
        lines += [f"**BELOW-BOUND: {names} lies below the exact value. This is a bug.**", ""]
    lines += [tabulate(table, headers=HEADERS, tablefmt="github", disable_numparse=True), ""]
    lines += [f"- {text}" for text in facts(output)]
    lines += [f"- {said_of_stale(output.stale)}"] if output.stale else []
    lines += [f"- scale {run.scale} differs from the paper: {text}" for text in context.deviations]
    if output.trained and missing("matplotlib"):
        lines += [f"- no figure: matplotlib is not installed ({advice('report')})"]
    if figure is not None:
        lines += ["", f"![training]({figure.name})"]
    return "\n".join(lines) + "\n"


def facts(output: RunOutput) -> list[str]:
    """What each stage did and cost, then the notes of the results; a sentence each, those of a reference marked."""
    said = []
    for stage in STAGES:
        if (done := output.last(stage.name)) is not None:
            said.append(stage.said(output.run, done))
    said += output.inferred.result().notes if output.inferred else ()
    of_reference = output.reference.result().notes if output.reference else ()
    return [*said, *(_of_reference(note) if output.inferred else note for note in of_reference)]


def _of_reference(note: str) -> str:
    return note if note.lower().startswith("reference: ") else f"reference: {note}"


def _data(output: RunOutput) -> dict[str, Any]:
    data: dict[str, Any] = {}
    if output.inferred:
        data["result"] = output.inferred.result().to_json()
    if output.reference:
        data["reference"] = output.reference.result().to_json()
    if (profiled := output.last("profile")) is not None:
        data["profile"] = profiled.result().to_json()
    if output.training_curve:
        data["training_curve"] = vars(output.training_curve)
    return data


def _figure(output: RunOutput, folder: Path) -> Path | None:
    """What the method shows of its steps against their number, with the reference as a line."""
    assert output.trained is not None
    shown: Shown = output.run.train.shown
    everything = output.trained.entry.series()
    series, apart = (
        {name: everything[name] for name in names if name in everything} for names in (shown.metrics, shown.apart)
    )
    if not series and not apart:
        return None
    from pipeline.base.plotting import new_figure, save_figure

    figure, axes = new_figure()
    for name, (steps, values) in series.items():
        axes.plot(steps, values, label=name.replace("_", " "))
    if output.training_curve:
        curve = output.training_curve
        axes.errorbar(curve.x, curve.y, yerr=curve.sigma, fmt="o", label="fresh samples")
    for estimate in output.reference.result().estimates if output.reference else ():
        if estimate.name == shown.quantity:
            axes.axhline(estimate.value, color="black", lw=1, label="reference")
    if apart:
        other = axes.twinx()
        for name, (steps, values) in apart.items():
            other.plot(steps, values, color="grey", lw=0.5, label=name.replace("_", " "))
        other.grid(False)
        other.set_ylabel(", ".join(name.replace("_", " ") for name in apart))
    axes.set_xlabel("training step")
    axes.set_ylabel(shown.label)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False)
    return save_figure(figure, folder / "training", formats=("png",))[0]


def describe(system: Any) -> str:
    """``chain_tfim n_sites=30 range=15 ...``."""
    return " ".join([system.kind, *(f"{k}={_short(v)}" for k, v in vars(system).items() if k != "kind")])


def _short(value: Any) -> str:
    """A value of a system; of many Pauli strings how many there are."""
    if isinstance(value, list) and len(value) > MOST_LISTED:
        return f"[{', '.join(map(str, value[:MOST_LISTED]))}, ...] ({len(value)})"
    return f"{value:g}" if isinstance(value, float) else str(value)


MOST_LISTED = 4
