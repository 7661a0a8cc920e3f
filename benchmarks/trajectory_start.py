"""Where the trajectories of :mod:`benchmarks.trajectories` begin, and what they have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.lattice import KAPPA

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.gauge.action import Action

BETA = 2.0
SHIFTS = (0.0, 0.1)
TOLERANCE = 1e-8
STEPS = 4
"""Recipe of the paper's ensemble (conf/recipe/pseudofermion/main), before tuning."""

ITERATIONS = 5000

Outcome = tuple["Tensor", "Tensor"]
"""Links at the end, (batch, 2, L, L), and ΔH, (batch,)."""


@dataclass(frozen=True)
class Start:
    """Where a trajectory begins.

    Attributes:
        links: angles, (batch, 2, L, L), not far from the identity.
        momenta: in the same shape.
        fields: pseudofermions of both monomials on even sites, (batch, 1, V/2, 2, 1) each.
        action: ours, with these fields.
    """

    links: Tensor
    momenta: Tensor
    fields: tuple[Tensor, ...]
    action: Action


def start(length: int, batch: int) -> Start:
    """A start that is a function of its size."""
    from pipeline.base.numbers import rng
    from pipeline.gauge import u1
    from pipeline.gauge.action import SumOfActions, U1WilsonAction
    from pipeline.gauge.fermions.actions import PseudofermionAction, WilsonFermions
    from pipeline.gauge.fermions.monomials import hasenbusch
    from pipeline.gauge.fermions.solver import ConjugateGradient

    generator = rng.torch_generator(1, "benchmark.trajectory")
    cold = u1.identity(batch, length)
    links = u1.drift(cold, u1.random_momenta(cold, generator), 0.4)
    solver = ConjugateGradient(TOLERANCE, ITERATIONS)
    fermions = PseudofermionAction(WilsonFermions(u1, KAPPA, True), hasenbusch(SHIFTS), solver)
    fermions.refresh(links, generator)
    momenta = u1.random_momenta(links, generator)
    return Start(links, momenta, fermions.fields, SumOfActions((U1WilsonAction(BETA), fermions)))
