from __future__ import annotations
from typing import Any
from pipeline.gauge.schema import GaugeSystem


def trajectory_seconds(hmc: Any, system: GaugeSystem) -> float:
    links = 2.0 * hmc.chains * system.size
    seconds_per_force = 1e-4 + 1.4e-8 * links
    return (2 * hmc.integrator_steps + 3) * seconds_per_force


def memory_bytes(hmc: Any, system: GaugeSystem) -> float:
    return 160.0 * hmc.chains * system.size
