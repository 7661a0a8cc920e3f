"""Cluster algorithm for the transverse-field Ising model in continuous imaginary time (numba).

H = -V Σ σz_i σz_j - h Σ σx_i with V, h >= 0. The series of Tr e^{-βH} in V (σz σz + 1), h σx and the constant h has
positive terms: bond operators at rate 2V where the spins are parallel, and on each site cuts (the constant) at rate h
and kinks (σx). A bond operator joins the worldlines of its two sites; a cut or a kink ends a segment, and becomes the
one or the other as the segments below and above flip. References: Rieger and Kawashima, Eur. Phys. J. B 9, 233 (1999);
Sandvik, Phys. Rev. E 68, 056701 (2003), of whose operator strings this is the limit of infinite length.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import int32, uint64
from numpy.typing import NDArray

from pipeline.base.run.compiled import njit
from pipeline.spin.exact.worldlines import END, Memory, join, label_clusters, pick, random_bits, waiting_time

CUTS, KINKS, BETWEEN, SAME, SAME_NEAREST, MAGNETISATION = range(6)
"""Sums of :func:`sweep_clusters`: cuts and kinks before the flips; those between two clusters; averaged over time:
bonds in one cluster, nearest neighbours in one cluster, \\|Σ σz\\|."""


class IsingModel(NamedTuple):
    """Bonds, their neighbours and the rates of operators.

    Attributes:
        first, second: (bonds,) int32, the sites of each bond.
        starts, middles, neighbours: (N + 1,), (N,), (2 · bonds,) int32; the sites bound to i are
            neighbours[starts[i]:starts[i + 1]], nearest neighbours being those before middles[i].
        nearest: number of bonds, from the first on, between nearest neighbours.
        signs: (N,) int8, σz is this times the spin of the model with V >= 0.
        bond_rate: 2 β V on all bonds together.
        cut_rate: β h on all sites together.
    """

    first: NDArray[np.int32]
    second: NDArray[np.int32]
    starts: NDArray[np.int32]
    middles: NDArray[np.int32]
    neighbours: NDArray[np.int32]
    nearest: int
    signs: NDArray[np.int8]
    bond_rate: float
    cut_rate: float


@njit(nogil=True)
def sweep_clusters(model: IsingModel, room: Memory, kinks: int, sweeps: int, sums: NDArray[np.float64]) -> int:
    """Sweep, add up the observables, and return the number of kinks, or -1 if the operators found no room."""
    for _ in range(sweeps):
        operators = build_clusters(model, room, kinks)
        if operators < 0:
            return -1
        sums[CUTS] += operators - kinks
        sums[KINKS] += kinks
        label_clusters(room.parents, len(room.spins) + operators, room.random, room.labels)
        bonds_in_one_cluster(model, room, operators, sums)
        kinks = flip_clusters(model, room, operators, sums)
    return kinks


@njit
def build_clusters(model: IsingModel, room: Memory, kinks: int) -> int:
    """Draw cuts and bond operators, and join segments to clusters; the number of cuts and kinks, or -1."""
    first, second, spins, segments, parents = model.first, model.second, room.spins, room.current, room.parents
    size, capacity = len(spins), len(room.times) - 1
    for site in range(size):
        parents[site] = segments[site] = site
    rate = model.bond_rate + model.cut_rate
    bond_share = uint64(model.bond_rate / rate * 2.0**32)
    room.kink_times[kinks] = END
    passed, operators = 0, 0
    next_kink = room.kink_times[0]
    proposal = waiting_time(room.random, rate)
    while True:
        if proposal < next_kink:
            if proposal >= 1.0:
                break
            time, kink = proposal, 0
            proposal += waiting_time(room.random, rate)
            bits = random_bits(room.random)
            if (bits & uint64(0xFFFFFFFF)) < bond_share:
                bond = pick(bits, len(first))
                i, j = first[bond], second[bond]
                if spins[i] == spins[j]:
                    # The root may stand for the segments, and makes the next search shorter.
                    segments[i] = segments[j] = join(parents, segments[i], segments[j])
                continue
            site = pick(bits, size)
        else:
            if passed == kinks:
                break
            time, kink = next_kink, 1
            site = int(room.kink_places[passed])
            passed += 1
            next_kink = room.kink_times[passed]
            spins[site] ^= 1
        if operators == capacity:
            return -1
        room.times[operators], room.places[operators] = time, site
        room.below[operators], room.kinks[operators] = segments[site], kink
        opened = int32(size + operators)
        parents[opened] = segments[site] = opened
        operators += 1
    for site in range(size):
        join(parents, segments[site], site)
    return operators


@njit
def flip_clusters(model: IsingModel, room: Memory, operators: int, sums: NDArray[np.float64]) -> int:
    """Flip spins and operators, keep the kinks and return how many there are; adds up the magnetisation."""
    labels, spins, size = room.labels, room.spins, len(room.spins)
    moment = 0
    for site in range(size):
        spins[site] ^= labels[site] & 1
        moment += model.signs[site] * (1 - 2 * spins[site])
    kinks, between, total, since = 0, 0, 0.0, 0.0
    for k in range(operators):
        time, site = room.times[k], room.places[k]
        under, over = labels[room.below[k]], labels[size + k]
        between += under != over
        kink = (room.kinks[k] ^ under ^ over) & 1
        room.kink_times[kinks], room.kink_places[kinks] = time, site
        kinks += kink
        total += abs(moment) * (time - since)
        since = time
        moment -= 2 * kink * model.signs[site] * (1 - 2 * spins[site])
        spins[site] ^= kink
    sums[BETWEEN] += between
    sums[MAGNETISATION] += total + abs(moment) * (1.0 - since)
    return kinks


@njit
def bonds_in_one_cluster(model: IsingModel, room: Memory, operators: int, sums: NDArray[np.float64]) -> None:
    """Add the numbers of bonds, and of nearest neighbours, in the same cluster, averaged over imaginary time."""
    current, labels, size = room.current, room.labels, len(room.spins)
    for site in range(size):
        current[site] = labels[site]
    near, far = 0, 0
    for bond in range(len(model.first)):
        same = current[model.first[bond]] == current[model.second[bond]]
        if bond < model.nearest:
            near += same
        else:
            far += same
    total_near, total_far, since = 0.0, 0.0, 0.0
    for k in range(operators):
        site, new = room.places[k], labels[size + k]
        old = current[site]
        if new == old:
            continue
        elapsed = room.times[k] - since
        since = room.times[k]
        total_near += near * elapsed
        total_far += far * elapsed
        for n in range(model.starts[site], model.middles[site]):
            other = current[model.neighbours[n]]
            near += int(other == new) - int(other == old)
        for n in range(model.middles[site], model.starts[site + 1]):
            other = current[model.neighbours[n]]
            far += int(other == new) - int(other == old)
        current[site] = new
    total_near += near * (1.0 - since)
    sums[SAME_NEAREST] += total_near
    sums[SAME] += total_near + total_far + far * (1.0 - since)
