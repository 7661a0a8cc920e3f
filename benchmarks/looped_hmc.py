"""Hybrid Monte Carlo of the Schwinger model as nothing but compiled loops, configuration by configuration (numba)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from benchmarks.lattice import KAPPA
from benchmarks.trajectory_start import BETA, ITERATIONS, SHIFTS, STEPS, TOLERANCE, Outcome, Start
from pipeline.base.run.compiled import njit
from pipeline.gauge import neighbours
from pipeline.gauge.hmc.integrator import OMELYAN_LAMBDA


def trajectory(begin: Start) -> Outcome:
    """Omelyan's integrator; fields are (L, L, 2), zero on sites that they do not have."""
    batch, _, length, _ = begin.links.shape
    even = neighbours.parity_sites(length)[0].numpy()
    fields = np.zeros((batch, 2, length**2, 2), dtype=np.complex128)
    for k, field in enumerate(begin.fields):
        fields[:, k, even] = field[:, 0, :, :, 0].numpy()
    fields = fields.reshape(batch, 2, length, length, 2)
    links, momenta = begin.links.numpy().copy(), begin.momenta.numpy().copy()
    delta = np.array([_trajectory(links[b], momenta[b], fields[b]) for b in range(batch)])
    return torch.from_numpy(links), torch.from_numpy(delta)


@njit
def _links_of(theta: Any) -> Any:
    length = theta.shape[1]
    u = np.empty(theta.shape, np.complex128)
    for mu in range(2):
        for x in range(length):
            for y in range(length):
                u[mu, x, y] = np.exp(1j * theta[mu, x, y])
                if mu == 0 and x == length - 1:
                    u[mu, x, y] = -u[mu, x, y]
    return u


@njit
def _hop(u: Any, psi: Any, sign: Any, parity: Any, factor: Any, base: Any, result: Any) -> None:
    """result = base + factor H ψ on the sites of one parity."""
    length = u.shape[1]
    for x in range(length):
        for y in range((x + parity) % 2, length, 2):
            xp, xm, yp, ym = (x + 1) % length, (x - 1) % length, (y + 1) % length, (y - 1) % length
            h0 = u[0, x, y] * (psi[xp, y, 0] - sign * psi[xp, y, 1])
            h1 = u[1, x, y] * (psi[x, yp, 0] + sign * 1j * psi[x, yp, 1])
            b0 = np.conj(u[0, xm, y]) * (psi[xm, y, 0] + sign * psi[xm, y, 1])
            b1 = np.conj(u[1, x, ym]) * (psi[x, ym, 0] - sign * 1j * psi[x, ym, 1])
            result[x, y, 0] = base[x, y, 0] + factor * (h0 + h1 + b0 + b1)
            result[x, y, 1] = base[x, y, 1] + factor * sign * (b0 - h0 + 1j * (b1 - h1))


@njit
def _dot(a: Any, b: Any) -> Any:
    total = 0.0
    for x in range(a.shape[0]):
        for y in range(x % 2, a.shape[1], 2):
            for s in range(2):
                total += a[x, y, s].real * b[x, y, s].real + a[x, y, s].imag * b[x, y, s].imag
    return total


@njit
def _solve(u: Any, phi: Any, shift: Any, x: Any) -> None:
    zero, odd, half, image = np.zeros_like(phi), np.zeros_like(phi), np.zeros_like(phi), np.zeros_like(phi)
    x[:] = 0.0
    r, p = phi.copy(), phi.copy()
    start = norm = _dot(r, r)
    for _ in range(ITERATIONS):
        if norm <= TOLERANCE**2 * start:
            break
        _hop(u, p, -1.0, 1, 1.0, zero, odd)
        _hop(u, odd, -1.0, 0, -(KAPPA**2), p, half)
        _hop(u, half, 1.0, 1, 1.0, zero, odd)
        _hop(u, odd, 1.0, 0, -(KAPPA**2), half, image)
        step = norm / (_dot(half, half) + shift * _dot(p, p))
        x += step * p
        r -= step * (image + shift * p)
        before, norm = norm, _dot(r, r)
        p = r + (norm / before) * p


@njit
def _plaquette(theta: Any, x: Any, y: Any) -> Any:
    length = theta.shape[1]
    return theta[0, x, y] + theta[1, (x + 1) % length, y] - theta[0, x, (y + 1) % length] - theta[1, x, y]


@njit
def _energy(theta: Any, momenta: Any, phi: Any, x: Any) -> Any:
    length, u = theta.shape[1], _links_of(theta)
    total = 0.5 * np.sum(momenta**2) + _dot(phi[0], phi[0])
    for i in range(length):
        for j in range(length):
            total -= BETA * np.cos(_plaquette(theta, i, j))
    _solve(u, phi[0], SHIFTS[0], x)
    total += (SHIFTS[1] - SHIFTS[0]) * _dot(phi[0], x)
    _solve(u, phi[1], SHIFTS[1], x)
    return total + _dot(phi[1], x)


@njit
def _add_fermion_force(u: Any, x: Any, weight: Any, factor: Any, momenta: Any) -> None:
    """F = -2κ² weight Re ∂(Z†H W)/∂θ, with X and A†X on even sites and their images on odd ones."""
    length = u.shape[1]
    zero, z, w = np.zeros_like(x), x.copy(), np.zeros_like(x)
    odd = np.zeros_like(x)
    _hop(u, x, -1.0, 1, 1.0, zero, odd)
    z += odd
    _hop(u, odd, -1.0, 0, -(KAPPA**2), x, w)
    odd[:] = 0.0
    _hop(u, w, 1.0, 1, 1.0, zero, odd)
    w += odd
    for i in range(length):
        for j in range(length):
            ip, jp = (i + 1) % length, (j + 1) % length
            for mu in range(2):
                k, m = (ip, j) if mu == 0 else (i, jp)
                c = 1.0 + 0.0j if mu == 0 else -1.0j
                ahead = (np.conj(z[i, j, 0]) - np.conj(c) * np.conj(z[i, j, 1])) * (w[k, m, 0] - c * w[k, m, 1])
                behind = (np.conj(z[k, m, 0]) + np.conj(c) * np.conj(z[k, m, 1])) * (w[i, j, 0] + c * w[i, j, 1])
                slope = 1j * u[mu, i, j] * ahead - 1j * np.conj(u[mu, i, j]) * behind
                momenta[mu, i, j] -= factor * weight * 2.0 * KAPPA**2 * slope.real


@njit
def _kick(theta: Any, momenta: Any, phi: Any, factor: Any, x: Any) -> None:
    length, u = theta.shape[1], _links_of(theta)
    for i in range(length):
        for j in range(length):
            pull = BETA * np.sin(_plaquette(theta, i, j)) * factor
            momenta[0, i, j] -= pull
            momenta[0, i, (j + 1) % length] += pull
            momenta[1, i, j] += pull
            momenta[1, (i + 1) % length, j] -= pull
    for k in range(2):
        _solve(u, phi[k], SHIFTS[k], x)
        _add_fermion_force(u, x, SHIFTS[1] - SHIFTS[0] if k == 0 else 1.0, factor, momenta)


@njit
def _trajectory(theta: Any, momenta: Any, phi: Any) -> Any:
    """ΔH; links and momenta in place."""
    step, x = 1.0 / STEPS, np.zeros_like(phi[0])
    start = _energy(theta, momenta, phi, x)
    _kick(theta, momenta, phi, OMELYAN_LAMBDA * step, x)
    for k in range(STEPS):
        theta += 0.5 * step * momenta
        _kick(theta, momenta, phi, (1.0 - 2.0 * OMELYAN_LAMBDA) * step, x)
        theta += 0.5 * step * momenta
        _kick(theta, momenta, phi, OMELYAN_LAMBDA * step * (1.0 if k == STEPS - 1 else 2.0), x)
    return _energy(theta, momenta, phi, x) - start
