"""Stochastic reconfiguration against the dense formula in parameter space, exact evolution, and bad steps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline.base.config.phases import AdamConfig, PhaseConfig, SRConfig
from pipeline.base.errors import ConfigError
from pipeline.base.store.files import load_tree, save_tree
from pipeline.spin.ansatz.build import build_ansatz
from pipeline.spin.ansatz.schema import ConvARConfig, DenseARConfig, MPSConfig, PixelCNNConfig, RBMConfig
from pipeline.spin.chunks import Chunks
from pipeline.spin.sr.dense import DenseLogDerivatives
from pipeline.spin.sr.derivatives import log_derivatives
from pipeline.spin.sr.operator import forces
from pipeline.spin.sr.optimizer import StochasticReconfiguration
from pipeline.spin.systems import ChainTFIM, SpinSystem, SquareTFIM
from pipeline.spin.wave_function import WaveFunction
from pipeline.stages.compose import compose_run
from tests.spin import dense
from tests.spin.small_vmc import CHAIN, CHAIN_MATRIX, DIRECT, TinyConfig, build, rayleigh

SR = SRConfig(lr=0.05, shift=1e-2, momentum=0.0, max_distance=None)
SQUARE = SquareTFIM(length_x=3, length_y=2, periodic=False, coupling=1.0, field=1.0)
VMC_SR = ["method=vmc", "ansatz=rbm", "sampler=exhaustive", "optimizer=sr"]
AR: Any = {"phase": False, "output_scale": 1.0, "symmetries": []}
RING = ChainTFIM(n_sites=6, range=1, coupling=1.0, field=1.0)
PIXELCNN = PixelCNNConfig(
    depth=2, width=3, phase=False, spread=0.5, output_scale=1.0, symmetries=[], magnetisation=None
)


def optimizer(n_parameters: int, **changes: Any) -> tuple[StochasticReconfiguration, nn.Parameter]:
    parameter = nn.Parameter(torch.zeros(n_parameters, dtype=torch.float64))
    options = {"lr": 0.1, "shift": 1e-3, "momentum": 0.0, "max_distance": None} | changes
    return StochasticReconfiguration([parameter], **options), parameter


def random_batch(samples: int, parameters: int, dtype: torch.dtype, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    weights = torch.rand(samples, generator=generator, dtype=torch.float64)
    derivatives = torch.randn((samples, parameters), generator=generator, dtype=dtype)
    local = torch.randn(samples, generator=generator, dtype=dtype)
    return derivatives, weights / weights.sum(), local


def asked(derivatives: Tensor, weights: Tensor, local: Tensor) -> tuple[DenseLogDerivatives, Tensor]:
    """X and f, as a step takes them."""
    operator = DenseLogDerivatives(derivatives, weights)
    return operator, forces(local, weights, operator.is_complex)


def tensor_and_gradient(derivatives: Tensor, weights: Tensor, local: Tensor) -> tuple[Tensor, Tensor]:
    """S and ∇E in the space of parameters, written out."""
    centred = derivatives - (weights[:, None] * derivatives).sum(0)
    deviation = local - (weights * local).sum()
    s = torch.einsum("m,mk,ml->kl", weights.to(centred.dtype), centred.conj(), centred).real
    return s, 2 * torch.einsum("m,m,mk->k", weights.to(centred.dtype), deviation.conj(), centred).real


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize(("samples", "parameters"), [(7, 30), (40, 12)])
def test_a_step_is_that_of_the_dense_formula(dtype: torch.dtype, samples: int, parameters: int) -> None:
    batch = random_batch(samples, parameters, dtype)
    s, gradient = tensor_and_gradient(*batch)
    expected = -torch.linalg.solve(s + 1e-3 * torch.eye(parameters, dtype=torch.float64), gradient)
    change, speed = optimizer(parameters)[0].direction(*asked(*batch))
    torch.testing.assert_close(change, expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(speed**2, change @ s @ change, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_momentum_is_a_guess_for_what_the_batch_leaves_open(dtype: torch.dtype) -> None:
    """SPRING: (S + λ) d = -∇E + λ μ d' in the space of parameters."""
    sr, parameter = optimizer(20, momentum=0.9)
    first, second = random_batch(6, 20, dtype, seed=1), random_batch(6, 20, dtype, seed=2)
    sr.step(*asked(*first))
    previous = parameter.detach() / 0.1
    s, gradient = tensor_and_gradient(*second)
    expected = torch.linalg.solve(
        s + 1e-3 * torch.eye(20, dtype=torch.float64), -gradient + 1e-3 * 0.9 * previous.clone()
    )
    torch.testing.assert_close(sr.direction(*asked(*second))[0], expected, rtol=1e-8, atol=1e-10)


def test_long_steps_are_shortened() -> None:
    batch = random_batch(9, 30, torch.float64)
    free, far = optimizer(30)
    limited, near = optimizer(30, max_distance=0.01)
    distance = free.step(*asked(*batch))
    assert distance > 0.01
    assert limited.step(*asked(*batch)) == pytest.approx(0.01)
    torch.testing.assert_close(near, far * 0.01 / distance)


def test_a_rank_deficient_matrix_with_a_tiny_shift_is_solved() -> None:
    """Equal samples make XᵀX singular; rounding then gives it negative eigenvalues beyond the shift."""
    derivatives, weights, local = random_batch(40, 3, torch.float64)
    sr, parameter = optimizer(3, shift=1e-17)
    sr.step(*asked(1e3 * derivatives, weights, local))
    s, gradient = tensor_and_gradient(1e3 * derivatives, weights, local)
    torch.testing.assert_close(parameter, -0.1 * torch.linalg.solve(s, gradient), rtol=1e-4, atol=0)


@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_step_that_is_not_finite_changes_nothing(position: int) -> None:
    sr, parameter = optimizer(5, momentum=0.5)
    good = random_batch(4, 5, torch.float64)
    sr.step(*asked(*good))
    before, memory = parameter.detach().clone(), sr.state_dict()["previous"]
    bad = [tensor.clone() for tensor in good]
    bad[position][0] = float("nan")
    assert not np.isfinite(sr.step(*asked(*bad)))
    assert torch.equal(parameter, before)
    assert sr.state_dict()["previous"] is memory


def test_what_is_remembered_returns_to_the_device_of_the_parameters() -> None:
    parameter = nn.Parameter(torch.zeros(5, dtype=torch.float64, device="meta"))
    sr = StochasticReconfiguration([parameter], lr=0.1, shift=1e-3, momentum=0.5, max_distance=None)
    sr.load_state_dict({"previous": torch.ones(5, dtype=torch.float64)})
    assert sr.state_dict()["previous"].device.type == "meta"


class Table(WaveFunction):
    """log ψ(x) = θ_x: every state, and every change of it, can be represented."""

    def __init__(self, log_psi: Tensor) -> None:
        super().__init__()
        self.values = nn.Parameter(log_psi)

    def log_amplitude(self, spins: Tensor) -> Tensor:
        n = spins.shape[1]
        row = ((spins < 0).long() * 2 ** torch.arange(n)).sum(1)
        return self.values[row]


def test_a_complete_ansatz_evolves_in_imaginary_time() -> None:
    """δ log ψ(x) = -2τ (E_loc(x) - E) plus what leaves ψ alone, for λ -> 0."""
    spins = torch.from_numpy(dense.basis(5)).to(torch.int8)
    table = Table(torch.randn(32, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    psi = table.log_amplitude(spins).exp().detach()
    local = torch.from_numpy(CHAIN_MATRIX) @ psi / psi
    weights = psi**2 / (psi @ psi)
    sr = StochasticReconfiguration(table.parameters(), lr=0.01, shift=1e-12, momentum=0.0, max_distance=None)
    before = table.log_amplitude(spins).detach().clone()
    sr.step(*asked(log_derivatives(table, spins, Chunks(None)), weights, local))
    change = table.log_amplitude(spins).detach() - before
    expected = -0.02 * (local - weights @ local)
    torch.testing.assert_close(change - weights @ change, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("config", "system"),
    [
        (RBMConfig(alpha=1, deviation=0.3, parameters="real"), RING),
        (RBMConfig(alpha=1, deviation=0.3, parameters="complex"), RING),
        (PIXELCNN, SQUARE),
        (replace(PIXELCNN, phase=True), SQUARE),
        (replace(PIXELCNN, symmetries=["spin_flip"]), SQUARE),
        (DenseARConfig(layers=2, features=5, **AR), RING),
        (ConvARConfig(layers=2, features=4, kernel=3, **AR), RING),
        (MPSConfig(bond_dimension=3, deviation=0.2), RING),
    ],
    ids=["rbm", "complex rbm", "pixelcnn", "pixelcnn phase", "symmetrised", "dense_ar", "conv_ar", "mps"],
)
def test_derivatives_of_every_ansatz(config: Any, system: SpinSystem) -> None:
    """Against one backward pass a configuration, split into chunks or not."""
    ansatz: Any = build_ansatz(config, system, 1).double()
    spins = torch.from_numpy(dense.basis(6)[::7].copy()).to(torch.int8)
    chunks = Chunks(1e-12)
    found = log_derivatives(ansatz, spins, chunks)
    assert chunks.size("derivatives") == 1
    parts = ["real", "imag"] if found.is_complex() else ["real"]
    for row, one in zip(found, spins, strict=True):
        for part in parts:
            value = getattr(ansatz.log_amplitude(one[None])[0], part)
            gradients = torch.autograd.grad(value, list(ansatz.parameters()), allow_unused=True)
            flat = [
                torch.zeros_like(p) if g is None else g for g, p in zip(gradients, ansatz.parameters(), strict=True)
            ]
            expected = torch.cat([g.flatten() for g in flat])
            torch.testing.assert_close(getattr(row, part), expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(log_derivatives(ansatz, spins, Chunks(None)), found, rtol=1e-9, atol=1e-12)


def test_it_needs_fewer_steps_than_adam() -> None:
    exact = dense.lowest(CHAIN_MATRIX)
    errors = {}
    for name, config in {"sr": SR, "adam": AdamConfig(lr=0.02, betas=(0.9, 0.999))}.items():
        method = build(optimizer=config)
        state = method.init(1)
        for k in range(80):
            method.step(state, k)
        errors[name] = rayleigh(state.ansatz, CHAIN_MATRIX) - exact
        assert errors[name] > 0
    assert errors["sr"] < 1e-4 * abs(exact)
    assert errors["sr"] < 0.1 * errors["adam"]


PHASES = [
    PhaseConfig(steps=3, samples=40),
    PhaseConfig(steps=4, sr=SRConfig(lr=0.05, shift=1e-2, momentum=0.9, max_distance=0.1)),
    PhaseConfig(steps=4, system={"field": 1.1}, lr=0.03, lr_end=0.01),
]


@pytest.mark.parametrize("stop", [2, 5, 8, 12])
def test_resume_is_exact(tmp_path: Path, stop: int) -> None:
    """The remembered step is part of the state."""
    options: Any = {"sampler": DIRECT, "ansatz": TinyConfig(phases=True), "phases": PHASES}
    method = build(CHAIN, **options)
    state = method.init(1)
    expected = [method.step(state, k) for k in range(14)]
    half = method.init(1)
    metrics = [method.step(half, k) for k in range(stop)]
    save_tree(tmp_path / "state", half.state_dict())
    other = build(CHAIN, **options)
    resumed = other.init(99)
    resumed.seed = state.seed
    resumed.load_state_dict(load_tree(tmp_path / "state"))
    metrics += [other.step(resumed, k) for k in range(stop, 14)]
    assert metrics == expected
    assert all(torch.equal(a, b) for a, b in zip(state.ansatz.parameters(), resumed.ansatz.parameters(), strict=True))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([*VMC_SR, "train.optimizer.shift=0"], "shift=0"),
        (
            [*VMC_SR, "train.optimizer.momentum=1"],
            "momentum=1",
        ),
        (
            [*VMC_SR, "train.optimizer.max_distance=-1"],
            "max_distance=-1",
        ),
        (["method=subspace_flow", "optimizer=sr"], "optimizer=sr"),
    ],
)
def test_what_does_not_fit_is_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compose_run([*overrides, "system=chain_tfim", "baseline=none"])


def test_a_phase_brings_one_optimizer() -> None:
    with pytest.raises(ConfigError, match="one of adam, sgd and sr"):
        PhaseConfig(steps=1, adam=AdamConfig(lr=0.1, betas=(0.9, 0.9)), sr=SR)
