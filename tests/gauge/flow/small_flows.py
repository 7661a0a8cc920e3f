"""Flows that are small enough for tests."""

from __future__ import annotations

from typing import Any

from pipeline.gauge.flow.marginal import MarginalFlow, build_marginal_flow
from pipeline.gauge.flow.schema import MarginalFlowSettings
from pipeline.gauge.systems import GaugeSystem


def settings(**changed: Any) -> MarginalFlowSettings:
    """Two layers with narrow networks, but for what is ``changed``."""
    values: dict[str, Any] = {
        "layers": 2,
        "hidden": [6],
        "dilations": [1, 2],
        "bins": 4,
        "activation": "silu",
        "gain": 1.0,
    }
    return MarginalFlowSettings(**(values | changed))


def small(system: GaugeSystem, seed: int = 0, **changed: Any) -> MarginalFlow:
    """A flow in double precision."""
    flow: MarginalFlow = build_marginal_flow(settings(**changed), system, seed).double()
    return flow
