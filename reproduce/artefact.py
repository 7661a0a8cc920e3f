"""What a paper's module provides: cells (what to run) and a rendering (how the paper shows it)."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.base.errors import UserError, did_you_mean
from pipeline.base.numbers.result import Curve, Estimate

FOLDER = Path(__file__).resolve().parent
DEFAULT_PAPER = "nf_nqs"


@dataclass(frozen=True)
class Column:
    """One row of ``cells.csv`` that a cell gives.

    Attributes:
        method: column of the paper's table, e.g. ``nqs+nf``.
        estimate: name of the estimate in the run's result.
        quantity: what it is called in ``cells.csv`` and ``published.csv``.
        unit, convention: of an energy, where the paper shows it otherwise than inside the code (total, Pauli matrices).
    """

    method: str
    estimate: str
    quantity: str
    unit: str = "total"
    convention: str = "pauli"


@dataclass(frozen=True)
class Cell:
    """One entry of an artefact.

    Attributes:
        row: which system, e.g. ``N30-L15``; cells of one row share the reference.
        method: how, e.g. ``nqs+nf``, or ``reference``.
        overrides: physics and the swept axis only, never a budget.
        columns: what it contributes to ``cells.csv``.
        seeds: one run each.
        stages: of each run.
        ranks: processes that share one run, as of ``torchrun``, with nothing else at the same time; 1: an ordinary run.
        exclusive: nothing else may run at the same time (timings).
        settings: recipe of the run and of its cuts, as in ``paper=``; None: the main one of the artefact's paper.
        scales: at which it is run, where the values of a swept axis belong to a lattice of that size; empty: at all.
    """

    row: str
    method: str
    overrides: tuple[str, ...]
    columns: tuple[Column, ...]
    seeds: tuple[int, ...] = (0,)
    stages: tuple[str, ...] = ("train", "infer")
    ranks: int = 1
    exclusive: bool = False
    settings: str | None = None
    scales: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """``N30-L15/nqs+nf``."""
        return f"{self.row}/{self.method}"


@dataclass(frozen=True)
class Claim:
    """What the paper says and whether we see it.

    Attributes:
        text: in the paper's words, or in ours.
        verbatim: the text is the paper's own, letter by letter, and stands in quotation marks.
    """

    text: str
    location: str
    seen: str
    evidence: str
    verbatim: bool = False


def quoted(text: str, location: str, seen: str, evidence: str) -> Claim:
    """A claim in the paper's own words."""
    return Claim(text, location, seen, evidence, verbatim=True)


@dataclass(frozen=True)
class ExtraCurve:
    """A curve that a rendering works out from the runs, for ``curves.csv``; the other columns say which run."""

    cell: str
    method: str
    seed: int
    curve: Curve


@dataclass(frozen=True)
class Derived:
    """A number that is worked out from lines of ``cells.csv`` and gets one itself.

    Attributes:
        row, method, quantity: where it stands, as in ``published.csv``.
        estimate: ours, in the unit of the printed number.
        cells: methods of the cells of that row that it comes from.
    """

    row: str
    method: str
    quantity: str
    estimate: Estimate
    cells: tuple[str, ...]


def yes_no(seen: Sequence[bool]) -> str:
    """``yes``, ``no``, ``in k of n`` or ``not run``."""
    if not seen:
        return "not run"
    if all(seen):
        return "yes"
    return "no" if not any(seen) else f"in {sum(seen)} of {len(seen)}"


@dataclass(frozen=True)
class Rendering:
    """How an artefact is shown.

    Attributes:
        header, body: the table in the paper's own layout, ready as text.
        verdict: what a reader with one minute should know, a sentence each, of each of the paper's methods by itself;
            empty: sentences that count agreements and name errors.
        keys: leading columns that name a line, repeated where the table is wider than a page; 0: as many as tell the
            lines apart.
        breaks: columns before which a wide table may be cut; empty: any.
        claims: what the paper's text says about it.
        notes: sentences on where ours and the paper's definitions differ.
        draw: draws the figure on a matplotlib figure's axes, or None.
        caption: of the figure.
        curves: what the figure shows beyond the curves of the runs.
        kept: what ``render`` needs of records and whole curves, as JSON, for rendering anew without them: it stands in
            the manifest and comes back as ``Table.kept``.
    """

    header: Sequence[str]
    body: Sequence[Sequence[str]]
    verdict: Sequence[str] = field(default=(), kw_only=True)
    keys: int = field(default=0, kw_only=True)
    breaks: Sequence[int] = field(default=(), kw_only=True)
    kept: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    claims: Sequence[Claim] = ()
    notes: Sequence[str] = ()
    draw: Callable[[Any], None] | None = None
    figure_size: tuple[float, float] = (7.0, 4.0)
    caption: str = ""
    curves: Sequence[ExtraCurve] = ()


@dataclass(frozen=True)
class Artefact:
    """A table or figure of a paper.

    Attributes:
        paper, name, title: ``nf_nqs``, ``table1`` and what the report is headed with; artefacts that no paper has
            stand in a folder of their own, without a ``published.csv``.
        cells: what it consists of, at every scale unless a cell names its own.
        render: from a :class:`reproduce.tables.Table` of those cells.
        literature: methods whose numbers the paper takes from elsewhere and that are not computed here.
        own: the paper's own methods, whose numbers verdict and index speak of, and what sentences call them; empty:
            that of the first cell.
        checks: methods of cells that test our own references and samplers.
        derived: numbers worked out from the lines of a :class:`reproduce.tables.Table`, printed or not.
        labels: rows in words, where a sentence speaks of them.
        along: metrics of trainings that ``curves.csv`` holds; empty: all.
    """

    paper: str
    name: str
    title: str
    cells: Callable[[], list[Cell]]
    render: Callable[[Any], Rendering]
    literature: tuple[str, ...] = ()
    own: Mapping[str, str] = field(default_factory=dict)
    checks: tuple[str, ...] = ()
    derived: Callable[[Any], Sequence[Derived]] = lambda table: ()
    labels: Mapping[str, str] = field(default_factory=dict)
    along: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """``nf_nqs/table1``."""
        return f"{self.paper}/{self.name}"

    @property
    def methods(self) -> Mapping[str, str]:
        """The paper's own methods by name, with what sentences call them."""
        if self.own:
            return self.own
        first = next((cell.columns[0].method for cell in self.cells() if cell.columns), "")
        return {first: first} if first else {}


def papers() -> list[str]:
    """Folders that hold a ``published.csv``."""
    return sorted(path.parent.name for path in FOLDER.glob("*/published.csv"))


def artefact_names(paper: str) -> list[str]:
    """Artefacts of a paper: its modules that define ``ARTEFACT``."""
    return sorted(
        path.stem for path in (FOLDER / paper).glob("*.py") if "\nARTEFACT = " in path.read_text(encoding="utf-8")
    )


def collections() -> list[str]:
    """Folders that hold artefacts: the papers, then those of our own, which no paper prints."""
    folders = sorted(path.parent.name for path in FOLDER.glob("*/__init__.py"))
    return papers() + [name for name in folders if name not in papers() and artefact_names(name)]


def all_artefacts() -> list[str]:
    """``<paper>/<name>`` of everything that can be reproduced."""
    return [f"{paper}/{name}" for paper in collections() for name in artefact_names(paper)]


def load_artefact(text: str, paper: str | None = None) -> Artefact:
    """The artefact called ``table1``, ``nf_nqs-table1`` or ``nf_nqs/table1``.

    Raises:
        UserError: no such artefact; lists what there is.
    """
    known = all_artefacts()
    name = text.replace("-", "/", 1) if "/" not in text else text
    if "/" not in name:
        name = f"{paper or DEFAULT_PAPER}/{name}"
    if name not in known:
        hint = did_you_mean(name, known)
        shown = f"{text}: no such artefact; have {', '.join(a.replace('/', '-') for a in known)}"
        raise UserError(shown + (f" ({hint})" if hint else ""))
    module = importlib.import_module(f"reproduce.{name.replace('/', '.')}")
    artefact: Artefact = module.ARTEFACT
    return artefact
