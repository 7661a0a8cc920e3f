"""Orthogonal steps against singular value decompositions, and their momentum written out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pipeline.base.descent import Muon, orthogonalised


def spectrum(shape: tuple[int, int], values: Tensor, seed: int = 3) -> tuple[Tensor, Tensor]:
    """A matrix with these singular values, and the orthogonal matrix nearest to it."""
    generator = torch.Generator().manual_seed(seed)
    u, _, v = torch.linalg.svd(torch.randn(shape, generator=generator, dtype=torch.float64), full_matrices=False)
    return (u * values) @ v, u @ v


@pytest.mark.parametrize("shape", [(5, 5), (3, 8), (8, 3), (2, 2), (1, 4), (96, 50)])
def test_singular_values_become_one_and_vectors_stay(shape: tuple[int, int]) -> None:
    values = torch.logspace(0, -1.5, min(shape), dtype=torch.float64)
    matrix, nearest = spectrum(shape, values)
    found = orthogonalised(matrix)
    lengths = torch.linalg.svdvals(found)
    assert ((lengths > 0.65) & (lengths < 1.2)).all()
    across = nearest @ found.T if shape[0] <= shape[1] else nearest.T @ found  # U f(S) Uᵀ or V f(S) Vᵀ
    torch.testing.assert_close(across, across.T, atol=1e-10, rtol=0)
    torch.testing.assert_close(torch.linalg.eigvalsh(across).sort().values, lengths.sort().values, atol=1e-10, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1.0, 1e12, 1e30])
def test_scale_does_not_matter(scale: float, dtype: torch.dtype) -> None:
    matrix, _ = spectrum((6, 4), torch.tensor([1.0, 0.5, 0.2, 0.1], dtype=torch.float64))
    torch.testing.assert_close(
        orthogonalised((scale * matrix).to(dtype)), orthogonalised(matrix.to(dtype)), atol=1e-4, rtol=0
    )


def test_directions_without_slope_stay() -> None:
    matrix, _ = spectrum((4, 4), torch.tensor([1.0, 0.5, 0.0, 0.0], dtype=torch.float64))
    values = torch.linalg.svdvals(orthogonalised(matrix))
    assert (values[:2] > 0.65).all()
    assert (values[2:] < 1e-10).all()
    assert not orthogonalised(torch.zeros(3, 5)).any()


def test_agrees_with_torchs_own() -> None:
    """Which computes the same polynomial in half precision."""
    from torch.optim._muon import _zeropower_via_newtonschulz

    matrix, _ = spectrum((12, 7), torch.linspace(1.0, 0.1, 7, dtype=torch.float64))
    theirs = _zeropower_via_newtonschulz(matrix.float(), (3.4445, -4.775, 2.0315), 5, 1e-7)
    torch.testing.assert_close(orthogonalised(matrix.float()), theirs.float(), atol=0.05, rtol=0)


def test_momentum() -> None:
    weight = torch.nn.Parameter(torch.eye(2, 3, dtype=torch.float64))
    still = torch.nn.Parameter(torch.ones(2, 2))
    optimizer = Muon([weight, still], lr=0.1, momentum=0.8)
    expected, moving = weight.detach().clone(), torch.zeros(2, 3, dtype=torch.float64)
    for k in range(3):
        slope = torch.tensor([[1.0, -2.0, 0.5], [0.3, k, 1.0]], dtype=torch.float64)
        weight.grad = slope.clone()
        optimizer.step()
        moving = 0.8 * moving + 0.2 * slope
        expected -= 0.1 * orthogonalised(0.8 * moving + 0.2 * slope)
        torch.testing.assert_close(weight.detach(), expected, atol=1e-14, rtol=0)
        assert torch.equal(weight.grad, slope)
    assert torch.equal(still.detach(), torch.ones(2, 2))


def test_goes_on_from_its_state() -> None:
    slopes = torch.randn(4, 3, 3, generator=torch.Generator().manual_seed(1))

    def descend(optimizer: Muon, weight: torch.nn.Parameter, steps: range) -> Tensor:
        for k in steps:
            weight.grad = slopes[k]
            optimizer.step()
        return weight.detach().clone()

    through = torch.nn.Parameter(torch.eye(3))
    expected = descend(Muon([through], lr=0.1), through, range(4))
    first = torch.nn.Parameter(torch.eye(3))
    before = Muon([first], lr=0.1)
    descend(before, first, range(2))
    second = torch.nn.Parameter(first.detach().clone())
    after = Muon([second], lr=7.0)
    after.load_state_dict(before.state_dict())
    assert torch.equal(descend(after, second, range(2, 4)), expected)


def test_nothing_but_matrices() -> None:
    with pytest.raises(ValueError, match="matrices"):
        Muon([torch.nn.Parameter(torch.zeros(3))], lr=0.1)
