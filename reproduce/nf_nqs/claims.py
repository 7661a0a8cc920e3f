"""What the text of this paper claims about its tables and figures, judged by our numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pipeline.base.numbers.formatting import with_error
from pipeline.spin.lattice import chain_bonds
from reproduce.artefact import Claim, quoted
from reproduce.nf_nqs.judging import (
    Number,
    Seen,
    below,
    judged,
    lowest,
    not_above,
    of_text,
    ours,
    printed,
    relative_ours,
    relative_printed,
    relative_sigma,
    with_relative_error,
)
from reproduce.tables import Table

AUTOREGRESSIVE = (("dense-ar", "Dense AR"), ("cnn-ar", "CNN AR"))
ANNEALED = ("annealed-ar", "annealed AR")
OTHERS = (("mps", "MPS"), *AUTOREGRESSIVE)
"""What the paper compares its method with."""
SHARE_LEFT = 0.1
"""Part of the energy below the aligned states that a collapsed state may have: amplitudes of flipped spins that no
sample shows any more, but that local energies still contain."""
ENUMERATION = "QuSpin ED"
"""Kind of reference that visits every basis state."""
ALIGNED_WITHIN = 1e-3
"""Largest 1 - |m| of a collapsed state: a few of a thousand samples may have one spin flipped."""


def error(table: Table, row: str, method: str = "nqs+nf") -> float | None:
    """Our relative error."""
    found = table.row(row, method)
    return found.rel_error_ours if found else None


def error_sigma(table: Table, row: str, method: str = "nqs+nf") -> float | None:
    """Standard error of our relative error; None where it is unknown."""
    found = table.row(row, method)
    return relative_sigma(found, found.ours_sigma) if found else None


def robust_at_full_range(table: Table, rows: Sequence[str]) -> Claim:
    """Seen where our error is not above the one that the paper itself printed for its method."""
    seen: list[Seen] = []
    evidence = []
    for name in rows:
        mine, theirs = ours(table, name, "nqs+nf"), printed(table, name, "nqs+nf")
        found = table.row(name, "nqs+nf")
        if mine is None or theirs is None or found is None or found.rel_error_published is None:
            continue
        seen.append(not_above(mine, theirs))
        evidence.append(f"{name} {relative_ours(found)} / {relative_printed(table, found)}")
    return quoted(
        "our NF+NQS method maintained robust performance in strongly entangled regimes (fully connected, L = N/2)",
        "Section IV.C",
        judged(seen),
        "relative error of ours / of the paper's: "
        + "; ".join(evidence)
        + " (seen if ours is not the larger one by more than two combined errors and rounding)",
    )


def comparable_with_mps(table: Table, rows: Sequence[str]) -> Claim:
    """The paper gives "comparable" no number: seen within errors or lower, and its own table by the same measure."""
    seen, paper, evidence = [], [], []
    for name in rows:
        mine, mps = table.row(name, "nqs+nf"), table.row(name, "mps")
        numbers = ours(table, name, "nqs+nf"), printed(table, name, "nqs+nf"), printed(table, name, "mps")
        if None in numbers or mine is None or mps is None or mps.rel_error_published is None:
            continue
        seen.append(not_above(numbers[0], numbers[2]))
        paper.append(not_above(numbers[1], numbers[2]))
        evidence.append(f"{name} {relative_ours(mine)} / {relative_printed(table, mps)}")
    return quoted(
        "comparable ground state energy errors with state-of-the-art matrix product states",
        "abstract",
        judged(seen),
        f"relative error of ours / of the printed MPS: {'; '.join(evidence)} (seen if not above it by more than two "
        f"combined errors and rounding; the paper's own NQS+NF: {judged(paper)})",
    )


def below_mps(table: Table, rows: Sequence[str]) -> Claim:
    """The introduction says more than the abstract."""
    pairs = [(name, printed(table, name, "mps")) for name in rows]
    seen = [below(mine, mps) for name, mps in pairs if (mine := ours(table, name, "nqs+nf")) and mps]
    paper = [below(printed(table, name, "nqs+nf"), mps) for name, mps in pairs if mps]
    return quoted(
        "consistently achieves lower ground state energy errors than matrix product states",
        "Section I",
        judged(seen),
        "our energies against the printed MPS, by more than two combined errors and rounding; the paper's own: "
        + judged(paper),
    )


def together(found: Sequence[Seen]) -> Seen:
    """Whether all hold."""
    return False if False in found else None if None in found else True


def below_autoregressive(table: Table, rows: Sequence[str]) -> Claim:
    """Seen where ours is below the printed autoregressive energies and below our own ones."""
    against: dict[str, list[Seen]] = {"printed": [], "ours": [], "annealed": [], "paper": []}
    both: list[Seen] = []
    higher = []
    for name in rows:
        mine = ours(table, name, "nqs+nf", "NQS+NF")
        theirs = lowest([printed(table, name, method, label) for method, label in AUTOREGRESSIVE])
        made = lowest([ours(table, name, method, label) for method, label in AUTOREGRESSIVE])
        annealed = ours(table, name, *ANNEALED)
        if mine is None or (theirs is None and made is None):
            continue
        found = [below(mine, other) for other in (theirs, made) if other]
        both.append(together(found))
        against["printed"] += [below(mine, theirs)] if theirs else []
        against["paper"] += [below(printed(table, name, "nqs+nf"), theirs)] if theirs else []
        against["ours"] += [below(mine, made)] if made else []
        against["annealed"] += [below(mine, annealed)] if annealed else []
        if made and below(mine, made) is False:
            higher.append(f"{name}: {made.shown()} against {mine.shown()}")
    listed = f" (not {', '.join(higher)})" if higher else ""
    return quoted(
        "lower energies than autoregressive NQS",
        "abstract",
        judged(both),
        f"ours lower than the printed Dense AR and CNN AR: {judged(against['printed'])}; lower than our own: "
        f"{judged(against['ours'])}{listed}; lower than annealed AR, which is ours alone and does not collapse: "
        f"{judged(against['annealed'])}; in the paper's own table: {judged(against['paper'])} (seen if lower than the "
        "printed and than our own by more than two combined errors and rounding)",
    )


def falling(
    text: str,
    where: str,
    axis: str,
    series: Mapping[str, Sequence[str]],
    table: Table,
    all_up: Mapping[str, float],
) -> Claim:
    """Seen, series by series, where the error falls from the first to the last point by more than two of its errors.

    Args:
        series: rows in the order of increasing ``axis``, by name.
        all_up: energy of the all-up state, by row: relative errors of a state that learnt nothing fall as well.
    """
    seen: list[Seen] = []
    evidence = []
    for name, rows in series.items():
        errors = [abs(e) for row in rows if (e := error(table, row)) is not None]
        if len(errors) < len(rows):
            continue
        sigmas = [error_sigma(table, row) for row in (rows[0], rows[-1])]
        first, last = (Number(e, s, name) for e, s in zip((errors[0], errors[-1]), sigmas, strict=True))
        seen.append(below(last, first))
        aligned = [_aligned_error(table, row, all_up[row]) for row in rows]
        shown = [
            with_relative_error(e, error_sigma(table, row)).lstrip("+") for e, row in zip(errors, rows, strict=True)
        ]
        evidence.append(f"{name}: " + ", ".join(f"{e} [{a:.1e}]" for e, a in zip(shown, aligned, strict=True)))
    return quoted(
        text,
        where,
        judged(seen),
        f"our relative errors for increasing {axis}, in square brackets those of the all-up state, which fall by "
        "themselves: " + "; ".join(evidence),
    )


def _aligned_error(table: Table, row: str, aligned: float) -> float:
    reference = table.reference(row, "energy")
    return float("nan") if reference is None else (aligned - reference.value) / abs(reference.value)


def autoregressive_collapse(table: Table, all_up: Mapping[str, float]) -> Claim:
    """Seen where our runs of the paper's networks collapsed; the printed numbers are compared beside them.

    Args:
        all_up: -V times the number of bonds, by row.
    """
    seen: list[Seen] = []
    evidence = []
    for method, name in (*AUTOREGRESSIVE, ANNEALED):
        states = {row: collapsed(table, row, method, all_up[row]) for row in all_up if ours(table, row, method)}
        if states:
            seen += list(states.values()) if (method, name) != ANNEALED else []
            escaped = [row for row, state in states.items() if state is False]
            count = sum(state is True for state in states.values())
            evidence.append(
                f"our {name}{_cut(table, method)} collapsed in {count} of {len(states)}"
                + (f" (not {', '.join(escaped)})" if escaped and count else "")
            )
    return quoted(
        "CNN-AR and Dense-AR consistently became trapped predicting trivial configurations (all-up or all-down states)",
        "Section IV.C",
        judged(seen),
        "; ".join([*(evidence or ["no run of ours"]), _printed_collapse(table, all_up)])
        + f" (collapsed: 1 − |m| < {ALIGNED_WITHIN:g} and, within its error, at most a tenth of the energy that the "
        f"reference gains on the aligned states; that it takes ∼{of_text('updates_until_collapse', 'dense-ar').text} "
        "updates is not judged: |m| is of fresh samples after training, along it only energies are kept)",
    )


def _cut(table: Table, method: str) -> str:
    """``, cut,`` where runs of a method do not have the paper's settings."""
    cut = any(done.task.cuts for done in table.finished if done.task.cell.method == method)
    return ", cut," if cut and method != ANNEALED[0] else ""


def collapsed(table: Table, row: str, method: str, aligned: float) -> bool | None:
    """Whether our state is all-up, all-down or a mixture of the two; None without a run or a reference.

    It is where its energy differs from ``aligned`` by no more than three standard errors and :data:`SHARE_LEFT` of what
    the reference lies below, and 1 - |m|, m = Σ σz/N, is below :data:`ALIGNED_WITHIN`.
    """
    energy, magnetisation = table.row(row, method), table.row(row, method, "absolute_magnetisation")
    reference = table.reference(row, "energy")
    if energy is None or energy.ours is None or magnetisation is None or magnetisation.ours is None:
        return None
    if reference is None:
        return None
    # where all samples are the same their error is unknown, and they are what is looked for
    tolerance = 3 * (energy.ours_sigma or 0.0) + SHARE_LEFT * (aligned - reference.value)
    return abs(energy.ours - aligned) <= tolerance and 1 - magnetisation.ours < ALIGNED_WITHIN


def _printed_collapse(table: Table, all_up: Mapping[str, float]) -> str:
    """How many of the printed energies are those of the all-up state."""
    numbers = [n for name in all_up for m, _ in AUTOREGRESSIVE if (n := table.number(name, m))]
    other = [n for n in numbers if abs(n.value - all_up[n.cell]) > n.half_last_digit]
    listed = ", ".join(f"{n.cell} {n.method} {n.text}" for n in other)
    return (
        f"{len(numbers) - len(other)} of {len(numbers)} printed energies are that of the all-up state, the others are "
        f"higher: {listed or 'none'}"
    )


def all_up_energy(n: int, length: int, strength: float) -> float:
    """⟨↑…↑|H|↑…↑⟩ of a ring: -V times the number of bonds."""
    return -strength * len(chain_bonds(n, length))


def beyond_aligned_states(table: Table, all_up: dict[str, float]) -> Claim:
    """Seen where our energy lies below that of the aligned states, and is no higher than the paper's, by its errors.

    A small part of what lies below the aligned states is not "correctly": the paper's own part is the measure of it.

    Args:
        all_up: energy of the all-up state, by row.
    """
    seen: list[Seen] = []
    evidence = []
    for name, aligned in all_up.items():
        mine, reference = ours(table, name, "nqs+nf"), table.reference(name, "energy")
        if mine is None or reference is None:
            continue
        theirs, gap = printed(table, name, "nqs+nf"), aligned - reference.value
        found = [below(mine, Number(aligned, 0.0, "all up")), *([not_above(mine, theirs)] if theirs else [])]
        seen.append(together(found))
        shares = [
            _share((aligned - n.value) / gap, math.hypot(n.sigma or 0.0, n.rounding) / gap) for n in (mine, theirs) if n
        ]
        evidence.append(f"{name} {' / '.join(shares)} %")
    return quoted(
        "one needs to consider different basis states beyond these two, and we find our algorithm can learn to sample "
        "such states correctly",
        "Section IV.C",
        judged(seen),
        "share of the energy between the all-up state and the reference that ours / the paper's recovers: "
        + "; ".join(evidence)
        + " (seen if positive and not below the paper's, each by two combined errors and rounding)",
    )


def _share(part: float, sigma: float) -> str:
    """``75.8(1)`` or ``78(12)``, per cent."""
    percent, error = 100 * part, 100 * sigma
    return f"{percent:.0f}({error:.0f})" if error >= 1 else with_error(percent, error, 3)


def no_exact_values(table: Table, rows: Sequence[str]) -> Claim:
    """The paper reports large systems without a reference; ours says which rows have one, and from where."""
    kinds = {name: kind for name in rows if (kind := table.reference_kind(name))}
    by_kind = {kind: [name for name in kinds if kinds[name] == kind] for kind in dict.fromkeys(kinds.values())}
    return Claim(
        "for larger system sizes (N = 30, 40, 50) ED became infeasible",
        "Section IV.C",
        judged([kind != ENUMERATION for kind in kinds.values()]),
        "none of our references enumerates the 2^N states; energies to compare with exist nevertheless, "
        + "; ".join(f"by {kind} ({', '.join(rows)})" for kind, rows in by_kind.items()),
    )


def across(table: Table, text: str, where: str, rows: Mapping[str, Sequence[str]], percent: float) -> Claim:
    """Seen, point by point, where our error is below ``percent`` by more than two of its errors.

    Args:
        rows: names of rows by regime, e.g. ``short (L = 1)``.
    """
    seen: list[Seen] = []
    evidence = []
    for regime, names in rows.items():
        found = [(abs(e), error_sigma(table, name)) for name in names if (e := error(table, name)) is not None]
        seen += [below(Number(100 * e, None if s is None else 100 * s, ""), Number(percent, 0.0, "")) for e, s in found]
        if found:
            shown = [with_error(100 * e, None if s is None else 100 * s, 2) for e, s in found]
            evidence.append(f"{regime}: " + ", ".join(f"{text} %" for text in shown))
    return Claim(text, where, judged(seen), "; ".join(evidence) + f" (seen if below {percent:g} %)")


def competitive(table: Table, text: str, where: str, rows: Mapping[str, Sequence[str]]) -> Claim:
    """Seen, point by point, where none of the other methods of the paper is lower by more than two combined errors.

    No state lies below the exact energy: an estimate that does counts as the exact energy, with its own error.

    Args:
        rows: names of rows by regime, e.g. ``short (L = 1)``.
    """
    seen: list[Seen] = []
    evidence = []
    for regime, names in rows.items():
        shown = []
        for name in names:
            mine, best = ours(table, name, "nqs+nf"), lowest(others := _others(table, name))
            if mine is None or best is None:
                continue
            lower = [below(other, mine) for other in others]
            seen.append(False if True in lower else not_above(mine, best))
            error_of = {other: relative_ours(table.row(name, method)) for method, other in OTHERS}
            shown.append(f"{relative_ours(table.row(name, 'nqs+nf'))} / {error_of[best.name]} ({best.name})")
        if shown:
            evidence.append(f"{regime}: {', '.join(shown)}")
    return Claim(
        text,
        where,
        judged(seen),
        "relative error of our NQS+NF / of the lowest of our MPS, Dense AR and CNN AR (the paper prints no numbers of "
        f"these points): {'; '.join(evidence) or '–'} (seen where none of the three is lower by more than two combined "
        "errors)",
    )


def _others(table: Table, row: str) -> list[Number]:
    """Our energies of the paper's other methods, none of them below the reference."""
    found = [number for method, name in OTHERS if (number := ours(table, row, method, name))]
    reference = table.reference(row, "energy")
    return [replace(n, value=max(n.value, reference.value)) for n in found] if reference else found
