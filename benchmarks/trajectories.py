"""Trajectories of hybrid Monte Carlo of the Schwinger model: ours, in plain torch, as first written, as one loop."""

from __future__ import annotations

from collections.abc import Callable
from unittest import mock

from benchmarks.contract import Work
from benchmarks.trajectory_start import STEPS, Outcome, Start, start


def run(kind: str, length: int, batch: int) -> Work:
    """One trajectory of ``batch`` configurations, without drawing; ``kind``: ours, plain, rolled or looped."""
    from benchmarks import looped_hmc, rolled_hmc

    kinds: dict[str, Callable[[Start], Outcome]] = {
        "ours": ours,
        "plain": plain,
        "rolled": rolled_hmc.trajectory,
        "looped": looped_hmc.trajectory,
    }
    # Compilation is no part of the memory of a trajectory.
    kinds[kind](start(4, 1))
    begin = start(length, batch)
    return Work(lambda: kinds[kind](begin), None, None)


def ours(begin: Start) -> Outcome:
    """By the integrator of :mod:`pipeline.gauge.hmc`."""
    from pipeline.gauge import u1
    from pipeline.gauge.hmc.integrator import SCHEMES, integrate, kinetic_energy

    before = kinetic_energy(begin.momenta) + begin.action.value(begin.links)
    scheme = SCHEMES["omelyan"]
    links, momenta = integrate(begin.links, begin.momenta, begin.action, u1, scheme, 1.0 / STEPS, STEPS)
    return links, kinetic_energy(momenta) + begin.action.value(links) - before


def plain(begin: Start) -> Outcome:
    """The same as on other devices than a CPU."""
    from pipeline.gauge.fermions import hopping, solver

    with (
        mock.patch.object(hopping, "compiled", return_value=False),
        mock.patch.object(solver, "compiled", return_value=False),
    ):
        return ours(begin)
