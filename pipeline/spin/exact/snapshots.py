"""Configurations of a ground state: worldlines of quantum Monte Carlo, cut at imaginary times."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.base.later import NDArray, np
from pipeline.base.numbers.rng import numpy_generator

if TYPE_CHECKING:
    from pipeline.spin.exact.unfrustrated import Model


def snapshots(
    model: Model, beta_per_length: float, count: int, times: int, warmup: int, seed: int, k: int
) -> NDArray[np.int8]:
    """Draws from the diagonal of exp(-βH), |⟨s|ψ0⟩|² at low temperature, in the order of the Markov chain.

    Those of one sweep are correlated; those of different ``k`` are independent, and a pure function of their arguments.

    Args:
        model: of :func:`pipeline.spin.exact.unfrustrated.model_of`.
        beta_per_length: β as :class:`pipeline.spin.exact.qmc.QMC` has it.
        count: how many.
        times: equidistant imaginary times of one sweep at which worldlines are cut.
        warmup: sweeps from random spins before the first cut.
        seed, k: of the random numbers.

    Returns:
        (count, N) spins ±1.
    """
    from pipeline.spin.exact.cuts import cut
    from pipeline.spin.exact.worldlines import Worldlines

    generator, beta = numpy_generator(seed, "snapshots", k), model.beta(beta_per_length)
    spins = generator.integers(0, 2, model.size, dtype=np.int8)
    lines = Worldlines(spins, np.empty(0), np.empty(0, np.int32))

    def words() -> NDArray[np.uint64]:
        return generator.integers(0, 2**64, 4, dtype=np.uint64)

    if warmup:
        lines, _ = model.advance(lines, words(), beta, warmup)
    found = np.empty((-(-count // times), times, model.size), np.int8)
    for sweep in found:
        lines, _ = model.advance(lines, words(), beta, 1)
        cut(lines.spins, lines.times, model.flipped(lines.places), sweep)
    bits = found.reshape(-1, model.size)[:count]
    return (1 - 2 * bits) * model.gauge()
