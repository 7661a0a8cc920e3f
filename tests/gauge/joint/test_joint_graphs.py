"""Steps of a joint flow by captured gradients, by pretence, are the steps without."""

from __future__ import annotations

import pytest
import torch

from pipeline.base.run import cuda_graph
from pipeline.base.run.cuda_graph import GraphedGradients
from tests.base.run.test_cuda_graph import Recorded
from tests.gauge.joint.small_joint import small


@pytest.mark.parametrize("gradient", ["path", "reparametrised", "reinforce"])
def test_captured_steps_are_plain_steps(gradient: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Same numbers, whole and remaining chunks, a step that was skipped in between: bit for bit the same parameters."""
    monkeypatch.setattr(cuda_graph, "_Capture", Recorded)
    states = []
    for captured in (False, True):
        method = small(batch=5, chunk=2 if gradient != "reinforce" else 3, gradient=gradient)
        if captured:
            method.graphs = GraphedGradients(method._loss)
        state = method.init(3)
        for k in range(4):
            if k == 2:
                method._skip(state, k, "on purpose")
            method.step(state, k)
        states.append(state)
    for plain, graphed in zip(*(state.flow.parameters() for state in states), strict=True):
        assert torch.equal(plain, graphed)
