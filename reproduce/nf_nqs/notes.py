"""Sentences on what our numbers are, and on where they and the paper's are not the same thing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from pipeline.analysis.verdict import AGREEMENT_SIGMAS
from pipeline.base.numbers.formatting import with_error
from reproduce.nf_nqs.judging import Number, of_text, ours, printed
from reproduce.nf_nqs.shared import OTHERS, OURS, union_share
from reproduce.tables import Table

LARGE_SHARE = 0.1
"""Of all basis states: where a union holds more, its floor says little about a flow."""
METHODS = dict(OURS) | {"nqs+nf": "NQS+NF"}
MIXED = 1.1
"""R-hat above which chains that started apart are not said to sample one distribution."""


def notes(table: Table, sizes: Sequence[tuple[str, int]]) -> list[str]:
    """Conventions, cuts of the other methods, chains, and printed numbers below an exact reference.

    Args:
        sizes: rows with their number of sites.
    """
    units = of_text("subspaces_averaged").text
    return [
        f"Energies are totals in the Pauli convention. The paper's ± is the standard deviation over {units} subspaces, "
        f"our `spread`: as an error of the mean it counts ±/√{units}, and the rounding of the last digit.",
        one_flow(table),
        "NQS+NF, subspace floor and union floor are exact Rayleigh quotients in closed subspaces, hence upper bounds.",
        *_large_unions(table, sizes),
        *_settings(table),
        *_chains(table),
        *_said(table),
        *_below_the_reference(table),
    ]


def trainings(table: Table) -> str:
    """``one training a system``, or how many."""
    seeds = _seeds(table)
    return "one training a system" if seeds == 1 else f"{seeds} trainings a system"


def _seeds(table: Table) -> int:
    """Fewest seeds of any energy of NQS+NF; 1 where there is none."""
    flows = [row for row in table.rows if (row.method, row.quantity) == ("nqs+nf", "energy") and row.ours is not None]
    return min((row.seeds for row in flows), default=1)


def one_flow(table: Table) -> str:
    """What the error of NQS+NF does not hold, or that it is over seeds."""
    seeds = _seeds(table)
    if seeds > 1:
        return f"Errors of NQS+NF are over {seeds} trainings, each with a seed of its own."
    return (
        "Brackets and whiskers of NQS+NF are over fresh subspaces of one trained flow, as the paper's are: how far "
        "another training (another seed) would land is not in them, so that a difference of a few σ between two of our "
        "rows, or to the paper, may be no more than that. Those of the other methods are over samples of one training, "
        "too: of MPS and of the autoregressive networks another seed, or another rounding, may end elsewhere."
    )


def _large_unions(table: Table, sizes: Sequence[tuple[str, int]]) -> Iterator[str]:
    """Where a union floor is low because the union is a large part of everything."""
    shares = {
        (row, n): share
        for row, n in sizes
        if (found := union_share(table, row, n)) and (share := found[1]) > LARGE_SHARE
    }
    if shares:
        largest = max(n for _, n in shares)
        low, high = min(shares.values()), max(shares.values())
        yield (
            f"The union of the subspaces holds {100 * low:.0f} to {100 * high:.0f} % of all 2^N basis states up to "
            f"N = {largest}: that its floor is close to the exact energy there is no merit of the flow."
        )


def _settings(table: Table) -> Iterator[str]:
    """Whose code the other columns are, and which of them have the paper's settings."""
    cut = {method: _cuts(table, method) for method, _ in OTHERS}
    shortened = [f"{name} ({', '.join(cut[method])})" for method, name in OTHERS if cut[method]]
    whole = [name for method, name in OTHERS if not cut[method]]
    text = "MPS, Dense AR and CNN AR are our implementations, not NetKet's, "
    if not shortened:
        text += "with the paper's settings"
    else:
        text += f"cut against the paper here: {'; '.join(shortened)}"
        text += f"; {' and '.join(whole)} with the paper's settings" if whole else ""
    yield (
        f"{text}. Annealed AR is ours alone: a convolutional autoregressive network, averaged over the spin flip, that "
        "follows a field lowered in steps."
    )


def _cuts(table: Table, method: str) -> list[str]:
    """Settings in which any run of a method differs from the paper's, each once."""
    found = [cut for done in table.finished if done.task.cell.method == method for cut in done.task.cuts]
    return list(dict.fromkeys(cut.split(": ")[0] for cut in found if not cut.startswith("system.")))


def _chains(table: Table) -> Iterator[str]:
    """Markov chains of the matrix product states that do not agree with each other."""
    apart = []
    for done in table.finished:
        found = next((e.value for e in done.result.estimates if e.name == "r_hat"), None) if done.result else None
        if found is not None and found > MIXED:
            apart.append(f"{done.task.cell.row} {found:.2f}")
    if apart:
        yield (
            f"Chains of our MPS disagree (R-hat of the energy above {MIXED:g}), so that their errors are too small, at "
            f"{', '.join(apart)}."
        )


def _said(table: Table) -> list[str]:
    """What the runs themselves say about the smoothing (one sentence a system size)."""
    flows = [done for done in table.finished if done.task.cell.method == "nqs+nf" and done.found.trained]
    return list(dict.fromkeys(note for done in flows if done.result for note in done.result.notes))


def _below_the_reference(table: Table) -> Iterator[str]:
    """Energies, printed and ours, that lie below the reference by more than chance explains."""
    found = []
    for row in table.rows:
        if row.quantity != "energy" or row.reference is None or row.method == "reference":
            continue
        reference = Number(row.reference, row.reference_sigma, row.reference_kind)
        numbers = printed(table, row.cell, row.method, "the printed"), ours(table, row.cell, row.method, "our")
        for number in numbers:
            if number and (sigmas := _sigmas_below(number, reference)) > AGREEMENT_SIGMAS:
                name = METHODS.get(row.method, row.method)
                energy = with_error(number.value, number.sigma)
                found.append(f"{number.name} {name} at {row.cell}, {energy}, by {sigmas:.1f} σ")
    if found:
        yield (
            f"Energies below the reference by more than {AGREEMENT_SIGMAS:g} σ and rounding, printed and ours alike, "
            f"which no state has: chance, or a Monte Carlo error that is too small: {'; '.join(found)}."
        )


def _sigmas_below(number: Number, reference: Number) -> float:
    """How far below the reference a number surely is, in combined errors; 0 where its error is unknown."""
    sigma = math.hypot(number.sigma or 0.0, reference.sigma or 0.0)
    distance = reference.value - number.value - number.rounding
    return distance / sigma if number.sigma and distance > 0 else 0.0
