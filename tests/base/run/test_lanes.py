"""Eight numbers as one value of compiled loops, against numpy."""

import numba
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.base.run.lanes import (
    LANES,
    LOWEST_POWER,
    fma,
    lanes,
    larger,
    load,
    magnitude,
    power_of_two,
    root,
    smaller,
    spread,
    store,
    turn,
    where_positive,
)

Array = NDArray[np.float32]


@numba.njit(error_model="numpy")  # type: ignore[misc]
def everything(x: Array, y: Array, found: Array) -> None:
    """An operation a row of ``found``."""
    for begin in range(0, len(x), LANES):
        a, b = load(x, begin), load(y, begin)
        kept = a
        kept += b
        kept *= b
        of = (a + b, a - b, a * b, a / b, fma(a, b, kept), larger(a, b), where_positive(a, b, kept), root(magnitude(a)))
        for number in range(len(of)):
            store(found[number], begin, of[number])
        store(found[8], begin, power_of_two(a))
        store(found[9], begin, spread(y, begin + 1) + lanes(np.float32(0.5)))


@numba.njit(error_model="numpy")  # type: ignore[misc]
def some(x: NDArray[np.float64], y: NDArray[np.float64], found: NDArray[np.float64]) -> None:
    """What there is in double precision."""
    for begin in range(0, len(x), LANES):
        a, b, first = load(x, begin), load(y, begin), spread(y, begin)
        of = (a + b, a - b, a * b, a / b, fma(a, b, first), larger(a, b), smaller(a, b), where_positive(a, b, first))
        for number in range(len(of)):
            store(found[number], begin, of[number])
        store(found[8], begin, root(magnitude(a)))


def test_operations_in_double_precision() -> None:
    x, y = np.random.default_rng(1).normal(size=(2, 5 * LANES))
    x[0], found = np.nan, np.empty((9, len(x)))
    some(x, y, found)
    first = y[::LANES].repeat(LANES)
    expected = [x + y, x - y, x * y, x / y, x * y + first, np.fmax(x, y), np.fmin(x, y), np.where(x > 0, y, first)]
    for row, exact in zip(found, [*expected, np.sqrt(abs(x))], strict=True):
        np.testing.assert_allclose(row, exact, rtol=1e-14, atol=1e-15)


def test_operations() -> None:
    x, y = np.random.default_rng(0).normal(size=(2, 5 * LANES)).astype(np.float32)
    x[:3] = 0.0, -0.0, 7.0
    found = np.empty((10, len(x)), np.float32)
    everything(x, y, found)
    first = y[1::LANES].repeat(LANES)
    kept = (x + y) * y
    expected = [x + y, x - y, x * y, x / y, x * y + kept, np.maximum(x, y), np.where(x > 0, y, kept), np.sqrt(abs(x))]
    for row, exact in zip(found, [*expected, np.exp2(x), first + 0.5], strict=True):
        np.testing.assert_allclose(row, exact, rtol=3e-7, atol=3e-7)


@pytest.mark.parametrize("power", [-np.inf, -1e30, -200.0, -125.0, -0.5, -1e-8, 0.0, 0.5, 0.4999999, 126.7])
def test_powers_of_two(power: float) -> None:
    """Over all of their range; the smallest are the smallest that there is, infinity being none of them."""
    x = np.full(LANES, power, np.float32)
    found = np.empty((10, LANES), np.float32)
    everything(x, np.ones_like(x), found)
    exact = np.exp2(np.maximum(x.astype(np.float64), LOWEST_POWER))
    np.testing.assert_allclose(found[8], exact, rtol=3e-7)


@numba.njit(error_model="numpy")  # type: ignore[misc]
def turned(x: Array, y: Array) -> None:
    """Columns of a block of a matrix, reversed, as rows of another one."""
    turn(x, 5 * x.shape[1] + 3, x.shape[1], y, (LANES - 1) * y.shape[1] + 1, -y.shape[1])


def test_a_block_turned() -> None:
    x, y = np.arange(400, dtype=np.float32).reshape(20, 20), np.zeros((LANES, 11), np.float32)
    turned(x, y)
    np.testing.assert_array_equal(y[::-1, 1 : 1 + LANES], x[5 : 5 + LANES, 3 : 3 + LANES].T)
    assert not y[:, 0].any()
    assert not y[:, 1 + LANES :].any()
