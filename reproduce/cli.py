"""The command line of ``python -m reproduce``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.base.config.checks import one_of
from pipeline.base.config.compose import parse_override
from pipeline.base.config.nodes import SCALES
from pipeline.base.errors import ConfigError, MissingScale, UserError
from pipeline.base.extras import need
from pipeline.base.places import ROOT
from pipeline.base.run.console import guarded, say
from pipeline.stages.compose import logs_of
from pipeline.stages.recompute import OPTION, recomputing
from reproduce.artefact import Artefact, all_artefacts, collections, load_artefact
from reproduce.compute import Launch, Work, collect, compute, compute_all
from reproduce.launchers import LAUNCHERS, NUMBERS, WORDS, JobOptions
from reproduce.plan import (
    PERSONAL_KEYS,
    Task,
    make_tasks,
    past_seconds,
    worth_repeating,
)
from reproduce.planned import default_jobs, print_plan, summed, together
from reproduce.recorded import NoReport, Written, read_report
from reproduce.report import inputs_digest, up_to_date, write_report
from reproduce.summary import below_bound
from reproduce.tables import Finished, Table

EPILOG = """\
examples
  python -m reproduce table1                         Table I of the NF+NQS paper at laptop scale
  python -m reproduce table1 --plan                  what is cached, what would run, how long
  python -m reproduce table1 --only N30-L15          one row
  python -m reproduce table1 --only nqs+nf           one column
  python -m reproduce table1 --render                the committed report anew: today's text, no number computed
  python -m reproduce nf_nqs/table1 --scale gpu --jobs 1 device=cuda
  python -m reproduce table1 infer.units=5           an override; it counts as a cut in the report
  python -m reproduce table1 --scale gpu --launcher slurm --partition gpu     one job of a cluster for each cell
"""

RUNTIME_KEYS = (*PERSONAL_KEYS, "device", "threads")


def main(arguments: Sequence[str]) -> int:
    """Entry point; returns the exit status: 0, 1 for failed cells, 2 for bad input, 130 when interrupted."""
    return guarded(lambda: _run(parser().parse_intermixed_args(list(arguments))), lambda: logs_of(arguments))


def console() -> int:
    """Entry point of the script ``nqs-reproduce``, with tab completion where the shell asks for it."""
    import argcomplete

    argcomplete.autocomplete(parser())
    return main(sys.argv[1:])


def parser() -> argparse.ArgumentParser:
    """Arguments and options; completers offer what there is."""
    parser = argparse.ArgumentParser(
        "python -m reproduce", epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [a.replace("/", "-") for a in all_artefacts()]
    _completed(parser.add_argument("artefact", help=f"one of {', '.join(names)}, or all"), [*names, "all"])
    _completed(parser.add_argument("--paper", help="paper of an artefact given by its short name"), collections())
    _completed(parser.add_argument("--scale", default="laptop", help=", ".join(SCALES)), SCALES)
    parser.add_argument("--plan", action="store_true", help="show what would run and stop")
    parser.add_argument(
        "--render", action="store_true", help="compute nothing: write the report anew from the store and its own files"
    )
    parser.add_argument(OPTION, action="store_true", help="compute again what is finished")
    parser.add_argument("--jobs", type=int, help="runs side by side (default: one a core, one on a GPU)")
    _completed(
        parser.add_argument(
            "--launcher",
            default="pool",
            help="pool (processes here), submitit_local or slurm",
        ),
        LAUNCHERS,
    )
    parser.add_argument("--partition", help="of the cluster, with --launcher slurm")
    parser.add_argument("--account", help="of the cluster, with --launcher slurm")
    parser.add_argument(
        "--job", action="append", default=[], metavar="KEY=VALUE", help=f"of each job: {', '.join((*NUMBERS, *WORDS))}"
    )
    parser.add_argument(
        "--only", action="append", default=[], metavar="CELL", help="a cell, or a row or a column of them; repeatable"
    )
    parser.add_argument("overrides", nargs="*", help="key=value, as for python -m pipeline")
    return parser


def _completed(argument: argparse.Action, choices: Sequence[str]) -> None:
    """Offer ``choices`` for tab completion; a wrong one gets our own message, not the parser's."""
    argument.completer = lambda **_: choices  # type: ignore[attr-defined]


def _run(options: argparse.Namespace) -> int:
    _check(options)
    options.planned = {}
    need("reproducing tables and figures", "jinja2", "matplotlib", "pandas")
    with recomputing(options.recompute):
        return _run_artefacts(options)


def _run_artefacts(options: argparse.Namespace) -> int:
    if options.artefact != "all":
        return _artefact(load_artefact(options.artefact, options.paper), options)
    return _every_artefact(options)


def _every_artefact(options: argparse.Namespace) -> int:
    """All that have the scale, or a report of it to render anew; the others are named and left out.

    Where this process runs them, it does so in one pool: none waits for the last run of the one before it.

    Raises:
        UserError: none has it.
    """
    statuses, works = [], []
    together = options.launcher == "pool" and not options.plan and not options.render
    for name in all_artefacts():
        try:
            if together:
                works.append(_work(load_artefact(name), options))
            else:
                statuses.append(_artefact(load_artefact(name), options))
        except (MissingScale, NoReport) as error:
            say(f"{name} is left out: {error}")
    if not statuses and not works:
        raise UserError(f"--scale {options.scale}: no artefact has it")
    compute_all(works, options.jobs, lambda work, finished: statuses.append(_report(work, finished, options)))
    if options.plan:
        planned = list(options.planned.values())
        width = options.jobs or default_jobs([one.task for one in planned])
        print(f"all, what they share once: {summed(planned, width)}")
    return max(statuses)


def _check(options: argparse.Namespace) -> None:
    one_of("--scale", options.scale, SCALES)
    if options.paper:
        one_of("--paper", options.paper, collections())
    job_options(options)
    if options.jobs is not None and options.jobs < 1:
        raise ConfigError("--jobs", options.jobs, "must be at least 1")
    for text in options.overrides:
        if parse_override(text).key_or_group in ("paper", "scale", "stages"):
            raise UserError(f"{text}: an artefact sets this itself (use --paper or --scale)")


def _work(artefact: Artefact, options: argparse.Namespace) -> Work:
    there = [o for o in options.overrides if options.launcher == "pool" or not _of_the_node(o)]
    tasks = make_tasks(artefact, options.scale, there, options.only)
    folder = report_folder(artefact, options, tasks[0])
    return Work(artefact, tasks, folder, _history(artefact, options, folder))


def _artefact(artefact: Artefact, options: argparse.Namespace) -> int:
    work = _work(artefact, options)
    if options.plan:
        found = print_plan(artefact, work.tasks, work.history, options.jobs)
        options.planned = together(options.planned, found)
        return 0
    if options.render:
        written = read_report(work.folder)
        return _report(work, collect(work.tasks, written), options, written)
    return _report(work, compute(work, options.jobs, _as_jobs(options)), options)


def _report(
    work: Work, finished: Sequence[Finished], options: argparse.Namespace, written: Written | None = None
) -> int:
    """Write the report of an artefact, if it is not the one that is there; returns the exit status.

    Args:
        written: the report that is there, where it is rendered anew.
    """
    artefact, tasks, folder = work.artefact, work.tasks, work.folder
    digest = inputs_digest(artefact, options.scale, finished)
    failed = [done for done in finished if done.failure]
    if written is None and up_to_date(folder, digest):
        say(f"{artefact.id} at scale {options.scale}: nothing to do, {len(tasks)} runs are finished")
    else:
        command = f"python -m reproduce {artefact.id} --scale {options.scale}"
        command += "".join(f" --only {cell}" for cell in options.only) + "".join(
            f" {o}" for o in worth_repeating(options.overrides)
        )
        table = Table(artefact, options.scale, list(finished), *((written.kept, written.table) if written else ()))
        _print_table(table)  # first: a folder that can only be read has no report, but its numbers
        sys.stdout.flush()
        write_report(table, folder, command, digest)
        broken = below_bound(table)
        if broken:
            say("BELOW-BOUND: " + ", ".join(f"{row.cell}/{row.method}" for row in broken))
    if folder.parents[2] == Path(tasks[0].run.results_dir):
        _index(folder.parents[2])  # always: it may have been cut short by whatever ended the run before
    for done in failed:
        say(f"FAILED {done.task.id}: {done.failure}")
    print(f"report: {folder / 'report.md'}")
    return 1 if failed or _has_bug(folder) else 0


def _index(results: Path) -> None:
    """The index of all reports; where it cannot be written, the next command will."""
    from reproduce.index import write_index

    try:
        write_index(results)
    except (OSError, UserError) as error:
        say(f"the index is not written: {error}")


def report_folder(artefact: Artefact, options: argparse.Namespace, task: Task) -> Path:
    """Where a report goes; partial or overridden ones stay out of the committed tree."""
    results = Path(task.run.results_dir)
    if options.only or any(changes_numbers(o) for o in options.overrides):
        results = results / "_partial"
    return results / artefact.paper / artefact.name / options.scale


def changes_numbers(override: str) -> bool:
    """Whether an override can change a result, and not only where or how it is computed."""
    return parse_override(override).key_or_group.split(".")[0] not in RUNTIME_KEYS


def _of_the_node(override: str) -> bool:
    """Whether an override is for the machine that computes: one that submits jobs needs no GPU."""
    return parse_override(override).key_or_group == "device"


def _as_jobs(options: argparse.Namespace) -> Launch | None:
    """What runs tasks as jobs of a batch system; None where this process runs them itself."""
    if options.launcher == "pool":
        return None
    given = job_options(options)
    user = [o for o in options.overrides if _of_the_node(o)]

    def launch(todo: Sequence[Task]) -> dict[str, str]:
        from reproduce.jobs import run_jobs

        width = options.jobs or (default_jobs(todo) if options.launcher == "submitit_local" else None)
        folder = Path(todo[0].run.results_dir) / "_jobs" / todo[0].artefact / options.scale
        return run_jobs(todo, folder, given, options.scale, width, user, say)

    return launch


def job_options(options: argparse.Namespace) -> JobOptions:
    """What the command says about its jobs, checked."""
    return JobOptions.of(options.launcher, options.job, partition=options.partition, account=options.account)


def _history(artefact: Artefact, options: argparse.Namespace, folder: Path) -> dict[str, float]:
    """What cells took by the report in ``folder``, and else by the committed one of the scale."""
    committed = ROOT / "results" / artefact.paper / artefact.name / options.scale
    return past_seconds(committed) | past_seconds(folder)


def _print_table(table: Table) -> None:
    from tabulate import tabulate

    rendering = table.artefact.render(table)
    print(tabulate([list(r) for r in rendering.body], headers=list(rendering.header), disable_numparse=True))


def _has_bug(folder: Path) -> bool:
    from reproduce.csv_files import read_csv

    return any(cell["vs_reference"] == "BELOW-BOUND" for cell in read_csv(folder / "cells.csv"))
