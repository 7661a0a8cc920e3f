"""Steps of projected states: configurations that the symmetries map onto each other are one, and nothing changes."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pipeline.spin.bits import unpack
from pipeline.spin.vmc import method as module
from pipeline.spin.vmc.local_energy import local_energy
from pipeline.spin.wave_function import WaveFunction
from pipeline.stages.compose import compose_run
from pipeline.stages.train import build_method

FRUSTRATED = (
    *("method=vmc", "system=square_heisenberg", "system.length_x=2", "system.length_y=4", "system.periodic=false"),
    *(
        "system.j2=0.5",
        "ansatz=rbm",
        "train.ansatz.parameters=complex",
        "train.ansatz.deviation=0.3",
        "train.dtype=float64",
    ),
    *(
        "train.ansatz.projection=[reflections,spin_flip]",
        "optimizer=sr",
        "train.dtype=float64",
        "baseline=none",
        "tracker=none",
    ),
)
EXCHANGES = (
    "sampler=metropolis",
    "train.sampler.rule=exchange",
    "train.sampler.samples=200",
    "train.sampler.chains=50",
)


@pytest.mark.parametrize("sampler", [EXCHANGES, ("sampler=exhaustive",)])
def test_merging_changes_no_step(sampler: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Energy, variance and distance of three steps, with and without; log ψ from the sampler is of other rows."""

    def metrics() -> list[dict[str, Any]]:
        method: Any = build_method(compose_run([*FRUSTRATED, *sampler]))
        state = method.init(0)
        return [dict(method.step(state, k)) for k in range(3)]

    together = metrics()
    monkeypatch.setattr(module, "merged", lambda batch, ansatz: batch)
    for one, other in zip(together, metrics(), strict=True):
        assert one["energy"] == pytest.approx(other["energy"], rel=1e-9)
        assert one["variance"] == pytest.approx(other["variance"], rel=1e-8)
        assert one["distance"] == pytest.approx(other["distance"], rel=1e-6)


class OneByOne(WaveFunction):
    """A projection that is evaluated for every configuration."""

    def __init__(self, projected: Any) -> None:
        super().__init__()
        self.log_amplitude = projected._evaluate  # type: ignore[method-assign]


@pytest.mark.parametrize("names", [["reflections", "spin_flip"], ["reflections", "-spin_flip"], ["-reflections"]])
def test_a_projection_says_how_its_images_are_related(names: list[str]) -> None:
    """ψ̃(gσ) = χ(g) ψ̃(σ), and local energies that evaluate one of all images are those of each by itself."""
    shown = ",".join(names)
    run = compose_run([*FRUSTRATED, f"train.ansatz.projection=[{shown}]", "sampler=exhaustive"])
    method: Any = build_method(run)
    ansatz = method._view(method.init(0), 0)
    spins = unpack(torch.tensor([[3], [29], [101], [154], [212], [7], [11], [35], [200]]), 8)
    invariance = ansatz.invariance()
    with torch.no_grad():
        here = ansatz._evaluate(spins).exp()
        for k, (move, sign) in enumerate(zip(invariance.permutations, invariance.signs, strict=True)):
            there = ansatz._evaluate(spins[:, move] * sign).exp()
            factor = 1.0 if invariance.log_factors is None else invariance.log_factors[k].exp()
            torch.testing.assert_close(there, factor * here, rtol=1e-10, atol=1e-12 * float(here.abs().max()))
    # an odd amplitude of a configuration that is its own image vanishes, but for rounding
    spins = spins[here.abs() > 1e-6 * here.abs().max()]
    assert len(spins) >= 3
    once = local_energy(method.hamiltonian, ansatz, spins, method.chunks)
    each = local_energy(method.hamiltonian, OneByOne(ansatz), spins, method.chunks)
    torch.testing.assert_close(each, once)
