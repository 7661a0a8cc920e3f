"""Processes that work on one run together, each on its share: what they say to each other.

Every rank holds the same state and draws the same random numbers; only work is shared out, and what comes of it is
gathered or added up, so that all of them go on with the same values. One process is the trivial case.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

from pipeline.base.errors import RankLost, UserError
from pipeline.base.run.laps import part

if TYPE_CHECKING:
    from torch import Tensor


class Ranks(Protocol):
    """The processes of a run; each of these calls is made by all of them, in the same order.

    Attributes:
        rank: this one, 0 <= rank < size; rank 0 owns folder, lock and screen.
        size: how many there are.
    """

    rank: int
    size: int

    def broadcast(self, value: Any) -> Any:
        """``value`` of rank 0, on every rank: any nesting of dictionaries, lists, tensors, arrays and plain values."""
        ...

    def gather(self, rows: Tensor) -> Tensor:
        """Rows of all ranks (n_0 + n_1 + ..., ...), in the order of the ranks, on every rank."""
        ...

    def reduce(self, values: Tensor) -> Tensor:
        """The sum over all ranks, the same bits on every rank."""
        ...

    def all_to_all(self, pieces: list[Tensor]) -> list[Tensor]:
        """Piece j goes to rank j; what comes back as number i came from rank i. All pieces have the same shape."""
        ...

    def agree(self, reasons: int) -> int:
        """The reasons, bits of a number, that any rank has."""
        ...

    def barrier(self) -> None:
        """Wait until every rank is here."""
        ...


def share(ranks: Ranks, count: int) -> slice:
    """The part of ``count`` rows that this rank works on: contiguous, in the order of the ranks.

    Sizes differ by one at most; a share may be empty.
    """
    return shares(ranks, count)[ranks.rank]


def shares(ranks: Ranks, count: int) -> list[slice]:
    """The parts of ``count`` rows that the ranks work on, see :func:`share`."""
    base, more = divmod(count, ranks.size)
    ends = [k * base + min(k, more) for k in range(ranks.size + 1)]
    return [slice(begin, end) for begin, end in pairwise(ends)]


def able(ranks: Ranks, count: int) -> Ranks:
    """``ranks``, or this one alone where there are fewer rows than ranks, so that everybody works on all of them."""
    return ranks if ranks.size <= count else ALONE


def shared(ranks: Ranks, function: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    """``function(rows)``, whose rows do not depend on each other, each rank working on its share.

    Where there are fewer rows than ranks, everybody works on all of them.
    """
    if able(ranks, len(rows)).size == 1:
        return function(rows)
    return ranks.gather(function(rows[share(ranks, len(rows))]))


class OneProcess:
    """Nobody to talk to."""

    rank = 0
    size = 1

    def broadcast(self, value: Any) -> Any:
        """``value`` itself."""
        return value

    def gather(self, rows: Tensor) -> Tensor:
        """``rows`` itself."""
        return rows

    def reduce(self, values: Tensor) -> Tensor:
        """``values`` itself."""
        return values

    def all_to_all(self, pieces: list[Tensor]) -> list[Tensor]:
        """``pieces`` itself."""
        return pieces

    def agree(self, reasons: int) -> int:
        """``reasons`` itself."""
        return reasons

    def barrier(self) -> None:
        """Nobody to wait for."""


ALONE: Ranks = OneProcess()


class Processes:
    """The processes that ``torchrun`` started: gloo on CPUs, NCCL on GPUs.

    Args:
        device: torch device name on which tensors are exchanged.

    Raises:
        UserError: there are more processes here than GPUs.
        RankLost: another process has ended, in any of the calls.
    """

    def __init__(self, device: str) -> None:
        import torch
        from torch import distributed

        self._distributed, self._torch = distributed, torch
        self._device = torch.device(device)
        if self._device.type == "cuda":
            _take_gpu(torch)
        with _others():
            if not distributed.is_initialized():
                distributed.init_process_group("nccl" if self._device.type == "cuda" else "gloo")
            self.rank, self.size = distributed.get_rank(), distributed.get_world_size()
            # plain values travel between the processors' memories, whatever the device of the tensors
            self._plain = distributed.new_group(backend="gloo")

    def broadcast(self, value: Any) -> Any:
        """See :meth:`Ranks.broadcast`."""
        box = [value if self.rank == 0 else None]
        with _others():
            self._distributed.broadcast_object_list(box, src=0, group=self._plain)
        return box[0]

    def gather(self, rows: Tensor) -> Tensor:
        """See :meth:`Ranks.gather`."""
        counts = [self._torch.zeros(1, dtype=self._torch.int64) for _ in range(self.size)]
        mine = self._torch.tensor([len(rows)])
        with _others():
            self._distributed.all_gather(counts, mine, group=self._plain)
        sizes = [int(count) for count in counts]
        # collectives want equal shapes and no complex numbers or bools
        flat = _plain_rows(rows)
        padded = flat.new_zeros((max(sizes), *flat.shape[1:]))
        padded[: len(flat)] = flat
        parts = [self._torch.empty_like(padded) for _ in range(self.size)]
        with _others():
            self._distributed.all_gather(parts, padded)
        joined = self._torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])
        return self._torch.view_as_complex(joined) if rows.is_complex() else joined.to(rows.dtype)

    def reduce(self, values: Tensor) -> Tensor:
        """See :meth:`Ranks.reduce`."""
        total = values.detach().clone()
        with _others():
            self._distributed.all_reduce(self._torch.view_as_real(total) if total.is_complex() else total)
        return total

    def all_to_all(self, pieces: list[Tensor]) -> list[Tensor]:
        """See :meth:`Ranks.all_to_all`."""
        there = self._torch.stack([_plain_rows(piece) for piece in pieces])
        back = self._torch.empty_like(there)
        with _others():
            self._distributed.all_to_all_single(back, there)
        del there
        view = self._torch.view_as_complex if pieces[0].is_complex() else (lambda piece: piece.to(pieces[0].dtype))
        return [view(piece) for piece in back]

    def agree(self, reasons: int) -> int:
        """See :meth:`Ranks.agree`."""
        bits = self._torch.tensor([reasons])
        with _others():
            self._distributed.all_reduce(bits, op=self._distributed.ReduceOp.BOR, group=self._plain)
        return int(bits)

    def barrier(self) -> None:
        """See :meth:`Ranks.barrier`."""
        with _others():
            self._distributed.barrier(group=self._plain)


@contextmanager
def _others() -> Iterator[None]:
    """Something that all ranks do together; the time it takes is that of an exchange."""
    try:
        with part("exchange"):
            yield
    except RuntimeError as error:
        if not any(word in str(error) for word in LOST):
            raise
        reason = str(error).splitlines()[0]
        raise RankLost(
            f"another process of this run has ended; run the same command to go on from the last checkpoint ({reason})"
        ) from error


LOST = ("gloo", "NCCL", "Connection", "Broken pipe", "TCPStore")
"""Words of messages of torch about processes that do not answer."""


def _take_gpu(torch: Any) -> None:
    """Let this process use a GPU of its own."""
    own, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if own >= count:
        wanted = os.environ.get("LOCAL_WORLD_SIZE", own + 1)
        raise UserError(f"{wanted} processes of this run on this machine want a GPU each; it has {count}")
    torch.cuda.set_device(own)


def _plain_rows(rows: Tensor) -> Tensor:
    import torch

    if rows.is_complex():
        return torch.view_as_real(rows.contiguous())
    return rows.to(torch.uint8) if rows.dtype == torch.bool else rows.contiguous()


def started_by_torchrun() -> bool:
    """Whether this process is one of several of a ``torchrun``."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def close() -> None:
    """Leave the group of processes, where there is one."""
    if started_by_torchrun():
        from torch import distributed

        if distributed.is_initialized():
            distributed.destroy_process_group()
