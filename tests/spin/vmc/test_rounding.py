"""States in single precision: their energies are those of a state, whatever they are rounded to on the way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.base.config.phases import SRConfig
from pipeline.base.store.files import load_tree, save_tree
from pipeline.spin.ansatz.schema import ConvARConfig, DenseARConfig, PixelCNNConfig, RBMConfig
from pipeline.spin.sampler.schema import DirectConfig, ExhaustiveConfig
from pipeline.spin.systems import OpenChainTFIM, SpinSystem, SquareTFIM
from pipeline.spin.vmc.local_energy import local_energy
from pipeline.spin.vmc.method import VariationalMonteCarlo
from pipeline.spin.vmc.rounding import in_double, is_negligible, probed_rows
from pipeline.spin.vmc.state import VMCState
from tests.spin import dense
from tests.spin.small_vmc import INFER, METROPOLIS, build, rayleigh

PLAIN: dict[str, Any] = {"phase": False, "output_scale": 0.3, "symmetries": []}
DENSE = DenseARConfig(layers=2, features=2, **PLAIN)
CONV = ConvARConfig(layers=2, features=8, kernel=None, **PLAIN)
PIXEL = PixelCNNConfig(depth=2, width=4, spread=1.0, magnetisation=None, **PLAIN)
EXACT = ExhaustiveConfig(max_sites=12)
CASES: list[tuple[Any, SpinSystem, np.ndarray]] = [
    (DENSE, OpenChainTFIM(n_sites=3, range=1, coupling=1.0, field=1.0), dense.open_chain(3, 1, 1.0, 1.0)),
    (DENSE, OpenChainTFIM(n_sites=4, range=1, coupling=1.0, field=1.0), dense.open_chain(4, 1, 1.0, 1.0)),
    (CONV, OpenChainTFIM(n_sites=5, range=1, coupling=0.1, field=1.0), dense.open_chain(5, 1, 0.1, 1.0)),
    (
        PIXEL,
        SquareTFIM(length_x=2, length_y=1, periodic=False, coupling=1.0, field=1.0),
        dense.square(2, 1, False, 1.0, 1.0),
    ),
]


def converged(ansatz: Any, system: SpinSystem) -> dict[str, Any]:
    """Parameters of a state trained in double precision until its variance is far below what single can resolve."""
    method = build(system, ansatz=ansatz, optimizer=SRConfig(lr=0.07, shift=1e-4, momentum=0.0, max_distance=0.3))
    state = method.init(1)
    enough = 2e-8 if isinstance(ansatz, ConvARConfig) else 1e-14  # 1e-8 is what few of its parameters leave
    for k in range(130):
        if method.step(state, k)["variance"] < enough:
            break
    return dict(state.ansatz.state_dict())


def single(sampler: Any, ansatz: Any, system: SpinSystem, parameters: Any = None, **infer: Any) -> Any:
    """A method in single precision, and its state."""
    method = build(system, sampler=sampler, ansatz=ansatz, dtype="float32", infer=replace(INFER, **infer))
    state = method.init(1)
    if parameters is not None:
        state.ansatz.load_state_dict(parameters)
    return method, state


@pytest.mark.parametrize(("ansatz", "system", "matrix"), CASES, ids=["dense 3", "dense 4", "conv 5", "pixelcnn 2×1"])
def test_energies_of_converged_states_are_not_below_the_ground_state(
    ansatz: Any, system: SpinSystem, matrix: np.ndarray
) -> None:
    """Once by 4e-8 with σ = 1e-8, or without any: flips were rounded differently from whole passes."""
    exact, parameters = dense.lowest(matrix), converged(ansatz, system)
    method, state = single(EXACT, ansatz, system, parameters)
    energy = method.summarise([method.measure(state, 0)]).estimate("energy")
    assert energy.value == pytest.approx(rayleigh(in_double(state.ansatz), matrix), rel=1e-14)
    assert exact - 1e-14 * abs(exact) <= energy.value < exact + 1e-8
    method, state = single(DirectConfig(samples=200), ansatz, system, parameters, units=6)
    drawn = method.summarise([method.measure(state, k) for k in range(6)]).estimate("energy")
    assert drawn.sigma is not None
    assert abs(drawn.value - energy.value) < 4 * drawn.sigma
    assert drawn.sigma < 1e-5


@pytest.mark.parametrize("ansatz", [DENSE, PIXEL, RBMConfig(alpha=1, deviation=0.5, parameters="complex")])
def test_weights_and_local_energies_of_all_configurations_are_of_one_function(ansatz: Any) -> None:
    """Far from convergence, too: the Rayleigh quotient to the last digits of double precision."""
    system = SquareTFIM(length_x=3, length_y=2, periodic=False, coupling=1.0, field=2.0)
    matrix = dense.square(3, 2, False, 1.0, 2.0)
    method, state = single(EXACT, ansatz, system)
    assert next(state.ansatz.parameters()).dtype == torch.float32
    found = method.measure(state, 0)["energy"]
    assert found == pytest.approx(rayleigh(in_double(state.ansatz), matrix), rel=1e-13)
    assert next(state.ansatz.parameters()).dtype == torch.float32


def evaluated_in_double(method: VariationalMonteCarlo, state: VMCState, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of configurations whose local energies one batch evaluates in double precision, call by call."""
    seen: list[int] = []

    def watched(hamiltonian: Any, ansatz: Any, spins: Tensor, *rest: Any) -> Tensor:
        if next(ansatz.parameters()).dtype == torch.float64:
            seen.append(len(spins))
        return local_energy(hamiltonian, ansatz, spins, *rest)

    monkeypatch.setattr("pipeline.spin.vmc.method.local_energy", watched)
    method.measure(state, 0)
    return seen


@pytest.mark.parametrize(
    "sampler", [DirectConfig(samples=200), replace(METROPOLIS, burn_in=1, thinning=1)], ids=["direct", "metropolis"]
)
def test_scatter_that_hides_the_rounding_spares_double_precision(sampler: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    system = SquareTFIM(length_x=4, length_y=3, periodic=False, coupling=1.0, field=2.0)
    method, state = single(sampler, PIXEL, system)
    assert evaluated_in_double(method, state, monkeypatch) == [16]
    # the same draws, of so many batches that their mean would tell
    method, state = single(sampler, PIXEL, system, units=10**12)
    few, everything = evaluated_in_double(method, state, monkeypatch)
    assert (few, everything > 50) == (16, True)


@pytest.mark.parametrize(("sampler", "from_double"), [(EXACT, True), (replace(METROPOLIS, burn_in=1), False)])
def test_amplitudes_of_the_sampler_stand_for_those_of_the_same_function(
    sampler: Any, from_double: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of chains in single precision never count as double; enumerated weights are in double."""
    system = SquareTFIM(length_x=3, length_y=2, periodic=False, coupling=1.0, field=2.0)
    method, state = single(sampler, RBMConfig(alpha=1, deviation=0.5, parameters="complex"), system, units=10**12)
    asked: list[tuple[torch.dtype, bool]] = []

    def watched(hamiltonian: Any, ansatz: Any, spins: Tensor, chunks: Any, floor: Any, logs: Any = None) -> Tensor:
        dtype = next(ansatz.parameters()).dtype
        asked.append((dtype, logs is not None))
        if logs is not None:
            tolerance = 1e-12 if dtype == torch.float64 else 1e-4
            torch.testing.assert_close(logs, ansatz.log_amplitude(spins).to(logs.dtype), rtol=0, atol=tolerance)
        return local_energy(hamiltonian, ansatz, spins, chunks, floor, logs)

    monkeypatch.setattr("pipeline.spin.vmc.method.local_energy", watched)
    method.measure(state, 0)
    of_batches = [known for dtype, known in asked if dtype == torch.float64]
    assert of_batches == ([True] if from_double else [False, False])
    asked.clear()
    method.step(state, 0)
    assert asked == [(torch.float32, True)]


def test_negligible() -> None:
    weights, rounding = torch.tensor([0.25, 0.25, 0.5]).double(), torch.tensor([3e-4, -4e-4]).double()
    local = torch.tensor([1.0, -1.0, 0.0]).double()
    # rms rounding sqrt(12.5)e-4 against 0.01 sqrt(0.5 / n)
    assert is_negligible(rounding, local, weights, 390)
    assert not is_negligible(rounding, local, weights, 410)
    assert not is_negligible(rounding, torch.full_like(local, torch.inf), weights, 1)
    assert not is_negligible(rounding * torch.nan, local, weights, 1)
    assert probed_rows(3, local.device).tolist() == [0, 1, 2]
    assert probed_rows(40, local.device).tolist() == [k * 40 // 16 for k in range(16)]


@pytest.mark.parametrize("sampler", [EXACT, DirectConfig(samples=60)], ids=["exhaustive", "direct"])
def test_inference_after_training_and_later_are_the_same(tmp_path: Path, sampler: Any) -> None:
    """Chunks of the training, in single precision, do not split what is evaluated in double."""
    system = OpenChainTFIM(n_sites=6, range=1, coupling=1.0, field=1.0)
    records = []
    method, state = single(sampler, DENSE, system, units=10**14)
    method.step(state, 0)
    records.append(method.measure(state, 0))
    save_tree(tmp_path / "state", state.state_dict())
    method, state = single(sampler, DENSE, system, units=10**14)
    state.load_state_dict(load_tree(tmp_path / "state"))
    state.inference = None
    records.append(method.measure(state, 0))
    assert records[0] == records[1]
