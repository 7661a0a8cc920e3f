"""Loop algorithm for the Heisenberg antiferromagnet on a bipartite lattice, in continuous imaginary time (numba).

On each bond J σ_i·σ_j = J - 4J P with P the projector on the singlet. After a rotation of one sublattice all elements
of P between antiparallel spins are +1/2, so that the series of Tr e^{-βH} in the projectors has positive terms:
operators in continuous time, at rate 2J on antiparallel bonds, each either diagonal or exchanging the two spins (a
kink). Both spins below an operator belong to one loop and both above it to one; flipping a loop keeps the weight. See
Evertz, Adv. Phys. 52, 1 (2003); Beard and Wiese, Phys. Rev. Lett. 77, 5130 (1996); Sandvik, Phys. Rev. B 59, R14157
(1999), of whose operator strings this is the limit of infinite length.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import int32
from numpy.typing import NDArray

from pipeline.base.run.compiled import njit
from pipeline.spin.exact.worldlines import END, Memory, join, label_clusters, pick, random_bits, waiting_time

OPERATORS, BETWEEN, SAME, MAGNETISATION = range(4)
"""Sums of :func:`sweep_loops`: operators; those between two loops; time-averaged bonds in one loop; \\|Σ σz\\|."""


class HeisenbergModel(NamedTuple):
    """Bonds, their neighbours and the rate at which operators are proposed.

    Attributes:
        first, second: (bonds,) int32, the sites of each bond.
        starts, neighbours: (N + 1,) and (2 · bonds,) int32; sites bound to i are neighbours[starts[i]:starts[i + 1]].
        rate: 2 β J on all bonds together.
    """

    first: NDArray[np.int32]
    second: NDArray[np.int32]
    starts: NDArray[np.int32]
    neighbours: NDArray[np.int32]
    rate: float


@njit(nogil=True)
def sweep_loops(model: HeisenbergModel, room: Memory, kinks: int, sweeps: int, sums: NDArray[np.float64]) -> int:
    """Sweep, add up the observables, and return the number of kinks, or -1 if the operators found no room."""
    for _ in range(sweeps):
        operators = build_loops(model, room, kinks)
        if operators < 0:
            return -1
        size = len(room.spins)
        label_clusters(room.parents, size + operators, room.random, room.labels)
        kinks, between = flip_loops(room, operators)
        sums[OPERATORS] += operators
        sums[BETWEEN] += between
        sums[SAME] += bonds_in_one_loop(model, room, operators)
        up = 0
        for site in range(size):
            up += room.spins[site]
        sums[MAGNETISATION] += abs(size - 2 * up)
    return kinks


@njit
def build_loops(model: HeisenbergModel, room: Memory, kinks: int) -> int:
    """Draw the operators that flip nothing, and join segments to loops; the number of operators, or -1."""
    first, second, spins, segments, parents = model.first, model.second, room.spins, room.current, room.parents
    size, capacity = len(spins), len(room.times) - 1
    for site in range(size):
        parents[site] = segments[site] = site
    room.kink_times[kinks] = END
    passed, operators = 0, 0
    next_kink = room.kink_times[0]
    proposal = waiting_time(room.random, model.rate)
    while True:
        if proposal < next_kink:
            if proposal >= 1.0:
                break
            time, kink = proposal, 0
            bond = pick(random_bits(room.random), len(first))
            proposal += waiting_time(room.random, model.rate)
            i, j = first[bond], second[bond]
            if spins[i] == spins[j]:
                continue
        else:
            if passed == kinks:
                break
            time, kink = next_kink, 1
            bond = int(room.kink_places[passed])
            passed += 1
            next_kink = room.kink_times[passed]
            i, j = first[bond], second[bond]
            spins[i] ^= 1
            spins[j] ^= 1
        if operators == capacity:
            return -1
        root = join(parents, segments[i], segments[j])
        opened = int32(size + operators)
        parents[opened] = segments[i] = segments[j] = opened
        room.times[operators], room.places[operators] = time, bond
        room.below[operators], room.kinks[operators] = root, kink
        operators += 1
    for site in range(size):
        join(parents, segments[site], site)
    return operators


@njit
def flip_loops(room: Memory, operators: int) -> tuple[int, int]:
    """Flip spins and operators, keep the kinks; how many there are, and how many operators lie between two loops."""
    labels, size = room.labels, len(room.spins)
    kinks, between = 0, 0
    for k in range(operators):
        under, over = labels[room.below[k]], labels[size + k]
        between += under != over
        room.kink_times[kinks], room.kink_places[kinks] = room.times[k], room.places[k]
        kinks += (room.kinks[k] ^ under ^ over) & 1
    for site in range(size):
        room.spins[site] ^= labels[site] & 1
    return kinks, between


@njit
def bonds_in_one_loop(model: HeisenbergModel, room: Memory, operators: int) -> float:
    """Number of bonds with both sites in the same loop, averaged over imaginary time."""
    current, labels, size = room.current, room.labels, len(room.spins)
    for site in range(size):
        current[site] = labels[site]
    count = 0
    for bond in range(len(model.first)):
        count += current[model.first[bond]] == current[model.second[bond]]
    total, since = 0.0, 0.0
    for k in range(operators):
        sites = (model.first[room.places[k]], model.second[room.places[k]])
        new = labels[size + k]
        if new == current[sites[0]]:
            continue
        total += count * (room.times[k] - since)
        since = room.times[k]
        for site in sites:
            old = current[site]
            for n in range(model.starts[site], model.starts[site + 1]):
                other = current[model.neighbours[n]]
                count += int(other == new) - int(other == old)
            current[site] = new
    return total + count * (1.0 - since)
