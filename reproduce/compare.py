"""``make compare``: numbers of reports against those of another commit or machine, number by number."""

from __future__ import annotations

import argparse
import csv
import io
import math
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.base.config.checks import one_of
from pipeline.base.config.nodes import SCALES
from pipeline.base.errors import UserError
from pipeline.base.numbers.formatting import relative, with_error
from pipeline.base.run.console import guarded
from reproduce.artefact import load_artefact
from reproduce.csv_files import parse_csv, read_csv

CELLS = "cells.csv"
TEXTS = ("cell", "method", "quantity", "unit", "cuts", "run_keys")
NUMBERS = ("ours", "ours_sigma", "rel_error_ours")
SAME, NEAR, FAR, APART, UNKNOWN, OTHER, HERE, THERE = KINDS = (
    "same digits",
    "within 2 σ",
    "2 to 3 σ",
    "beyond 3 σ",
    "no error",
    "other settings",
    "only here",
    "only there",
)
"""What a number is beside the other one; columns of the table."""
MOST = 20

SAYS = """\
σ is that of both numbers together, from samples of one trained state. Samples drawn anew from the same state are
within 2 σ 95 times in 100; a training that rounds otherwise (another processor, library or number of threads) may
end in another state, further away than its σ says. Spreads over seeds are in the reports."""
HEAD = ("artefact", *("cell", "method", "quantity"), *("there", "here", "difference / σ", "error there", "error here"))

Line = Mapping[str, str]
Where = tuple[str, str, str]


@dataclass(frozen=True)
class Pair:
    """A number in one report and in another one.

    Attributes:
        where: cell, method and quantity.
        here, there: lines of ``cells.csv``; None where a report does not have the number.
    """

    where: Where
    here: Line | None
    there: Line | None

    @property
    def sigmas(self) -> float | None:
        """Difference in units of both errors together; None where one of the errors is unknown or zero."""
        if not self.here or not self.there:
            return None
        errors = [_number(line["ours_sigma"]) for line in (self.here, self.there)]
        values = [_number(line["ours"]) for line in (self.here, self.there)]
        if not all(errors) or None in values:
            return None
        return (values[0] - values[1]) / math.hypot(*errors)  # type: ignore[operator,arg-type]

    @property
    def _other_settings(self) -> bool:
        """Keys of runs are those of their settings; where code has changed since, it is what is cut that tells."""
        here, there = self.here or {}, self.there or {}
        equal = {name: here.get(name) == there.get(name) for name in ("unit", "run_keys", "cuts")}
        return not (equal["unit"] and (equal["run_keys"] or equal["cuts"]))

    @property
    def kind(self) -> str:
        """One of :data:`KINDS`."""
        if self.here is None or self.there is None:
            return THERE if self.here is None else HERE
        if self._other_settings:
            return OTHER
        if _number(self.here["ours"]) == _number(self.there["ours"]):
            return SAME
        size = self.sigmas
        if size is None:
            return UNKNOWN
        return NEAR if abs(size) <= 2 else FAR if abs(size) <= 3 else APART


def main(arguments: Sequence[str]) -> int:
    """Entry point; returns 0 whatever the numbers are, 2 for bad input."""
    return guarded(lambda: _run(list(arguments)))


def _run(words: list[str]) -> int:
    parser = argparse.ArgumentParser("make compare", description=__doc__)
    parser.add_argument("artefact", nargs="*", help="as for make reproduce-NAME (default: all that have a report)")
    parser.add_argument("--paper", help="paper of an artefact given by its short name")
    parser.add_argument("--scale", default="laptop", help=", ".join(SCALES))
    parser.add_argument("--against", default="HEAD", help="a commit, a results folder or a clone (default: HEAD)")
    parser.add_argument("--results", default="results", help="results_dir (default: results)")
    parser.add_argument("--most", type=int, default=MOST, help=f"as many are listed, 0: all (default: {MOST})")
    options = parser.parse_args(words)
    one_of("--scale", options.scale, SCALES)
    if options.most < 0:
        raise UserError(f"--most {options.most}: must be 0 or more")
    results = Path(options.results)
    names = [load_artefact(name, options.paper).id for name in options.artefact if name != "all"]
    there = Other(options.against, results)
    found: dict[str, list[Pair]] = {}
    for name in names or _written(results, options.scale):
        here, old = _here(results / name / options.scale / CELLS), there.lines(f"{name}/{options.scale}/{CELLS}")
        if here is None and names:
            raise UserError(f"{name} has no report of scale {options.scale} in {results}")
        if here is not None:
            found[name] = list(pairs(here, old or []))
    if not found:
        raise UserError(f"no report of scale {options.scale} in {results}")
    print(page(found, f"{results}, scale {options.scale}, against {there.name}", options.most))
    return 0


def _written(results: Path, scale: str) -> list[str]:
    return sorted(
        str(path.parents[1].relative_to(results))
        for path in results.glob(f"*/*/{scale}/{CELLS}")
        if not path.relative_to(results).parts[0].startswith("_")
    )


def _here(path: Path) -> list[dict[str, str]] | None:
    """Lines of a file, None where there is none.

    Raises:
        UserError: it cannot be read.
    """
    if not path.exists():
        return None
    try:
        return _checked(read_csv(path))
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path} cannot be read: {error}") from error


def _checked(lines: list[dict[str, str]]) -> list[dict[str, str]]:
    """Lines with the columns and numbers that are used here.

    Raises:
        ValueError: they are not there, or no numbers.
    """
    missing = [name for line in lines[:1] for name in (*TEXTS, *NUMBERS) if name not in line]
    if missing:
        raise ValueError(f"it has no column {missing[0]}")
    for line in lines:
        for name in NUMBERS:
            _number(line[name])
    return lines


class Other:
    """Reports on the other side: of a commit, of another results folder or of another clone.

    Raises:
        UserError: it is none of them.
    """

    def __init__(self, text: str, results: Path) -> None:
        self.name, self._results = text, results
        self._folder = next((p for p in (Path(text) / "results", Path(text)) if p.is_dir()), None)
        if self._folder is None and _git(results, "rev-parse", "--verify", "--quiet", f"{text}^{{commit}}") is None:
            raise UserError(f"--against {text}: neither a folder nor a commit of the repository around {results}")

    def lines(self, path: str) -> list[dict[str, str]] | None:
        """Lines of a file below the results folder; None where the other side does not have it."""
        if self._folder is not None:
            return _here(self._folder / path)
        text = _git(self._results, "show", f"{self.name}:./{path}")
        if text is None:
            return None
        try:
            return _checked(parse_csv(io.StringIO(text, newline=""), path))
        except (ValueError, csv.Error) as error:
            raise UserError(f"{path} of {self.name} cannot be read: {error}") from error


def _git(folder: Path, *arguments: str) -> str | None:
    """What git says in ``folder``; None where it fails or is not there."""
    command = ["git", "-C", str(folder), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, encoding="utf-8", timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        return None


def pairs(here: Sequence[Line], there: Sequence[Line]) -> Iterator[Pair]:
    """Numbers of two reports side by side, in the order of the first; what only the second has comes last."""
    mine, other = _computed(here), _computed(there)
    for where in (*mine, *(w for w in other if w not in mine)):
        yield Pair(where, mine.get(where), other.get(where))


def _computed(lines: Sequence[Line]) -> dict[Where, Line]:
    return {(n["cell"], n["method"], n["quantity"]): n for n in lines if n["ours"]}


def page(found: Mapping[str, Sequence[Pair]], title: str, most: int = MOST) -> str:
    """Counts of each artefact and the numbers that moved furthest.

    Args:
        most: as many of them are listed, 0: all.
    """
    from tabulate import tabulate

    body = [[name, *_counts(pairs)] for name, pairs in found.items()]
    every = [pair for pairs in found.values() for pair in pairs]
    body += [["all", *_counts(every)]] if len(found) > 1 else []
    parts = [title, "", tabulate(body, headers=["artefact", *KINDS], tablefmt="simple"), "", SAYS]
    apart = [(name, pair) for name, pairs in found.items() for pair in pairs if pair.kind == APART]
    apart.sort(key=lambda one: -abs(one[1].sigmas or 0.0))
    if apart:
        shown = apart[: most or None]
        left = len(apart) - len(shown)
        rows = [[name, *_row(pair)] for name, pair in shown]
        parts += ["", tabulate(rows, headers=HEAD, disable_numparse=True)]
        parts += [f"and {left} more: ARGS='--most 0' lists them"] if left else []
    return "\n".join(parts)


def _counts(pairs: Sequence[Pair]) -> list[int]:
    kinds = [pair.kind for pair in pairs]
    return [kinds.count(kind) for kind in KINDS]


def _row(pair: Pair) -> list[str]:
    """Values with errors, and errors relative to the exact reference where there is one."""
    both = [line for line in (pair.there, pair.here) if line is not None]
    values = [with_error(_number(line["ours"]), _number(line["ours_sigma"])) for line in both]
    errors = [relative(_number(line["rel_error_ours"])) for line in both]
    return [*pair.where, *values, f"{pair.sigmas:+.1f}", *errors]


def _number(text: str) -> float | None:
    return float(text) if text else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
