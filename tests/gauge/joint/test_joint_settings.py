"""Configurations of joint flows: what is refused, and the recipes."""

from __future__ import annotations

import pytest

from pipeline.base.errors import ConfigError
from pipeline.stages.amounts import too_much
from pipeline.stages.compose import compose_run

WORDS = ["system=schwinger", "system.length=4", "method=joint_flow"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["system.length=6"], r"^system\.length=6: .*multiple of 4: 4 or 8"),
        (["ansatz=rbm"], r"^ansatz=rbm: .*ansatz=none"),
        (["optimizer=sgd"], r"^optimizer=sgd: .*adamw"),
        (["sampler=direct"], r"^sampler=direct: .*sampler=none"),
        (["train.method.gradient=paths"], r"^train\.method\.gradient=paths: .*path"),
        (
            ["train.method.gradient=path", "train.method.marginal.layers=0"],
            r"^train\.method\.gradient=path: .*at least 1",
        ),
        (
            ["train.method.gradient=reinforce", "train.method.batch=1"],
            r"^train\.method\.batch=1: must be at least 2 conf",
        ),
        (
            ["train.method.gradient=reinforce", "train.method.batch=9", "train.method.chunk=4"],
            r"^train\.method\.batch=9: must be at least 2 .*chunk=4 leaves",
        ),
        (
            ["train.method.gradient=reinforce", "train.phases=[{steps:3,samples:1}]"],
            r"^train\.phases\[0\]\.samples=1: must be at least 2",
        ),
        (["train.method.batch=0"], r"^train\.method\.batch=0: must be at least 1"),
        (["train.method.gradient_clip=0"], r"^train\.method\.gradient_clip=0\.0: must be a positive"),
        (
            ["train.method.preconditioning.hasenbusch=[0.1,0.01]"],
            r"preconditioning\.hasenbusch=\[0\.1, 0\.01\]: .*incr",
        ),
        (["train.method.conditional.transports=1"], r"^train\.method\.conditional\.transports=1: must be at least 2"),
        (["train.method.conditional.layers=3"], r"^train\.method\.conditional\.layers=3: masks tile"),
        (["train.method.marginal.dilations=[1]"], r"^train\.method\.marginal\.dilations=\[1\]: must be 3 numbers"),
        (["train.method.marginal.dilations=[1,9,1]"], r"^train\.method\.marginal\.dilations=\[1, 9, 1\]: .*length = 4"),
        (["train.optimizer.eps=0"], r"^train\.optimizer\.eps=0\.0: must be a positive"),
        (["train.phases=[{steps:3,sgd:{lr:1,momentum:0}}]"], r"^train\.phases\[0\]\.sgd.*keeps its optimizer"),
        (["train.phases=[{steps:3,system:{beta:1}}]"], r"^train\.phases\[0\]\.system.*one system"),
        (["infer.spectra=-1"], r"^infer\.spectra=-1: must be at least 0"),
        (["infer.draws=0"], r"^infer\.draws=0: must be at least 1"),
    ],
)
def test_what_does_not_fit_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compose_run([*WORDS, *words])


@pytest.mark.parametrize(
    ("stage", "word"),
    [
        ("infer", "infer.draws=100000000000"),
        ("infer", "infer.configurations=100000000000"),
        ("train", "train.method.batch=100000000000"),
        ("train", "train.method.evaluate_configurations=100000000000"),
        ("train", "train.method.conditional.features=100000000000"),
        ("train", "train.method.conditional.hidden=100000000000"),
        ("train", "train.method.conditional.transports=100000000000"),
        ("train", "train.method.conditional.layers=100000000000"),
    ],
)
def test_absurd_amounts_are_refused_by_name(stage: str, word: str) -> None:
    complaint = too_much(compose_run([*WORDS, word]), stage)
    assert complaint is not None
    assert str(complaint).startswith(word)


@pytest.mark.parametrize("system", ["chain_tfim", "u1_pure_gauge"])
def test_other_systems_are_refused(system: str) -> None:
    with pytest.raises(ConfigError, match=rf"^system={system}: method=joint_flow is for .* system=schwinger or "):
        compose_run([f"system={system}", "method=joint_flow"])


@pytest.mark.parametrize("method", ["vmc", "subspace_flow"])
def test_methods_with_wave_functions_ask_for_one(method: str) -> None:
    with pytest.raises(ConfigError, match=rf"^ansatz=none: method={method} needs one"):
        compose_run([f"method={method}", "ansatz=none"])


@pytest.mark.parametrize("recipe", ["joint", "joint_plain", "joint_even_odd"])
@pytest.mark.parametrize("scale", ["paper", "laptop", "smoke"])
def test_recipes_compose(recipe: str, scale: str) -> None:
    run = compose_run([f"paper=pseudofermion/{recipe}", f"scale={scale}"])
    method = run.train.method
    assert (run.system.beta, run.system.kappa, method.preconditioning.regulator) == (2.0, 0.265, 1e-5)
    assert method.preconditioning.even_odd == (recipe != "joint_plain")
    assert run.train.optimizer.name == "adamw"
