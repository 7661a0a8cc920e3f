"""What the text of this paper claims about its tables and figures, judged by our numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reproduce.artefact import Claim, yes_no
from reproduce.tables import Table

AUTOREGRESSIVE = (("dense-ar", "Dense AR"), ("cnn-ar", "CNN AR"))
ANNEALED = ("annealed-ar", "annealed AR")
SHARE_LEFT = 0.1
"""Part of the energy below the aligned states that a collapsed state may have: amplitudes of flipped spins that no
sample shows any more, but that local energies still contain."""
ALIGNED_WITHIN = 1e-3
"""Largest 1 - |m| of a collapsed state: a few of a thousand samples may have one spin flipped."""


def error(table: Table, row: str, method: str = "nqs+nf") -> float | None:
    """Our relative error."""
    found = table.row(row, method)
    return found.rel_error_ours if found else None


def robust_at_full_range(table: Table, rows: Sequence[str]) -> Claim:
    """Seen where our error is below a tenth of that of the collapsed states that the autoregressive columns print."""
    seen, evidence = [], []
    for name in rows:
        ours = error(table, name)
        collapsed = [r.rel_error_published for m in ("dense-ar", "cnn-ar") if (r := table.row(name, m))]
        best = min((abs(e) for e in collapsed if e is not None), default=None)
        if ours is not None and best is not None:
            seen.append(abs(ours) < 0.1 * best)
            evidence.append(f"{name} {ours:.1e} against {best:.1e}")
    return Claim(
        "NF+NQS maintained robust performance in strongly entangled regimes (fully connected, L = N/2)",
        "Section IV.C",
        yes_no(seen),
        "ours against the collapsed product state: " + "; ".join(evidence) + " (seen if a tenth or less)",
    )


def comparable_with_mps(table: Table, rows: Sequence[str]) -> Claim:
    seen, evidence = [], []
    for name in rows:
        ours, mps = error(table, name), table.row(name, "mps")
        if ours is not None and mps is not None and mps.rel_error_published is not None:
            seen.append(abs(ours) <= max(2 * abs(mps.rel_error_published), 1e-4))
            evidence.append(f"{name} {ours:.1e} / {mps.rel_error_published:+.1e}")
    return Claim(
        "comparable ground state energy errors with state-of-the-art matrix product states",
        "abstract",
        yes_no(seen),
        "ours / printed MPS: " + "; ".join(evidence) + " (seen if within a factor 2, or below 1e-4)",
    )


def below_autoregressive(table: Table, rows: Sequence[str]) -> Claim:
    seen, paper = [], []
    for name in rows:
        numbers = [table.number(name, m) for m in ("dense-ar", "cnn-ar")]
        lowest = min((n.value for n in numbers if n), default=None)
        ours, printed = table.row(name, "nqs+nf"), table.number(name, "nqs+nf")
        if lowest is not None and ours and ours.ours is not None:
            seen.append(ours.ours < lowest)
        if lowest is not None and printed:
            paper.append(printed.value < lowest)
    return Claim(
        "lower energies than autoregressive NQS",
        "abstract",
        yes_no(seen),
        f"our energies against the printed autoregressive ones; in the paper's own table: {yes_no(paper)}",
    )


def falling(text: str, where: str, axis: str, series: Mapping[str, Sequence[float | None]]) -> Claim:
    """Seen, series by series, where the error falls from the first to the last point.

    Args:
        series: relative errors in the order of increasing ``axis``, by name.
    """
    seen, evidence = [], []
    for name, errors in series.items():
        values = [abs(e) for e in errors if e is not None]
        if len(values) == len(errors):
            seen.append(values[-1] < values[0])
            evidence.append(f"{name}: " + ", ".join(f"{e:.1e}" for e in values))
    return Claim(text, where, yes_no(seen), f"our relative errors for increasing {axis}: " + "; ".join(evidence))


def autoregressive_collapse(table: Table, all_up: Mapping[str, float]) -> Claim:
    """Seen where our runs with the paper's settings collapsed; the printed numbers are compared beside them.

    Args:
        all_up: -V times the number of bonds, by row.
    """
    seen, evidence = [], []
    for method, name in (*AUTOREGRESSIVE, ANNEALED):
        states = {row: state for row in all_up if (state := collapsed(table, row, method, all_up[row])) is not None}
        if states:
            seen += list(states.values()) if (method, name) != ANNEALED else []
            escaped = ", ".join(row for row, state in states.items() if not state)
            evidence.append(
                f"our {name} collapsed in {sum(states.values())} of {len(states)}"
                + (f" (not {escaped})" if escaped and any(states.values()) else "")
            )
    return Claim(
        "CNN-AR and Dense-AR consistently became trapped predicting trivial configurations (all-up or all-down)",
        "Section IV.C",
        yes_no(seen),
        "; ".join([*(evidence or ["no run of ours"]), _printed_collapse(table, all_up)])
        + " (collapsed: |m| = 1 and, within its error, at most a tenth of the energy that the reference gains on the "
        "aligned states)",
    )


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


def all_up_energy(bonds: int, strength: float) -> float:
    """⟨↑…↑|H|↑…↑⟩ = -V times the number of bonds."""
    return -strength * bonds


def beyond_aligned_states(table: Table, all_up: dict[str, float]) -> Claim:
    """Seen where our energy lies below that of the aligned states, by more than its error.

    Args:
        all_up: energy of the all-up state, by row.
    """
    seen, evidence = [], []
    for name, aligned in all_up.items():
        ours, reference = table.row(name, "nqs+nf"), table.reference(name, "energy")
        if ours is None or ours.ours is None or reference is None:
            continue
        seen.append(ours.ours < aligned - 3 * (ours.ours_sigma or 0.0))
        evidence.append(f"{name} {(aligned - ours.ours) / (aligned - reference.value):.0%}")
    return Claim(
        "one needs to consider different basis states beyond these two [all up, all down], and our algorithm can learn "
        "to sample such states correctly",
        "Section IV.C",
        yes_no(seen),
        "share of the energy between the all-up state and the reference that ours recovers: " + "; ".join(evidence),
    )


def no_exact_values(table: Table, rows: Sequence[str]) -> Claim:
    """The paper reports large systems without a reference; ours says which rows have one, and from where."""
    kinds = {name: table.reference_kind(name) for name in rows if table.reference_kind(name)}
    infeasible = [kind == "DMRG" for kind in kinds.values()]
    return Claim(
        "for larger system sizes (N = 30, 40, 50) ED became infeasible",
        "Section IV.C",
        yes_no(infeasible),
        "enumeration is, but exact energies are known: "
        + "; ".join(f"{name} {kind}" for name, kind in kinds.items())
        + " (seen where no exact method is at hand)",
    )


def across(table: Table, text: str, rows: Mapping[str, Sequence[str]], percent: float) -> Claim:
    """Seen, point by point, where our error is below ``percent``.

    Args:
        rows: names of rows by regime, e.g. ``short (L = 1)``.
    """
    seen, evidence = [], []
    for regime, names in rows.items():
        errors = [abs(e) for name in names if (e := error(table, name)) is not None]
        seen += [100 * e < percent for e in errors]
        if errors:
            evidence.append(f"{regime}: " + ", ".join(f"{100 * e:.2g} %" for e in errors))
    return Claim(text, "Section IV.C", yes_no(seen), "; ".join(evidence) + f" (seen if below {percent:g} %)")
