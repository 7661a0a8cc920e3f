"""Columns, verdicts on the text and the error plot that the artefacts of this paper share."""

from __future__ import annotations

from pipeline.base.numbers.formatting import relative, with_error
from reproduce.artefact import Cell, Column
from reproduce.nf_nqs.judging import relative_ours
from reproduce.tables import Table

OTHERS = (("mps", "MPS"), ("dense-ar", "Dense AR"), ("cnn-ar", "CNN AR"))
"""Columns of the paper beside its own method."""
OURS = (*OTHERS, ("annealed-ar", "annealed AR"))
"""What is run beside NQS+NF: the paper's columns and an autoregressive network that is trained not to collapse."""
SETTINGS = {
    "mps": "nf_nqs/mps",
    "dense-ar": "nf_nqs/dense_ar",
    "cnn-ar": "nf_nqs/cnn_ar",
    "annealed-ar": "nf_nqs/annealed",
}
"""Their recipes."""
AT_10 = {"cnn-ar": "nf_nqs/cnn_ar_small"}
"""Recipes for N = 10, where phases of the others would change the batch that is the paper's own."""
ALONG = (
    *("energy", "variance", "truncation_error", "energy_mean", "energy_min", "floor_mean"),
    *("unique_fraction_mean", "unique_fraction_max", "flow_loss"),
    *("gradient_norm", "acceptance", "r_hat", "lr", "small_energy", "small_variance"),
)
"""Curves that tables and figures keep in ``curves.csv``; how far a flow is from concentrating, the priors ask."""
HEADER = (
    "reference",
    "kind",
    "NQS+NF paper",
    "NQS+NF ours",
    "rel. error",
    "vs paper",
    "spread",
    "union floor",
    "floor rel. error",
    "union states (share)",
    *(f"{name} {what}" for _, name in OTHERS for what in ("paper", "ours", "error", "verdict")),
    "annealed AR ours",
    "annealed AR error",
)
KEYS = 2
"""Columns before :data:`HEADER` that name a line: N, and L or V."""
GROUPS = ("spread", "MPS paper", "Dense AR paper", "CNN AR paper", "annealed AR ours")
BREAKS = tuple(KEYS + HEADER.index(text) for text in GROUPS)
"""Where a table wider than a page is cut."""

CAPTION = (
    "Relative error of the energy to the reference, row by row: our NQS+NF, the lowest energy that the union of our "
    "subspaces allows, the other methods and what the paper prints. "
)


def flow_cell(row: str, physics: tuple[str, ...]) -> Cell:
    """NQS+NF on a system; the union floor comes from the same subspaces."""
    columns = (
        Column("nqs+nf", "energy", "energy"),
        Column("lowest-subspace", "lowest_energy", "energy"),
        Column("subspace-floor", "subspace_floor", "energy"),
        Column("union-floor", "union_floor", "energy"),
        Column("union-floor", "union_size", "union_size"),
        Column("nqs+nf", "unique_fraction", "unique_fraction"),
    )
    return Cell(row, "nqs+nf", physics, columns)


def other_cells(row: str, physics: tuple[str, ...], sizes: tuple[str, ...] = ()) -> list[Cell]:
    """The paper's other methods, and the autoregressive network that does not collapse, each with settings of its own.

    Args:
        sizes: what Section IV.B makes depend on N, at N = 10 for the paper's methods only.
    """
    made = []
    for method, settings in SETTINGS.items():
        columns = (
            Column(method, "energy", "energy"),
            Column(method, "absolute_magnetisation", "absolute_magnetisation"),
        )
        own = method == "annealed-ar" or (sizes and method in AT_10)
        settings = AT_10.get(method, settings) if sizes else settings
        made.append(Cell(row, method, physics if own else physics + sizes, columns, settings=settings))
    return made


def row_cells(row: str, physics: tuple[str, ...]) -> list[Cell]:
    """All methods and the reference of one row."""
    return [flow_cell(row, physics), *other_cells(row, physics), reference_cell(row, physics)]


def reference_cell(row: str, physics: tuple[str, ...]) -> Cell:
    """The most exact baseline for a system."""
    return Cell(row, "reference", physics, (Column("reference", "energy", "energy"),), stages=("baseline",))


def line(table: Table, row: str, n_sites: int) -> list[str]:
    """The cells of one row of a table, in the order of :data:`HEADER`."""
    ours, floor = table.row(row, "nqs+nf"), table.row(row, "union-floor")
    reference = table.reference(row, "energy")
    return [
        with_error(reference.value, reference.sigma, 12) if reference else "–",
        table.reference_kind(row) or "–",
        _printed(table, row, "nqs+nf"),
        with_error(ours.ours, ours.ours_sigma) if ours else "–",
        relative_ours(ours),
        ours.vs_paper if ours else "not-run",
        f"{ours.ours_spread:.2g}" if ours and ours.ours_spread is not None else "–",
        with_error(floor.ours, None) if floor else "–",
        relative(floor.rel_error_ours) if floor else "–",
        union_states(table, row, n_sites),
        *(text for method, _ in OTHERS for text in (_printed(table, row, method), *_other(table, row, method))),
        *_other(table, row, "annealed-ar")[:2],
    ]


def _printed(table: Table, row: str, method: str) -> str:
    number = table.number(row, method)
    return number.shown() if number else "–"


def _other(table: Table, row: str, method: str) -> tuple[str, str, str]:
    """Our energy of a method beside NQS+NF, its relative error, and how it stands to the printed one."""
    ours = table.row(row, method)
    if ours is None or ours.ours is None:
        return "–", "–", ours.vs_paper if ours else "–"
    return with_error(ours.ours, ours.ours_sigma), relative_ours(ours), ours.vs_paper


def union_share(table: Table, row: str, n_sites: int) -> tuple[float, float] | None:
    """Number of different basis states in all subspaces of a run, and its share of all 2^N."""
    size = table.row(row, "union-floor", "union_size")
    return None if size is None or size.ours is None else (size.ours, size.ours / 2.0**n_sites)


def union_states(table: Table, row: str, n_sites: int) -> str:
    """``345 (34 %)``."""
    found = union_share(table, row, n_sites)
    if found is None:
        return "–"
    size, share = found
    return f"{size:.0f} ({100 * share:.0f} %)" if share >= 0.01 else f"{size:.0f} ({share:.0e})"
