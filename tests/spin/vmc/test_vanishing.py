"""Amplitudes that vanish, or are too small or too large for doubles: exact sums have their limits, draws an error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.base.config.phases import SRConfig
from pipeline.base.errors import NonFiniteError
from pipeline.spin.ansatz.schema import RBMConfig
from pipeline.spin.chunks import Chunks
from pipeline.spin.hamiltonian import Hamiltonian
from pipeline.spin.systems import OpenChainTFIM
from pipeline.spin.terms import pauli_terms
from pipeline.spin.vmc.local_energy import local_energy
from pipeline.spin.wave_function import WaveFunction
from pipeline.stages.compose import compose_run
from pipeline.stages.context import Context
from pipeline.stages.run import execute
from tests.spin import dense
from tests.spin.small_vmc import CHAIN, CHAIN_MATRIX, METROPOLIS, TRAIN, TinyConfig, build

RNG = np.random.default_rng(5)
SIGNED = RNG.normal(size=32)
PHASED = SIGNED * np.exp(2j * np.pi * RNG.random(32))
ABSENT = [0, 1, 3, 7, 20, 31]
"""Rows whose amplitudes are taken away; some of them are connected with each other."""


class Table(WaveFunction):
    """log ψ by row of the dense matrices."""

    def __init__(self, logs: np.ndarray) -> None:
        super().__init__()
        self.logs = torch.from_numpy(logs)
        self.parameter = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))

    def log_amplitude(self, spins: Tensor) -> Tensor:
        return self.logs[torch.from_numpy(dense.row(spins.numpy()))]


@pytest.mark.parametrize("psi", [np.abs(SIGNED), PHASED], ids=["real", "complex"])
@pytest.mark.parametrize("log_small", [-np.inf, -1e4, -400.0, -200.0])
def test_exact_sums_where_amplitudes_vanish(psi: np.ndarray, log_small: float) -> None:
    """|Hψ|² is there where ψ is not: in the variance, not in the energy."""
    logs = np.log(psi)
    logs[ABSENT] = log_small
    psi = np.where(np.isin(np.arange(32), ABSENT), 0.0, psi)
    norm, h_psi = (abs(psi) ** 2).sum(), CHAIN_MATRIX @ psi
    energy = (psi.conj() @ h_psi).real / norm
    method = build()
    state = method.init(1)
    state.ansatz = Table(logs + 300.0)  # a constant factor changes nothing
    found = method.summarise([method.measure(state, 0)])
    assert found.estimate("energy").value == pytest.approx(energy, rel=1e-13)
    assert found.estimate("variance").value == pytest.approx((abs(h_psi) ** 2).sum() / norm - energy**2, rel=1e-12)
    assert (abs(h_psi[ABSENT]) ** 2).sum() / norm > 0.5, "far from negligible"


@pytest.mark.parametrize("bad", [np.inf, np.nan], ids=["inf", "nan"])
def test_infinite_amplitudes_and_those_that_are_not_numbers_are_seen(bad: float) -> None:
    """At the configuration itself, where a quotient by infinity would be 0, and at its neighbours."""
    logs = np.log(np.abs(SIGNED))
    logs[5] = bad
    spins = torch.from_numpy(dense.basis(5)).to(torch.int8)
    local = local_energy(Hamiltonian(pauli_terms(CHAIN), 5), Table(logs), spins, Chunks(0.1))
    expected = np.ones(32, bool)
    expected[[5, *np.flatnonzero(CHAIN_MATRIX[5])]] = False
    np.testing.assert_array_equal(local.isfinite().numpy(), expected)
    for sampler in (TRAIN.sampler, METROPOLIS):
        method = build(sampler=sampler)
        state = method.init(1)
        state.ansatz = Table(logs)
        with pytest.raises(NonFiniteError, match=r"local energies of batch 0 are not finite; .* not "):
            method.measure(state, 0)


def test_draws_where_the_state_vanishes_are_an_error() -> None:
    method = build(ansatz=TinyConfig(), sampler=METROPOLIS)
    state = method.init(1)
    logs = np.where(np.isin(np.arange(32), [0, 31]), 0.0, -np.inf)
    state.ansatz = Table(logs)
    state.begin_inference(go_on=False).load_state_dict({"spins": -torch.ones(20, 5).to(torch.int8), "burned_in": True})
    assert method.measure(state, 0)["energy"] == pytest.approx(np.diag(CHAIN_MATRIX)[0])
    state.ansatz = Table(np.where(np.arange(32) == 16, 0.0, -np.inf))
    with pytest.raises(NonFiniteError, match="vanishes: they were not drawn from"):
        method.measure(state, 1)


def test_steps_with_weights_that_underflow_are_made() -> None:
    """An RBM whose amplitudes differ by e^1000 and more."""
    method = build()
    state = method.init(1)
    with torch.no_grad():
        next(iter(state.ansatz.parameters())).fill_(300.0)
    for k in range(3):
        metrics = method.step(state, k)
        assert metrics["rejected_steps"] == 0
        assert metrics["energy"] == pytest.approx(np.diag(CHAIN_MATRIX)[0], rel=1e-12)
        assert metrics["variance"] == pytest.approx(5 * 1.3**2, rel=1e-9)


@pytest.mark.parametrize("coupling", [1e3, 1e4, 1e6])
def test_strong_couplings(coupling: float) -> None:
    """Open chain of 8, E = -7V - 5h²/2V: steps of stochastic reconfiguration that suit the width of the spectrum."""
    system = OpenChainTFIM(n_sites=8, range=1, coupling=coupling, field=1.0)
    method = build(
        system,
        ansatz=RBMConfig(alpha=1, deviation=0.01, parameters="real"),
        optimizer=SRConfig(lr=0.1 / coupling, shift=1e-10, momentum=0.0, max_distance=0.1),
        dtype="float32",
    )
    state = method.init(0)
    for k in range(60):
        assert method.step(state, k)["rejected_steps"] == 0
    exact = -7 * coupling - 2.5 / coupling
    assert exact * (1 + 1e-15) <= method.measure(state, 0)["energy"] < exact + 1e-9 * abs(exact)


@pytest.mark.parametrize(
    ("coupling", "sampler", "steps", "off"),
    [
        (1e3, "exhaustive", 110, 1e-9),
        (1e4, "exhaustive", 110, 3e-9),
        (1e6, "exhaustive", 110, 3e-13),
        (1e6, "metropolis", 45, 1e-6),
    ],
)
def test_strong_couplings_with_the_settings_that_everybody_has(
    tmp_path: Path, coupling: float, sampler: str, steps: int, off: float
) -> None:
    """Steps far too long for such a spectrum are undone, and the state is not left with its spins aligned.

    Aligned spins are 5/14V² above the ground state, relatively: 3.6e-7, 3.6e-9 and 3.6e-13.
    """
    options = ["system=open_chain_tfim", "system.n_sites=8", "method=vmc", "optimizer=sr", f"train.steps={steps}"]
    if sampler == "metropolis":
        options += ["infer_sampler=exhaustive", "train.sampler.samples=100", "train.sampler.burn_in=50"]
    options += [f"sampler={sampler}", f"system.coupling={coupling:g}", "baseline=none", "tracker=none"]
    config = compose_run([*options, "progress=false", f"results_dir={tmp_path}"])
    output = execute(Context(config, notify=lambda text: None))
    assert output.result is not None
    exact = -7 * coupling - 2.5 / coupling
    assert exact * (1 + 1e-15) <= output.result.estimate("energy").value < exact + off * abs(exact)
