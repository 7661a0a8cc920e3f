"""What the paper's text says about its hybrid Monte Carlo and its matrices, and our own checks of the sampler."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pipeline.analysis.verdict import no_verdict
from pipeline.base.numbers.formatting import with_error
from pipeline.base.numbers.result import Estimate
from reproduce.artefact import Claim, yes_no
from reproduce.pseudofermion.shared import LABELS, QUANTITIES, SAMPLERS, called, estimate, mass, printed, runs
from reproduce.tables import Finished, Table

SIGMAS = 3.0
PURE_SIGMA = 2e-4
"""Largest error of a pure-gauge plaquette that makes its agreement with the exact value a test."""

THEORIES = {"schwinger-L16": "aM_PS ∼ {}", "su3-L16": "aM_π ≃ {}"}
"""How the paper writes the masses of its two theories."""

CONDITION_NUMBERS = {"no preconditioning": "condition_number", "even/odd": "condition_number_even_odd"}


def masses(table: Table) -> list[Claim]:
    """The printed masses of the paper's two theories, which have no errors but their rounding."""
    claims = []
    for row, said in THEORIES.items():
        number, found = printed(row, "hmc", "pseudoscalar_mass"), table.row(row, "hmc", "pseudoscalar_mass")
        done = next((d for d in runs(table) if (d.task.cell.row, d.task.cell.method) == (row, "hmc")), None)
        measured = mass(done) if done else None
        ran = found is not None and found.ours is not None and found.ours_sigma is not None
        evidence = with_error(found.ours, found.ours_sigma) if found and ran else "not run"
        if measured:
            fits = ", ".join(f"{m:.4f} ({fit})" for fit, m in measured.fits.items())
            evidence = f"{measured}: errors from the samples and from the choice of the fit; {fits}"
        seen = yes_no([found.vs_paper == "agrees"] if found and ran else [])
        seen = "undecided" if found and found.vs_paper == "undecided" else seen
        rule = "seen if within 2 σ of the printed number, with half its last digit for its σ"
        claims.append(
            Claim(f"the pseudoscalar mass is {said.format(number.text)}", number.location, seen, f"{evidence} ({rule})")
        )
    return claims


def condition_numbers(found: Sequence[Finished]) -> list[Claim]:
    """Printed of ensembles that flows drew, from another density than e^{-S}: ours stand beside, and judge nothing."""
    means, largest = [], []
    for done in found:
        if done.task.cell.row != "schwinger-L8":
            continue
        for label, name in CONDITION_NUMBERS.items():
            mean, median, most = (estimate(done, name + end) for end in ("", "_median", "_max"))
            if mean and median and most:
                sampler = SAMPLERS[done.task.cell.method]
                means.append(f"{sampler}, {label}: median {_whole(median)}, mean {_whole(mean)}")
                largest.append(f"{sampler}, {label}: {most.value:.1e} of {mean.n}")
    plain, even_odd = (printed("schwinger-L8", "hmc", name) for name in CONDITION_NUMBERS.values())
    most_printed = printed("schwinger-L8", "hmc", "condition_number_max")
    hasenbusch, below = (printed("schwinger-L8", "flow", f"condition_number_hasenbusch{end}") for end in ("", "_max"))
    verdict = "not-comparable" if means else "not run"
    return [
        Claim(
            f"the unpreconditioned DD† operator has an average condition number of ∼{plain.text}, while that with EO "
            f"preconditioning is ∼{even_odd.text}",
            plain.location,
            verdict,
            f"of our hybrid Monte Carlo: {'; '.join(means) or '–'} (few configurations dominate a mean of heavy tails)",
            verbatim=True,
        ),
        Claim(
            f"condition numbers as large as O(10^{math.log10(most_printed.value):.0f}) are found both with and without "
            "EO",
            most_printed.location,
            verdict,
            f"largest of our hybrid Monte Carlo: {'; '.join(largest) or '–'} (they grow with the number drawn)",
            verbatim=True,
        ),
        Claim(
            f"with three Hasenbusch steps the average condition number is O({hasenbusch.value:.0f}) in all four "
            f"monomials, and the maximum less than {below.value:.0f}",
            hasenbusch.location,
            "not run",
            "hybrid Monte Carlo here measures none of monomials: see `pseudofermion/text`",
        ),
    ]


def _whole(found: Estimate) -> str:
    """``631(20)``, or as numbers with errors are written where the error is below one."""
    if found.sigma is None or found.sigma < 1.0:
        return with_error(found.value, found.sigma, 4)
    return f"{found.value:.0f}({found.sigma:.0f})"


def independence(found: Sequence[Finished]) -> Claim:
    """Configurations that far apart are independent where they are 2 τ_int apart or more."""
    seen, evidence, charges = [], [], []
    thinning = {row: printed(row, "hmc", "thinning") for row in THEORIES}
    for done in found:
        if done.task.cell.row not in thinning:
            continue
        for name in ("plaquette", "topological_charge"):
            measured = estimate(done, name)
            if measured and measured.tau is not None:
                seen.append(2.0 * measured.tau <= thinning[done.task.cell.row].value)
                if name == "topological_charge":
                    frozen = "is not" if seen[-1] else "is all but"
                    charges.append(f"the topology {frozen} frozen, τ_int(Q) = {measured.tau:.1f}")
                else:
                    evidence.append(f"{called(done)}: τ_int = {measured.tau:.1f} of the plaquette")
    evidence += charges
    factor = " and ".join(dict.fromkeys(number.text for number in thinning.values()))
    return Claim(
        f"HMC configurations thinned by a factor of {factor} to yield independent samples",
        ", ".join(number.location for number in thinning.values()),
        yes_no(seen),
        "; ".join(evidence) + f" (seen if 2 τ_int is at most {factor}, trajectories of length 1)",
    )


def pure_gauge(table: Table) -> Claim:
    """Ours: plaquettes of gauge fields alone against exact values, precisely."""
    seen, evidence = [], []
    for done in runs(table):
        row = done.task.cell.row
        ours, exact = estimate(done, "plaquette"), table.reference(row, "plaquette")
        if "pure" in row and ours and ours.sigma is not None and exact:
            pull = _pull(ours, exact)
            seen.append(abs(pull) <= SIGMAS and ours.sigma <= PURE_SIGMA)
            evidence.append(
                f"{LABELS[row]}: {with_error(ours.value, ours.sigma)}, exactly {exact.value:.6f}, {pull:+.1f} σ"
            )
    return Claim(
        "the mean plaquette of a pure gauge theory is the exact one",
        "ours",
        yes_no(seen),
        "; ".join(evidence) + f" (seen if within {SIGMAS:g} σ, and σ is at most {PURE_SIGMA:.0e})",
    )


Pull = tuple[str, Estimate, Estimate]
"""Two estimates of the same number, and what to call them."""

ONE = Estimate("one", 1.0, 0.0, bound="exact")

AGAINST = f"{SAMPLERS['hmc']} against {SAMPLERS['hmc-exact']}"
CHECKED = (
    "the exact mean plaquettes of the pure gauge theories",
    "⟨e^−ΔH⟩ = 1",
    f"the agreement of {SAMPLERS['hmc']}, {SAMPLERS['hmc-exact']} and reference values",
)
"""What our own checks test, in the order of :func:`pure_gauge` and :func:`checks`."""


def checks(table: Table) -> list[Claim]:
    """Ours: the sampler against exact values and against itself."""
    weights: list[Pull] = []
    pairs: list[Pull] = []
    for done in runs(table):
        if weight := estimate(done, "exp_minus_delta_h"):
            weights.append((called(done), weight, ONE))
        for name in QUANTITIES[:2]:
            ours, reference = estimate(done, name), table.reference(done.task.cell.row, name)
            if ours and reference:
                pairs.append((f"{called(done)}: {name.replace('_', ' ')}", ours, reference))
    for row in ("schwinger-L8", "su3-L8"):
        pair = [done for done in runs(table) if done.task.cell.row == row]
        for name in QUANTITIES:
            both = [e for done in pair if (e := estimate(done, name))]
            if len(both) == 2:
                pairs.append((f"{LABELS[row]}, {AGAINST}: {name.replace('_', ' ')}", both[0], both[1]))
    return [
        Claim("⟨e^−ΔH⟩ = 1", "ours", *_within(weights)),
        Claim(
            "exact values, reweighted exact draws and both treatments of the determinant agree", "ours", *_within(pairs)
        ),
    ]


def _pull(first: Estimate, second: Estimate) -> float:
    difference, sigma = first.value - second.value, math.hypot(first.sigma or 0.0, second.sigma or 0.0)
    # Without errors, as of a frozen charge, any difference is too large.
    return difference / sigma if sigma else math.copysign(math.inf, difference) if difference else 0.0


def _within(pairs: Sequence[Pull]) -> tuple[str, str]:
    """Whether all pairs agree, and by how many σ each does; none is judged without an error to rely upon."""
    seen, evidence = [], []
    for name, first, second in pairs:
        if reason := no_verdict(first) or no_verdict(second):
            evidence.append(f"{name} undecided ({reason})")
        else:
            pull = _pull(first, second)
            seen.append(abs(pull) <= SIGMAS)
            evidence.append(f"{name} {pull:+.1f} σ")
    outcome = "undecided" if pairs and not seen else yes_no(seen)
    return outcome, f"{'; '.join(evidence)} (seen if within {SIGMAS:g} σ)"


def verdict(table: Table) -> list[str]:
    """What a reader with one minute should know."""
    said = []
    for row, claim in zip(THEORIES, masses(table), strict=True):
        done = next((d for d in runs(table) if (d.task.cell.row, d.task.cell.method) == (row, "hmc")), None)
        if done is not None and (measured := mass(done)) is not None:
            number = printed(row, "hmc", "pseudoscalar_mass")
            how = {"yes": "as printed", "undecided": "undecided"}.get(claim.seen, "not as printed")
            said.append(f"{LABELS[row]}: a M_PS = {measured}, {how} (~{number.text}, no error given).")
    said.append(
        "The paper's condition numbers are of ensembles that its flows drew, and its effective sample sizes and "
        "acceptance rates are of the flows themselves: hybrid Monte Carlo neither confirms nor contradicts them."
    )
    return [*said, *_own_checks(table)]


def _own_checks(table: Table) -> list[str]:
    """What our own checks confirm; what they do not, and what is not known, in sentences of their own."""
    openings = {
        "yes": "Our own checks confirm {}.",
        "no": "Our own checks do NOT confirm {}.",
        "undecided": "Our own checks leave {} undecided.",
        "not run": "Of our own checks, not run: {}.",
    }
    found: dict[str, list[str]] = {outcome: [] for outcome in openings}
    for text, claim in zip(CHECKED, [pure_gauge(table), *checks(table)], strict=True):
        found[claim.seen if claim.seen in openings else "no"].append(text)
    return [opening.format(listed(found[outcome])) for outcome, opening in openings.items() if found[outcome]]


def listed(parts: Sequence[str]) -> str:
    """``a``, ``a and b`` or ``a, b, and c``."""
    return " and ".join(parts) if len(parts) < 3 else ", ".join(parts[:-1]) + ", and " + parts[-1]
