"""CUDA graphs of losses with their gradients and of functions of rows: one launch instead of ten thousands."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

from pipeline.base.run.memory import out_of_memory

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    Loss = Callable[[torch.Generator], Tensor]

Model = TypeVar("Model", bound="nn.Module")

log = logging.getLogger(__name__)

WARM_UP = 3
"""Evaluations before a capture, in which libraries reserve their memory and tables are made."""


SMALLEST = 128
"""Rows of the smallest capture of a function of rows."""


def _warm_up(work: Callable[[], object]) -> None:
    import torch

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            work()
    torch.cuda.current_stream().wait_stream(side)


class _Capture:
    """A loss and its backward pass, captured once; replays add to the gradients that the parameters had then."""

    def __init__(self, loss: Loss, generator: torch.Generator) -> None:
        import torch

        _warm_up(lambda: loss(generator).backward())  # type: ignore[no-untyped-call]
        self._graph = torch.cuda.CUDAGraph()
        self._graph.register_generator_state(generator)
        with torch.cuda.graph(self._graph):
            value = loss(generator)
            value.backward()  # type: ignore[no-untyped-call]
        self._value = value.detach()

    def replay(self) -> float:
        self._graph.replay()
        return float(self._value)


class GraphedGradients(Generic[Model]):
    """A loss of random numbers and its gradient, captured once for each part of the model's batches.

    What is captured must not read results on the host, nor take another way where values differ. The parameters'
    tensors must stay, their values may change.

    Args:
        make: from a model and a part of a batch, size and share, to the loss over numbers of a generator.
    """

    def __init__(self, make: Callable[[Model, int, float], Loss]) -> None:
        self._make = make
        self._model: Model | None = None
        self._generator: torch.Generator | None = None
        self._gradients: list[Tensor] = []
        self._captures: dict[tuple[int, float], _Capture] = {}
        self._failed = False

    def add(self, model: Model, parts: Sequence[tuple[int, float]], seed: int) -> float | None:
        """Set the gradients of ``model`` to those of the sum over ``parts``; the sum, or None where captures fail.

        Args:
            model: on a GPU.
            parts: size and share of each.
            seed: of the generator that all of them draw from, one after the other.
        """
        if self._failed:
            return None
        try:
            if self._model is not model:
                self._begin(model)
            assert self._generator is not None
            self._attach(model)
            # each holds the memory of a whole step
            self._captures = {part: self._captures[part] for part in parts if part in self._captures}
            for part in dict.fromkeys(parts):
                if part not in self._captures:
                    self._captures[part] = _Capture(self._make(model, *part), self._generator)
        except RuntimeError as error:
            self._failed, self._captures = True, {}
            _complain("a step", error)
            return None
        self._attach(model)
        self._generator.manual_seed(seed)
        return sum(self._captures[part].replay() for part in parts)

    def _begin(self, model: Model) -> None:
        import torch

        parameters = list(model.parameters())
        self._model, self._captures = model, {}
        self._generator = torch.Generator(parameters[0].device)
        self._gradients = [torch.zeros_like(parameter) for parameter in parameters]

    def _attach(self, model: Model) -> None:
        """Zero gradients, in the tensors that captures know."""
        for parameter, gradient in zip(model.parameters(), self._gradients, strict=True):
            parameter.grad = gradient.zero_()


class GraphedRows:
    """A function of rows, without gradients, captured once for each power of two of them; plain where captures fail.

    Every row must be worked on by itself, and tensors that the function reads beside its argument must stay.

    Args:
        function: from (rows, ...) on a GPU to tensors (rows, ...).
    """

    def __init__(self, function: Callable[[Tensor], tuple[Tensor, ...]]) -> None:
        self._function = function
        self._captures: dict[tuple[int, torch.dtype], tuple[torch.cuda.CUDAGraph, Tensor, tuple[Tensor, ...]]] = {}
        self._failed = False

    def __call__(self, rows: Tensor) -> tuple[Tensor, ...]:
        """What the function gives for ``rows``, which fill up a larger capture with zeros."""
        if self._failed:
            return self._function(rows)
        size = max(SMALLEST, 1 << (len(rows) - 1).bit_length())
        key = size, rows.dtype
        try:
            if key not in self._captures:
                self._captures[key] = self._capture(rows.new_zeros((size, *rows.shape[1:])))
        except RuntimeError as error:
            if out_of_memory(error):
                raise  # who asked can ask for fewer rows
            self._failed, self._captures = True, {}
            _complain("a function of rows", error)
        if self._failed:  # outside the except block, whose error still holds the tensors of the failed attempt
            return self._function(rows)
        graph, inputs, outputs = self._captures[key]
        inputs[: len(rows)] = rows
        inputs[len(rows) :] = 0
        graph.replay()
        return tuple(output[: len(rows)].clone() for output in outputs)

    def _capture(self, inputs: Tensor) -> tuple[torch.cuda.CUDAGraph, Tensor, tuple[Tensor, ...]]:
        import torch

        # Replays follow one another and their results are copied: all captures share their memory.
        pool = next(iter(self._captures.values()))[0].pool() if self._captures else None
        graph = torch.cuda.CUDAGraph()
        with torch.no_grad():
            _warm_up(lambda: self._function(inputs))
            with torch.cuda.graph(graph, pool=pool):
                outputs = self._function(inputs)
        return graph, inputs, outputs


def _complain(what: str, error: RuntimeError) -> None:
    import torch

    log.warning("no CUDA graph of %s; its kernels are launched one by one instead: %s", what, error)
    torch.cuda.synchronize()
