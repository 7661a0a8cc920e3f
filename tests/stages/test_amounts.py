"""Amounts that no machine has are refused before anything is allocated, with the key that asks for them."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
import torch

from pipeline.base.config.folders import CONF
from pipeline.base.config.recipes import recipes, scales
from pipeline.base.errors import ConfigError, UserError
from pipeline.base.run.console import describe_crash
from pipeline.base.run.memory import machine_bytes
from pipeline.stages import amounts as looked_at
from pipeline.stages import cli
from pipeline.stages.amounts import amounts, announcement, run_with_baseline, too_much
from pipeline.stages.choose import baseline_name
from pipeline.stages.compose import compose_run

FLOW = ["system.n_sites=6", "system.range=1", "train.steps=2"]
VMC = ["method=vmc", "system.n_sites=6", "system.range=1", "train.steps=2"]
CHAINS = [*VMC, "sampler=metropolis"]
DRAWN = [*VMC, "sampler=direct"]
SCHWINGER = ["system=schwinger", "system.length=4", "stages=[baseline]"]
HMC = [*SCHWINGER, "baseline=hmc"]
BILLION = "1000000000"


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with 16 GB and no accelerator, whatever the tests run on."""
    monkeypatch.setattr(looked_at, "machine_bytes", lambda: 16e9)
    monkeypatch.setattr(looked_at, "uses_cuda", lambda device: False)


ABSURD = [
    (FLOW, "train", f"train.method.draws={BILLION}", "memory"),
    (FLOW, "train", f"train.method.subspaces={BILLION}", "memory"),
    (FLOW, "train", f"train.method.regions={BILLION}", "memory"),
    (FLOW, "train", f"train.method.points={BILLION}", "memory"),
    (FLOW, "train", f"train.method.flow_layers={BILLION}", "memory"),
    (FLOW, "train", f"train.method.flow_hidden=[8,{BILLION}]", "memory"),
    (FLOW, "train", f"train.ansatz.hidden=[{BILLION}]", "memory"),
    (FLOW, "infer", f"infer.draws={BILLION}", "memory"),
    (FLOW, "infer", f"infer.units={BILLION}", "memory"),
    (FLOW, "infer", f"infer.iterations={BILLION}", "memory"),
    (VMC, "infer", f"infer.units={BILLION}", "memory"),
    (VMC, "train", f"train.ansatz.alpha={BILLION}", "memory"),
    (VMC, "train", "train.method.memory_gib=1e308", "memory"),
    (VMC, "train", "train.steps=1000000000000000", "years"),
    (VMC, "profile", "profile.steps=1000000000000", "memory"),
    ([*DRAWN, "ansatz=dense_ar"], "train", f"train.sampler.samples={BILLION}", "memory"),
    ([*DRAWN, "ansatz=dense_ar"], "train", f"train.ansatz.features={BILLION}", "memory"),
    ([*DRAWN, "ansatz=dense_ar"], "train", f"train.ansatz.layers={BILLION}", "memory"),
    ([*DRAWN, "ansatz=conv_ar"], "train", f"train.ansatz.kernel={BILLION}", "memory"),
    ([*DRAWN, "ansatz=dense_ar"], "infer", f"infer.samples={BILLION}", "memory"),
    (CHAINS, "train", "train.sampler.burn_in=1000000000000", "a unit"),
    (CHAINS, "train", "train.sampler.thinning=1000000000000", "a unit"),
    ([*VMC, "sampler=nir"], "train", f"train.sampler.embedding={BILLION}", "memory"),
    ([*VMC, "sampler=nir", "infer.chains=training"], "train", f"train.sampler.proposals={BILLION}0", "memory"),
    ([*CHAINS, "ansatz=mps"], "train", f"train.ansatz.bond_dimension={BILLION}", "memory"),
    (HMC, "baseline", f"baseline.hmc.chains={BILLION}", "memory"),
    (HMC, "baseline", f"baseline.hmc.integrator_steps={BILLION}", "a unit"),
    (HMC, "baseline", f"baseline.hmc.trajectories_per_measurement={BILLION}", "a unit"),
    (HMC, "baseline", f"baseline.hmc.measurements={BILLION}", "memory"),
    (HMC, "baseline", "system.length=100000", "memory"),
    ([*SCHWINGER, "baseline=reweighting"], "baseline", f"baseline.reweighting.configurations={BILLION}", "memory"),
    (["stages=[baseline]", "baseline=qmc"], "baseline", "baseline.qmc.beta_per_length=1e300", "memory"),
    (["stages=[baseline]", "baseline=qmc"], "baseline", f"baseline.qmc.sweeps={BILLION}", "a unit"),
    (["stages=[baseline]", "system=su3_pure_gauge"], "baseline", "system.beta=1e12", "memory"),
]


@pytest.mark.parametrize(("words", "stage", "word", "what"), ABSURD, ids=[word for _, _, word, _ in ABSURD])
def test_what_is_absurd_is_refused_by_its_key(words: list[str], stage: str, word: str, what: str) -> None:
    run = compose_run([*words, word])
    error = too_much(run_with_baseline(run, baseline_name(run)), stage)
    assert isinstance(error, ConfigError)
    text = str(error)
    assert text.startswith(word.partition("=")[0] + "="), text
    assert f"{stage} would " in text
    assert what in text
    assert "\n" not in text


def test_the_hint_is_an_amount_that_is_possible() -> None:
    error = too_much(compose_run([*FLOW, f"train.method.draws={BILLION}"]), "train")
    assert error is not None
    found = re.search(r"at most about (\S+) would do", str(error))
    assert found
    largest = int(float(found[1]))
    assert too_much(compose_run([*FLOW, f"train.method.draws={int(0.9 * largest)}"]), "train") is None
    assert too_much(compose_run([*FLOW, f"train.method.draws={int(1.2 * largest)}"]), "train") is not None


def test_ranks_share_log_derivatives_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    run = compose_run(["paper=vit_sr", "scale=gpu", "stages=[train]"])
    alone = amounts(run, "train")
    monkeypatch.setenv("WORLD_SIZE", "4")
    shared = amounts(run, "train")
    rows = 4096 * run.train.ansatz.weights(100)
    assert alone.bytes - shared.bytes == pytest.approx(8 * rows * 3 / 4)
    assert shared.seconds == pytest.approx(alone.seconds / 4)


def test_long_units_are_announced() -> None:
    run = compose_run([*CHAINS, f"train.sampler.burn_in={BILLION}"])
    assert too_much(run, "train") is None
    line = announcement(run, "train")
    assert line is not None
    assert re.fullmatch(r"train: .* (minutes|hours) or more a unit, for train\.sampler\.burn_in=1000000000", line)
    assert announcement(compose_run(CHAINS), "train") is None


def test_recipes_fit_into_sixteen_gigabytes() -> None:
    for recipe in recipes((CONF,)):
        if "laptop" in scales(recipe, (CONF,)):
            run = compose_run([f"paper={recipe}", "scale=laptop"])
            stages = [stage for stage in run.stages if stage in ("train", "infer")]
            if run.baseline.use not in ("auto", "none"):
                stages.append("baseline")
            assert [str(error) for stage in stages if (error := too_much(run, stage))] == [], recipe


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([*VMC, "system.coupling=1e19"], r"system\.coupling=1e\+19: method=vmc takes couplings up to 1e\+15"),
        ([*FLOW, "system.field=-1e308"], r"system\.field=-1e\+308: method=subspace_flow takes couplings up to"),
        ([*FLOW, "train.optimizer.lr=1e308"], r"train\.optimizer\.lr=1e\+308: must not be larger than 1e\+06"),
        ([*FLOW, "infer.lr=1e30"], r"infer\.lr=1e\+30: must not be larger than 1e\+06"),
        ([*FLOW, f"threads={BILLION}"], r"threads=1000000000: must not be larger than 1024"),
        ([*HMC, "system.beta=1e19"], r"system\.beta=1e\+19: must not be larger than 1e\+15"),
        ([*HMC, "system.kappa=1e300"], r"system\.kappa=1e\+300: must not be larger than"),
        (["system.n_sites=4096", "system.range=2048"], r"system\.range=2048: would be 8388608 bonds on 4096 sites"),
        ([*VMC, "train.phases=[{steps:2,lr:1e19}]"], r"train\.phases\[0\]\.lr=1e\+19: must not be larger than"),
        ([*VMC, "train.phases=[{steps:2,system:{coupling:1e19}}]"], r"train\.phases\[0\].*takes couplings up to"),
    ],
)
def test_amounts_with_a_bound_of_their_own(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        compose_run(words)


def test_the_command_says_one_line_at_once_unless_the_result_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*VMC, "train.steps=1", "stages=[train]", "tracker=none", "progress=false", f"results_dir={tmp_path}"]
    began = time.monotonic()
    assert cli.main([*words, f"train.ansatz.alpha={BILLION}"]) == 2
    assert time.monotonic() - began < 5
    captured = capsys.readouterr()
    assert captured.err.startswith("error: train.ansatz.alpha=1000000000: train would need ")
    assert captured.err.count("\n") == 1
    assert not list(tmp_path.glob("_store/train/*"))
    assert cli.main(words) == 0
    monkeypatch.setattr(looked_at, "machine_bytes", lambda: 100.0)
    assert cli.main(words) == 0, "what is in the store needs no memory"
    assert cli.main([*words, "train.seed=1"]) == 2


def test_memory_of_this_machine() -> None:
    assert 1e8 < machine_bytes() < 1e15


def test_memory_that_runs_out_is_one_line_without_a_traceback(tmp_path: Path) -> None:
    """Estimates are lower bounds: an allocator may find no room all the same, as torch's does here."""
    with pytest.raises(RuntimeError) as found:
        torch.empty(2**50, dtype=torch.float64)
    for error in (found.value, MemoryError()):
        assert describe_crash(error, tmp_path).startswith("the memory ran out, what was finished is kept")
    assert not list(tmp_path.iterdir())
    assert "unexpected" in describe_crash(RuntimeError("CPU generator expected"), tmp_path)
