"""Hostile overrides: each is refused with one line that names its key, or runs; none ends in a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.stages import amounts, cli
from pipeline.stages.compose import compose_run
from pipeline.stages.context import Context
from pipeline.stages.run import execute
from tests.hostile import STARTS, overrides, refused

STRIDE = 139
"""Prime, and no divisor of the number of values of a key: all kinds of keys and values are met."""


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amounts, "machine_bytes", lambda: 16e9)


def test_some_of_all_overrides() -> None:
    """``python -m tests.hostile`` looks at all of them and runs what is not refused."""
    everything = [(name, key, value) for name, start in STARTS.items() for key, value in overrides(start)]
    some = everything[::STRIDE]
    messages = {one: refused([*STARTS[one[0]], f"{one[1]}={one[2]}"]) for one in some}
    for (_, key, _), message in messages.items():
        if message is not None:
            assert key.split(".")[-1] in message
            assert "\n" not in message.strip()
    assert 40 < sum(message is not None for message in messages.values()) < len(some) - 3


@pytest.mark.parametrize(("key", "least"), [("prior_width", "1e-06"), ("region_width", "1e-15")])
@pytest.mark.parametrize("value", ["1e-300", "1e308"])
def test_widths_that_no_density_has(key: str, least: str, value: str) -> None:
    message = refused([*STARTS["flow"], f"train.method.{key}={value}"])
    assert message is not None
    assert f"train.method.{key}={float(value)}: must lie between {least} and 1000" in message


@pytest.mark.parametrize(
    ("start", "word"),
    [
        ("flow", "train.method.region_width=1e-6"),
        ("flow", "train.method.region_centre=1"),
        ("exhaustive", "system.coupling=1e-300"),
        ("exhaustive", "train.optimizer.shift=5e-324"),
        ("chains", "train.method.local_energy_clip=1e-300"),
    ],
)
def test_extremes_that_run(tmp_path: Path, capsys: pytest.CaptureFixture[str], start: str, word: str) -> None:
    options = ["stages=[train,infer]", "tracker=none", f"results_dir={tmp_path}"]
    assert cli.main([*STARTS[start], word, *options]) == 0, capsys.readouterr().err
    assert not list(tmp_path.glob("_logs/*"))


def test_quantum_monte_carlo_of_spins_that_hardly_couple(tmp_path: Path) -> None:
    """Every sweep is as short as that of a chain at V = 1: β is in units of the field there, E = -hN."""
    amount = ["warmup=1", "measurements=3", "sweeps=5", "half_beta_sweeps=2", "chains=2"]
    words = [*STARTS["qmc"], *(f"baseline.qmc.{one}" for one in amount), "system.coupling=1e-300"]
    run = compose_run([*words, "stages=[baseline]", "tracker=none", "progress=false", f"results_dir={tmp_path}"])
    reference = execute(Context(run, notify=lambda text: None)).reference
    assert reference is not None
    result = reference.result()
    assert result.estimate("energy").value == pytest.approx(-4.0, rel=1e-12)
    assert result.extra["beta"] == pytest.approx(32.0)
