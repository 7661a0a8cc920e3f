"""CUDA graphs by pretence: captures are replaced by calls, everything around them is what runs on a GPU."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.base.run import cuda_graph
from pipeline.base.run.cuda_graph import GraphedGradients, GraphedRows


class Recorded:
    """Instead of a capture: the loss is evaluated at every replay, and as often before as a warm-up does."""

    made = 0

    def __init__(self, loss: Any, generator: torch.Generator) -> None:
        type(self).made += 1
        self._loss, self._generator = loss, generator
        for _ in range(cuda_graph.WARM_UP):
            loss(generator).backward()

    def replay(self) -> float:
        value = self._loss(self._generator)
        value.backward()
        return float(value.detach())


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    Recorded.made = 0
    monkeypatch.setattr(cuda_graph, "_Capture", Recorded)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)


def make(model: nn.Module, size: int, share: float) -> Any:
    def loss(generator: torch.Generator) -> Tensor:
        return share * model(torch.randn(size, 3, generator=generator)).square().mean()

    return loss


def expected(model: nn.Module, parts: list[tuple[int, float]], seed: int) -> tuple[float, list[Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    losses = [make(model, *part)(generator) for part in parts]
    gradients = torch.autograd.grad(torch.stack(losses).sum(), list(model.parameters()))
    return float(torch.stack(losses).sum().detach()), list(gradients)


@pytest.mark.usefixtures("pretended")
def test_gradients_are_those_of_the_numbers_of_the_seed() -> None:
    """Neither what a warm-up leaves behind nor a caller that drops them changes them; parts are captured once."""
    model, graphs = nn.Linear(3, 1), GraphedGradients(make)
    parts = [(4, 0.4), (4, 0.4), (2, 0.2)]
    for seed in (1, 2):
        value, gradients = expected(model, parts, seed)
        found = graphs.add(model, parts, seed)
        assert found == pytest.approx(value, rel=1e-6)
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            torch.testing.assert_close(parameter.grad, gradient)
        model.zero_grad()  # sets them to None
    assert Recorded.made == 2


@pytest.mark.usefixtures("pretended")
def test_another_model_is_captured_anew() -> None:
    """Captures know the tensors of one model."""
    graphs = GraphedGradients(make)
    for model in (nn.Linear(3, 1), nn.Linear(3, 1)):
        value, _ = expected(model, [(4, 1.0)], 5)
        assert graphs.add(model, [(4, 1.0)], 5) == pytest.approx(value, rel=1e-6)
    assert Recorded.made == 2


def test_a_loss_that_cannot_be_captured_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """From there on nothing is captured."""
    # a sweep in an earlier test of this process leaves loggers turned off, and errors alone
    monkeypatch.setattr(logging.getLogger(cuda_graph.__name__), "disabled", False)
    caplog.set_level(logging.WARNING)

    class Failing(Recorded):
        def __init__(self, loss: Any, generator: torch.Generator) -> None:
            type(self).made += 1
            raise RuntimeError("operation not permitted when stream is capturing")

    Failing.made = 0
    monkeypatch.setattr(cuda_graph, "_Capture", Failing)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    graphs, model = GraphedGradients(make), nn.Linear(3, 1)
    assert graphs.add(model, [(4, 1.0)], 5) is None
    assert graphs.add(model, [(4, 1.0)], 6) is None
    assert Failing.made == 1
    assert len(caplog.records) == 1
    assert "not permitted" in caplog.text


def test_rows_fill_up_captures_of_powers_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is returned is that of the rows alone, and a copy."""
    sizes = []

    class Graph:
        def __init__(self, inputs: Tensor, outputs: tuple[Tensor, ...]) -> None:
            self.inputs, self.outputs = inputs, outputs

        def replay(self) -> None:
            for kept, new in zip(self.outputs, shifted(self.inputs), strict=True):
                kept.copy_(new)

    def shifted(rows: Tensor) -> tuple[Tensor, ...]:
        return rows + 1.0, rows.sum(1)

    def capture(self: GraphedRows, inputs: Tensor) -> Any:
        sizes.append(len(inputs))
        outputs = shifted(inputs)
        return Graph(inputs, outputs), inputs, outputs

    monkeypatch.setattr(GraphedRows, "_capture", capture)
    graphed = GraphedRows(shifted)
    before = None
    for count in (1, 127, 128, 129, 100, 300):
        rows = torch.rand(count, 3)
        found = graphed(rows)
        for ours, wanted in zip(found, shifted(rows), strict=True):
            torch.testing.assert_close(ours, wanted)
        if before is not None:
            torch.testing.assert_close(*before)
        before = found[0], found[0].clone()
    assert sizes == [128, 256, 512]


def test_rows_that_memory_has_no_room_for_are_fewer_rows_and_graphs_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error goes to who can ask for fewer; another one ends graphs, and the function works without them."""

    def capture(self: GraphedRows, inputs: Tensor) -> Any:
        raise errors.pop(0)

    monkeypatch.setattr(GraphedRows, "_capture", capture)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    errors: list[RuntimeError] = [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("not permitted")]
    graphed = GraphedRows(lambda rows: (2.0 * rows,))
    with pytest.raises(torch.OutOfMemoryError):
        graphed(torch.ones(3, 2))
    for _ in range(2):
        torch.testing.assert_close(graphed(torch.ones(3, 2)), (torch.full((3, 2), 2.0),))
    assert errors == []
