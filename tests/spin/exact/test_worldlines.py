"""Random numbers and clusters that the quantum Monte Carlo kernels share."""

import math

import numpy as np

from pipeline.spin.exact import worldlines


def test_random_bits_are_those_of_the_authors() -> None:
    """First outputs of xoshiro256++ from the state 1, 2, 3, 4."""
    state = np.array([1, 2, 3, 4], np.uint64)
    outputs = [int(worldlines.random_bits(state)) for _ in range(6)]
    assert outputs[:4] == [41943041, 58720359, 3588806011781223, 3591011842654386]
    assert outputs[4:] == [9228616714210784205, 9973669472204895162]


def test_waiting_times_are_exponential() -> None:
    state = np.array([5, 6, 7, 8], np.uint64)
    times = np.array([worldlines.waiting_time(state, 4.0) for _ in range(20000)])
    sorted_probabilities = np.sort(1 - np.exp(-4.0 * times))
    distance = np.abs(sorted_probabilities - (np.arange(20000) + 0.5) / 20000).max()
    assert distance < 1.63 / math.sqrt(20000)
    assert worldlines.waiting_time(state, 0.0) == worldlines.END


def test_clusters_flip_as_a_whole_and_fairly() -> None:
    size = 3000
    generator = np.random.default_rng(0)
    pairs = generator.integers(0, size, (size // 2, 2))
    parents, labels = np.arange(size, dtype=np.int32), np.empty(size, np.int32)
    colours = np.arange(size)
    for a, b in pairs:
        root = worldlines.join(parents, a, b)
        colours[np.isin(colours, (colours[a], colours[b]))] = root
    worldlines.label_clusters(parents, size, np.array([1, 2, 3, 4], np.uint64), labels)
    np.testing.assert_array_equal(labels >> 1, colours)
    assert len(set(labels)) == len(set(colours))
    flips = np.array([label & 1 for label in set(labels)])
    assert abs(flips.mean() - 0.5) < 3 * 0.5 / math.sqrt(len(flips))
