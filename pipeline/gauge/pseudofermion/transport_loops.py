"""Parallel transport convolutions and their gradients as fused loops over sites (numba), for CPUs.

Eight configurations at a time. What a site needs is first copied side by side: rows of tensors are powers of two apart,
and a cache keeps few of such places. Each thread has configurations of its own, and all are treated alike: results do
not depend on the number of threads. Shapes as in :mod:`pipeline.gauge.pseudofermion.transport`; complex numbers of the
copies are neighbours, real part first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.base.run.compiled import njit
from pipeline.base.run.lanes import LANES, fma, load, minus_product, spread, store
from pipeline.base.run.slices import in_slices

WAYS = 5

LEAST_BLOCKS = 2
"""Of eight configurations, of a thread."""


def convolve(field: Tensor, coefficients: Sequence[Tensor], planes: Tensor, table: Tensor) -> list[Tensor]:
    """Results of convolutions one after the other, see :func:`pipeline.gauge.pseudofermion.transport.convolve`."""
    _, _, colors, draws, _, batch = field.shape
    shape = colors, draws, table.shape[1], batch
    results = [field.new_empty((2, matrix.shape[1], *shape)) for matrix in coefficients]
    befores = [field, *results[:-1]]
    arguments = [
        (_flat(before), _flat(matrix), _flat(planes), table.numpy(), _sizes(before, matrix), _flat(after))
        for before, matrix, after in zip(befores, coefficients, results, strict=True)
    ]

    def work(first: int, last: int) -> None:
        for each in arguments:
            _convolve(*each, first, last)

    _in_blocks(batch, work)
    return results


def add_gradients(
    gradient: Tensor,
    fields: Sequence[Tensor],
    coefficients: Sequence[Tensor],
    planes: Tensor,
    table: Tensor,
    of_coefficients: Sequence[Tensor],
    of_planes: Tensor | None,
    tanh: bool,
) -> Tensor:
    """Gradients from the one of the last result.

    Args:
        gradient: of a real number with respect to it.
        fields: that the convolutions were applied to.
        coefficients, planes, table: of the convolutions.
        of_coefficients: in the shape of coefficients, contiguous; written.
        of_planes: in the shape of planes, contiguous, added to; None if unwanted.
        tanh: of the argument of coefficients that are a hyperbolic tangent, instead of themselves.

    Returns:
        The gradient of the first field.
    """
    transported = _flat(planes.new_empty(0) if of_planes is None else of_planes)
    of_fields = [torch.empty(field.shape, dtype=field.dtype) for field in fields]
    signals = [*of_fields[1:], gradient]
    arguments = [
        (
            *(_flat(signal), _flat(field), _flat(matrix), _flat(planes), table.numpy(), _sizes(field, matrix)),
            *(_flat(of_field), _flat(of_matrix), transported, of_planes is not None, tanh),
        )
        for signal, field, matrix, of_field, of_matrix in zip(
            signals, fields, coefficients, of_fields, of_coefficients, strict=True
        )
    ]

    def work(first: int, last: int) -> None:
        for each in reversed(arguments):
            _gradients(*each, first, last)

    _in_blocks(gradient.shape[-1], work)
    return of_fields[0]


def _in_blocks(batch: int, work: Any) -> None:
    """``work`` of shares of a batch, all but the last of which are whole blocks."""
    blocks = -(-batch // LANES)
    in_slices(blocks, LEAST_BLOCKS, lambda first, last: work(first * LANES, min(last * LANES, batch)))


def _flat(tensor: Tensor) -> Any:
    """An array of one axis; the memory of the tensor where that is contiguous."""
    return tensor.detach().contiguous().view(-1).numpy()


def _sizes(field: Tensor, coefficients: Tensor) -> tuple[int, ...]:
    """Features before and after, colours, draws, sites before and after, configurations."""
    _, features, colors, draws, volume, batch = field.shape
    return features, coefficients.shape[1], colors, draws, volume, coefficients.shape[4], batch


@njit(inline="always")
def _take(source, at, width, target, place, stride):  # type: ignore[no-untyped-def]
    """Copy ``width`` configurations: blocks are ``stride`` apart in the target."""
    whole = width // LANES
    for block in range(whole):
        store(target, place + block * stride, load(source, at + block * LANES))
    for b in range(whole * LANES, width):
        target[place + whole * stride + b - whole * LANES] = source[at + b]


@njit(inline="always")
def _give(source, place, stride, width, target, at):  # type: ignore[no-untyped-def]
    """The way back of :func:`_take`."""
    whole = width // LANES
    for block in range(whole):
        store(target, at + block * LANES, load(source, place + block * stride))
    for b in range(whole * LANES, width):
        target[at + b] = source[place + whole * stride + b - whole * LANES]


@njit(inline="always")
def _take_field(field, features, colors, draws, volume, batch, first, width, target):  # type: ignore[no-untyped-def]
    """As (block, site, draw, feature, colour, part, configuration)."""
    numbers = 2 * features * colors
    for part in range(2):
        for k in range(features):
            for i in range(colors):
                for s in range(draws):
                    at = (((part * features + k) * colors + i) * draws + s) * volume * batch + first
                    place = (s * numbers + (k * colors + i) * 2 + part) * LANES
                    for x in range(volume):
                        step = x * draws * numbers * LANES
                        _take(field, at + x * batch, width, target, place + step, volume * draws * numbers * LANES)


@njit(inline="always")
def _give_field(source, features, colors, draws, volume, batch, first, width, field):  # type: ignore[no-untyped-def]
    """The way back of :func:`_take_field`."""
    numbers = 2 * features * colors
    for part in range(2):
        for k in range(features):
            for i in range(colors):
                for s in range(draws):
                    at = (((part * features + k) * colors + i) * draws + s) * volume * batch + first
                    place = (s * numbers + (k * colors + i) * 2 + part) * LANES
                    for x in range(volume):
                        step = x * draws * numbers * LANES
                        _give(source, place + step, volume * draws * numbers * LANES, width, field, at + x * batch)


@njit(inline="always")
def _take_rows(tensor, rows, targets, t, batch, first, width, target):  # type: ignore[no-untyped-def]
    """What a tensor (part, rows, T, batch) has at t, as (block, row, part, configuration)."""
    for part in range(2):
        for row in range(rows):
            at = ((part * rows + row) * targets + t) * batch + first
            _take(tensor, at, width, target, (2 * row + part) * LANES, 2 * rows * LANES)


@njit(inline="always")
def _give_rows(source, rows, targets, t, batch, first, width, tensor):  # type: ignore[no-untyped-def]
    """The way back of :func:`_take_rows`."""
    for part in range(2):
        for row in range(rows):
            at = ((part * rows + row) * targets + t) * batch + first
            _give(source, (2 * row + part) * LANES, 2 * rows * LANES, width, tensor, at)


@njit(inline="always")
def _add_product(a, at, b, place, re, im):  # type: ignore[no-untyped-def]
    """re + i im + a b."""
    a_re, a_im, b_re, b_im = load(a, at), load(a, at + LANES), load(b, place), load(b, place + LANES)
    return minus_product(a_im, b_im, fma(a_re, b_re, re)), fma(a_im, b_re, fma(a_re, b_im, im))


@njit(inline="always")
def _add_conjugate(a, at, b, place, re, im):  # type: ignore[no-untyped-def]
    """re + i im + a* b."""
    a_re, a_im, b_re, b_im = load(a, at), load(a, at + LANES), load(b, place), load(b, place + LANES)
    return fma(a_im, b_im, fma(a_re, b_re, re)), minus_product(a_im, b_re, fma(a_re, b_im, im))


@njit(inline="always")
def _transport(phi, start, sites, links, link, features, colors, zero, moved, place):  # type: ignore[no-untyped-def]
    """T_d(y) φ_k(x_d) of all ways, as (way, feature, colour, part, configuration).

    ``start``: of φ at the first site; ``sites``: where it is at x_d, from there on; ``link``: of T_1.
    """
    for d in range(WAYS):
        at = start + sites[d]
        for k in range(features):
            for i in range(colors):
                goal = place + ((d * features + k) * colors + i) * 2 * LANES
                if d == 0:
                    re, im = (
                        load(phi, at + (k * colors + i) * 2 * LANES),
                        load(phi, at + (k * colors + i) * 2 * LANES + LANES),
                    )
                else:
                    re, im = zero, zero
                    for j in range(colors):
                        u = link + (((d - 1) * colors + i) * colors + j) * 2 * LANES
                        re, im = _add_product(links, u, phi, at + (k * colors + j) * 2 * LANES, re, im)
                store(moved, goal, re)
                store(moved, goal + LANES, im)


@njit(nogil=True)
def _convolve(field, coefficients, planes, table, sizes, result, first, last):  # type: ignore[no-untyped-def]
    features, into, colors, draws, volume, targets, batch = sizes
    width, blocks = last - first, (last - first - 1) // LANES + 1
    one = 2 * features * colors * LANES  # a draw of a site
    rows, links_rows, after_rows = into * WAYS * features, 4 * colors * colors, into * colors * draws
    phi = np.zeros(blocks * volume * draws * one, field.dtype)
    matrix, links = (
        np.zeros(blocks * 2 * rows * LANES, field.dtype),
        np.zeros(blocks * 2 * links_rows * LANES, field.dtype),
    )
    moved, after = np.zeros(WAYS * one, field.dtype), np.zeros(blocks * 2 * after_rows * LANES, field.dtype)
    sites, zero = np.zeros(WAYS, np.int64), spread(np.zeros(1, field.dtype), 0)
    _take_field(field, features, colors, draws, volume, batch, first, width, phi)
    for t in range(targets):
        _take_rows(coefficients, rows, targets, t, batch, first, width, matrix)
        _take_rows(planes, links_rows, targets, t, batch, first, width, links)
        for d in range(WAYS):
            sites[d] = table[d, t] * draws * one
        for block in range(blocks):
            link, m = block * 2 * links_rows * LANES, block * 2 * rows * LANES
            for s in range(draws):
                start = block * volume * draws * one + s * one
                _transport(phi, start, sites, links, link, features, colors, zero, moved, 0)
                for h in range(into):
                    for i in range(colors):
                        re, im = zero, zero
                        for w in range(WAYS * features):
                            of_m = m + (h * WAYS * features + w) * 2 * LANES
                            re, im = _add_product(matrix, of_m, moved, (w * colors + i) * 2 * LANES, re, im)
                        goal = (block * after_rows + (h * colors + i) * draws + s) * 2 * LANES
                        store(after, goal, re)
                        store(after, goal + LANES, im)
        _give_rows(after, after_rows, targets, t, batch, first, width, result)


@njit(inline="always")
def _of_coefficients(  # type: ignore[no-untyped-def]
    signal, g, moved, matrix, m, into, features, colors, draws, zero, tanh, result
):
    """g_h w† summed over draws and colours; of the argument of M = tanh(r) where wanted."""
    for h in range(into):
        for w in range(WAYS * features):
            re, im = zero, zero
            for s in range(draws):
                for i in range(colors):
                    of_w = ((s * WAYS * features + w) * colors + i) * 2 * LANES
                    re, im = _add_conjugate(moved, of_w, signal, g + ((h * colors + i) * draws + s) * 2 * LANES, re, im)
            at = m + (h * WAYS * features + w) * 2 * LANES
            if tanh:
                m_re, m_im = load(matrix, at), load(matrix, at + LANES)
                re, im = minus_product(re * m_re, m_re, re), minus_product(im * m_im, m_im, im)
            store(result, at, re)
            store(result, at + LANES, im)


@njit(inline="always")
def _back(signal, g, matrix, m, d, s, into, features, colors, draws, zero, back):  # type: ignore[no-untyped-def]
    """Σ_h M_hdk* g_h, as (feature, colour, part, configuration)."""
    for k in range(features):
        for i in range(colors):
            re, im = zero, zero
            for h in range(into):
                of_m = m + ((h * WAYS + d) * features + k) * 2 * LANES
                re, im = _add_conjugate(matrix, of_m, signal, g + ((h * colors + i) * draws + s) * 2 * LANES, re, im)
            store(back, (k * colors + i) * 2 * LANES, re)
            store(back, (k * colors + i) * 2 * LANES + LANES, im)


@njit(inline="always")
def _to_field(back, links, link, d, features, colors, of_phi, at):  # type: ignore[no-untyped-def]
    """T† ``back`` added to the gradient of φ(x_d)."""
    for k in range(features):
        for j in range(colors):
            goal = at + (k * colors + j) * 2 * LANES
            re, im = load(of_phi, goal), load(of_phi, goal + LANES)
            if d == 0:
                re += load(back, (k * colors + j) * 2 * LANES)
                im += load(back, (k * colors + j) * 2 * LANES + LANES)
            else:
                for i in range(colors):
                    u = link + (((d - 1) * colors + i) * colors + j) * 2 * LANES
                    re, im = _add_conjugate(links, u, back, (k * colors + i) * 2 * LANES, re, im)
            store(of_phi, goal, re)
            store(of_phi, goal + LANES, im)


@njit(inline="always")
def _to_links(back, phi, at, link, d, features, colors, of_links):  # type: ignore[no-untyped-def]
    """``back`` φ(x_d)† added to the gradient of T."""
    for i in range(colors):
        for j in range(colors):
            goal = link + (((d - 1) * colors + i) * colors + j) * 2 * LANES
            re, im = load(of_links, goal), load(of_links, goal + LANES)
            for k in range(features):
                of_phi = at + (k * colors + j) * 2 * LANES
                re, im = _add_conjugate(phi, of_phi, back, (k * colors + i) * 2 * LANES, re, im)
            store(of_links, goal, re)
            store(of_links, goal + LANES, im)


@njit(nogil=True)
def _gradients(  # type: ignore[no-untyped-def]
    gradient,
    field,
    coefficients,
    planes,
    table,
    sizes,
    of_field,
    of_coefficients,
    of_planes,
    planes_wanted,
    tanh,
    first,
    last,
):
    features, into, colors, draws, volume, targets, batch = sizes
    width, blocks = last - first, (last - first - 1) // LANES + 1
    one = 2 * features * colors * LANES  # a draw of a site
    rows, links_rows, after_rows = into * WAYS * features, 4 * colors * colors, into * colors * draws
    phi, of_phi = (
        np.zeros(blocks * volume * draws * one, field.dtype),
        np.zeros(blocks * volume * draws * one, field.dtype),
    )
    matrix, of_matrix = (
        np.zeros(blocks * 2 * rows * LANES, field.dtype),
        np.zeros(blocks * 2 * rows * LANES, field.dtype),
    )
    links, of_links = (
        np.zeros(blocks * 2 * links_rows * LANES, field.dtype),
        np.zeros(blocks * 2 * links_rows * LANES, field.dtype),
    )
    moved, signal = np.zeros(draws * WAYS * one, field.dtype), np.zeros(blocks * 2 * after_rows * LANES, field.dtype)
    back, sites, zero = np.zeros(one, field.dtype), np.zeros(WAYS, np.int64), spread(np.zeros(1, field.dtype), 0)
    _take_field(field, features, colors, draws, volume, batch, first, width, phi)
    for t in range(targets):
        _take_rows(coefficients, rows, targets, t, batch, first, width, matrix)
        _take_rows(planes, links_rows, targets, t, batch, first, width, links)
        _take_rows(gradient, after_rows, targets, t, batch, first, width, signal)
        if planes_wanted:
            _take_rows(of_planes, links_rows, targets, t, batch, first, width, of_links)
        for d in range(WAYS):
            sites[d] = table[d, t] * draws * one
        for block in range(blocks):
            link, m, g = block * 2 * links_rows * LANES, block * 2 * rows * LANES, block * 2 * after_rows * LANES
            for s in range(draws):
                start = block * volume * draws * one + s * one
                _transport(phi, start, sites, links, link, features, colors, zero, moved, s * WAYS * one)
                for d in range(WAYS):
                    _back(signal, g, matrix, m, d, s, into, features, colors, draws, zero, back)
                    _to_field(back, links, link, d, features, colors, of_phi, start + sites[d])
                    if planes_wanted and d > 0:
                        _to_links(back, phi, start + sites[d], link, d, features, colors, of_links)
            _of_coefficients(signal, g, moved, matrix, m, into, features, colors, draws, zero, tanh, of_matrix)
        _give_rows(of_matrix, rows, targets, t, batch, first, width, of_coefficients)
        if planes_wanted:
            _give_rows(of_links, links_rows, targets, t, batch, first, width, of_planes)
    _give_field(of_phi, features, colors, draws, volume, batch, first, width, of_field)
