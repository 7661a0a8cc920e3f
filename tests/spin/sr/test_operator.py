"""The operator of SR: both forms of its linear system, and one that never holds O, against formulas written out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, jvp, vjp

from pipeline.base.config.phases import SRConfig
from pipeline.base.run.ranks import ALONE
from pipeline.spin.ansatz.build import build_ansatz
from pipeline.spin.ansatz.schema import RBMConfig
from pipeline.spin.chunks import Chunks
from pipeline.spin.hamiltonian import Hamiltonian
from pipeline.spin.sr import optimizer as module
from pipeline.spin.sr.dense import DenseLogDerivatives
from pipeline.spin.sr.operator import LogDerivatives, centred, forces, stacked
from pipeline.spin.sr.optimizer import StochasticReconfiguration
from pipeline.spin.sr.solve import among_parameters, among_samples, solve
from pipeline.spin.terms import pauli_terms
from pipeline.spin.vmc.local_energy import local_energy
from pipeline.spin.wave_function import WaveFunction
from tests.spin import dense
from tests.spin.small_vmc import CHAIN, CHAIN_MATRIX, build, rayleigh

RBM = RBMConfig(alpha=1, deviation=0.3, parameters="real")
FORMS = {"samples": among_samples, "parameters": among_parameters}
SHIFT = 1e-3


class MatrixFree:
    """O of an ansatz that is never held: products with it only, one pass each."""

    ranks = ALONE

    def __init__(self, ansatz: WaveFunction, spins: Tensor, weights: Tensor) -> None:
        self._weights = weights
        names = [name for name, _ in ansatz.named_parameters()]
        shapes = [p.shape for p in ansatz.parameters()]
        sizes = [p.numel() for p in ansatz.parameters()]
        self._here = torch.cat([p.detach().flatten() for p in ansatz.parameters()])

        def log_psi(flat: Tensor) -> Tensor:
            pieces = [piece.view(shape) for piece, shape in zip(flat.split(sizes), shapes, strict=True)]
            values = functional_call(
                _Forward(ansatz), {f"inner.{n}": p for n, p in zip(names, pieces, strict=True)}, spins
            )
            return stacked(centred(values, weights), values.is_complex())

        self._rows = log_psi
        with torch.no_grad():
            self.is_complex = ansatz.log_amplitude(spins[:1]).is_complex()
        self.shape = (sum(sizes), len(spins) * (2 if self.is_complex else 1))

    def push(self, direction: Tensor) -> Tensor:
        found: Tensor = jvp(self._rows, (self._here,), (direction,))[1]
        return found

    def pull(self, coefficients: Tensor) -> Tensor:
        found: Tensor = vjp(self._rows, self._here)[1](coefficients)[0]
        return found

    def gram(self) -> Tensor:
        return torch.stack([self.push(self.pull(e)) for e in torch.eye(self.shape[1], dtype=torch.float64)])

    def metric(self) -> Tensor:
        return torch.stack([self.pull(self.push(e)) for e in torch.eye(self.shape[0], dtype=torch.float64)])


class _Forward(torch.nn.Module):
    def __init__(self, inner: WaveFunction) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, spins: Tensor) -> Tensor:
        return self.inner.log_amplitude(spins)


def batch(config: Any, count: int) -> tuple[WaveFunction, Tensor, Tensor, Tensor]:
    """An ansatz, ``count`` configurations with uneven weights, and their local energies."""
    ansatz: Any = build_ansatz(config, CHAIN, 1).double()
    spins = torch.from_numpy(dense.basis(5)[:count].copy()).to(torch.int8)
    weights = torch.rand(count, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    local = local_energy(Hamiltonian(pauli_terms(CHAIN), 5, "cpu"), ansatz, spins, Chunks(None))
    return ansatz, spins, weights / weights.sum(), local


def written_out(ansatz: WaveFunction, spins: Tensor, weights: Tensor, local: Tensor) -> tuple[Tensor, Tensor]:
    """S and ∇E, one backward pass a configuration and sums in loops."""
    rows = []
    for one in spins:
        value = ansatz.log_amplitude(one[None])[0]
        parts = [value.real, value.imag] if value.is_complex() else [value]
        flat = [
            torch.cat([g.flatten() for g in torch.autograd.grad(part, list(ansatz.parameters()), retain_graph=True)])
            for part in parts
        ]
        rows.append(torch.complex(flat[0], flat[1]) if len(flat) == 2 else flat[0])
    o = torch.stack(rows).to(torch.complex128)
    mean, energy = (weights[:, None] * o).sum(0), (weights * local).sum()
    s = sum(w * torch.outer((x - mean).conj(), x - mean).real for w, x in zip(weights, o, strict=True))
    gradient = sum(
        2 * w * ((e - energy).conj() * (x - mean)).real
        for w, e, x in zip(weights, local.to(torch.complex128), o, strict=True)
    )
    assert isinstance(s, Tensor)
    assert isinstance(gradient, Tensor)
    return s, gradient


@pytest.mark.parametrize("parameters", ["real", "complex"])
@pytest.mark.parametrize("count", [6, 32], ids=["few samples", "all configurations"])
@pytest.mark.parametrize("max_distance", [None, 0.02])
def test_both_forms_make_the_step_of_the_dense_formula(
    parameters: str, count: int, max_distance: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two steps, the second one with the memory of the first: (S + λ) d = -∇E + λ μ d'."""
    found = {}
    for name, form in FORMS.items():
        monkeypatch.setattr(module, "solve", form)
        ansatz, spins, weights, _ = batch(replace(RBM, parameters=parameters), count)
        sr = StochasticReconfiguration(ansatz.parameters(), 0.1, SHIFT, 0.9, max_distance)
        previous = torch.zeros(sum(p.numel() for p in ansatz.parameters()), dtype=torch.float64)
        for _ in range(2):
            local = local_energy(Hamiltonian(pauli_terms(CHAIN), 5, "cpu"), ansatz, spins, Chunks(None))
            s, gradient = written_out(ansatz, spins, weights, local)
            one = torch.eye(len(s), dtype=torch.float64)
            expected = torch.linalg.solve(s + SHIFT * one, -gradient + SHIFT * 0.9 * previous)
            speed = float((expected @ s @ expected).sqrt())
            tau = 0.1 if max_distance is None else min(0.1, max_distance / speed)
            before = torch.cat([p.detach().flatten() for p in ansatz.parameters()])
            operator = DenseLogDerivatives.of(ansatz, spins, weights, Chunks(None))
            distance = sr.step(operator, forces(local, weights, operator.is_complex))
            after = torch.cat([p.detach().flatten() for p in ansatz.parameters()])
            scale = float(expected.abs().max())
            torch.testing.assert_close(after - before, tau * expected, rtol=0, atol=1e-10 * max(1.0, scale))
            assert distance == pytest.approx(tau * speed, rel=1e-8)
            previous = expected
        assert (tau < 0.1) == (max_distance is not None)
        found[name] = after
    torch.testing.assert_close(found["samples"], found["parameters"], rtol=0, atol=1e-10)


@pytest.mark.parametrize("parameters", ["real", "complex"])
@pytest.mark.parametrize("count", [6, 32])
def test_an_operator_that_holds_no_matrix_makes_the_same_step(parameters: str, count: int) -> None:
    steps = []
    for of in (lambda a, s, w: DenseLogDerivatives.of(a, s, w, Chunks(None)), MatrixFree):
        ansatz, spins, weights, local = batch(replace(RBM, parameters=parameters), count)
        operator: LogDerivatives = of(ansatz, spins, weights)
        sr = StochasticReconfiguration(ansatz.parameters(), 0.1, SHIFT, 0.9, 0.05)
        for _ in range(2):
            sr.step(operator, forces(local, weights, operator.is_complex))
        steps.append((operator.shape, torch.cat([p.detach().flatten() for p in ansatz.parameters()])))
    assert steps[0][0] == steps[1][0]
    torch.testing.assert_close(steps[0][1], steps[1][1], rtol=0, atol=1e-10)


def test_the_smaller_system_is_solved() -> None:
    class Counted(DenseLogDerivatives):
        asked: str

        def gram(self) -> Tensor:
            self.asked = "gram"
            return super().gram()

        def metric(self) -> Tensor:
            self.asked = "metric"
            return super().metric()

    for shape, dtype, expected in (
        ((9, 10), torch.float64, "gram"),
        ((10, 10), torch.float64, "gram"),
        ((11, 10), torch.float64, "metric"),
        ((5, 10), torch.complex128, "gram"),
        ((6, 10), torch.complex128, "metric"),
    ):
        operator = Counted(torch.randn(shape, dtype=dtype), torch.full(shape[:1], 1 / shape[0], dtype=torch.float64))
        solve(operator, torch.ones(operator.shape[1], dtype=torch.float64), SHIFT)
        assert operator.asked == expected


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_null_spaces_under_a_tiny_shift_are_left_out(form: Any) -> None:
    """Every row five times: XᵀX and X Xᵀ are singular, and rounding goes beyond the shift."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn((4, 5), generator=generator, dtype=torch.float64) @ torch.randn(
        (5, 7), generator=generator, dtype=torch.float64
    )
    operator = DenseLogDerivatives(1e3 * rows.repeat(5, 1), torch.full((20,), 0.05, dtype=torch.float64))
    target = torch.randn(20, generator=generator, dtype=torch.float64)
    x = operator.pull(torch.eye(20, dtype=torch.float64))
    expected = torch.linalg.pinv(x @ x.T, rtol=1e-10) @ x @ target
    torch.testing.assert_close(form(operator, target, 1e-17), expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("parameters", ["real", "complex"])
def test_a_small_step_lowers_the_energy_as_finite_differences_say(parameters: str) -> None:
    """dE/dτ along the step is ∇E·d < 0, the gradient taken from energies alone."""
    config = replace(RBM, parameters=parameters)
    method = build(ansatz=config, optimizer=SRConfig(lr=1e-5, shift=SHIFT, momentum=0.0, max_distance=None))
    state = method.init(1)
    before = [p.detach().clone() for p in state.ansatz.parameters()]
    energy = rayleigh(state.ansatz, CHAIN_MATRIX)
    method.step(state, 0)
    change = [p.detach() - b for p, b in zip(state.ansatz.parameters(), before, strict=True)]
    seen = rayleigh(state.ansatz, CHAIN_MATRIX) - energy
    predicted = 0.0
    with torch.no_grad():
        for parameter, moved in zip(state.ansatz.parameters(), change, strict=True):
            for index in range(parameter.numel()):
                values = []
                for sign in (1.0, -1.0):
                    for p, b in zip(state.ansatz.parameters(), before, strict=True):
                        p.copy_(b)
                    parameter.view(-1)[index] += sign * 1e-5
                    values.append(rayleigh(state.ansatz, CHAIN_MATRIX))
                predicted += float(moved.view(-1)[index]) * (values[0] - values[1]) / 2e-5
    assert seen < 0
    assert seen == pytest.approx(predicted, rel=1e-3)
