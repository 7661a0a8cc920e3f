"""The extra figure of the two priors: where the rule fires, and what is said about it."""

from __future__ import annotations

from reproduce.nf_nqs.priors import PRIORS, Course, claims


def course(prior: str, unique: tuple[float, ...], errors: tuple[float, ...]) -> Course:
    stop = next((step for step, fraction in enumerate(unique) if fraction < 0.9), None)
    return Course(prior, 0, errors, unique, stop)


def test_best_step_is_that_of_the_lowest_floor() -> None:
    assert course("normal", (1.0, 0.8, 0.1), (0.5, 1e-3, 1e-2)).best == 1


def test_claims_tell_a_prior_that_never_concentrates_from_one_that_does() -> None:
    stuck = course("bimodal", (1.0, 1.0, 1.0), (0.7, 0.6, 0.5))
    learns = course("normal", (1.0, 0.85, 0.1), (0.7, 1e-2, 1e-6))
    uniform, concentrates, converged = claims([stuck, learns])
    assert uniform.seen == "yes"
    assert concentrates.seen == "no"
    assert "normal prior: yes" in concentrates.evidence
    assert converged.seen == "no"  # the floor still falls by orders of magnitude after the rule has fired
    assert claims([stuck, course("normal", (1.0, 0.85), (0.7, 1e-2))])[2].seen == "yes"
    assert claims([course("normal", (0.5, 0.4), (0.1, 0.1))])[0].seen == "no"
    assert set(PRIORS) == {"bimodal", "normal"}
