"""Joint flows on a pretend accelerator (see :mod:`tests.pretend`): training, weights and a summary."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.gauge import neighbours
from pipeline.gauge.flow import masks, periodic
from pipeline.gauge.pseudofermion import context, coupling
from pipeline.gauge.pseudofermion import masks as field_masks
from tests import pretend
from tests.gauge.joint.small_joint import small


@pytest.fixture
def device() -> Iterator[torch.device]:
    """The pretend one; tables that are cached by device must not outlive it."""
    with pretend.accelerator() as found:
        yield found
    for cached in (
        *(
            masks._moved,
            periodic._windows,
            periodic._padding,
            context.neighbourhoods,
            field_masks.on_device,
            coupling._unit,
        ),
        *(neighbours.all_sites, neighbours.even_odd),
    ):
        cached.cache_clear()


@pytest.mark.parametrize("gradient", ["reparametrised", "path"])
def test_training_and_inference(gradient: str, device: torch.device) -> None:
    changed: dict[str, Any] = {"batch": 2, "evaluate_every": 1, "evaluate_configurations": 2}
    infer = {"configurations": 3, "draws": 2}
    method = small(device=str(device), gradient=gradient, infer=infer, marginal={"layers": 1}, **changed)
    state = method.init(0)
    metrics = method.step(state, 0)
    assert all(type(value) is float for value in metrics.values())
    assert {"loss", "gradient", "joint_ess", "marginal_ess"} <= metrics.keys()
    assert all(p.device == device for p in state.flow.parameters())
    record = method.measure(state, 0)
    assert not any(isinstance(value, torch.Tensor) for value in record.values())
    assert np.isfinite(method.summarise([record]).estimate("plaquette").value)
