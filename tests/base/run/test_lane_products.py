"""Powers and products of lanes against numpy's in double precision."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.base.run.compiled import njit
from pipeline.base.run.lane_products import product
from pipeline.base.run.lanes import LANES, load, power_of_two, store


@njit(nogil=True, error_model="numpy")
def powers(x: NDArray[np.float32], y: NDArray[np.float32]) -> None:
    for i in range(0, len(x), LANES):
        store(y, i, power_of_two(load(x, i)))


def test_powers_of_two() -> None:
    x = np.concatenate([np.linspace(-125, 127.4, 40_000), np.arange(-125, 127)]).astype(np.float32)
    x = np.append(x, np.float32(-300.0))  # below what there is a normal number for
    x = np.append(x, np.zeros(-len(x) % LANES, np.float32))
    y = np.empty_like(x)
    powers(x, y)
    exact = 2.0 ** np.maximum(x.astype(np.float64), -125.0)
    assert np.abs(y / exact - 1.0).max() < 2.5e-7
    whole = x == np.floor(x)
    assert whole.sum() > 250
    np.testing.assert_array_equal(y[whole], exact[whole])


@pytest.mark.parametrize("shape", [(2, 4, 1), (1, 1, 3), (3, 5, 2), (4, 8, 0), (6, 9, 7), (1, 6, 5)])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("add", [False, True])
def test_products(shape: tuple[int, int, int], turned: bool, add: bool) -> None:
    """Matrices by rows or by columns, amid other numbers that stay as they were."""
    rows, columns, inner = shape
    generator = np.random.default_rng(sum(shape))
    a = generator.normal(size=(inner, rows, LANES) if turned else (rows, inner, LANES)).astype(np.float32)
    b = generator.normal(size=(inner, columns, LANES) if turned else (columns, inner, LANES)).astype(np.float32)
    c = generator.normal(size=(rows + 1, columns + 2, LANES)).astype(np.float32)
    before = c.copy()
    a_at = (0, LANES, rows * LANES) if turned else (0, inner * LANES, LANES)
    b_at = (0, LANES, columns * LANES) if turned else (0, inner * LANES, LANES)
    where = LANES, (columns + 2) * LANES, LANES
    product(a.reshape(-1), a_at, b.reshape(-1), b_at, c.reshape(-1), where, shape, add)
    equation = "nil,njl->ijl" if turned else "inl,jnl->ijl"
    expected = before.astype(np.float64)
    expected[:rows, 1 : columns + 1] *= add
    expected[:rows, 1 : columns + 1] += np.einsum(equation, a.astype(np.float64), b.astype(np.float64))
    np.testing.assert_allclose(c, expected, rtol=0, atol=5e-6)
    np.testing.assert_array_equal(c[rows:], before[rows:])
    np.testing.assert_array_equal(c[:, [0, -1]], before[:, [0, -1]])
