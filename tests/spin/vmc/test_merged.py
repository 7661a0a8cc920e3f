"""Steps of projected states: configurations that the symmetries map onto each other are one, and nothing changes."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.spin.vmc import method as module
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
