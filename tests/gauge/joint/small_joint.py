"""Joint flows that are small enough for tests, in double precision."""

from __future__ import annotations

from typing import Any

from pipeline.base.config.nodes import TrainConfig
from pipeline.base.config.phases import AdamWConfig, PhaseConfig
from pipeline.gauge.joint.method import JointFlowTraining
from pipeline.gauge.joint.schema import JointFlowConfig, JointInferConfig
from pipeline.gauge.systems import Schwinger, TwoFlavours
from tests.gauge.flow.small_flows import settings
from tests.gauge.pseudofermion.small_flows import config, preconditioning

SYSTEM = Schwinger(length=4, beta=1.0, kappa=0.2)


def small(
    system: TwoFlavours = SYSTEM,
    lr: float = 0.01,
    phases: list[PhaseConfig] | None = None,
    target: dict[str, Any] | None = None,
    infer: dict[str, Any] | None = None,
    marginal: dict[str, Any] | None = None,
    device: str = "cpu",
    steps: int = 100,
    **changed: Any,
) -> JointFlowTraining:
    """Eight narrow layers for links and two for fields, but for what is changed."""
    values: dict[str, Any] = {
        "batch": 16,
        "draws": 1,
        "gradient": "reparametrised",
        "gradient_clip": 10.0,
        "chunk": None,
        "max_skipped": 2,
        "evaluate_every": 0,
        "evaluate_configurations": 16,
        "exact_length": 4,
        "marginal": settings(**({"layers": 8, "gain": 0.5} | (marginal or {}))),
        "conditional": config(layers=2, gain=0.5, features=2),
        "preconditioning": preconditioning(regulator=1e-5, **(target or {})),
    }
    method = JointFlowConfig(**(values | changed))
    method.check(system)
    optimizer = AdamWConfig(lr=lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
    train = TrainConfig(method=method, optimizer=optimizer, steps=steps, seed=0, dtype="float64", phases=phases or [])
    amounts: dict[str, Any] = {"units": 1, "configurations": 16, "draws": 1, "metropolis": False}
    amounts |= {"exact_length": 4, "spectra": 0, "correlator_time": None, **(infer or {})}
    return JointFlowTraining(system, train, JointInferConfig(seed=7, **amounts), device)
