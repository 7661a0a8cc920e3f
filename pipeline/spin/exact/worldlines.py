"""What the quantum Monte Carlo kernels share: random numbers, clusters of worldline segments, working memory (numba).

Worldlines live on imaginary time t in [0, 1), in units of β, and are periodic. A configuration is the spins at t = 0
and a list of kinks in order of time; operators that flip nothing are drawn afresh in every sweep, as a Poisson
process. Each operator ends segments of worldlines and begins new ones; segments that must flip together are joined to
clusters, and every cluster flips with probability 1/2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import int32, uint64
from numpy.typing import NDArray

from pipeline.base.run.compiled import njit

END = 2.0
"""A time after all others."""


@dataclass
class Worldlines:
    """One configuration.

    Attributes:
        spins: (N,) int8 at t = 0; bit 0 is spin +1.
        times: (kinks,) float64, increasing, in [0, 1).
        places: (kinks,) int32, the bond or site of each kink.
    """

    spins: NDArray[np.int8]
    times: NDArray[np.float64]
    places: NDArray[np.int32]

    def state_dict(self) -> dict[str, Any]:
        """A copy."""
        return {name: value.copy() for name, value in vars(self).items()}


class Memory(NamedTuple):
    """Working memory of a kernel for N sites and up to C operators; nothing in it outlives a call but the kinks.

    Attributes:
        random: (4,) uint64, state of xoshiro256++.
        spins: (N,) int8 at t = 0.
        kink_times, kink_places: (C + 1,), see :class:`Worldlines`; one more for the sentinel.
        current: (N,) int32, the segment, later the label, of each site at the time that a pass has reached.
        times, places, below, kinks: (C + 1,) float64, int32, int32, int8; the operators of a sweep: when and where,
            the segment that ends there, whether it is a kink. Operator k begins segment N + k.
        parents, labels: (N + C,) int32; segments 0 .. N-1 begin at t = 0. Labels are two times the first segment of
            the cluster, plus one if it flips.
    """

    random: NDArray[np.uint64]
    spins: NDArray[np.int8]
    kink_times: NDArray[np.float64]
    kink_places: NDArray[np.int32]
    current: NDArray[np.int32]
    times: NDArray[np.float64]
    places: NDArray[np.int32]
    below: NDArray[np.int32]
    kinks: NDArray[np.int8]
    parents: NDArray[np.int32]
    labels: NDArray[np.int32]


def memory(lines: Worldlines, random: NDArray[np.uint64], operators: float) -> Memory:
    """Working memory that starts from ``lines``, for a number of operators that is Poissonian about ``operators``."""
    size = len(lines.spins)
    capacity = int(operators + 12 * math.sqrt(operators)) + 64 + len(lines.times)
    room = Memory(
        random=random.copy(),
        spins=lines.spins.copy(),
        kink_times=np.empty(capacity + 1),
        kink_places=np.empty(capacity + 1, np.int32),
        current=np.empty(size, np.int32),
        times=np.empty(capacity + 1),
        places=np.empty(capacity + 1, np.int32),
        below=np.empty(capacity + 1, np.int32),
        kinks=np.empty(capacity + 1, np.int8),
        parents=np.empty(size + capacity, np.int32),
        labels=np.empty(size + capacity, np.int32),
    )
    room.kink_times[: len(lines.times)] = lines.times
    room.kink_places[: len(lines.places)] = lines.places
    return room


def worldlines(room: Memory, kinks: int) -> Worldlines:
    """The configuration that a kernel has left in ``room``."""
    return Worldlines(room.spins.copy(), room.kink_times[:kinks].copy(), room.kink_places[:kinks].copy())


@njit
def random_bits(state: NDArray[np.uint64]) -> Any:
    """64 random bits: xoshiro256++ of Blackman and Vigna, ACM Trans. Math. Softw. 47, 36 (2021)."""
    total = state[0] + state[3]
    bits = ((total << uint64(23)) | (total >> uint64(41))) + state[0]
    shifted = state[1] << uint64(17)
    state[2] ^= state[0]
    state[3] ^= state[1]
    state[1] ^= state[2]
    state[0] ^= state[3]
    state[2] ^= shifted
    state[3] = (state[3] << uint64(45)) | (state[3] >> uint64(19))
    return bits


@njit
def waiting_time(state: NDArray[np.uint64], rate: float) -> float:
    """Exponentially distributed time to the next event of a Poisson process; beyond the end for rate 0."""
    if rate == 0.0:
        return END
    uniform = (np.float64(random_bits(state) >> uint64(11)) + 0.5) * 2.0**-53
    return -math.log(uniform) / rate


@njit
def pick(bits: Any, count: int) -> Any:
    """A number in 0 .. count-1 from the high half of 64 random bits; uneven by less than count / 2^32."""
    return np.int64(((bits >> uint64(32)) * uint64(count)) >> uint64(32))


@njit
def join(parents: NDArray[np.int32], a: int, b: int) -> int:
    """Join the clusters of two segments and return the root, which is the earliest segment of the cluster."""
    while parents[a] != a:
        parents[a] = parents[parents[a]]
        a = parents[a]
    while parents[b] != b:
        parents[b] = parents[parents[b]]
        b = parents[b]
    root = min(a, b)
    parents[max(a, b)] = root
    return root


@njit
def label_clusters(
    parents: NDArray[np.int32], count: int, state: NDArray[np.uint64], labels: NDArray[np.int32]
) -> None:
    """Write the labels of the first ``count`` segments, with a fair coin for each cluster.

    Parents precede their children, so that one pass in order is enough; it has no branch that could be mispredicted.
    """
    bits = uint64(0)
    for segment in range(count):
        if segment & 63 == 0:
            bits = random_bits(state)
        parent = parents[segment]
        inherited = labels[parent]
        fresh = int32(segment << 1) | int32(bits & uint64(1))
        bits >>= uint64(1)
        labels[segment] = fresh if parent == segment else inherited
