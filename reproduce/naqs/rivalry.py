"""Claims of Figure 3: which way of sampling trains better. One training each cannot tell."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import pairwise

from pipeline.base.numbers.formatting import duration
from reproduce.artefact import Claim
from reproduce.naqs.courses import LABELS, SIGMAS, THINNINGS, Course, Quantity
from reproduce.naqs.judgement import Answer, signed, tally

SIGNIFICANT = 0.05
"""Largest chance of a difference between means over seeds, one-sided, by Welch's test."""
ONE_EACH = "one training each, so that its spread over seeds is unknown"


def claims(found: Sequence[Course]) -> list[Claim]:
    """What the text says about this figure."""
    return [
        _quicker(found),
        _better("a significantly more accurate ground state energy than with MCMC", "energy", found),
        _better("a lower energy variance ⟨H²⟩ - ⟨H⟩² than with MCMC", "variance", found),
        _dearer(found),
    ]


def _of(found: Sequence[Course], method: str) -> list[Course]:
    return [course for course in found if course.method == method]


def _rivals(found: Sequence[Course]) -> list[tuple[str, list[Course], list[Course]]]:
    """Label, trainings with direct sampling and trainings with chains, for each k; none without direct sampling."""
    direct = _of(found, "direct")
    methods = [f"mcmc-k{k}" for k in THINNINGS]
    return [(LABELS[m], direct, _of(found, m)) for m in methods if direct and _of(found, m)]


def _quicker(found: Sequence[Course]) -> Claim:
    """Seen where direct sampling is compatible with the end of MCMC in less time, for every seed of several."""
    answers: list[Answer] = []
    evidence = []
    several = True
    for label, direct, chains in _rivals(found):
        pairs = [(d, c) for d in direct for c in chains if d.seed == c.seed]
        after = [d.compatible_after(c) for d, c in pairs]
        faster = [a is not None and a < c.seconds[-1] for a, (_, c) in zip(after, pairs, strict=True)]
        answers.append(_decided(faster))
        several &= len(pairs) > 1
        took = ", ".join(duration(c.seconds[-1]) for _, c in pairs)
        reached = ", ".join("never" if a is None else f"after {duration(a)}" for a in after)
        evidence.append(f"{label} took {took}, direct sampling is compatible {reached}")
    return Claim(
        "direct sampling is much quicker",
        "Experiments, on Fig. 3",
        tally(answers),
        "; ".join(evidence)
        + f" (seen if direct sampling is compatible with the final energy of MCMC, within {SIGMAS:g} σ, in less time, "
        f"for all seeds of several{'' if several else '; here ' + ONE_EACH})",
    )


def _decided(seen: Sequence[bool]) -> Answer:
    if len(seen) < 2 or len(set(seen)) > 1:
        return "undecided"
    return "yes" if seen[0] else "no"


def _better(text: str, quantity: Quantity, found: Sequence[Course]) -> Claim:
    """Seen, for each k, where the mean over seeds of the last values is significantly lower with direct sampling."""
    answers: list[Answer] = []
    evidence = []
    several = True
    for label, direct, chains in _rivals(found):
        ours, theirs = [c.last(quantity) for c in direct], [c.last(quantity) for c in chains]
        a, b = [e.value for e in theirs], [e.value for e in ours]
        answers.append(_lower(b, a))
        several &= min(len(a), len(b)) > 1
        if min(len(a), len(b)) > 1:
            sigma = math.hypot(*(statistics.stdev(v) / math.sqrt(len(v)) for v in (a, b)))
        else:
            sigma = math.hypot(ours[0].sigma or 0.0, theirs[0].sigma or 0.0)
        evidence.append(f"{label} {signed(statistics.fmean(a) - statistics.fmean(b), sigma)}")
    kind = "of the means over seeds" if several else "of the samples alone; " + ONE_EACH
    return Claim(
        text,
        "Experiments, on Fig. 3",
        tally(answers),
        f"total {quantity} above that of direct sampling, after the last iteration: "
        + "; ".join(evidence)
        + f" (errors {kind}; seen if above for several seeds, with a chance below {SIGNIFICANT:g})",
    )


def _lower(ours: Sequence[float], theirs: Sequence[float]) -> Answer:
    """Whether the mean of ``ours`` is the lower one; undecided with one seed, and where the spread hides it."""
    if min(len(ours), len(theirs)) < 2:
        return "undecided"
    from scipy.stats import ttest_ind

    below, above = (
        float(ttest_ind(ours, theirs, equal_var=False, alternative=side).pvalue) for side in ("less", "greater")
    )
    if below < SIGNIFICANT:
        return "yes"
    return "no" if above < SIGNIFICANT else "undecided"


def _dearer(found: Sequence[Course]) -> Claim:
    """Seen between neighbouring k where the larger one costs more time an iteration."""
    costs = [
        (f"mcmc-k{k}", statistics.fmean(c.seconds_a_step for c in _of(found, f"mcmc-k{k}")))
        for k in reversed(THINNINGS)
        if _of(found, f"mcmc-k{k}")
    ]
    answers: list[Answer] = ["yes" if small < large else "no" for (_, small), (_, large) in pairwise(costs)]
    return Claim(
        "increasing k comes at the expense of increased computational cost",
        "Fig. 3, caption",
        tally(answers),
        "seconds an iteration: " + "; ".join(f"{LABELS[method]} {seconds:.2g}" for method, seconds in costs),
    )
