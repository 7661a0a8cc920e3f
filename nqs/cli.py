"""``nqs list``: what was run, by system, method, ansatz, sampler, seed, energy, error and command."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from nqs.listing import HEADERS, chosen, lines, row
from nqs.places import folders_of_runs
from pipeline.base.errors import ConfigError
from pipeline.base.run.console import guarded
from pipeline.stages.history import history

NEWEST = 40

EPILOG = """\
examples
  nqs list                                     the newest runs, of all results folders that are seen from here
  nqs list system=chain_tfim ansatz=rbm,mps    those of a system and two ansaetze
  nqs list coupling=0.5 --short                by an amount of the system, without the commands
  nqs list key=d4b5 --json                     everything that is known of a run
"""


def main(arguments: Sequence[str]) -> int:
    """Entry point; returns the exit status."""
    return guarded(lambda: _run(parser().parse_intermixed_args(list(arguments))))


def parser() -> argparse.ArgumentParser:
    """Filters and options."""
    found = argparse.ArgumentParser(
        "nqs list", description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    found.add_argument("filters", nargs="*", metavar="column=value", help="runs of which all of them hold")
    found.add_argument("--results", help="results folder (default: all that are seen from here)")
    found.add_argument("--newest", type=int, default=NEWEST, help=f"most runs to list (default {NEWEST}; 0: all)")
    found.add_argument("--short", action="store_true", help="without the commands")
    found.add_argument("--json", action="store_true", help="a line of JSON a run, for programs")
    return found


def _run(options: argparse.Namespace) -> int:
    if options.newest < 0:
        raise ConfigError("--newest", options.newest, "must be at least 0")
    found = chosen(history(folders_of_runs(options.results)), options.filters)
    shown = found[: options.newest] if options.newest else found
    if options.json:
        for past in shown:
            print(
                json.dumps({name: None if value != value else value for name, value in row(past).items()}, default=str)
            )
        return 0
    from tabulate import tabulate

    width = len(HEADERS) - options.short
    print(tabulate([lines(past)[:width] for past in shown], headers=HEADERS[:width], disable_numparse=True))
    runs = f"{len(found)} run{'' if len(found) == 1 else 's'}"
    print(f"{len(shown)} of {runs}" if len(shown) < len(found) else runs, file=sys.stderr)
    return 0
