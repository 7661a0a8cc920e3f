"""A positive ansatz where the ground state has signs: said once, before the run, and kept with its result."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.base.config.folders import CONF
from pipeline.base.config.recipes import recipes, scales
from pipeline.stages.cli import main
from pipeline.stages.compose import compose_run
from pipeline.stages.hints import hints

VMC = ["method=vmc", "optimizer=sr"]
HEISENBERG = ["system=chain_heisenberg", "system.n_sites=6", "system.j1=1", *VMC]
ISING = ["system=open_chain_tfim", "system.n_sites=4", *VMC]
TRIANGLE = ["system=chain_tfim", "system.n_sites=5", "system.range=1", "system.coupling=-1", *VMC]
RULE = "train.method.sign_rule=stoquastic"


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (HEISENBERG, RULE),
        ([*HEISENBERG, "ansatz=jastrow"], RULE),
        ([*HEISENBERG, "ansatz=dense_ar", "sampler=direct"], RULE),
        (["system=chain_xxz", *VMC], RULE),
        ([*ISING, "system.field=-0.5"], RULE),
        ([*ISING, "train.phases=[{steps: 5}, {steps: 5, system: {field: -0.5}}]"], RULE),
        ([*HEISENBERG, "system.j2=0.5"], "train.ansatz.parameters=complex"),
        ([*HEISENBERG, "system.n_sites=5"], "train.ansatz.parameters=complex"),
        ([*HEISENBERG, "system.j2=0.5", "ansatz=conv_ar", "sampler=direct"], "train.ansatz.phase=true"),
        (["system=chain_heisenberg", "system.n_sites=6", "ansatz=rbm", "sampler=none"], "ansatz=mlp"),
    ],
)
def test_where_physics_is_the_trap(overrides: list[str], named: str) -> None:
    (hint,) = hints(compose_run(overrides))
    assert named in hint
    assert "positive amplitudes only" in hint
    assert (RULE in hint) == (named == RULE)
    assert "\n" not in hint


@pytest.mark.parametrize(
    "overrides",
    [
        [*HEISENBERG, RULE],
        [*HEISENBERG, "system.j1=-1"],
        [*HEISENBERG, "train.ansatz.parameters=complex"],
        [*HEISENBERG, "ansatz=mps"],
        [*HEISENBERG, "ansatz=dense_ar", "sampler=direct", "train.ansatz.phase=true"],
        [*ISING],
        [*ISING, "system.field=0"],
        [*ISING, "system.coupling=-1"],
        TRIANGLE,
        ["system=chain_xxz", "system.jxy=-1", *VMC],
        ["system=chain_heisenberg", "system.n_sites=6"],
    ],
)
def test_nothing_is_said_where_all_is_well(overrides: list[str]) -> None:
    assert hints(compose_run(overrides)) == []


@pytest.mark.parametrize("recipe", [r for r in recipes((CONF,)) if not r.startswith("pseudofermion")])
def test_no_recipe_needs_a_hint(recipe: str) -> None:
    assert hints(compose_run([f"paper={recipe}", f"scale={scales(recipe, (CONF,))[0]}"])) == []


def test_it_is_said_once_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = ["train.steps=1", "tracker=none", "progress=false", "baseline=none", f"results_dir={tmp_path}"]
    assert main([*HEISENBERG, *few, "system.n_sites=4"]) == 0
    output = capsys.readouterr()
    assert next(line for line in output.err.splitlines() if RULE in line).startswith("hint: ansatz=rbm")
    assert (output.err + output.out).count(RULE) == 1
    (result,) = tmp_path.glob("_store/infer/*/result.json")
    assert [RULE in note for note in json.loads(result.read_text())["notes"]].count(True) == 1
    (report,) = tmp_path.glob("_runs/*/report.md")
    assert report.read_text().count(RULE) == 1
    assert main([*HEISENBERG, *few, "system.n_sites=4", RULE]) == 0
    assert "hint" not in capsys.readouterr().err
