"""A small run of hybrid Monte Carlo that tests vary."""

import dataclasses
from typing import Any

from pipeline.gauge.hmc.method import HMC
from pipeline.gauge.hmc.schema import FermionSettings
from pipeline.gauge.hmc.state import HMCState
from pipeline.gauge.systems import GaugeSystem

SETTINGS = HMC(
    chains=16,
    trajectory_length=1.0,
    integrator="omelyan",
    integrator_steps=3,
    target_acceptance=0.8,
    warmup=20,
    measurements=10,
    trajectories_per_measurement=2,
    correlator=True,
    condition_numbers=False,
    keep_links=False,
    precision="float64",
    fermions=FermionSettings(determinant="exact", even_odd=True, tolerance=1e-12, max_iterations=1000),
    seed=7,
)


def small(**changes: Any) -> HMC:
    """The settings with ``changes``; those of the fermions as ``fermions={...}``."""
    if "fermions" in changes:
        changes["fermions"] = dataclasses.replace(SETTINGS.fermions, **changes["fermions"])
    return dataclasses.replace(SETTINGS, **changes)


def warmed(hmc: HMC, system: GaugeSystem) -> HMCState:
    """The state after warm-up."""
    state = hmc.init(system)
    for k in range(hmc.warmup):
        hmc.step(state, k)
    return state
