"""One run from end to end: executed, reported, and said in a few lines."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.base.config.nodes import RunConfig
from pipeline.base.run.console import say
from pipeline.base.run.progress import make_progress
from pipeline.stages.compose import compose_paper
from pipeline.stages.context import Context
from pipeline.stages.cuts import differences, holding
from pipeline.stages.follow import together
from pipeline.stages.hints import hints

if TYPE_CHECKING:
    from pipeline.stages.run import RunOutput

READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
"""How a folder says that nothing may be written into it: an archive, not an accident."""


@dataclass(frozen=True)
class Summary:
    """What a run came to.

    Attributes:
        lines: for standard output: the table, what each stage did, where the report is.
        broken: an estimate lies below an exact value.
        headline: cells of the row that stands for the run; empty without one.
        unwritten: why there is no report, if one was asked for.
    """

    lines: list[str]
    broken: bool
    headline: list[str]
    unwritten: OSError | None = None

    def say_unwritten(self) -> int:
        """Name what kept the report from being written; exit status: results that only can be read are no failure."""
        assert self.unwritten is not None
        allowed = self.unwritten.errno in READ_ONLY
        say(f"{'' if allowed else 'error: '}the report is not written: {self.unwritten}")
        if not allowed:
            return 4
        return 1 if self.broken else 0


def deviations(run: RunConfig, overrides: Sequence[str]) -> list[str]:
    """Sentences of the scale about what it changes, as far as the user has not changed it back."""
    if not run.deviations:
        return []
    paper = compose_paper(overrides)
    return holding(run.deviations.items(), differences(paper, run))


def run_and_report(run: RunConfig, label: str, said: Sequence[str] = ()) -> Summary:
    """Execute a run, write its report and return what to print: its numbers, whatever becomes of the report."""
    from pipeline.stages.report import HEADERS, facts, headline, rows
    from pipeline.stages.run import execute

    progress = make_progress(run.progress)
    written = _Report()
    try:
        with together(run) as ranks:
            context = Context(run, label=label, progress=progress, notify=say, deviations=list(said), ranks=ranks)
            output = execute(context, lambda output: written.write(context, output))
    finally:
        progress.close()
    table = rows(output)
    from tabulate import tabulate

    lines = [tabulate([row.cells() for row in table], headers=HEADERS, disable_numparse=True)] if table else []
    said_before = hints(run)
    lines += [fact for fact in facts(output) if fact not in said_before]
    if written.folder is not None:
        lines.append(f"report: {written.folder / 'report.md'}")
    broken = any(row.verdict == "BELOW-BOUND" for row in table)
    main = headline(output)
    return Summary(lines, broken, main.cells() if main else [], written.unwritten)


class _Report:
    """The report of a run, written and mirrored while its mirror is open.

    Attributes:
        folder: of the report; None without one.
        unwritten: why there is none, if one was asked for.
    """

    def __init__(self) -> None:
        self.folder: Path | None = None
        self.unwritten: OSError | None = None

    def write(self, context: Context, output: RunOutput) -> None:
        from pipeline.stages.mirroring import mirror
        from pipeline.stages.report import report

        if "report" in context.run.stages:
            try:
                self.folder = report(context, output)
            except OSError as error:
                self.unwritten = error
        mirror(context, output, self.folder)
