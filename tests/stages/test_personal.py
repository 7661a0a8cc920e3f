"""Hydra's own ways in: personal folders and files, the composed configuration, sweeps written in a file."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from pipeline.base.errors import UserError
from pipeline.stages import cli
from pipeline.stages.compose import compose_run
from pipeline.stages.sweep import sweep as start_sweep

GLOBAL = "# @package _global_\n"
EXPERIMENTS = {
    "large": "defaults: [override /system: chain_tfim]\nsystem: {n_sites: 8, range: 1}\nstages: [baseline]\n",
    "smoke": "paper: nf_nqs\nscale: smoke\nsystem: {n_sites: 8, range: 1}\nstages: [baseline]\n",
    "swept": "defaults: [override /system: chain_tfim]\nsystem: {n_sites: 8, range: 1}\nstages: [baseline]\n"
    "hydra: {sweeper: {params: {system.coupling: '0.5,1.0', system.field: 'choice(1.0, 2.0)'}}}\n",
    "papers": "paper: nf_nqs\nstages: [baseline]\nsystem: {range: 1}\n"
    "hydra: {sweeper: {params: {scale: 'smoke,laptop', system.n_sites: 8}}}\n",
    "typo": "system: {n_site: 8}\n",
    "kind": "train: {steps: many}\n",
    "value": "train: {optimizer: {lr: -1}}\n",
    "choice": "defaults: [override /system: chain_tfin]\n",
    "phase": "defaults: [override /method: vmc]\ntrain: {phases: [{steps: 2, adm: {lr: 1}}]}\n",
    "scaled": "scale: smoke\n",
    "lost": "paper: nf_nq\n",
    "broken": "system: [\n",
}


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A folder with a space and a quote in its name, and personal files."""
    folder = tmp_path / "it's mine"
    for name, text in EXPERIMENTS.items():
        path = folder / "experiment" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(GLOBAL + text)
    (folder / "experiment" / "bare.yaml").write_text("system: {n_sites: 8}\n")
    (folder / "system").mkdir()
    (folder / "system" / "ours.yaml").write_text("defaults: [chain_tfim, _self_]\nn_sites: 14\n")
    return folder


def quiet(folder: Path) -> list[str]:
    return ["tracker=none", "progress=false", f"results_dir={folder / 'results'}"]


@pytest.mark.parametrize("option", [["--config-dir={}"], ["--config-dir", "{}"]])
def test_a_personal_file_is_between_the_recipe_and_what_is_typed(
    option: list[str], mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    added = [word.format(mine) for word in option]
    assert cli.main([*added, "--cfg", "job", "+experiment=smoke"]) == 0
    config = OmegaConf.create(capsys.readouterr().out)
    assert (config.paper, config.scale, config.system.n_sites, config.train.steps) == ("nf_nqs", "smoke", 8, 3)
    assert cli.main([*added, "--cfg", "+experiment=smoke", "system.n_sites=10", "scale=laptop"]) == 0
    config = OmegaConf.create(capsys.readouterr().out)
    assert (config.scale, config.system.n_sites, config.train.steps) == ("laptop", 10, 150)
    assert cli.main([*added, "+experiment=large", *quiet(tmp_path)]) == 0
    assert "energy" in capsys.readouterr().out
    assert cli.main([*added, "--cfg", "job", "system=ours"]) == 0
    assert OmegaConf.create(capsys.readouterr().out).system.n_sites == 14


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["+experiment=typo"], r"system\.n_site: no such key \(did you mean 'system\.n_sites'\?; in experiment/typo"),
        (["+experiment=kind"], r"train\.steps=many: must be an integer \(in experiment/kind\.yaml\)"),
        (["+experiment=value"], r"train\.optimizer\.lr=-1\.0: must be a positive number"),
        (["+experiment=choice"], r"system=chain_tfin: must be one of .*did you mean 'chain_tfim'"),
        (["+experiment=phase"], r"train\.phases\[0\]\.adm: no such key \(did you mean 'adam'\?; in experiment/phase"),
        (["+experiment=scaled"], r"scale=smoke: .*needs paper="),
        (["+experiment=lost"], r"paper=nf_nq: .*did you mean 'nf_nqs'"),
        (["+experiment=broken"], r"broken\.yaml: cannot be read"),
        (["+experiment=bare"], r"experiment/bare\.yaml: must begin with the line '# @package _global_'"),
        (["+experiment=larg"], r"\+experiment=larg: must be one of .*did you mean 'large'"),
        (["experiment=large"], r"experiment: a personal file is added .*\+experiment=NAME"),
        (["+experiment=large,smoke"], r"\+?experiment: several values are a sweep, which needs -m"),
        (["+experiment=smoke", "system=ourz"], r"system=ourz: must be one of .*did you mean 'ours'"),
        (["+experiment=typo", "system=square_tfim"], r"system\.n_site: no such key"),
        (["--cfg", "hydra"], r"--cfg hydra: there is --cfg job alone"),
    ],
)
def test_what_a_personal_file_says_wrongly(
    words: list[str], message: str, mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["--config-dir", str(mine), *words]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--config-dir"], "--config-dir: needs a folder"),
        (["--config-dir", "nowhere"], "--config-dir=nowhere: no such folder"),
        (["+experiment=large"], r"\+experiment=large: needs --config-dir DIR"),
        (["--config-path", "x"], r"--config-path: no such option"),
        (["scale=smoke"], r"scale=smoke: .*needs paper="),
    ],
)
def test_folders_that_are_not_there(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 2
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.thorough
def test_a_sweep_that_a_personal_file_asks_for(mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = ["-m", "--config-dir", str(mine), *quiet(tmp_path)]
    assert cli.main([*sweep, "+experiment=swept"]) == 0
    out = capsys.readouterr().out
    assert "4 of 4 runs finished" in out
    assert "system.coupling=0.5 system.field=2.0" in out
    assert cli.main([*sweep, "+experiment=swept", "system.coupling=1.5"]) == 0
    assert "2 of 2 runs finished" in capsys.readouterr().out
    assert cli.main([*sweep, "+experiment=swept", "system.coupling=strong,weak"]) == 2
    assert "system.coupling=strong: must be a number" in capsys.readouterr().err


@pytest.mark.thorough
def test_papers_and_scales_are_swept(mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = ["-m", "--config-dir", str(mine), *quiet(tmp_path)]
    assert cli.main([*sweep, "+experiment=papers"]) == 0
    out = capsys.readouterr().out
    assert "2 of 2 runs finished" in out
    assert "scale=smoke" in out
    both = ["paper=none,nf_nqs/mps,nf_nqs", "system.n_sites=8", "system.range=1", "stages=[baseline]"]
    assert cli.main([*sweep, *both]) == 0
    out = capsys.readouterr().out
    assert "3 of 3 runs finished" in out
    assert "paper=nf_nqs/mps" in out
    with pytest.raises(UserError, match=r"scale=gpu: paper=pseudofermion has"):
        start_sweep(["paper=nf_nqs,pseudofermion", "scale=gpu"])


def test_mistakes_in_personal_files_are_found_before_torch_is_imported(mine: Path) -> None:
    code = (
        f"import sys; from pipeline.stages.cli import main; status = main(['--config-dir', {str(mine)!r}, "
        "'+experiment=typo']); heavy = {'torch', 'quspin', 'wandb', 'numba'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "system.n_site: no such key" in done.stderr


VMC = ["method=vmc", "sampler=exhaustive", "system.n_sites=6", "system.range=2"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train.phases=[{steps:2,adam:{lr:-1,betas:[0.9,0.9]}}]"], r"^train\.phases\[0\]\.adam\.lr=-1\.0: must be"),
        (["train.phases=[{steps:2},{steps:0}]"], r"^train\.phases\[1\]\.steps=0: must be at least 1"),
        (["train.phases=[{steps:2,adm:{lr:1}}]"], r"^train\.phases\[0\]\.adm: no such key"),
        (["train.phases=[{steps:two}]"], r"^train\.phases\[0\]\.steps=two: must be an integer"),
        (["infer_sampler=metropolis", "infer.sampler.chains=0"], r"^infer\.sampler\.chains=0: must be at least 1"),
        (["train.optimizer.lr=0"], r"^train\.optimizer\.lr=0\.0: must be"),
        (["baseline.hmc.fermions.tolerance=0"], r"^baseline\.hmc\.fermions\.tolerance=0\.0: must"),
        (["baseline.qmc.chains=0"], r"^baseline\.qmc\.chains=0: must"),
        (["train.snapshots=[500]"], r"^train\.snapshots=500: must lie"),
    ],
)
def test_a_key_below_a_key_is_named_as_it_was_typed(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        compose_run([*VMC, *words])


def test_the_network_of_the_inference_is_named_as_such() -> None:
    own = ["paper=nf_nqs", "scale=laptop"]
    with pytest.raises(UserError, match=r"^infer\.ansatz\.initialisation=lucky: must be one of"):
        compose_run([*own, "infer.ansatz.initialisation=lucky"])
    with pytest.raises(UserError, match=r"^infer\.ansatz\.hidden=\[\]: must be"):
        compose_run([*own, "infer.ansatz.hidden=[]"])
