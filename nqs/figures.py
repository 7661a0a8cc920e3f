"""Figures of runs, for a notebook: on axes of one's own, in one's own style."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from nqs.places import Found, find, folders_of_runs
from pipeline.base.errors import UserError
from pipeline.base.extras import need
from pipeline.stages.history import history
from pipeline.stages.recall import recalled

if TYPE_CHECKING:
    from nqs.numbers import Expectation
    from pipeline.base.config.nodes import RunConfig
    from pipeline.base.contracts import Shown
    from pipeline.stages.run import RunOutput

SMALLEST = 1e-12
"""Relative errors below are rounding, and have no place on a logarithmic axis."""


PARTS = ("config", "output", "key", "reference")


class Finished(Protocol):
    """What a figure takes of a :class:`nqs.Run`."""

    @property
    def config(self) -> RunConfig: ...

    @property
    def output(self) -> RunOutput: ...

    @property
    def key(self) -> str: ...

    @property
    def reference(self) -> Expectation | None: ...


def plot(*runs: Finished | str | Path, axes: Any = None, relative: bool = False) -> Any:
    """Energy (or what the method shows) along training, a line a run, with the references of :func:`nqs.run`.

    ``nqs.plot(run)``; ``nqs.plot(first, second, relative=True)``; ``nqs.plot("d4b5ec47")``.

    Args:
        runs: of :func:`nqs.run`, or keys and paths as :func:`nqs.load` takes them.
        axes: of matplotlib, to draw on; None: a new figure.
        relative: draw |E - E_ref|/|E_ref| on a logarithmic axis instead; runs that know a reference only.

    Returns:
        The axes.

    Raises:
        UserError: no run, something else, one without a training, or ``relative`` without a reference.
    """
    need("nqs.plot", "matplotlib")
    if not runs:
        raise UserError("nqs.plot: needs a run, or the key of one")
    for run in runs:
        if not (isinstance(run, str | Path) or all(hasattr(run, name) for name in PARTS)):
            several = "; several are given one by one: nqs.plot(*runs)" if isinstance(run, list | tuple) else ""
            raise UserError(f"nqs.plot: {type(run).__name__}: neither a run, nor a key or path{several}")
    drawn = [_curves(run) for run in runs]
    if axes is None:
        import matplotlib.pyplot as plt

        axes = plt.figure(figsize=(5.0, 3.2), layout="constrained").subplots()
    for number, (label, shown, series, reference) in enumerate(drawn):
        _draw(axes, f"C{number}", label, (shown, series), reference, relative)
    shown = drawn[0][1]
    axes.set_xlabel("training step")
    axes.set_ylabel(f"relative error of the {shown.quantity}" if relative else shown.label)
    if relative:
        axes.set_yscale("log")
    axes.legend(frameon=False)
    return axes


Series = dict[str, tuple[list[int], list[float]]]


def _curves(run: Finished | str | Path) -> tuple[str, Shown, Series, float | None]:
    """Label, what is shown of the training, its metrics, and the reference."""
    if not isinstance(run, str | Path):
        trained, config = run.output.trained, run.config
        if trained is None:
            raise UserError(f"{run.key} has no training to draw: stages=[train,infer] has one")
        entry, steps = trained.entry, trained.step
        reference = run.reference
        known = None if reference is None else reference.mean
    else:
        found = find(run, None)
        entry, steps, known = found.train, found.step, _reference(found)
        config = recalled(entry, steps, found.infer)
    shown: Shown = config.train.shown
    series = {name: s for name, s in entry.series().items() if name in shown.metrics}
    ansatz = getattr(config.train.ansatz, "name", None)
    label = " ".join(
        filter(None, [config.system.kind, ansatz or config.train.method.name, f"seed {config.train.seed}"])
    )
    if not series:
        raise UserError(f"{label}: its training has kept nothing of the {shown.quantity}")
    cut = {name: _first(of, values, steps) for name, (of, values) in series.items()}
    return label, shown, cut, known


def _reference(found: Found) -> float | None:
    """What :func:`nqs.runs` shows beside the inference of a training."""
    here = found.train.path.parents[2]
    folders = [here] if (here / "_store").is_dir() else folders_of_runs(None)
    for past in history(folders):
        same = past.train_key == found.train.path.name and past.steps == found.step and past.infer == found.infer
        if same and past.reference is not None:
            return past.reference.value
    return None


def _first(units: list[int], values: list[float], steps: int) -> tuple[list[int], list[float]]:
    """A metric up to the step of the run: the training may have gone further."""
    kept = [(unit, value) for unit, value in zip(units, values, strict=True) if unit < steps]
    return [unit for unit, _ in kept], [value for _, value in kept]


def _draw(
    axes: Any, colour: str, label: str, drawn: tuple[Shown, Series], reference: float | None, relative: bool
) -> None:
    shown, series = drawn
    if relative and not reference:
        raise UserError(f"{label}: has no reference that a relative error could be taken of")
    for number, (name, (steps, values)) in enumerate(series.items()):
        if relative:
            assert reference is not None
            errors = [abs(value - reference) / abs(reference) for value in values]
            values = [error if error > SMALLEST else math.nan for error in errors]
        style = ("-", "--", ":")[number % 3]
        axes.plot(steps, values, style, color=colour, label=label if len(series) == 1 else f"{label}, {name}")
    if reference is not None and not relative and shown.quantity in ("energy", "trace", *shown.metrics):
        axes.axhline(reference, color=colour, lw=0.8, ls="--", label=f"{label}, reference")
