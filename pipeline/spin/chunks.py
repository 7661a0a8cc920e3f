"""How many configurations are evaluated at once: from the sizes of tensors, halved where memory runs out."""

from __future__ import annotations

import copy
import functools
import logging
from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.base.run.memory import out_of_memory

LIVE_TENSORS = 4
"""Tensors of the largest size that a forward pass without gradients holds at once: input, output, skip, temporary."""

CPU_GIB = 1 / 32
"""Automatic budget on a CPU: activations that stay in its caches; 0.5 GiB made a convolution 2.5 times slower."""

GPU_FRACTION = 1 / 8
"""Automatic budget on a GPU, of its memory: keeps it busy, and leaves room for what the estimate does not see."""

log = logging.getLogger(__name__)


class Chunks:
    """Splits work into chunks within a memory budget.

    The first use of a name evaluates two configurations and adds up the sizes of the tensors that this makes. Nothing
    else enters, neither time nor free memory, so that a resumed run splits its sums like an uninterrupted one. Where
    memory runs out all the same, the chunk is halved for good and the piece of work repeated.

    Args:
        memory_gib: budget of one chunk; None: automatic, by the kind of device.
        device: torch device name.
        footprints: where what evaluations take is looked up and remembered (:func:`footprints_of`); None: nowhere.
    """

    def __init__(self, memory_gib: float | None, device: str = "cpu", footprints: dict[str, int] | None = None) -> None:
        if memory_gib is None:
            memory_gib = CPU_GIB
            if torch.device(device).type == "cuda":
                memory_gib = GPU_FRACTION * torch.cuda.get_device_properties(device).total_memory / 2**30
        self._budget = memory_gib * 2**30
        self._footprints = {} if footprints is None else footprints
        self._sizes: dict[str, int] = {}

    def anew(self) -> Chunks:
        """The same budget, with nothing known: for evaluations of the same names that take another amount of memory."""
        other = copy.copy(self)
        other._footprints, other._sizes = {}, {}
        return other

    def size(self, name: str) -> int:
        """Configurations of one chunk of work that has been run before."""
        return self._sizes[name]

    def run(
        self,
        name: str,
        count: int,
        body: Callable[[int, int], int],
        probe: Callable[[], object],
        probed: int,
        *,
        gradients: bool = False,
        share: float = 1.0,
        single: Callable[[], object] | None = None,
    ) -> None:
        """Call ``body(begin, size)`` until ``count`` items are done.

        Args:
            name: kind of work; kinds have their own chunks.
            count: items of work.
            body: treats items from ``begin`` on, at most ``size`` configurations in memory, and returns where it
                ended; it must be able to treat the same items again.
            probe: a typical evaluation, with the sizes of tensors depending on nothing but the network.
            probed: configurations in ``probe``.
            gradients: whether all tensors are kept for a backward pass.
            share: of the budget that one chunk may take.
            single: the evaluation of one configuration, where ``probe`` is that of two: what is made once for all
                configurations, such as masked weights, then counts once and not for each of them.

        Raises:
            RuntimeError, MemoryError: memory runs out for a single configuration.
        """
        if name not in self._sizes:
            if name not in self._footprints:
                self._footprints[name] = _needed(probe, gradients)
            needed, budget = self._footprints[name], share * self._budget
            if single is not None:
                if (name_of_one := f"{name} of one") not in self._footprints:
                    self._footprints[name_of_one] = _needed(single, gradients)
                once = max(0, 2 * self._footprints[name_of_one] - needed)
                needed, budget = needed - once, budget - once
            self._sizes[name] = max(1, int(budget * probed / max(1, needed)))
        begin = 0
        while begin < count:
            size = self._sizes[name]
            try:
                begin = body(begin, size)
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error) or size == 1:
                    raise
                self._sizes[name] = size = min(size, count) // 2 or 1
                log.warning("%s: out of memory; going on with %d configurations at once", name, size)
            else:
                continue
            # outside the except block, whose error still holds the tensors of the failed attempt
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


@functools.lru_cache(maxsize=256)
def footprints_of(*what: Hashable) -> dict[str, int]:
    """What evaluations take, by their names: empty at first, and one for all who ask with the same arguments.

    Training and inference of a network find out once in a process: an evaluation whose operations are watched is
    several times slower.

    Args:
        what: all that it depends on: network, system, sampler, precision, device.

    Returns:
        Bytes of a probe.
    """
    return {}


def _needed(probe: Callable[[], object], gradients: bool) -> int:
    """Bytes that an evaluation takes at once."""
    with _Sizes() as sizes, torch.set_grad_enabled(gradients):
        probe()
    return sizes.total if gradients else LIVE_TENSORS * sizes.largest


class _Sizes(TorchDispatchMode):
    """Adds up the bytes of all tensors that operations return."""

    def __init__(self) -> None:
        super().__init__()
        self.total = self.largest = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: guarding this mode from torch.compile, which is not used, would import it, 80 MiB and a second or two."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, Tensor):
                size = tensor.numel() * tensor.element_size()
                self.total += size
                self.largest = max(self.largest, size)
        return result


def in_chunks(chunks: Chunks, name: str, function: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """``function(inputs)``, row by row, without gradients; rows must not depend on each other."""
    pieces: list[Tensor] = []

    def body(begin: int, size: int) -> int:
        end = min(begin + size, len(inputs))
        pieces.append(function(inputs[begin:end]))
        return end

    with torch.no_grad():
        chunks.run(name, len(inputs), body, lambda: function(inputs[:1].expand(2, -1)), 2)
    return torch.cat(pieces)
