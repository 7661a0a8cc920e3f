"""Artefacts of the NIR paper: printed numbers of parameters, verdicts on courses, levels and samplers."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace

import pytest

from pipeline.base.config.nodes import SCALES
from pipeline.stages.compose import compose_run
from reproduce.nir import fig2, fig3, fig4, table1
from reproduce.nir.fig3 import Course
from reproduce.nir.shared import LEVELS, MCMC, NIR, row
from reproduce.published import published
from reproduce.tables import CellRow
from tests.reproduce.rows import Rows, done, energy


def test_parameters_of_the_proposals_are_those_printed() -> None:
    numbers = {n.cell: n.value for n in published("nir") if n.quantity == "proposal_parameters"}
    assert {table1.row(*size): float(table1.parameters(*size)) for size in table1.SIZES} == numbers


def course(method: str, seed: int, divergence: tuple[float, ...]) -> Course:
    steps = tuple(float(k) for k in range(len(divergence)))
    return Course(method, seed, steps, divergence, tuple(0.1 for _ in steps), tuple(-1.0 for _ in steps))


@pytest.mark.parametrize(
    ("nir", "mcmc", "seen"),
    [
        ([(0.3, 0.5, 0.1), (0.3, 0.6, 0.1)], [(0.3, 0.1, 0.4), (0.3, 0.1, 0.5)], ("yes", "yes")),
        ([(0.3, 0.5, 0.5), (0.3, 0.6, 0.6)], [(0.3, 0.4, 0.3), (0.3, 0.4, 0.3)], ("undecided", "undecided")),
        ([(0.3, 0.5, 0.1)], [(0.3, 0.1, 0.4)], ("undecided", "undecided")),
    ],
)
def test_whether_divergences_fall_and_rise(
    nir: list[tuple[float, ...]], mcmc: list[tuple[float, ...]], seen: tuple[str, str]
) -> None:
    found = [course(m, k, d) for m, all_ in ((NIR, nir), (MCMC, mcmc)) for k, d in enumerate(all_)]
    assert tuple(claim.seen for claim in fig3.claims(found)) == seen


def test_bands_are_standard_errors_over_seeds() -> None:
    found = [course(NIR, 0, (0.1, 0.2)), course(NIR, 1, (0.3, 0.2))]
    band = fig3.band(found, NIR, "divergence")
    assert band is not None
    assert band.mean == pytest.approx((0.2, 0.2))
    assert band.sigma == pytest.approx((0.1, 0.0))
    assert fig3.band(found, MCMC, "divergence") is None
    alone = fig3.band(found[:1], NIR, "divergence")
    assert alone is not None
    assert math.isnan(alone.sigma[0])


def levels(g: float, gap: float, error: float, sigma: float | None = 1e-5) -> list[CellRow]:
    exact = (-20.0, -20.0 + gap, -20.0 + 4.5 + (g - 3.0) ** 2)
    lines: list[CellRow] = []
    for name, value in zip(LEVELS, exact, strict=True):
        for method, shift in ((NIR, error * abs(value)), ("reference", 0.0)):
            one = energy(row(g), method, value + shift, sigma, value)
            lines.append(replace(one, quantity=name))
    return lines


@pytest.mark.parametrize(("error", "gaps", "seen"), [(5e-4, (0.01, 2.0, 4.0), "yes"), (2e-3, (3.0, 2.0, 4.0), "no")])
def test_levels_within_the_target_and_a_gap_that_opens(error: float, gaps: tuple[float, ...], seen: str) -> None:
    fields = (1.0, 3.0, 6.0)
    lines = [line for g, gap in zip(fields, gaps, strict=True) for line in levels(g, gap, error)]
    table = Rows(lines, finished=[done(row(g), NIR) for g in fields])  # type: ignore[arg-type]
    agreement, gap = fig4.claims(table)  # type: ignore[arg-type]
    assert agreement.seen == seen
    assert gap.seen == seen
    assert f"{9 if seen == 'yes' else 0} of 9 levels" in fig4.verdict(table)[0]  # type: ignore[arg-type]


@pytest.mark.parametrize("sigma", [None, 3.0])
def test_levels_of_large_or_unknown_errors_decide_nothing(sigma: float | None) -> None:
    fields = (1.0, 3.0, 6.0)
    lines = [line for g, gap in zip(fields, (0.01, 2.0, 4.0), strict=True) for line in levels(g, gap, 5e-4, sigma)]
    table = Rows(lines, finished=[done(row(g), NIR) for g in fields])  # type: ignore[arg-type]
    assert [claim.seen for claim in fig4.claims(table)] == ["undecided", "undecided"]  # type: ignore[arg-type]


def compared(chains: Sequence[fig2.Seed], nir: Sequence[float] = (1e-3, 1.2e-3, 1.1e-3)) -> fig2.Comparison:
    """Seeds of both samplers on 6 × 6 sites."""
    each = {NIR: [fig2.Seed(error, 1e-5, 1e-3) for error in nir[: len(chains)]], MCMC: list(chains)}
    means: dict[str, tuple[float, float | None]] = {m: (statistics.fmean(s.error for s in each[m]), 1e-4) for m in each}
    return fig2.Comparison(6, 0.1, means, each)


@pytest.mark.parametrize(
    ("chains", "sigma", "answer"),
    [
        ((0.1, 0.2, 5e-3), 1e-5, "yes"),
        ((-0.1, 0.2, 5e-3), 1e-5, "yes"),  # chains that miss a part may be below the reference
        ((0.1, 0.2, 5e-3), 2e-3, "undecided"),
        ((0.1, 0.2, 5e-3), None, "undecided"),
        ((1.1e-3, 1.0e-3, 0.9e-3), 1e-5, "no"),
        ((2.1e-3, 0.1, 0.1), 1e-5, "undecided"),  # one seed is as good as twice the worst of the others
        ((0.1, 0.1), 1e-5, "undecided"),
    ],
)
def test_whether_chains_are_worse(chains: tuple[float, ...], sigma: float | None, answer: str) -> None:
    one = compared([fig2.Seed(error, sigma, 1e-3) for error in chains])
    assert fig2._worse(one) == answer
    small, large, _ = fig2.claims([one])
    assert (small.seen, large.seen) == ("not run", answer)


def test_seeds_of_chains_whose_errors_are_in_doubt_are_counted() -> None:
    seeds = [fig2.Seed(0.1, 1e-5, 1e-3, doubted) for doubted in (True, False, True)]
    assert "in doubt: 2 of 3 (6 × 6, g = 0.1)" in fig2.claims([compared(seeds)])[1].evidence


@pytest.mark.parametrize(
    ("chains", "spread", "answer"),
    [
        ((0.06, 0.014, 5e-4), 1e-3, "yes"),
        ((0.06, 1e-3, 5e-4), 1e-3, "undecided"),
        ((3e-4, -1e-4, 5e-4), 1e-2, "no"),
        ((-0.06, -0.04, -5e-3), 1e-3, "undecided"),  # they miss a part of the state
        ((2.9e-2, 2.9e-2, 2.9e-2), 1e-2, "undecided"),
        ((0.06, 0.06), 1e-3, "undecided"),
        ((0.06, 0.06, 0.06), None, "undecided"),
        ((0.06, 0.06, 0.06), 0.0, "yes"),
        ((-1e-5, 0.0, 0.0), 0.0, "no"),
    ],
)
def test_whether_chains_are_trapped_beside_an_excited_state(
    chains: tuple[float, ...], spread: float | None, answer: str
) -> None:
    claim = fig2.claims([compared([fig2.Seed(error, 1e-5, spread) for error in chains])])[2]
    assert claim.seen == answer
    assert "6 × 6, g = 0.1" in claim.evidence


def test_few_fields_are_named_each_and_many_by_their_median() -> None:
    many = [fig2.Comparison(6, g, {NIR: (g * 1e-3, 1e-5)}, {}) for g in (1.0, 2.0, 3.0, 4.0, 6.0)]
    assert fig2.verdict(many[:2]) == ["NIR on 6 × 6: error of the trace 1.00(1)e-3 (g = 1), 2.00(1)e-3 (g = 2)."]
    assert "3.0e-3 in the median of 5 fields, 6.0e-3 at most (g = 6)" in fig2.verdict(many)[0]


@pytest.mark.parametrize("scale", ["smoke", "laptop", "long"])
def test_both_samplers_train_with_the_same_network_batches_and_rates(scale: str) -> None:
    for length, g, settings, scales in fig2.trainings():
        if scale in scales:
            where = (f"system.length_x={length}", f"system.length_y={length}", f"system.field={g:g}", f"scale={scale}")
            nir, mcmc = (compose_run([f"paper={settings[method]}", *where]) for method in (NIR, MCMC))
            for field in ("steps", "phases", "method", "ansatz", "optimizer", "dtype"):
                assert getattr(nir.train, field) == getattr(mcmc.train, field), (settings, scale, field)
            assert nir.train.sampler.samples == mcmc.train.sampler.samples
            assert (nir.infer.units, nir.infer.samples) == (mcmc.infer.units, mcmc.infer.samples)


def test_mixing_of_chains_and_the_way_to_the_ferromagnet_are_said() -> None:
    line = replace(energy(fig2.where(6, 2.0), MCMC, 1.4, None, 1.0), quantity=fig2.MIXING)
    said = " ".join(fig2.notes(Rows([line])))  # type: ignore[arg-type]
    assert "1.40 (6 × 6, g = 2)" in said
    assert "begin at g = 4" in said
    assert "R-hat" not in " ".join(fig2.notes(Rows([])))  # type: ignore[arg-type]


def test_no_training_of_a_scale_comes_twice() -> None:
    for scale in SCALES:
        rows = [(length, g) for length, g, _, scales in fig2.trainings() if scale in scales]
        assert len(set(rows)) == len(rows) > 0
