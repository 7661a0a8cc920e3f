"""The Wilson-Dirac operator, ours and as one would first write it, and our fermion forces at every lattice size."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.contract import Work

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.gauge.group import Group

KAPPA = 0.265
SHIFTS = {"pseudofermions": (0.0,), "Hasenbusch": (0.0, 0.001, 0.01, 0.05)}
"""As in the paper, Section IV A."""
TOLERANCE = 1e-10


def links_of(name: str, length: int, batch: int) -> tuple[Group, Tensor]:
    """The group of that name and random links in its fundamental representation, (batch, 2, L, L, N, N)."""
    from pipeline.base.numbers import rng
    from pipeline.gauge import su3, u1

    groups: dict[str, Group] = {"u1": u1, "su3": su3}
    group = groups[name]
    return group, group.matrices(group.random_links(batch, length, rng.torch_generator(1, "benchmark.links")))


def apply_dirac(name: str, length: int, batch: int, applications: int, compiled: bool) -> Work:
    """Ours, one field on each configuration; ``compiled``: by the loops for CPUs, or as on other devices."""
    from pipeline.base.numbers import rng
    from pipeline.gauge.fermions import hopping
    from pipeline.gauge.fermions.dirac import WilsonDirac

    group, matrices = links_of(name, length, batch)
    dirac = WilsonDirac(matrices, KAPPA)
    psi = dirac.noise(1, rng.torch_generator(1, "benchmark.field"))
    # Compilation is no part of the memory of an application.
    dirac.apply(psi)

    def run() -> Tensor:
        for _ in range(applications):
            if compiled:
                image = dirac.apply(psi)
            else:
                image = hopping.plain_hop(psi, dirac.links, dirac.hops[0].there, 1.0, -KAPPA, psi)
        return image

    return Work(run, None, multiply_adds(length, group.n_colors))


def apply_rolled(name: str, length: int, batch: int, applications: int) -> Work:
    """Eq. 5 term by term, on fields (batch, L, L, 2, N)."""
    import torch

    from pipeline.base.numbers import rng
    from pipeline.gauge.fermions.dirac import WilsonDirac

    group, matrices = links_of(name, length, batch)
    psi = WilsonDirac(matrices, KAPPA).noise(1, rng.torch_generator(1, "benchmark.field"))
    field = psi.reshape(batch, length, length, 2, group.n_colors)
    sigma = torch.tensor([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]]], dtype=torch.complex128)
    unit = torch.eye(2, dtype=torch.complex128)
    links = matrices.clone()
    links[:, 0, -1] *= -1.0

    def transport(u: Tensor, vector: Tensor) -> Tensor:
        # With one colour, a product of numbers is several times faster than one of 1 × 1 matrices.
        return u * vector if group.n_colors == 1 else vector @ u.mT

    def apply() -> Tensor:
        image = field
        for mu in (0, 1):
            u = links[:, mu]
            forward = transport(u, field.roll(-1, dims=1 + mu))
            backward = transport(u.mH, field).roll(1, dims=1 + mu)
            image = image - KAPPA * ((unit - sigma[mu]) @ forward + (unit + sigma[mu]) @ backward)
        return image

    def run() -> Tensor:
        for _ in range(applications):
            image = apply()
        return image.reshape(psi.shape)

    return Work(run, None, multiply_adds(length, group.n_colors))


def multiply_adds(length: int, colors: int) -> int:
    """Complex ones of the colour matrices in one application, one spin component a direction."""
    return 4 * colors**2 * length**2


def fermion_force(name: str, length: int, batch: int, method: str) -> Work:
    """One force on each of ``batch`` configurations, even/odd preconditioned, κ of the paper.

    Args:
        name: of the group.
        length, batch: of the lattice and its configurations.
        method: ``exact determinant`` or a key of ``SHIFTS``.
    """
    from pipeline.gauge import su3, u1

    group: Group = su3 if name == "su3" else u1
    # Compilation is no part of the memory of a force.
    _force(group, 2, 1, method)()
    return Work(_force(group, length, batch, method), None, None)


def _force(group: Group, length: int, batch: int, method: str) -> Callable[[], Tensor]:
    from pipeline.base.numbers import rng
    from pipeline.gauge.fermions.actions import ExactDeterminantAction, PseudofermionAction, WilsonFermions
    from pipeline.gauge.fermions.monomials import hasenbusch
    from pipeline.gauge.fermions.solver import ConjugateGradient

    generator = rng.torch_generator(1, "benchmark.force")
    cold = group.identity(batch, length)
    links = group.drift(cold, group.random_momenta(cold, generator), 0.6)
    fermions = WilsonFermions(group, KAPPA, True)
    if method not in SHIFTS:
        return partial(ExactDeterminantAction(fermions).force, links)
    solver = ConjugateGradient(TOLERANCE, max_iterations=100_000)
    action = PseudofermionAction(fermions, hasenbusch(SHIFTS[method]), solver)
    action.refresh(links, generator)
    return partial(action.force, links)
