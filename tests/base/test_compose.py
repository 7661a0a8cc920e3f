"""Every message about the configuration: the key, the value, what is allowed, what was probably meant."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pipeline.base.compose import CONF, groups
from pipeline.base.errors import ConfigError, UserError
from pipeline.base.schema import SCALES
from pipeline.stages.compose import check_sweep, compose_run
from pipeline.stages.context import infer_key, train_key

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
    (["scale=lapto"], r"scale=lapto: must be one of gpu, laptop, paper, smoke \(did you mean 'laptop'\?\)"),
    (["system=chain_tfin"], r"system=chain_tfin: must be one of .* \(did you mean 'chain_tfim'\?\)"),
    (["train.method.prior=gauss"], r"train\.method\.prior=gauss: must be one of bimodal, normal"),
    (["train.method.stop=flor"], r"did you mean 'floor'"),
    (["train.method=3"], r"train\.method=3: must be a group of keys"),
    (["train.dtype=float16"], r"train\.dtype=float16: must be one of float32, float64"),
    (["train.snapshots=[5000]"], r"train\.snapshots=5000: must lie between 0 and train\.steps"),
    (["infer.units=0"], r"infer\.units=0: must be at least 1"),
    (["tracker.mode=on"], r"tracker\.mode=on: must be one of offline, online, disabled"),
    (["stages=[trian]"], r"stages=trian: must be one of train, infer, baseline, report \(did you mean 'train'"),
    (["baseline.use=quspn"], r"baseline\.use=quspn: must be one of .*did you mean 'quspin'"),
    (["method=vmc"], r"train\.method\.\w+: is set by the paper .* method=vmc .*paper=none"),
    (["+extra=1"], r"\+extra=1: keys can be set, not added or deleted"),
    (["~system"], r"keys can be set, not added or deleted"),
    (["nonsense"], r"nonsense: is not of the form key=value"),
    (["a=[1,"], r"is not of the form key=value"),
    (["train.ansatz.hidden=[]"], r"train\.ansatz\.hidden=\[\]: must be a non-empty list"),
    (["train.optimizer.betas=[2,3]"], r"train\.optimizer\.betas=\[2\.0, 3\.0\]: must be two numbers in \[0, 1\)"),
    (["train.ansatz._target_=foo.Bar"], r"train\.ansatz\._target_=foo\.Bar: is chosen by its group"),
    (["train.sampler=foo"], r"train\.sampler=foo: is chosen by its group"),
    (["results_dir=${nope}"], r"results_dir=\$\{nope\}: must be a plain value"),
    (["system.n_sites=${oc.env:HOME}"], r"system\.n_sites=.*: must be a plain value"),
    (["system.n_sites=6,8"], r"system\.n_sites: several values are a sweep, which needs -m"),
    (["system.n_sites=2000000"], r"system\.n_sites=2000000: must lie between 2 and"),
    (["stages=[]"], r"stages=\[\]: needs at least one of train, infer, baseline"),
    (["stages=[report]"], r"needs at least one of train, infer, baseline"),
    (["results_dir="], r"results_dir=''.*: must name a folder"),
    (["results_dir=/tmp/é"], r"is not of the form key=value \(quote special characters"),
    (["train.phases=3"], r"train\.phases: no such key"),
    (["threads=0"], r"threads=0: must be at least 1"),
]


@pytest.mark.parametrize(("overrides", "message"), BAD, ids=[" ".join(o) for o, _ in BAD])
def test_bad_input_gets_one_clear_line(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        compose_run([*PAPER, *overrides])
    assert "\n" not in str(caught.value)


def test_quspin_asked_for_too_many_sites_says_what_it_needs_and_what_can() -> None:
    with pytest.raises(ConfigError, match=r"baseline\.use=quspin: .*2\^40 amplitudes.*baseline=dmrg"):
        compose_run(["baseline=quspin", "system.n_sites=40", "system.range=3"])


def test_system_without_any_baseline_lists_every_reason() -> None:
    with pytest.raises(UserError, match="no baseline supports") as caught:
        compose_run(["stages=[baseline]", "system.n_sites=100", "system.range=7"])
    assert "quspin:" in str(caught.value)
    assert "dmrg:" in str(caught.value)
    assert compose_run(["system.n_sites=40", "system.range=7", "baseline=none"]).baseline.use == "none"


def test_cuda_asked_for_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.base.device.cuda_driver_sees_a_gpu", lambda: False)
    with pytest.raises(ConfigError, match=r"device=cuda: no CUDA device on this machine; use device=cpu"):
        compose_run(["device=cuda"])


def test_sampler_and_method_that_do_not_fit_the_system() -> None:
    with pytest.raises(ConfigError, match=r"train\.sampler=exhaustive: would enumerate 2\^25 states"):
        compose_run(["method=vmc", "system=square_tfim", "system.length_x=5", "system.length_y=5"])
    with pytest.raises(ConfigError, match="packs a state into one word: 2 to 62 sites"):
        compose_run(["system.n_sites=64", "system.range=32"])
    with pytest.raises(ConfigError, match=r"method=subspace_flow: works on spin systems, not on u1_pure_gauge"):
        compose_run(["system=u1_pure_gauge"])


def test_parts_that_do_not_fit_each_other() -> None:
    with pytest.raises(ConfigError, match=r"ansatz=MLPConfig: does not give log ψ.*ansatz=rbm"):
        compose_run(["method=vmc", "ansatz=mlp"])
    with pytest.raises(ConfigError, match=r"sampler=none: method=vmc needs one"):
        compose_run(["method=vmc", "sampler=none"])
    with pytest.raises(ConfigError, match=r"samples by its flow; use sampler=none"):
        compose_run(["sampler=exhaustive"])
    compose_run(["ansatz=rbm"])


def test_bad_input_is_reported_before_torch_is_imported() -> None:
    code = (
        "import sys; from pipeline.stages.cli import main; status = main(['system.n_site=3']); "
        "heavy = {'torch', 'quspin', 'tenpy', 'numba', 'wandb', 'pandas', 'matplotlib'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr.strip() == "error: system.n_site: no such key (did you mean 'system.n_sites'?)"


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("paper", groups()["paper"])
def test_every_paper_composes_at_every_scale(paper: str, scale: str) -> None:
    run = compose_run([f"paper={paper}", f"scale={scale}"])
    assert (run.paper, run.scale) == (paper, scale)


@pytest.mark.parametrize(
    ("group", "choice"),
    [(g, c) for g, cs in groups().items() for c in cs if "/" not in g and g not in ("paper", "scale", "baseline")],
)
def test_every_choice_of_every_group_composes(group: str, choice: str) -> None:
    needed = {
        "u1_pure_gauge": ["stages=[baseline]"],
        "exhaustive": ["method=vmc"],
        "pixelcnn": ["method=vmc", "system=square_tfim"],
    }
    fitting = needed.get(choice, [])
    compose_run([f"{group}={choice}", *fitting])


def test_every_config_file_says_what_it_is() -> None:
    for path in CONF.rglob("*.yaml"):
        first = [line for line in path.read_text().splitlines() if not line.startswith("# @package")][:2]
        assert any("#" in line or line.startswith(("defaults", "mode")) for line in first), path


def test_user_wins_over_budget_over_paper() -> None:
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


def test_steps_stay_out_of_the_train_key_and_seed_dtype_and_physics_do_not() -> None:
    base = compose_run(PAPER)
    assert train_key(compose_run([*PAPER, "train.steps=99", "train.snapshots=[1]"])) == train_key(base)
    assert train_key(compose_run([*PAPER, "device=cpu", "results_dir=elsewhere", "progress=false"])) == train_key(base)
    for change in ("train.seed=1", "train.dtype=float64", "system.coupling=0.9", "train.method.draws=201"):
        assert train_key(compose_run([*PAPER, change])) != train_key(base)
    changed = compose_run([*PAPER, "infer.units=3"])
    assert train_key(changed) == train_key(base)
    assert infer_key(changed, 3) != infer_key(base, 3)
    assert infer_key(base, 2) != infer_key(base, 3)


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
