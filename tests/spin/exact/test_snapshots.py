"""Configurations of quantum Monte Carlo against exact densities."""

import numpy as np
import pytest

from pipeline.spin.exact.snapshots import snapshots
from pipeline.spin.exact.unfrustrated import model_of
from pipeline.spin.systems import ChainHeisenberg, ChainTFIM, OpenChainTFIM, SpinSystem, SquareHeisenberg
from tests.spin import dense

SYSTEMS: list[tuple[str, SpinSystem, np.ndarray, float]] = [
    (
        "two spins",
        ChainHeisenberg(n_sites=2, periodic=False, j1=1.0, j2=0.0),
        dense.chain_heisenberg(2, False, 1.0, 0.0),
        0.2,
    ),
    (
        "ladder",
        SquareHeisenberg(length_x=3, length_y=2, periodic=False, j1=1.0, j2=0.0),
        dense.square_heisenberg(3, 2, False, 1.0, 0.0),
        4.0,
    ),
    (
        "Ising",
        OpenChainTFIM(n_sites=3, range=1, coupling=1.0, field=0.7),
        dense.open_chain(3, 1, 1.0, 0.7),
        0.3,
    ),
    (
        "antiferromagnet",
        ChainTFIM(n_sites=4, range=1, coupling=-1.0, field=-1.2),
        dense.ring(4, 1, -1.0, -1.2),
        3.0,
    ),
]


@pytest.mark.parametrize(("system", "matrix", "per_length"), [s[1:] for s in SYSTEMS], ids=[s[0] for s in SYSTEMS])
@pytest.mark.parametrize("times", [1, 5])
def test_draws_follow_the_diagonal_of_the_density_matrix(
    system: SpinSystem, matrix: np.ndarray, per_length: float, times: int
) -> None:
    model = model_of(system)
    assert not isinstance(model, str)
    count, chains = 2001, 40  # no multiple of times
    drawn = np.stack([snapshots(model, per_length, count, times, 20, 3, k) for k in range(chains)])
    assert drawn.shape == (chains, count, system.size)
    assert set(np.unique(drawn)) == {-1, 1}
    numbers = ((1 - drawn.astype(int)) // 2) @ (2 ** np.arange(system.size)[::-1])
    shares = np.stack([np.bincount(one, minlength=2**system.size) / count for one in numbers])
    energies, vectors = np.linalg.eigh(matrix)
    weights = np.exp(-model.beta(per_length) * (energies - energies[0]))
    exact = vectors**2 @ (weights / weights.sum())
    # chains are independent: their scatter is the error, whatever the correlation within them
    sigma = np.maximum(shares.std(0, ddof=1) / chains**0.5, 1e-4)
    assert np.abs(shares.mean(0) - exact).max() < 0.02
    assert (np.abs(shares.mean(0) - exact) < 4.5 * sigma).all()


def test_draws_are_a_function_of_seed_and_number() -> None:
    model = model_of(SYSTEMS[1][1])
    assert not isinstance(model, str)
    first = snapshots(model, 2.0, 64, 4, 3, 1, 5)
    np.testing.assert_array_equal(first, snapshots(model, 2.0, 64, 4, 3, 1, 5))
    assert (first != snapshots(model, 2.0, 64, 4, 3, 1, 6)).any()
    assert (first != snapshots(model, 2.0, 64, 4, 3, 2, 5)).any()
    np.testing.assert_array_equal(first[:10], snapshots(model, 2.0, 10, 4, 3, 1, 5))
