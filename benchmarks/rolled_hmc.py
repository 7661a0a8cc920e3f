"""Hybrid Monte Carlo of the Schwinger model as one would first write it in torch: rolls, masks, autograd."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.eager_flow import SIGMA
from benchmarks.lattice import KAPPA
from benchmarks.trajectory_start import BETA, ITERATIONS, SHIFTS, STEPS, TOLERANCE, Outcome, Start
from pipeline.gauge import neighbours
from pipeline.gauge.hmc.integrator import OMELYAN_LAMBDA


def trajectory(begin: Start) -> Outcome:
    """Omelyan's integrator; fields are (batch, L, L, 2), zero on odd sites."""
    length = begin.links.shape[2]
    even = neighbours.parity_sites(length)[0]
    fields = [_spread(field[:, 0, :, :, 0], even, length) for field in begin.fields]
    links, momenta, step = begin.links, begin.momenta, 1.0 / STEPS
    start = 0.5 * momenta.square().sum(dim=(1, 2, 3)) + action(links, fields)
    momenta = momenta + OMELYAN_LAMBDA * step * force(links, fields)
    for k in range(STEPS):
        links = links + 0.5 * step * momenta
        momenta = momenta + (1 - 2 * OMELYAN_LAMBDA) * step * force(links, fields)
        links = links + 0.5 * step * momenta
        last = 1 if k == STEPS - 1 else 2
        momenta = momenta + last * OMELYAN_LAMBDA * step * force(links, fields)
    return links, 0.5 * momenta.square().sum(dim=(1, 2, 3)) + action(links, fields) - start


def _spread(field: Tensor, even: Tensor, length: int) -> Tensor:
    whole = field.new_zeros(len(field), length**2, 2)
    return whole.index_copy(1, even, field).view(-1, length, length, 2)


def action(links: Tensor, fields: list[Tensor]) -> Tensor:
    """S_g + S_pf, (batch,)."""
    theta_0, theta_1 = links[:, 0], links[:, 1]
    plaquettes = theta_0 + theta_1.roll(-1, dims=1) - theta_0.roll(-1, dims=2) - theta_1
    total = -BETA * plaquettes.cos().sum(dim=(1, 2))
    ratio, last = fields
    with torch.no_grad():
        solutions = [solve(links, field, shift) for field, shift in zip(fields, SHIFTS, strict=True)]
    total = total + _square(ratio) + (SHIFTS[1] - SHIFTS[0]) * _inverse(links, ratio, solutions[0], SHIFTS[0])
    return total + _inverse(links, last, solutions[1], SHIFTS[1])


def force(links: Tensor, fields: list[Tensor]) -> Tensor:
    """-∂S/∂θ by autograd."""
    links = links.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(action(links, fields).sum(), links)
    return -gradient


def solve(links: Tensor, field: Tensor, shift: float) -> Tensor:
    """(A A† + μ)^{-1} φ by conjugate gradients, until all configurations have converged."""
    x, r = torch.zeros_like(field), field
    p, norm = r, _square(r)
    start = norm
    for _ in range(ITERATIONS):
        if (norm <= TOLERANCE**2 * start).all():
            break
        image = schur(links, schur(links, p, -1), 1) + shift * p
        step = norm / (p.conj() * image).real.sum(dim=(1, 2, 3))
        x, r = x + step[:, None, None, None] * p, r - step[:, None, None, None] * image
        new = _square(r)
        p, norm = r + (new / norm)[:, None, None, None] * p, new
    return x


def schur(links: Tensor, field: Tensor, sign: int) -> Tensor:
    """A = 1 - κ² H_eo H_oe, or A† for -1, on fields that vanish on odd sites."""
    return field - KAPPA**2 * hop(links, hop(links, field, sign), sign)


def hop(links: Tensor, field: Tensor, sign: int) -> Tensor:
    """H of Eq. 5, both spins of each neighbour transported."""
    u = torch.polar(torch.ones_like(links), links)
    boundary = torch.ones(links.shape[1:], dtype=links.dtype)
    boundary[0, -1] = -1.0
    u = (u * boundary)[..., None]
    unit, image = torch.eye(2, dtype=torch.complex128), torch.zeros_like(field)
    for mu in (0, 1):
        forward = u[:, mu] * field.roll(-1, dims=1 + mu)
        backward = (u[:, mu].conj() * field).roll(1, dims=1 + mu)
        image = image + forward @ (unit - sign * SIGMA[mu]).T + backward @ (unit + sign * SIGMA[mu]).T
    return image


def _inverse(links: Tensor, field: Tensor, solution: Tensor, shift: float) -> Tensor:
    """φ†(M + μ)^{-1}φ, stationary in the solution."""
    product = (solution.conj() * field).real.sum(dim=(1, 2, 3))
    return 2 * product - _square(schur(links, solution, -1)) - shift * _square(solution)


def _square(field: Tensor) -> Tensor:
    return field.abs().square().sum(dim=(1, 2, 3))
