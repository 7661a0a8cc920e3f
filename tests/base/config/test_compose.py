"""Every message about the configuration: the key, the value, what is allowed, what was probably meant."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.base.config.folders import CONF, groups
from pipeline.base.config.recipes import recipes, scales
from pipeline.base.config.sweep import check_sweep
from pipeline.base.errors import ConfigError, UserError
from pipeline.stages.completion import candidates
from pipeline.stages.compose import compose_run
from pipeline.stages.keys import Keys

PAPER = ["paper=nf_nqs", "scale=smoke"]

BAD = [
    (["system.n_site=3"], r"system\.n_site: no such key \(did you mean 'system\.n_sites'\?\)"),
    (["sytem.n_sites=3"], r"sytem\.n_sites: no such key .*system\.n_sites"),
    (["train.methd.prior=normal"], r"train\.methd\.prior: no such key"),
    (["system.n_sites=abc"], r"system\.n_sites=abc: must be an integer"),
    (["system.n_sites=3.5"], r"system\.n_sites=3\.5: must be an integer"),
    (["system.n_sites=-4"], r"system\.n_sites=-4: must lie between 2 and"),
    (["system.n_sites=null"], r"system\.n_sites=null: must be an integer"),
    (["system.coupling=strong"], r"system\.coupling=strong: must be a number"),
    (["system.coupling=nan"], r"system\.coupling=nan: must be a finite number"),
    (["system.range=16"], r"system\.range=16: must lie between 1 and n_sites/2 = 15"),
    (["system.range=0"], r"system\.range=0: must lie between 1"),
    (["scale=lapto"], r"scale=lapto: must be one of smoke, laptop, long, gpu, paper \(did you mean 'laptop'\?\)"),
    (["system=chain_tfin"], r"system=chain_tfin: must be one of .* \(did you mean 'chain_tfim'\?\)"),
    (["train.method.prior=gauss"], r"train\.method\.prior=gauss: must be one of bimodal, normal"),
    (["train.method.stop=flor"], r"did you mean 'floor'"),
    (["train.method=3"], r"train\.method=3: must be a group of keys"),
    (["train.dtype=float16"], r"train\.dtype=float16: must be one of float32, float64"),
    (["train.snapshots=[5000]"], r"train\.snapshots=5000: must lie between 0 and train\.steps"),
    (["infer.units=0"], r"infer\.units=0: must be at least 1"),
    (["tracker.mode=on"], r"tracker\.mode=on: must be one of auto, offline, online, disabled"),
    (
        ["stages=[trian]"],
        r"stages=trian: must be one of train, infer, baseline, profile, report \(did you mean 'train'",
    ),
    (["baseline.use=quspn"], r"baseline\.use=quspn: must be one of .*did you mean 'quspin'"),
    (["method=vmc"], r"train\.method\.\w+: is set by the paper .* method=vmc .*paper=none"),
    (["+extra=1"], r"\+extra=1: keys can be set, not added or deleted"),
    (["~system"], r"keys can be set, not added or deleted"),
    (["nonsense"], r"nonsense: is not of the form key=value"),
    (["a=[1,"], r"is not of the form key=value"),
    (["train.ansatz.hidden=[]"], r"train\.ansatz\.hidden=\[\]: must be a non-empty list"),
    (["train.optimizer.betas=[2,3]"], r"train\.optimizer\.betas=\[2\.0, 3\.0\]: must be two numbers in \[0, 1\)"),
    (["train.ansatz.name=rbm"], r"train\.ansatz\.name=rbm: is chosen by its group"),
    (["train.ansatz._target_=foo.Bar"], r"train\.ansatz\._target_: no such key"),
    (["train.sampler=foo"], r"train\.sampler=foo: is chosen by its group"),
    (["results_dir=${nope}"], r"results_dir=\$\{nope\}: must be a plain value"),
    (["system.n_sites=${oc.env:HOME}"], r"system\.n_sites=.*: must be a plain value"),
    (["system.n_sites=6,8"], r"system\.n_sites: several values are a sweep, which needs -m"),
    (["system.n_sites=2000000"], r"system\.n_sites=2000000: must lie between 2 and"),
    (["stages=[]"], r"stages=\[\]: needs at least one of train, infer, baseline"),
    (["stages=[report]"], r"needs at least one of train, infer, baseline"),
    (["results_dir="], r"results_dir=''.*: must name a folder"),
    (["results_dir=/tmp/é"], r"is not of the form key=value \(quote special characters"),
    (["train.phase=3"], r"train\.phase: no such key \(did you mean 'train\.phases'\?\)"),
    (["threads=0"], r"threads=0: must be at least 1"),
]


@pytest.mark.parametrize(("overrides", "message"), BAD, ids=[" ".join(o) for o, _ in BAD])
def test_bad_input_gets_one_clear_line(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        compose_run([*PAPER, *overrides])
    assert "\n" not in str(caught.value)


def test_quspin_asked_for_too_many_sites_says_what_it_needs_and_what_can() -> None:
    with pytest.raises(ConfigError, match=r"baseline\.use=quspin: .*1\.1e\+12 basis states.*baseline=dmrg"):
        compose_run(["baseline=quspin", "system.n_sites=40", "system.range=3"])


def test_system_without_any_baseline_lists_every_reason() -> None:
    with pytest.raises(UserError, match="no baseline supports") as caught:
        compose_run(["stages=[baseline]", "system.n_sites=100", "system.range=7", "system.coupling=-1"])
    assert "quspin:" in str(caught.value)
    assert "dmrg:" in str(caught.value)
    assert compose_run(["system.n_sites=40", "system.range=7", "baseline=none"]).baseline.use == "none"


def test_cuda_asked_for_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.base.run.device.cuda_driver_sees_a_gpu", lambda: False)
    with pytest.raises(ConfigError, match=r"device=cuda: no CUDA device on this machine; use device=cpu"):
        compose_run(["device=cuda"])


def test_sampler_and_method_that_do_not_fit_the_system() -> None:
    with pytest.raises(ConfigError, match=r"sampler=exhaustive: would enumerate 2\^25 states"):
        compose_run(["method=vmc", "system=square_tfim", "system.length_x=5", "system.length_y=5"])
    with pytest.raises(ConfigError, match="packs a state into one word: 2 to 62 sites"):
        compose_run(["system.n_sites=64", "system.range=32"])
    with pytest.raises(ConfigError, match=r"method=subspace_flow: works on spin systems, not on u1_pure_gauge"):
        compose_run(["system=u1_pure_gauge"])


def test_parts_that_do_not_fit_each_other() -> None:
    with pytest.raises(ConfigError, match=r"ansatz=mlp: does not give log ψ.*ansatz=rbm"):
        compose_run(["method=vmc", "ansatz=mlp"])
    with pytest.raises(ConfigError, match=r"sampler=none: method=vmc needs one"):
        compose_run(["method=vmc", "sampler=none"])
    with pytest.raises(ConfigError, match=r"samples by its flow; use sampler=none"):
        compose_run(["sampler=exhaustive"])
    compose_run(["ansatz=rbm"])


def test_a_run_is_composed_without_torch_and_numpy() -> None:
    code = (
        "import sys; from pipeline.stages.compose import compose_run; "
        "[compose_run([f'paper={paper}', 'scale=laptop']) for paper in ('nf_nqs', 'naqs', 'pseudofermion')]; "
        "sys.exit(str({'torch', 'numpy', 'scipy'} & {*sys.modules} or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


def test_bad_input_is_reported_before_torch_is_imported() -> None:
    code = (
        "import sys; from pipeline.stages.cli import main; status = main(['system.n_site=3']); "
        "heavy = {'torch', 'quspin', 'tenpy', 'numba', 'wandb', 'pandas', 'matplotlib'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr.strip() == "error: system.n_site: no such key (did you mean 'system.n_sites'?)"


@pytest.mark.parametrize(("paper", "scale"), [(p, s) for p in recipes((CONF,)) for s in scales(p, (CONF,))])
def test_every_recipe_composes_at_each_of_its_scales(paper: str, scale: str) -> None:
    run = compose_run([f"paper={paper}", f"scale={scale}"])
    assert (run.paper, run.scale) == (paper, scale)


@pytest.mark.parametrize(
    ("group", "choice"),
    [(g, c) for g, cs in groups().items() for c in cs if "/" not in g and g != "baseline"],
)
def test_every_choice_of_every_group_composes(group: str, choice: str) -> None:
    if choice == "direct":
        with pytest.raises(ConfigError, match=r"sampler=direct: ansatz=rbm cannot be drawn from directly"):
            compose_run(["method=vmc", f"{group}={choice}"])
        return
    if choice == "none" and group == "ansatz":
        compose_run(["system=schwinger", "method=joint_flow", f"{group}={choice}"])
        return
    gauge = {name: ["stages=[baseline]"] for name in ("u1_pure_gauge", "su3_pure_gauge", "schwinger", "su3_2d")}
    gauge["joint_flow"] = ["system=schwinger"]
    fitting = {**gauge, "pixelcnn": ["system=square_tfim"], "resnet": ["system=square_heisenberg"]}.get(choice, [])
    of_vmc = group == "infer_sampler" or (group == "sampler" and choice != "none") or choice == "sr"
    compose_run([f"{group}={choice}", *fitting, *(["method=vmc"] if of_vmc else [])])


def test_every_config_file_says_what_it_is() -> None:
    for path in CONF.rglob("*.yaml"):
        first = [line for line in path.read_text().splitlines() if not line.startswith("# @package")][:2]
        assert any("#" in line or line.startswith(("defaults", "mode")) for line in first), path


def test_user_wins_over_scale_over_paper() -> None:
    assert compose_run(["paper=nf_nqs", "scale=paper"]).train.method.draws == 5000
    laptop = compose_run(["paper=nf_nqs", "scale=laptop"]).train.method.draws
    assert laptop != 5000
    assert compose_run(["paper=nf_nqs", "scale=laptop", "train.method.draws=77"]).train.method.draws == 77


def test_paper_scale_has_the_papers_numbers() -> None:
    run = compose_run(["paper=nf_nqs", "scale=paper"])
    method = run.train.method
    assert (method.subspaces, method.draws, method.points, method.regions) == (30, 5000, 25, None)
    assert (method.flow_layers, method.flow_hidden, method.prior) == (4, [512, 512], "bimodal")
    assert (method.stop, method.unique_threshold, method.gradient_clip) == ("unique", 0.9, 1000.0)
    assert run.train.ansatz.hidden == [512] * 4
    assert run.train.optimizer.lr == 1e-4
    assert (run.infer.units, run.infer.iterations, run.infer.lr) == (20, 2000, 1e-3)
    assert (run.infer.plateau_factor, run.infer.plateau_patience, run.infer.ansatz) == (0.5, 20, None)


def test_gauge_papers_have_the_papers_numbers() -> None:
    run = compose_run(["paper=pseudofermion", "scale=paper"])
    assert (run.system.length, run.system.beta, run.system.kappa) == (16, 2.0, 0.265)
    hmc = run.baseline.hmc
    assert hmc.chains * hmc.measurements * hmc.trajectories_per_measurement == 130_000
    run = compose_run(["paper=pseudofermion/su3", "scale=paper"])
    assert (run.system.kind, run.system.length, run.system.beta, run.system.kappa) == ("su3_2d", 16, 6.0, 0.265)
    hmc = run.baseline.hmc
    assert hmc.chains * hmc.measurements * hmc.trajectories_per_measurement == 3200


def test_steps_stay_out_of_the_train_key_and_seed_dtype_and_physics_do_not() -> None:
    base = compose_run(PAPER)
    assert Keys(compose_run([*PAPER, "train.steps=99", "train.snapshots=[1]"])).train == Keys(base).train
    elsewhere = compose_run([*PAPER, "device=cpu", "results_dir=elsewhere", "progress=false"])
    assert Keys(elsewhere).train == Keys(base).train
    for change in ("train.seed=1", "train.dtype=float64", "system.coupling=0.9", "train.method.draws=201"):
        assert Keys(compose_run([*PAPER, change])).train != Keys(base).train
    changed = compose_run([*PAPER, "infer.units=3"])
    assert Keys(changed).train == Keys(base).train
    assert Keys(changed).infer(3) != Keys(base).infer(3)
    assert Keys(base).infer(2) != Keys(base).infer(3)


def test_inference_network_can_be_that_of_the_training() -> None:
    assert compose_run(["paper=nf_nqs", "scale=laptop"]).infer.ansatz is not None
    assert compose_run(["paper=nf_nqs", "scale=laptop", "infer.ansatz=null"]).infer.ansatz is None
    own = compose_run(["paper=nf_nqs", "scale=paper", "infer.ansatz={hidden:[5],initialisation:torch}"]).infer.ansatz
    assert own.hidden == [5]
    with pytest.raises(ConfigError, match=r"infer\.ansatz is null; set it as a whole"):
        compose_run(["paper=nf_nqs", "scale=paper", "infer.ansatz.hidden=[5]"])


def test_sweep_values_are_checked_one_by_one() -> None:
    check_sweep([*PAPER, "system.n_sites=10,12", "system.range=2,5"])
    with pytest.raises(ConfigError, match=r"system\.n_sites=abc: must be an integer"):
        check_sweep([*PAPER, "system.n_sites=10,abc"])
    with pytest.raises(ConfigError, match=r"no such key"):
        check_sweep([*PAPER, "system.n_site=10,12"])
    with pytest.raises(ConfigError, match=r"system\.n_sites: no such key"):
        check_sweep(["method=vmc", "system=chain_tfim,square_tfim", "system.n_sites=6,8"])
    with pytest.raises(ConfigError, match=r"one by one"):
        check_sweep(["system.n_sites=glob(*)"])
    with pytest.raises(ConfigError, match=r"system=bogus"):
        check_sweep(["system=chain_tfim,bogus"])


def test_a_sweep_of_too_many_runs_is_refused() -> None:
    """Each list is short enough; their product is not."""
    long = [f"{key}=" + ",".join(map(str, range(1, 102))) for key in ("train.steps", "train.seed")]
    with pytest.raises(ConfigError, match="stands for 10201 runs; at most 10000"):
        check_sweep(["method=vmc", *long])


def test_completion_offers_groups_choices_and_the_keys_of_what_is_chosen() -> None:
    assert "system=" in candidates("sys", [])
    assert candidates("system=square_h", []) == ["system=square_heisenberg"]
    assert "system.j2=" in candidates("system.", ["system=square_heisenberg"])
    assert "system.range=" not in candidates("system.", ["system=square_heisenberg"])
    assert "system.range=" in candidates("system.", ["system=nonsense", "train.steps=3"])
    assert candidates("recipe", []) == []
    assert candidates("paper=nf_nqs/m", []) == ["paper=nf_nqs/mps"]
    assert candidates("paper=nf", []) == [f"paper={name}" for name in recipes((CONF,)) if name.startswith("nf")]
    assert "scale=long" in candidates("scale=", [])
    assert candidates("scale=", ["paper=pseudofermion/su3"]) == ["scale=smoke", "scale=laptop", "scale=paper"]
    assert "train.sampler.chains=" in candidates("train.sampler.", ["paper=nf_nqs/mps", "scale=smoke"])


def test_the_shell_gets_its_completions(tmp_path: Path) -> None:
    """The protocol of argcomplete: the line goes in by the environment, candidates come out in a file."""
    for module, line, expected in (
        ("pipeline.stages.cli", "nqs scale=sm", "scale=smoke"),
        ("reproduce.cli", "nqs-reproduce --scale sm", "smoke"),
        ("reproduce.cli", "nqs-reproduce nf_nqs-table2", "nf_nqs-table2"),
    ):
        out = tmp_path / "out"
        shell = {"_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line)), "COMP_TYPE": "9"}
        environment = {**os.environ, **shell, "_ARGCOMPLETE_STDOUT_FILENAME": str(out)}
        subprocess.run([sys.executable, "-c", f"from {module} import console; console()"], env=environment, check=False)
        assert out.read_text().split("\013")[0].strip() == expected


CHAINS = ["method=vmc", "sampler=metropolis", "system=square_heisenberg"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train.sampler.rule=exchange", "system=square_tfim"], r"train\.sampler\.rule=exchange: swaps keep Σ σz"),
        (
            ["infer_sampler=metropolis", "infer.sampler.rule=exchange", "system=square_tfim"],
            r"infer\.sampler\.rule=exchange: swaps keep Σ σz",
        ),
        (["train.sampler.rule=exchange", "train.sampler.start=up"], r"train\.sampler\.start=up: aligned spins"),
        (
            ["train.sampler.rule=exchange", "train.sampler.global_flip=0.1", "system.length_x=3", "system.length_y=3"],
            r"train\.sampler\.global_flip=0\.1: with 9 spins a global flip leaves the sector",
        ),
        (["train.sampler.samples=150"], r"sampler\.samples=150: must be a multiple of the 100 chains"),
        (["infer.samples=150"], r"infer\.samples=150: must be a multiple of the 100 chains"),
        (["infer.samples=0"], r"infer\.samples=0: must be at least 1"),
        (["train.sampler.rule=swap"], r"sampler\.rule=swap: must be one of local, exchange"),
        (["train.sampler.pairs=all"], r"sampler\.pairs=all: must be one of neighbours, any"),
        (["train.sampler.start=left"], r"sampler\.start=left: must be one of random, up, down"),
        (["train.sampler.thinning=0"], r"sampler\.thinning=0: must be at least 1"),
        (["train.sampler.burn_in=-1"], r"sampler\.burn_in=-1: must be at least 0"),
        (["train.sampler.global_flip=1.0"], r"sampler\.global_flip=1\.0: must lie in \[0, 1\)"),
        (["train.sampler.chains=0"], r"sampler\.chains=0: must be at least 1"),
        (["infer_sampler=direct"], r"infer_sampler=direct: ansatz=rbm cannot be drawn from directly"),
        (["infer_sampler=exhaustive", "system.length_x=5"], r"infer_sampler=exhaustive: would enumerate 2\^20"),
        (["infer_sampler=exhaustive", "infer.samples=10"], r"infer\.samples=10: sampler=exhaustive takes every"),
        (["infer_sampler=exhaustive", "infer.keep_samples=true"], r"infer\.keep_samples=True: .* no samples to keep"),
        (["infer.sampler=metropolis"], r"infer\.sampler=metropolis: is chosen by its group \(as in infer_sampler="),
        (["infer.sampler={samples:3}"], r"infer\.sampler=.*: is chosen by its group"),
        (
            ["sampler=metropolis", "train.sampler.samples=1", "train.sampler.chains=1", "optimizer=sr"],
            r"train\.sampler\.samples=1: stochastic reconfiguration needs at least 2",
        ),
        (
            ["train.method.sign_rule=peierls"],
            r"train\.method\.sign_rule=peierls: must be one of none, stoquastic, marshall",
        ),
        (["train.method.sign_rule=stoquastic", "system.j2=0.5"], r"sign_rule=stoquastic: no rotation is known"),
        (["train.method.gradient_clip=0"], r"train\.method\.gradient_clip=0\.0: must be a positive"),
        (["train.method.max_rejected=0"], r"train\.method\.max_rejected=0: must be at least 1"),
        (["train.method.memory_gib=0"], r"train\.method\.memory_gib=0\.0: must be a positive"),
        (["train.ansatz.parameters=quaternion"], r"train\.ansatz\.parameters=quaternion: must be one of real, complex"),
    ],
)
def test_parts_of_vmc_that_do_not_fit(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compose_run([*CHAINS, *words])


def test_parts_of_vmc_that_fit() -> None:
    run = compose_run([*CHAINS, "train.sampler.rule=exchange", "train.sampler.global_flip=0.1"])
    assert run.infer.sampler is None
    run = compose_run([*CHAINS, "infer_sampler=exhaustive", "train.method.sign_rule=stoquastic"])
    assert type(run.infer.sampler).__name__ == "ExhaustiveConfig"
    assert compose_run([*CHAINS, "infer_sampler=metropolis", "infer.sampler.start=up"]).infer.sampler.start == "up"
    with pytest.raises(UserError, match=r"Could not override 'infer_sampler'"):
        compose_run(["infer_sampler=metropolis"])
