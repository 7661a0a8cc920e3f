"""What is timed against each other in lattice gauge theory gives the same numbers."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from benchmarks import accelerator, joint_steps, looped_hmc, rolled_hmc, trajectories, trajectory_start
from pipeline.base.numbers.rng import torch_generator
from pipeline.gauge.joint.model import joint_kl
from tests.gauge.joint.small_joint import small


@pytest.mark.parametrize(("even_odd", "batch"), [(True, 3), (False, 3), (True, 8)])
def test_both_joint_flows_have_the_same_loss_and_gradient(even_odd: bool, batch: int) -> None:
    """In double precision, weight by weight; and ours is the loss that trainings have. Eight have plane waves."""
    method = small(batch=batch, draws=2, target={"even_odd": even_odd}, marginal={"layers": 8, "dilations": [1, 2]})
    losses, gradients = [], []
    both = joint_steps.contenders(method)
    for model, loss_of in both.values():
        loss = loss_of(torch_generator(1, "test.loss"), joint_steps.Marks())
        loss.backward()
        losses.append(loss.item())
        gradients.append([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    again = joint_kl(
        both["ours"][0], method.regulated, method.system, batch, 2, torch_generator(1, "test.loss"), "reparametrised"
    )
    assert losses[0] == again.item()
    assert losses[1] == pytest.approx(losses[0], rel=1e-12)
    assert len(gradients[0]) == len(gradients[1]) == len(list(both["ours"][0].parameters()))
    assert any(g.any() for g in gradients[0])
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-10)


def test_parts_of_an_update_make_up_the_update() -> None:
    parts = joint_steps.step("ours", 4, 2, 1, 2).run()
    assert isinstance(parts, dict)
    assert len(parts) == 5
    assert all(seconds > 0 for seconds in parts.values())


@pytest.mark.parametrize("other", [trajectories.plain, rolled_hmc.trajectory, looped_hmc.trajectory])
def test_all_trajectories_are_the_same(other: object, monkeypatch: pytest.MonkeyPatch) -> None:
    assert callable(other)
    begin = trajectory_start.start(4, 2)
    links, delta_h = trajectories.ours(begin)
    assert (links - begin.links).abs().max() > 0.1
    assert delta_h.abs().min() > 1e-6
    theirs = other(begin)
    torch.testing.assert_close(theirs[0], links, rtol=0, atol=1e-6)
    torch.testing.assert_close(theirs[1], delta_h, rtol=0, atol=1e-6)


def test_step_of_the_papers_flow_is_timed_without_a_gpu(tmp_path: Path) -> None:
    """On a CPU kernels are launched one by one; shares of the parts are shares."""
    words = "--device cpu --batch 4 --chunk 2 --size tiny --out"
    assert accelerator.main([*words.split(), str(tmp_path)]) == 0
    with (tmp_path / "accelerator.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"].split(":")[0] for row in rows] == ["a step, kernels launched one by one", *accelerator.PARTS]
    assert all(float(row["seconds"]) > 0.0 for row in rows)
    assert float(rows[0]["seconds"]) > max(float(row["seconds"]) for row in rows[1:])
