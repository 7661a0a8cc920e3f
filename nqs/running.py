"""One run from Python: the overrides of the command line, the same store, the same numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nqs.numbers import Expectation
from nqs.operators import Operator
from pipeline.base.config.nodes import RunConfig
from pipeline.base.errors import UserError
from pipeline.base.extras import missing
from pipeline.base.run.console import say
from pipeline.base.run.progress import make_progress
from pipeline.base.run.ranks import started_by_torchrun
from pipeline.stages.compose import compose_run
from pipeline.stages.context import Context
from pipeline.stages.recall import with_own, written
from pipeline.stages.report import HEADERS, Row, facts, headline, report, rows
from pipeline.stages.run import RunOutput, execute
from pipeline.stages.single import deviations

if TYPE_CHECKING:
    from nqs.states import State


@dataclass(frozen=True)
class Run:
    """A finished run: its numbers, its state and where they are.

    Attributes:
        overrides: what was asked for, in the words of the command line.
        config: the checked configuration.
        output: entries of the store.
        report: its page; None without the stage ``report``.
    """

    overrides: tuple[str, ...]
    config: RunConfig
    output: RunOutput
    report: Path | None

    @property
    def key(self) -> str:
        """What ``nqs.load`` takes: of the inference, else of the training, else of the reference."""
        found = [self.output.last(stage) for stage in ("infer", "train", "baseline", "profile")]
        return next(entry.path.name for entry in found if entry is not None)

    @cached_property
    def estimates(self) -> Mapping[str, Expectation]:
        """What fresh samples say (of a run without a training, the reference), by name."""
        return {row.estimate.name: Expectation.of(row.estimate) for row in self._rows}

    @property
    def energy(self) -> Expectation:
        """Total energy, Pauli matrices.

        Raises:
            UserError: the run has none; it says what it has.
        """
        if "energy" not in self.estimates:
            raise UserError(f"this run has no energy; its estimates are {', '.join(self.estimates)}")
        return self.estimates["energy"]

    @property
    def reference(self) -> Expectation | None:
        """What the headline is compared with; None where the run has no reference of it."""
        row = headline(self.output)
        return None if row is None or row.reference is None else Expectation.of(row.reference)

    @property
    def state(self) -> State:
        """The trained state, see :func:`nqs.load`."""
        from nqs.states import load

        trained = self.output.trained
        if trained is None:
            raise UserError("this run has no training, and no state: stages=[train,infer] has one")
        return load(trained.entry.path, step=trained.step)

    def plot(self, axes: Any = None) -> Any:
        """Energy along training, see :func:`nqs.plot`."""
        from nqs.figures import plot

        return plot(self, axes=axes)

    @cached_property
    def _rows(self) -> list[Row]:
        return rows(self.output)

    def __str__(self) -> str:
        from tabulate import tabulate

        table = tabulate([row.cells() for row in self._rows], headers=HEADERS, disable_numparse=True)
        return "\n".join([*([table] if self._rows else []), *facts(self.output)])

    def __repr__(self) -> str:
        return f"<nqs.Run {self.key}: {self.config.system.kind}>\n{self}"


def run(
    *overrides: str, system: str | Operator | None = None, results: str | Path | None = None, **settings: object
) -> Run:
    """Compute a run, as far as the store does not have it: train, infer, reference, report.

    ``nqs.run("paper=nf_nqs", "scale=smoke")``; ``nqs.run("method=vmc", system=hamiltonian, train__steps=300)``.

    Args:
        overrides: ``key=value``, as for ``python -m pipeline``; later ones win.
        system: name of a system, or an operator of :func:`nqs.hamiltonian`.
        results: results folder; None: ``NQS_RESULTS``, else ``results`` in the current folder.
        settings: further overrides; two underscores stand for the dot in a key.

    Raises:
        UserError: a key, a value or parts that do not fit, before anything is computed; or what stopped the run:
            asking for the same again goes on from its last checkpoint.
    """
    if started_by_torchrun():
        raise UserError("nqs.run is for one process: torchrun -m pipeline ... shares a run among several")
    words = _words(overrides, system, results, settings)
    config = compose_run(with_own(words))
    progress, page = make_progress(config.progress), None
    try:
        context = Context(
            config,
            label=config.system.kind,
            progress=progress,
            notify=say,
            deviations=deviations(config, with_own(words)),
        )
        output = execute(context)
    finally:
        progress.close()
    if "report" in config.stages:
        with _figures_as_they_were():
            page = report(context, output) / "report.md"
    return Run(tuple(words), config, output, page)


def _words(
    overrides: tuple[str, ...],
    system: str | Operator | None,
    results: str | Path | None,
    settings: Mapping[str, object],
) -> list[str]:
    for text in overrides:
        if not isinstance(text, str):
            raise UserError(f"{text!r}: overrides are text, 'key=value'")
        if text.startswith("-"):
            raise UserError(f"{text}: options belong to the command line; a sweep is a loop over nqs.run")
    words = list(overrides)
    if isinstance(system, Operator):
        words += system.overrides
    elif system is not None:
        words.append(f"system={written(system)}")
    words += [f"{name.replace('__', '.')}={written(value)}" for name, value in settings.items()]
    if results is not None:
        words.append(f"results_dir={written(str(results))}")
    return words


@contextmanager
def _figures_as_they_were() -> Iterator[None]:
    """Reports draw in a style of their own, which is none of a notebook's business."""
    if missing("matplotlib"):
        yield
        return
    import matplotlib

    with matplotlib.rc_context():
        yield
