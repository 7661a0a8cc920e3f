"""Deep ViT against its formulas written out in numpy, its parameter counts, derivatives and symmetries."""

from __future__ import annotations

import cmath
import copy
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.base.errors import ConfigError
from pipeline.spin.ansatz.build import build_ansatz
from pipeline.spin.ansatz.layers import RowNorm, log_cosh, standardised
from pipeline.spin.ansatz.projected import Projected
from pipeline.spin.ansatz.vit.attention import FactoredAttention
from pipeline.spin.ansatz.vit.config import ViTConfig
from pipeline.spin.ansatz.vit.network import Block
from pipeline.spin.chunks import Chunks
from pipeline.spin.sr.derivatives import log_derivatives
from pipeline.spin.sr.layers import Direct, layer_of
from pipeline.spin.systems import ChainHeisenberg, SpinSystem, SquareHeisenberg
from pipeline.stages.compose import compose_run
from pipeline.stages.train import build_method

Array = np.ndarray


def lattice(length_x: int, length_y: int) -> SquareHeisenberg:
    return SquareHeisenberg(length_x=length_x, length_y=length_y, periodic=True, j1=1.0, j2=0.5)


def config(patch: int, depth: int = 2, width: int = 6, heads: int = 3, activation: str = "relu") -> ViTConfig:
    return ViTConfig(
        patch=patch, depth=depth, width=width, heads=heads, activation=activation, output_scale=1.0, magnetisation=None
    )


def network(settings: ViTConfig, system: SpinSystem, dtype: torch.dtype = torch.float64) -> Any:
    """With biases and norms that are not those of the start."""
    state = build_ansatz(settings, system, 3).to(dtype)
    draw = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in state.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=draw, dtype=torch.float64).to(dtype))
    return state


def some_spins(n_sites: int, count: int = 5) -> torch.Tensor:
    draw = torch.Generator().manual_seed(7)
    return torch.where(torch.rand((count, n_sites), generator=draw) < 0.5, 1, -1).to(torch.int8)


@pytest.mark.parametrize(
    ("heads", "width", "count"), [(10, 40, 85400), (10, 60, 187100), (12, 72, 267720), (14, 140, 994700)]
)
def test_parameters_of_the_paper(heads: int, width: int, count: int) -> None:
    """10 × 10, b = 2, n_l = 8: the sizes of Fig. 4."""
    settings = config(2, 8, width, heads)
    state = build_ansatz(settings, lattice(10, 10), 0)
    d = width
    formula = 5 * d + 8 * (2 * (d * d + d) + 25 * heads + 4 * d * d + 3 * d + 4 * d) + 6 * d + 2 * (d * d + d)
    assert sum(p.numel() for p in state.parameters()) == formula == count
    assert 0.999 * count < settings.weights(100) <= count
    assert settings.activations(100) == 25 * 2 * width


def norm(x: Array, layer: Any) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    return scaled * numbers(layer.weight) + numbers(layer.bias)


def numbers(parameter: Any) -> Array:
    return np.asarray(parameter.detach().numpy())


def linear(x: Array, layer: Any) -> Array:
    return np.asarray(x @ numbers(layer.weight).T + numbers(layer.bias))


def attention(x: Array, module: Any, grid: tuple[int, int]) -> Array:
    """Eq. 11 term by term; patches (p_x, p_y) of a grid, numbered row by row."""
    n, d = x.shape
    alpha, values = numbers(module.mixing.alpha), linear(x, module.values)
    mixed = np.zeros_like(x)
    for i in range(n):
        for j in range(n):
            dx, dy = (i % grid[0] - j % grid[0]) % grid[0], (i // grid[0] - j // grid[0]) % grid[1]
            for q in range(1, d + 1):
                mu = math.ceil(q * len(alpha) / d)
                mixed[i, q - 1] += alpha[mu - 1, dy * grid[0] + dx] * values[j, q - 1]
    return linear(mixed, module.output)


def log_psi(spins: Array, state: Any, settings: ViTConfig, shape: tuple[int, int], patch: tuple[int, int]) -> complex:
    """Algorithm 1 for one configuration; ``shape`` and ``patch`` along x and y."""
    grid = (shape[0] // patch[0], shape[1] // patch[1])
    places = [
        [(py * patch[1] + wy) * shape[0] + px * patch[0] + wx for wy in range(patch[1]) for wx in range(patch[0])]
        for py in range(grid[1])
        for px in range(grid[0])
    ]
    x = linear(spins[places].astype(float), state.embedding)
    for block in state.blocks:
        x = x + attention(norm(x, block.attention_norm), block.attention, grid)
        hidden = linear(norm(x, block.feed_forward_norm), block.feed_forward[0])
        if settings.activation == "relu":
            hidden = np.maximum(hidden, 0)
        else:
            hidden = hidden * 0.5 * (1 + np.vectorize(math.erf)(hidden / math.sqrt(2)))
        x = x + linear(hidden, block.feed_forward[2])
    z, head = norm(x, state.norm).sum(0), state.head
    u, v = norm(linear(z, head.real), head.real_norm), norm(linear(z, head.imaginary), head.imaginary_norm)
    return complex(np.log(np.cosh(u + 1j * v)).sum())


@pytest.mark.parametrize(
    ("system", "settings", "shape", "patch"),
    [
        (lattice(4, 4), config(2), (4, 4), (2, 2)),
        (lattice(6, 4), config(2, 1, 4, 4), (6, 4), (2, 2)),
        (lattice(4, 6), config(2, 1, 4, 2, "gelu"), (4, 6), (2, 2)),
        (lattice(3, 3), config(1, 1), (3, 3), (1, 1)),
        (lattice(4, 4), config(4, 1, 2, 1), (4, 4), (4, 4)),
        (ChainHeisenberg(n_sites=6, periodic=True, j1=1.0, j2=0.0), config(2), (6, 1), (2, 1)),
        (ChainHeisenberg(n_sites=3, periodic=True, j1=1.0, j2=0.0), config(1, 1, 1, 1), (3, 1), (1, 1)),
    ],
)
def test_algorithm_1_written_out(
    system: SpinSystem, settings: ViTConfig, shape: tuple[int, int], patch: tuple[int, int]
) -> None:
    state, spins = network(settings, system), some_spins(system.size)
    found = state.log_amplitude(spins).detach().numpy()
    for row, value in zip(spins.numpy(), found, strict=True):
        expected = log_psi(row, state, settings, shape, patch)
        assert abs(np.exp(value - expected) - 1) < 1e-10
    single = network(settings, system, torch.float32).log_amplitude(spins)
    assert single.dtype == torch.complex64
    assert abs(np.exp(single.detach().numpy() - found) - 1).max() < 2e-5


def test_translations_by_patches_and_no_others() -> None:
    system, settings = lattice(6, 4), config(2)
    state, spins = network(settings, system), some_spins(24)
    before = state.log_amplitude(spins)
    moves = settings.invariances(system)
    assert len(moves) == 2
    for move in moves:
        assert (state.log_amplitude(spins[:, list(move)]) - before).abs().max() < 1e-12
    one = [i // 6 * 6 + (i + 1) % 6 for i in range(24)]
    assert (state.log_amplitude(spins[:, one]) - before).abs().min() > 1e-3


def test_gradients_of_single_configurations() -> None:
    """Backward passes and vectorised ones against central differences along a random direction."""
    state, spins = network(config(2), lattice(4, 4)), some_spins(16)
    derivatives = log_derivatives(state, spins, Chunks(0.1)).numpy()
    parameters = list(state.parameters())
    direction = [
        torch.randn(p.shape, generator=torch.Generator().manual_seed(i)).double() for i, p in enumerate(parameters)
    ]
    step = 1e-5

    @torch.no_grad()
    def moved(by: float) -> Array:
        for p, d in zip(parameters, direction, strict=True):
            p += by * d
        found = state.log_amplitude(spins).numpy()
        for p, d in zip(parameters, direction, strict=True):
            p -= by * d
        return np.asarray(found)

    slope = (moved(step) - moved(-step)) / (2 * step)
    along = derivatives @ torch.cat([d.flatten() for d in direction]).numpy()
    np.testing.assert_allclose(along, slope, rtol=1e-6, atol=1e-6)
    for part, expected in (("real", derivatives.real), ("imag", derivatives.imag)):
        value = getattr(state.log_amplitude(spins[:1]), part).sum()
        gradient = torch.cat([g.flatten() for g in torch.autograd.grad(value, parameters)])
        np.testing.assert_allclose(gradient.numpy(), expected[0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("grid", "heads"), [((3, 2), 2), ((4,), 1), ((1, 1), 4)])
def test_derivatives_of_the_attention_row_by_row(grid: tuple[int, ...], heads: int) -> None:
    layer = FactoredAttention(grid, heads).double()
    draw = torch.Generator().manual_seed(1)
    shape = (5, math.prod(grid), 4)
    inputs, signals = (torch.randn(shape, generator=draw, dtype=torch.float64) for _ in range(2))
    found = layer.per_sample_gradient(inputs, signals)
    assert list(found) == [name for name, _ in layer.named_parameters()] == ["alpha"]
    for x, g, row in zip(inputs, signals, found["alpha"], strict=True):
        (expected,) = torch.autograd.grad((layer(x[None]) * g).sum(), [layer.alpha])
        torch.testing.assert_close(row, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_log_cosh(dtype: torch.dtype) -> None:
    """Values against cmath, exp() of both; derivatives against tanh; at u = 0, and where cosh would overflow."""
    points = [(0.0, 0.4), (0.0, 2.0), (-0.0, 0.0), (0.3, -1.2), (-0.7, 3.0), (20.0, 1.0), (-30.0, -2.0), (1e-4, 1.0)]
    u, v = (torch.tensor(part, dtype=dtype, requires_grad=True) for part in zip(*points, strict=True))
    found = log_cosh(u, v)
    values = found.detach()
    accuracy = 100 * torch.finfo(dtype).eps
    slopes = torch.autograd.grad(found.real.sum(), [u, v], retain_graph=True)
    phases = torch.autograd.grad(found.imag.sum(), [u, v])
    for i, (a, b) in enumerate(points):
        exact = cmath.cosh(complex(u[i].item(), v[i].item()))
        assert abs(cmath.exp(complex(values[i])) / exact - 1) < accuracy, (a, b)
        tanh = cmath.tanh(complex(u[i].item(), v[i].item()))
        derivatives = [slopes[0][i], slopes[1][i], phases[0][i], phases[1][i]]
        assert derivatives == pytest.approx([tanh.real, -tanh.imag, tanh.imag, tanh.real], abs=accuracy), (a, b)
    large = torch.tensor([1e4, -1e30], dtype=dtype, requires_grad=True)
    found = log_cosh(large, torch.tensor([0.5, 0.5], dtype=dtype))
    assert found.real.tolist() == pytest.approx([1e4 - math.log(2), 1e30], rel=1e-6)
    assert found.imag.tolist() == pytest.approx([0.5, -0.5])
    assert torch.autograd.grad(found.real.sum(), [large])[0].tolist() == [1.0, -1.0]


SQUARE = ["method=vmc", "system=square_heisenberg", "ansatz=vit", "baseline=none"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["train.ansatz.patch=3"], r"^train\.ansatz\.patch=3: must divide the extents of the lattice of 4 x 4 sites"),
        (["train.ansatz.heads=5"], r"^train\.ansatz\.heads=5: must divide train\.ansatz\.width=36"),
        (["system.periodic=false"], r"^ansatz=vit: needs a lattice with periodic boundaries, which square_heisenberg"),
        (["train.ansatz.depth=0"], r"^train\.ansatz\.depth=0: must be at least 1"),
        (["train.ansatz.width=0"], r"^train\.ansatz\.width=0: must be at least 1"),
        (["train.ansatz.heads=-1"], r"^train\.ansatz\.heads=-1: must be at least 1"),
        (["train.ansatz.patch=0"], r"^train\.ansatz\.patch=0: must be at least 1"),
        (["train.ansatz.activation=tanh"], r"^train\.ansatz\.activation=tanh: must be one of relu, gelu"),
        (["train.ansatz.output_scale=0"], r"^train\.ansatz\.output_scale=0"),
        (["train.ansatz.projection=[rotation]"], r"projection=rotation: must be one of .*did you mean 'rotations'"),
        (
            ["train.ansatz.patch=1", "train.ansatz.projection=[-translations]"],
            r"^train\.ansatz\.projection: is odd under what leaves every state",
        ),
        (
            ["train.phases=[{steps:2,system:{length_x:6}}]"],
            r"^train\.phases\[0\]\.system=.*the parameters of ansatz=vit fit one size only",
        ),
    ],
)
def test_refusals_name_the_key(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compose_run([*SQUARE, "sampler=metropolis", *overrides])


def test_configuration() -> None:
    assert type(compose_run(SQUARE).train.ansatz) is ViTConfig


def test_a_sector() -> None:
    """Other configurations have no amplitude and are not summed over; derivatives are finite."""
    settings = replace(config(2), magnetisation=0)
    state, everywhere = network(settings, lattice(4, 4)), network(config(2), lattice(4, 4))
    spins = torch.cat([some_spins(16, 40), some_spins(16, 4).abs()])
    inside = spins.sum(1) == 0
    assert 0 < inside.sum() < 40
    assert torch.equal(state.present(spins), inside)
    found = state.log_amplitude(spins)
    assert torch.equal(found[inside], everywhere.log_amplitude(spins)[inside])
    assert (found.real[~inside] == -torch.inf).all()
    gradients = torch.autograd.grad(found.real[inside].sum(), list(state.parameters()))
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_the_frustrated_square_from_all_symmetries() -> None:
    """4 × 4 at J2 = 0.5 without a sign rule, Pauli total: the ground state, not the first excited one (-32.56)."""
    words = [
        *(
            "method=vmc",
            "system=square_heisenberg",
            "system.j2=0.5",
            "ansatz=vit",
            "sampler=exhaustive",
            "optimizer=sr",
        ),
        *(f"train.ansatz.{x}" for x in ("depth=2", "width=16", "heads=4", "magnetisation=0")),
        "train.ansatz.projection=[translations,rotations,reflections,spin_flip]",
        *(f"train.optimizer.{x}" for x in ("lr=0.01", "shift=1e-4", "momentum=0", "max_distance=0.3")),
    ]
    method: Any = build_method(compose_run(words))
    state = method.init(0)
    energies = [method.step(state, k)["energy"] for k in range(3)]
    exact = -33.83169340558
    assert all(energy > exact for energy in energies)
    assert energies[2] < energies[1] < energies[0]
    assert len(method.sampler.sample(state.ansatz, state.sampling, None, 0, "x", 0).spins) == 12870


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize(("shape", "patch", "heads"), [((4, 4), 2, 3), ((6, 4), 2, 1), ((3, 3), 3, 6)])
def test_evaluation_without_derivatives(activation: str, shape: tuple[int, int], patch: int, heads: int) -> None:
    """Compiled loops, in single precision, as close to double precision as the layers themselves."""
    system, settings = lattice(*shape), config(patch, depth=3, heads=heads, activation=activation)
    exact = network(settings, system)
    single = copy.deepcopy(exact).float()
    spins = some_spins(system.size, 40)
    expected = exact.log_amplitude(spins).detach()
    scale = float((single.log_amplitude(spins).detach() - expected).abs().max()) + 1e-6
    calls: list[int] = []
    for block in single.blocks:
        block.register_forward_hook(lambda *_: calls.append(1))
    found = single.evaluate(spins)
    assert not calls, "the layers themselves were used"
    assert not found.requires_grad
    assert found.dtype == torch.complex64
    assert (found - expected).abs().max() < 20 * scale
    assert torch.equal(exact.evaluate(spins), expected)  # double precision has no loops of its own
    assert torch.equal(single.evaluate(spins), found)
    assert len(single.evaluate(spins[:0])) == 0


def test_projected_states_evaluate_by_what_their_base_has() -> None:
    system = lattice(4, 4)
    state = build_ansatz(replace(config(2), projection=["translations", "spin_flip"]), system, 3)
    assert isinstance(state, Projected)
    spins = some_spins(16, 20)
    with torch.no_grad():
        expected = state.log_amplitude(spins)
    calls: list[int] = []
    for module in state.base.modules():
        if isinstance(module, Block):
            module.register_forward_hook(lambda *_: calls.append(1))
    for some in (spins, spins[:2]):
        torch.testing.assert_close(state.evaluate(some), expected[: len(some)], rtol=1e-4, atol=1e-4)
    assert not calls


def test_norms_of_a_gpu_are_layer_norms() -> None:
    """Values and derivatives against torch's own, of rows with an offset, of one feature and of equal features too."""
    generator = torch.Generator().manual_seed(1)
    for shape, offset in (((5, 3, 7), 100.0), ((4, 1), 0.0)):
        rows = torch.randn(shape, dtype=torch.float64, generator=generator) + offset
        rows[0] = 2.0
        ours, theirs = rows.clone().requires_grad_(), rows.clone().requires_grad_()
        found = standardised(ours, 1e-5)
        expected = torch.nn.functional.layer_norm(theirs, rows.shape[-1:])
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
        slopes = torch.randn(shape, dtype=torch.float64, generator=generator)
        (found * slopes).sum().backward()
        (expected * slopes).sum().backward()
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-7, atol=1e-7)


def test_norms_have_the_rule_of_layer_norms() -> None:
    """In reconfiguration layer by layer; without it they would be differentiated anew, row by row."""
    assert isinstance(layer_of("norm", RowNorm(4)), Direct)
