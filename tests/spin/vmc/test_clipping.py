"""Local energies far off the median are clipped in updates, and nowhere else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.base.config.phases import AdamConfig, SRConfig
from pipeline.base.errors import ConfigError
from pipeline.base.store.keys import digest, plain
from pipeline.spin.sampler.contract import Batch
from pipeline.spin.sr.operator import forces
from pipeline.spin.vmc.local_energy import local_energy
from pipeline.spin.vmc.state import VMCState
from pipeline.spin.vmc.update import _median, clipped
from pipeline.stages.compose import compose_run
from tests.spin.small_vmc import COMPLEX_RBM, DIRECT, METHOD, METROPOLIS, TRAIN, TinyConfig, build

RNG = np.random.default_rng(2)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 9, 10, 512])
def test_median(count: int) -> None:
    values = RNG.normal(size=count)
    equal = torch.full((count,), 1 / count, dtype=torch.float64)
    assert float(_median(torch.from_numpy(values), equal)) == pytest.approx(np.median(values), abs=1e-15)


def test_weights_are_numbers_of_draws() -> None:
    """Rows that stand for several draws count as often, in the median and in the deviations."""
    values, counts = RNG.standard_t(2, size=40), RNG.integers(1, 5, size=40)
    draws = np.repeat(values, counts)
    centre = np.median(draws)
    most = 1.5 * np.abs(draws - centre).mean()
    found = clipped(torch.from_numpy(values), torch.from_numpy(counts / counts.sum()), 1.5)
    np.testing.assert_allclose(found.numpy(), values.clip(centre - most, centre + most), rtol=1e-13)
    assert 0 < (found.numpy() != values).sum() < 20


def test_real_and_imaginary_parts_have_a_median_each() -> None:
    values = torch.tensor([0.0, 1.0, 2.0, 3.0, 100.0]) + 1j * torch.tensor([-7.0, 0.0, 0.0, 0.0, 0.1])
    weights = torch.full((5,), 0.2, dtype=torch.float64)
    found = clipped(values.to(torch.complex128), weights, 2.0)
    # deviations from 2: (2 + 1 + 0 + 1 + 98)/5 = 20.4; from 0: 7.1/5 = 1.42
    np.testing.assert_allclose(found.real.numpy(), [0.0, 1.0, 2.0, 3.0, 42.8], rtol=1e-12)
    np.testing.assert_allclose(found.imag.numpy(), [-2.84, 0.0, 0.0, 0.0, 0.1], rtol=1e-6)


def test_equal_local_energies_stay() -> None:
    """Of an eigenstate, whose deviations are rounding."""
    local = torch.full((7,), -3.25, dtype=torch.float64)
    assert torch.equal(clipped(local, torch.full((7,), 1 / 7, dtype=torch.float64), 5.0), local)


OPTIMIZERS = {
    "adam": AdamConfig(lr=0.01, betas=(0.9, 0.999)),
    "sr": SRConfig(lr=0.05, shift=1e-2, momentum=0.9, max_distance=None),
}


def rarest(batch: Batch) -> int:
    return int(batch.weights.argmin())


def first_step(monkeypatch: pytest.MonkeyPatch, clip: float | None, **parts: Any) -> tuple[Any, VMCState, list[Any]]:
    """Metrics and state after a step in which one draw has an absurd local energy; batch and local energies."""
    seen: list[Any] = []

    def outlier(*arguments: Any) -> Tensor:
        found = local_energy(*arguments)
        found[rarest(seen[-1])] += 1e4
        seen.append(found)
        return found

    method = build(method_local_energy_clip=clip, **parts)
    state = method.init(1)
    inner = method.sampler.sample

    def watched(*arguments: Any) -> Batch:
        seen.append(inner(*arguments))
        return seen[-1]  # type: ignore[no-any-return]

    monkeypatch.setattr(method.sampler, "sample", watched)
    monkeypatch.setattr("pipeline.spin.vmc.method.local_energy", outlier)
    return method.step(state, 0), state, seen


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(
    ("sampler", "ansatz"), [(DIRECT, TinyConfig()), (METROPOLIS, COMPLEX_RBM)], ids=["real", "complex"]
)
def test_updates_see_clipped_local_energies_and_metrics_all_of_them(
    optimizer: str, sampler: Any, ansatz: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = {"optimizer": OPTIMIZERS[optimizer], "sampler": sampler, "ansatz": ansatz}
    free, _, _ = first_step(monkeypatch, None, **parts)
    targets: list[Tensor] = []

    def kept(local: Tensor, *rest: Any) -> Tensor:
        targets.append(local)
        return forces(local, *rest)

    monkeypatch.setattr("pipeline.spin.vmc.update.forces", kept)
    metrics, state, (batch, local) = first_step(monkeypatch, 5.0, **parts)
    assert (metrics["energy"], metrics["variance"]) == (free["energy"], free["variance"])
    assert "clipped" not in free
    size = "distance" if optimizer == "sr" else "gradient_norm"
    assert metrics[size] < 0.3 * free[size]
    limited = clipped(local, batch.weights, 5.0)
    assert bool((limited != local)[rarest(batch)])
    assert metrics["clipped"] == float(batch.weights[limited != local].sum()) < 0.04
    if optimizer == "sr":
        assert torch.equal(targets[-1], limited)
        return
    # ∇E = 2 Re <conj(E_loc - E) ∇log ψ> with the clipped ones, and with their mean
    fresh = build(**parts).init(1).ansatz
    slope = 2 * batch.weights * (limited - (batch.weights * limited).sum())
    logs = fresh.log_amplitude(batch.spins)
    (slope.conj() * logs).real.sum().backward()
    for ours, theirs in zip(state.ansatz.parameters(), fresh.parameters(), strict=True):
        assert ours.grad is not None
        assert theirs.grad is not None
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-9, atol=1e-12)


def test_exact_weights_have_nothing_to_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    results = [first_step(monkeypatch, clip) for clip in (None, 0.1)]
    assert results[0][0] == results[1][0]
    for a, b in zip(results[0][1].ansatz.parameters(), results[1][1].ansatz.parameters(), strict=True):
        assert torch.equal(a, b)


def test_estimates_are_not_clipped() -> None:
    records = []
    for clip in (None, 0.1):
        method = build(method_local_energy_clip=clip, sampler=DIRECT, ansatz=TinyConfig())
        records.append(method.measure(method.init(1), 0))
    assert records[0] == records[1]


def test_keys_change_for_those_who_clip_alone() -> None:
    clipping = replace(METHOD, local_energy_clip=5.0)
    assert "local_energy_clip" not in plain(METHOD)
    assert plain(clipping)["local_energy_clip"] == 5.0
    assert digest({"train": replace(TRAIN, method=clipping)}) != digest({"train": TRAIN})
    assert digest({"a": METHOD}) == digest({"a": plain(METHOD)})


def test_what_is_typed() -> None:
    method = compose_run(["method=vmc", "train.method.local_energy_clip=5"]).train.method
    assert method.local_energy_clip == 5.0
    assert compose_run(["method=vmc"]).train.method.local_energy_clip is None
    with pytest.raises(ConfigError, match=r"train\.method\.local_energy_clip=0\.0: must be a positive number"):
        compose_run(["method=vmc", "train.method.local_energy_clip=0"])
