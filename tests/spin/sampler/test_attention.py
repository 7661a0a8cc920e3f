"""The compiled attention and activation of the proposal against formulas, with derivatives."""

import math

import pytest
import torch
from torch import Tensor

from pipeline.base.run.ranks import ALONE
from pipeline.spin.chunks import Chunks
from pipeline.spin.sampler.nir.attention import attend, gelu
from pipeline.spin.sampler.nir.proposal import COMPILED_FROM, Proposal
from pipeline.spin.sampler.nir.training import descend
from pipeline.spin.space import space_of
from tests.spin.sampler.tables import lattice, proposal_of


def formula(projections: Tensor, heads: int) -> Tensor:
    """softmax(q·k/√width) v over the places before and the place itself, (B, M, 3 d) → (B, M, d)."""
    rows, places, three = projections.shape
    q, k, v = projections.view(rows, places, 3, heads, three // 3 // heads).permute(2, 0, 3, 1, 4)
    later = torch.ones(places, places).triu(1).bool()
    weights = (q @ k.mT / math.sqrt(q.shape[-1])).masked_fill(later, -math.inf).softmax(-1)
    return (weights @ v).transpose(1, 2).reshape(rows, places, -1)


# one row, one place, rows that lanes do not divide; widths of 1 to 10; more than a tile of places
@pytest.mark.parametrize(
    ("rows", "places", "d", "heads"),
    [(1, 1, 1, 1), (3, 2, 6, 2), (9, 7, 5, 1), (8, 33, 12, 2), (17, 70, 16, 2), (16, 3, 20, 2)],
)
@pytest.mark.parametrize("scale", [1.0, 8.0])
def test_attention(rows: int, places: int, d: int, heads: int, scale: float) -> None:
    """With scores far apart, too, whose rounding errors grow like they do, and derivatives by one factor more."""
    generator = torch.Generator().manual_seed(places)
    x = (scale * torch.randn((rows, places, 3 * d), generator=generator)).requires_grad_()
    gradient = torch.randn((rows, places, d), generator=generator)
    exact = x.detach().double().requires_grad_()
    expected, found = formula(exact, heads), attend(x, heads)
    torch.testing.assert_close(found.double(), expected, rtol=0.0, atol=5e-6 * scale**2)
    (slopes,) = torch.autograd.grad(found, x, gradient)
    (exact_slopes,) = torch.autograd.grad(expected, exact, gradient.double())
    torch.testing.assert_close(slopes.double(), exact_slopes, rtol=0.0, atol=5e-6 * scale**3)


@pytest.mark.parametrize("shape", [(1,), (3, 5), (7, 8), (4001,)])
def test_activation(shape: tuple[int, ...]) -> None:
    """x Φ(x) and its derivative in double precision, far into both tails; a share that lanes do not divide."""
    x = torch.linspace(-20.0, 20.0, math.prod(shape)).reshape(shape).requires_grad_()
    gradient = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    exact = x.detach().double().requires_grad_()
    found, expected = gelu(x), exact * (1.0 + torch.erf(exact / math.sqrt(2.0))) / 2.0
    size = 1.0 + exact.detach().abs()
    assert float(((found - expected) / size).detach().abs().max()) < 2.5e-7
    (slopes,) = torch.autograd.grad(found, x, gradient)
    (exact_slopes,) = torch.autograd.grad(expected.sum(), exact)
    torch.testing.assert_close(slopes.double(), exact_slopes * gradient, rtol=3e-7, atol=2e-6)


def test_rows_do_not_depend_on_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor on the number of threads that share them, of draws and of attention with its derivatives."""
    x = torch.randn((27, 5, 12), generator=torch.Generator().manual_seed(0)).requires_grad_()
    network = proposal_of(space_of(lattice(3, 2)), layers=2).float()
    uniforms = torch.rand((27, 6), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    assert torch.equal(attend(x[3:], 2), attend(x, 2)[3:])
    found = []
    for threads in (1, 2, 3, 9):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        y = gelu(attend(x, 2))
        found.append((y, *torch.autograd.grad(y.square().sum(), x), *network.draw_compiled(uniforms)))
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_training_by_either_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large batches take the compiled one; the parameters after an update are the same up to rounding."""
    space, trained = space_of(lattice(3, 2), 2), []
    spins = 1 - 2 * torch.randint(2, (COMPILED_FROM // 12 + 1, 12), generator=torch.Generator().manual_seed(1))
    slopes, asked = torch.full((len(spins),), -1.0 / len(spins), dtype=torch.float64), []
    of_torch = Proposal.compiles
    for compiles in (of_torch, lambda *_: False):
        monkeypatch.setattr(Proposal, "compiles", compiles)
        network = proposal_of(space, layers=2).float()
        asked.append(network.compiles(spins))
        optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
        descend(network, optimizer, spins.to(torch.int8), slopes, Chunks(None), ALONE)
        trained.append(torch.cat([p.detach().flatten() for p in network.parameters()]))
    assert asked == [True, False]
    torch.testing.assert_close(*trained, rtol=0.0, atol=2e-6)
    assert not torch.equal(*trained)
