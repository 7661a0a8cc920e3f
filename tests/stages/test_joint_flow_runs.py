"""Joint flows through the stages: training continued and interrupted, snapshots, a report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.base.errors import Interrupted
from pipeline.gauge.joint.method import JointFlowTraining
from pipeline.stages.compose import compose_run
from pipeline.stages.context import Context
from pipeline.stages.report import report
from pipeline.stages.run import RunOutput, execute

JOINT = ["paper=pseudofermion/joint", "scale=smoke", "tracker=none", "progress=false", "train.steps=5"]

ENSEMBLE = ("log_weight", "log_marginal", "plaquette", "topological_charge")


def run(tmp_path: Path, *overrides: str) -> tuple[Context, RunOutput]:
    said: list[str] = []
    context = Context(compose_run([*JOINT, *overrides, f"results_dir={tmp_path}"]), notify=said.append)
    return context, execute(context)


def kept(output: RunOutput) -> Any:
    """Bytes of the ensemble of an inference, which is of 2 batches of 32."""
    assert output.inferred is not None
    arrays = output.inferred.ensemble()
    assert {name: array.shape for name, array in arrays.items()} == dict.fromkeys(ENSEMBLE, (32, 2))
    return {name: array.tobytes() for name, array in arrays.items()}


def numbers(output: RunOutput) -> Any:
    assert output.result is not None
    return output.result.to_json()


def test_parts_of_a_training_are_the_straight_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ended after two steps, gone on with, interrupted in step 4 and in the inference."""
    stages = "stages=[train,infer]"
    _, straight = run(tmp_path / "straight", stages)
    run(tmp_path / "parts", stages, "train.steps=2")
    step, measure = JointFlowTraining.step, JointFlowTraining.measure

    def interrupted(at: int, method: Any) -> Any:
        def call(self: JointFlowTraining, state: Any, k: int) -> Any:
            if k == at:
                raise Interrupted("here")
            return method(self, state, k)

        return call

    for name, patched in (("step", interrupted(4, step)), ("measure", interrupted(1, measure))):
        with monkeypatch.context() as patch:
            patch.setattr(JointFlowTraining, name, patched)
            with pytest.raises(Interrupted):
                run(tmp_path / "parts", stages)
    _, again = run(tmp_path / "parts", stages)
    assert numbers(again) == numbers(straight)
    assert kept(again) == kept(straight)
    assert again.trained is not None
    metrics = again.trained.entry.metrics()
    assert [m["k"] for m in metrics] == [0, 1, 2, 3, 4]
    assert ["marginal_ess" in m for m in metrics] == [True, False, True, False, True]


def test_report_beside_the_reweighting_of_pure_gauge(tmp_path: Path) -> None:
    context, output = run(tmp_path, "train.snapshots=[0,3]")
    page = (report(context, output) / "report.md").read_text()
    for name in ("plaquette", "topological_susceptibility", "joint_ess", "marginal_kl", "acceptance"):
        assert f"| {name} " in page
    assert "reweighted pure gauge" in page
    assert output.training_curve is not None
    assert output.training_curve.x == (0.0, 3.0, 5.0)
