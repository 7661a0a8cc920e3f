"""Gram matrices that are added up, a few columns of derivatives at a time, and shared among ranks."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from pipeline.base.run.ranks import Ranks, shares

BLOCK = 256
"""Rows of the Gram matrix that are updated at once; what lies above its diagonal blocks is left out."""

HEAVY = 4.0
"""Norms of derivatives, in units of their median, from which on single precision does not do."""

EXCHANGED = 2**22
"""Bytes that a rank sends at once; there are several copies of them."""

NARROW = 128
"""Columns for each rank that are sent at once in any case: products of fewer are slow."""


def transposed(rows: Tensor, samples: int, ranks: Ranks) -> Iterator[Tensor]:
    """Columns for all samples, a few at a time, from all columns for the samples of each rank: one exchange a time.

    Args:
        rows: (parts, m, C), of the share of this rank in ``samples``.
        samples: M, of all ranks; at least one each.
        ranks: which exchange; all of them come here with as many columns.

    Yields:
        (parts M, c); on all ranks together every column once, and columns of zeros.
    """
    if ranks.size == 1:
        yield rows.flatten(0, 1)
        return
    counts = [part.stop - part.start for part in shares(ranks, samples)]
    parts, _, columns = rows.shape
    row = parts * max(counts) * ranks.size * rows.element_size()
    width = min(-(-columns // ranks.size), max(NARROW, EXCHANGED // row))
    for begin in range(0, columns, width * ranks.size):
        yield _exchanged(rows[..., begin : begin + width * ranks.size], width, counts, ranks)


def _exchanged(rows: Tensor, width: int, counts: list[int], ranks: Ranks) -> Tensor:
    """``width`` columns for each rank, of all samples instead of all of them of ``counts[ranks.rank]``."""
    parts, mine, _ = rows.shape
    there = rows.new_zeros((ranks.size, parts, max(counts), width))
    for piece, own in zip(there, rows.split(width, -1), strict=False):
        piece[:, :mine, : own.shape[-1]] = own
    back = ranks.all_to_all(list(there))
    return torch.cat([piece[:, :count] for piece, count in zip(back, counts, strict=True)], 1).flatten(0, 1)


def blocks(rows: int) -> list[tuple[int, int]]:
    """First and last row of each block of a matrix."""
    return [(begin, min(begin + BLOCK, rows)) for begin in range(0, rows, BLOCK)]


def add_product(total: Tensor, rows: Tensor) -> None:
    """Add A Aᵀ below and in the diagonal blocks; A is overwritten.

    Products are in the precision of A, sums in double. In single precision an element is off by 1e-7 of the norms of
    its two rows: those of a few configurations with large derivatives are multiplied in double.
    """
    if rows.dtype != total.dtype:
        norms = torch.linalg.vector_norm(rows, dim=1)
        heavy = torch.nonzero(norms > HEAVY * norms.median()).flatten()
        if len(heavy):
            left = rows[heavy].double()
            product = torch.cat([left @ rows[begin:end].double().T for begin, end in blocks(len(rows))], 1)
            total[heavy] += product
            total[:, heavy] += product.T
            total[heavy[:, None], heavy] -= product[:, heavy]
            rows[heavy] = 0.0
    for begin, end in blocks(len(rows)):
        target, left, right = total[begin:end, :end], rows[begin:end], rows[:end].T
        if rows.dtype == total.dtype:
            target.addmm_(left, right)
        else:
            target += left @ right


def mirror(total: Tensor) -> None:
    """Copy what lies below the diagonal blocks to above them."""
    for begin, end in blocks(len(total)):
        total[:begin, begin:end] = total[begin:end, :begin].T


def reduced(total: Tensor, ranks: Ranks) -> Tensor:
    """The sum over all ranks of symmetric matrices, whose blocks above the diagonal are not looked at.

    In the memory of ``total``; half of it is exchanged, a block of rows at a time.
    """
    if ranks.size > 1:
        for begin, end in blocks(len(total)):
            total[begin:end, :end] = ranks.reduce(total[begin:end, :end].contiguous())
        mirror(total)
    return total
