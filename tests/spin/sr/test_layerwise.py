"""The Gram matrix that is added up layer by layer against the one of the whole matrix of log-derivatives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.base.config import phases
from pipeline.base.config.phases import SRConfig
from pipeline.spin.ansatz.build import build_ansatz
from pipeline.spin.ansatz.jastrow_config import JastrowConfig
from pipeline.spin.ansatz.schema import ConvARConfig, DenseARConfig, MPSConfig, PixelCNNConfig, RBMConfig
from pipeline.spin.chunks import Chunks
from pipeline.spin.sr import layerwise
from pipeline.spin.sr.dense import DenseLogDerivatives
from pipeline.spin.sr.layerwise import LayerwiseLogDerivatives
from pipeline.spin.sr.operator import LogDerivatives
from pipeline.spin.sr.plan import plan_of
from pipeline.spin.sr.solve import among_parameters, among_samples
from pipeline.spin.systems import ChainTFIM, SquareTFIM
from pipeline.spin.wave_function import WaveFunction
from tests import pretend
from tests.spin import dense
from tests.spin.small_vmc import build

SITES = 6
RING = ChainTFIM(n_sites=SITES, range=1, coupling=1.0, field=1.0)
SQUARE = SquareTFIM(length_x=3, length_y=2, periodic=False, coupling=1.0, field=1.0)
AR: Any = {"phase": True, "output_scale": 1.0, "symmetries": []}


class Scale(nn.Module):
    """y_tf = s_f x_tf, with derivatives of its own."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.factors = nn.Parameter(torch.ones(width))
        self.asked = 0

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factors

    def per_sample_gradient(self, inputs: Tensor, signals: Tensor) -> dict[str, Tensor]:
        self.asked += 1
        return {"factors": (inputs * signals).flatten(1, -2).sum(1)}


class Shifted(nn.Module):
    """y = tanh(x + b): a layer of which nothing is known."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x + self.shift)


class Network(WaveFunction):
    """Every kind of layer: tokens, one position, norms, convolutions, layers used twice, and a bare parameter.

    Args:
        phases: log ψ is complex.
        images: the network is averaged over translations of the ring, all in one batch.
    """

    def __init__(self, phases: bool = False, images: bool = False) -> None:
        super().__init__()
        self.phases, self.images = phases, images
        self.tokens, self.mixed = nn.Linear(2, 4), nn.Linear(4, 4)
        self.norm, self.grid_norm = nn.LayerNorm(4), nn.LayerNorm([3, 4])
        self.scale, self.shifted = Scale(4), Shifted(4)
        self.ring = nn.Conv1d(4, 3, 3, padding=1, padding_mode="circular", bias=False)
        self.plane = nn.Conv2d(1, 2, 2, stride=(1, 2), dilation=(2, 1), padding=(1, 0))
        self.torus = nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular", groups=2)
        self.pooled = nn.Linear(5, 7)
        self.last = nn.Linear(7, 2)
        self.bare = nn.Parameter(torch.randn(SITES))

    def log_amplitude(self, spins: Tensor) -> Tensor:
        x = spins.to(self.bare.dtype)
        if self.images:
            x = torch.stack([x.roll(k, 1) for k in range(SITES)], 1).flatten(0, 1)
        values = self._network(x)
        if self.images:
            values = values.view(len(spins), SITES, 2).mean(1)
        return torch.complex(values[:, 0], values[:, 1]) if self.phases else values[:, 0]

    def _network(self, x: Tensor) -> Tensor:
        y = self.scale(self.norm(self.tokens(x.view(-1, 3, 2))))
        y = self.grid_norm(y + self.mixed(self.shifted(self.mixed(y))))
        y = functional.silu(self.ring(y.mT)).mean(2)
        z = functional.silu(self.torus(functional.silu(self.plane(x.view(-1, 1, 3, 2))))).mean((2, 3))
        values: Tensor = self.last(torch.tanh(self.pooled(torch.cat([y, z], 1))))
        return values + torch.sin(x @ self.bare)[:, None]


class Sideways(WaveFunction):
    """Uses that hooks on modules misjudge: weights taken without a call, samples not in front, results overwritten."""

    def __init__(self) -> None:
        super().__init__()
        self.taken, self.turned, self.overwritten = nn.Linear(SITES, 3), nn.Linear(3, 3), nn.Linear(3, 3)
        self.tied, self.plain = nn.Linear(3, 3), nn.Linear(3, 1)
        self.again = nn.Linear(3, 3)
        self.again.weight = self.tied.weight

    def log_amplitude(self, spins: Tensor) -> Tensor:
        x = torch.tanh(spins.to(self.plain.weight.dtype) @ self.taken.weight.T + self.taken.bias)
        x = self.turned(torch.stack([x, x.square(), x.exp()])).sum(0).sin()
        x = self.overwritten(x).relu_() + self.again(self.tied(x))
        return self.plain(x)[:, 0]


def data(count: int) -> tuple[Tensor, Tensor]:
    """Different configurations with uneven weights."""
    generator = torch.Generator().manual_seed(1)
    rows = torch.randperm(2**SITES, generator=generator)[:count]
    weights = torch.rand(count, generator=generator, dtype=torch.float64)
    return torch.from_numpy(dense.basis(SITES).copy()).to(torch.int8)[rows], weights / weights.sum()


def of(config: Any, system: Any = RING) -> Callable[[], WaveFunction]:
    def make() -> WaveFunction:
        ansatz: Any = build_ansatz(config, system, 1)
        return ansatz.double()

    return make


def network(**options: bool) -> Callable[[], WaveFunction]:
    def make() -> WaveFunction:
        torch.manual_seed(2)
        return Network(**options).double()

    return make


PIXELCNN = PixelCNNConfig(depth=2, width=3, phase=True, spread=0.5, output_scale=1.0, symmetries=[], magnetisation=None)
ANSAETZE: dict[str, Callable[[], WaveFunction]] = {
    "rbm": of(RBMConfig(alpha=1, deviation=0.3, parameters="real")),
    "complex rbm": of(RBMConfig(alpha=1, deviation=0.3, parameters="complex")),
    "dense_ar": of(DenseARConfig(layers=2, features=3, **AR)),
    "conv_ar": of(ConvARConfig(layers=2, features=3, kernel=3, **AR)),
    "pixelcnn": of(PIXELCNN, SQUARE),
    "pixelcnn, one branch": of(replace(PIXELCNN, branches=1, depth=3), SQUARE),
    "symmetrised": of(replace(PIXELCNN, symmetries=["spin_flip"]), SQUARE),
    "mps": of(MPSConfig(bond_dimension=2, deviation=0.2)),
    "jastrow": of(JastrowConfig(deviation=0.2, parameters="complex")),
    "layers": network(),
    "layers, complex": network(phases=True),
    "layers, images": network(phases=True, images=True),
    "sideways": lambda: (torch.manual_seed(3), Sideways().double())[1],
}


def agree(one: LogDerivatives, other: LogDerivatives, rtol: float = 1e-10) -> None:
    """All that the protocol asks of them."""
    assert (one.shape, one.is_complex) == (other.shape, other.is_complex)
    generator = torch.Generator().manual_seed(4)
    direction, coefficients = (torch.randn(n, generator=generator, dtype=torch.float64) for n in one.shape)
    for found, expected in (
        (one.gram(), other.gram()),
        (one.metric(), other.metric()),
        (one.push(direction), other.push(direction)),
        (one.pull(coefficients), other.pull(coefficients)),
    ):
        assert found.dtype == torch.float64
        torch.testing.assert_close(found, expected, rtol=0, atol=rtol * float(expected.abs().max()))


@pytest.mark.parametrize("name", ANSAETZE)
@pytest.mark.parametrize("pieces", [1, 3], ids=["whole", "cut"])
def test_it_is_the_operator_of_the_whole_matrix(name: str, pieces: int) -> None:
    ansatz = ANSAETZE[name]()
    spins, weights = data(7)
    expected = DenseLogDerivatives.of(ansatz, spins, weights, Chunks(None))
    parameters, rows = expected.shape
    budget = 8 * parameters * rows // pieces
    found = LayerwiseLogDerivatives(ansatz, spins, weights, Chunks(None), budget=budget)
    assert len(found._slabs([])) >= pieces
    agree(found, expected)
    if pieces == 1:
        scale = torch.rand(parameters, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
        agree(found.scaled(scale), expected.scaled(scale))


@pytest.mark.parametrize("count", [2, 3])
def test_few_samples_one_at_a_time(count: int) -> None:
    ansatz = network(phases=True, images=True)()
    spins, weights = data(count)
    chunks = Chunks(1e-12)
    found = LayerwiseLogDerivatives(ansatz, spins, weights, chunks)
    agree(found, DenseLogDerivatives.of(ansatz, spins, weights, Chunks(None)))
    assert chunks.size("gradients") == 1


@pytest.mark.parametrize("ours", [True, False], ids=["pairs", "derivatives"])
def test_both_ways_to_a_layers_gram_matrix(ours: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layerwise, "ELEMENTWISE", -1e9 if ours else 1e9)
    ansatz = network(phases=True, images=True)()
    spins, weights = data(7)
    found = LayerwiseLogDerivatives(ansatz, spins, weights, Chunks(None), budget=10**5)
    assert len(found._paired()) == (6 if ours else 0)
    agree(found, DenseLogDerivatives.of(ansatz, spins, weights, Chunks(None)))


def test_a_wide_layer_of_one_position_goes_by_pairs_and_one_of_many_does_not() -> None:
    class Wide(WaveFunction):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.many, self.last = nn.Linear(SITES, 64), nn.Linear(16, 16), nn.Linear(64, 64)

        def log_amplitude(self, spins: Tensor) -> Tensor:
            x = self.many(torch.tanh(self.first(spins.to(self.first.weight.dtype))).view(-1, 4, 16)).flatten(1)
            return torch.tanh(self.last(x)).sum(1)

    ansatz = Wide().double()
    found = LayerwiseLogDerivatives(ansatz, *data(5), Chunks(None))
    assert [layer.module for layer in found._paired()] == [ansatz.first, ansatz.last]


def test_which_parameters_go_through_the_whole_network() -> None:
    spins, _ = data(9)
    ansatz = network()()
    assert list(plan_of(ansatz, spins).rest) == ["bare"]
    assert plan_of(ansatz, spins) is plan_of(ansatz, spins)
    ansatz.get_parameter("pooled.weight").requires_grad_(False)
    assert "pooled.bias" in {name for layer in plan_of(ansatz, spins).layers for name in layer.sizes}
    agree(
        LayerwiseLogDerivatives(ansatz, *data(5), Chunks(None)), DenseLogDerivatives.of(ansatz, *data(5), Chunks(None))
    )
    used = {name for layer in plan_of(ANSAETZE["sideways"](), spins).layers for name in layer.sizes}
    assert used == {"plain.weight", "plain.bias"}


def test_a_layers_own_derivatives_are_asked_for_and_checked(caplog: pytest.LogCaptureFixture) -> None:
    spins, weights = data(5)
    ansatz: Any = network()()
    operator = LayerwiseLogDerivatives(ansatz, spins, weights, Chunks(None))
    operator.gram()
    assert ansatz.scale.asked
    wrong: Any = network()()
    wrong.scale.per_sample_gradient = lambda inputs, signals: {"factors": signals.flatten(1, -2).sum(1)}
    agree(
        LayerwiseLogDerivatives(wrong, spins, weights, Chunks(None)),
        DenseLogDerivatives.of(wrong, spins, weights, Chunks(None)),
    )
    assert "per_sample_gradient" in caplog.text


def test_nothing_as_large_as_the_whole_matrix_is_made() -> None:
    class Largest(TorchDispatchMode):
        most = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            for tensor in result if isinstance(result, tuple | list) else (result,):
                if isinstance(tensor, Tensor):
                    self.most = max(self.most, tensor.numel() * tensor.element_size())
            return result

    torch.manual_seed(0)
    layers = [nn.Linear(20, 20), nn.Tanh(), nn.Linear(20, 20), nn.Tanh()]

    class Deep(WaveFunction):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.rest = nn.Linear(1, 20), nn.Sequential(*layers)

        def log_amplitude(self, spins: Tensor) -> Tensor:
            return self.rest(self.first(spins.to(self.first.weight.dtype)[..., None])).sum((1, 2))

    ansatz = Deep().double()
    spins, weights = data(40)
    plan_of(ansatz, spins)
    operator = LayerwiseLogDerivatives(ansatz, spins, weights, Chunks(2e-4), budget=40_000)
    whole = 8 * operator.shape[0] * operator.shape[1]
    with Largest() as seen:
        operator.gram()
        operator.push(operator.pull(torch.ones(operator.shape[1], dtype=torch.float64)))
    assert 0 < seen.most <= 90_000 < whole / 3


@pytest.mark.parametrize("heavy", [False, True])
def test_single_precision(heavy: bool) -> None:
    """Sums are in double precision, so that rounding is that of derivatives; large rows do not spoil small ones."""
    ansatz = network(phases=True)()
    spins, weights = data(30)
    if heavy:
        weights[:2] *= 1e6
        weights /= weights.sum()
    expected = DenseLogDerivatives.of(ansatz, spins, weights, Chunks(None)).gram()
    found = LayerwiseLogDerivatives(ansatz.float(), spins, weights, Chunks(None)).gram()
    assert found.dtype == torch.float64
    norms = expected.diagonal().sqrt()
    assert float(((found - expected).abs() / (norms[:, None] * norms)).max()) < 2e-5
    assert not torch.equal(found, expected)


def test_on_an_accelerator() -> None:
    spins, weights = data(3)
    expected = LayerwiseLogDerivatives(network(phases=True)(), spins, weights, Chunks(None))
    t, d = torch.ones(expected.shape[1], dtype=torch.float64), torch.ones(expected.shape[0], dtype=torch.float64)
    numbers = [expected.gram(), expected.pull(t), expected.push(d)]
    with pretend.accelerator() as device:
        ansatz = network(phases=True)().to(device)
        there = LayerwiseLogDerivatives(ansatz, spins.to(device), weights.to(device), Chunks(None, str(device)))
        found = [there.gram(), there.pull(t.to(device)), there.push(d.to(device))]
        assert all(x.device == device for x in found)
        found = [x.cpu() for x in found]
    for one, other in zip(found, numbers, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("phases", [False, True])
@pytest.mark.parametrize("count", [4, 40])
def test_both_systems_have_the_same_solution(phases: bool, count: int) -> None:
    """Eq. 3 and Eq. 10 of the ViT paper."""
    spins, weights = data(count)
    operator = LayerwiseLogDerivatives(network(phases=phases)(), spins, weights, Chunks(None))
    target = torch.randn(operator.shape[1], generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    one, other = (form(operator, target, 0.05) for form in (among_samples, among_parameters))
    torch.testing.assert_close(one, other, rtol=0, atol=1e-10 * float(other.abs().max()))


def test_a_training_may_use_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same parameters in the end; left open, a large matrix is not held."""
    found = {}
    for kind in ("dense", "layerwise", "auto", "auto, large"):
        monkeypatch.setattr(phases, "DENSE_BYTES", 0 if kind == "auto, large" else 2**30)
        config = SRConfig(lr=0.05, shift=1e-2, momentum=0.9, max_distance=0.1, derivatives=kind.removesuffix(", large"))
        method = build(optimizer=config, ansatz=RBMConfig(alpha=2, deviation=0.3, parameters="complex"))
        state = method.init(1)
        for k in range(3):
            method.step(state, k)
        found[kind] = torch.cat([p.detach().flatten() for p in state.ansatz.parameters()])
    torch.testing.assert_close(found["layerwise"], found["dense"], rtol=0, atol=1e-10)
    assert torch.equal(found["auto"], found["dense"])
    assert torch.equal(found["auto, large"], found["layerwise"])
    assert not torch.equal(found["layerwise"], found["dense"])
