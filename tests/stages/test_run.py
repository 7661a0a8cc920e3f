"""Whole runs at smoke scale: stages, cache, continuation, probes of the contracts."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.base.errors import Interrupted
from pipeline.base.numbers.result import Result
from pipeline.stages import cli
from pipeline.stages.compose import compose_run
from pipeline.stages.context import Context
from pipeline.stages.run import RunOutput, execute

SMALL = ["paper=nf_nqs", "scale=smoke", "system.n_sites=10", "system.range=5", "tracker=none", "progress=false"]
RBM = ["method=vmc", "system=square_tfim", "train.optimizer.lr=0.02", "tracker=none", "progress=false"]


def run(tmp_path: Path, overrides: list[str], said: list[str] | None = None) -> RunOutput:
    config = compose_run([*overrides, f"results_dir={tmp_path}"])
    return execute(Context(config, notify=(said if said is not None else []).append))


def numbers(output: RunOutput) -> Any:
    assert output.result is not None
    return output.result.to_json()


def test_run_gives_an_upper_bound_with_error_and_reference(tmp_path: Path) -> None:
    output = run(tmp_path, SMALL)
    assert output.result is not None
    assert output.reference is not None
    energy, floor = output.result.estimate("energy"), output.result.estimate("subspace_floor")
    union = output.result.estimate("union_floor")
    exact = output.reference.result().estimate("energy")
    assert exact.bound == "exact"
    assert exact.value < union.value <= floor.value <= energy.value
    assert (energy.sigma, energy.doubt) == (None, "only 2 samples"), "two subspaces have a spread, but no error"
    assert (energy.spread or 0) > 0
    assert (energy.n, energy.bound) == (2, "variational")


def test_second_run_computes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(tmp_path, SMALL)
    monkeypatch.setattr("pipeline.stages.train.build_method", lambda *_: pytest.fail("trained again"))
    monkeypatch.setattr("pipeline.stages.infer.build_method", lambda *_: pytest.fail("inferred again"))
    monkeypatch.setattr("pipeline.stages.baseline._direct", lambda *_: pytest.fail("solved again"))
    assert numbers(run(tmp_path, SMALL)) == numbers(first)


def test_same_seed_same_numbers_other_seed_other_numbers(tmp_path: Path) -> None:
    first = numbers(run(tmp_path / "a", [*SMALL, "stages=[train,infer]"]))
    assert numbers(run(tmp_path / "b", [*SMALL, "stages=[train,infer]"])) == first
    assert numbers(run(tmp_path / "b", [*SMALL, "stages=[train,infer]", "train.seed=1"])) != first


def test_continued_training_is_the_straight_one(tmp_path: Path) -> None:
    options = [*SMALL, "stages=[train,infer]", "train.method.stop=never"]
    straight = run(tmp_path / "straight", [*options, "train.steps=5"])
    first = run(tmp_path / "parts", [*options, "train.steps=2"])
    second = run(tmp_path / "parts", [*options, "train.steps=5"])
    assert numbers(second) == numbers(straight)
    assert numbers(first) != numbers(second)
    assert second.trained is not None
    assert [m["k"] for m in second.trained.entry.metrics()] == [0, 1, 2, 3, 4]
    # the shorter result is still there, and a step in between is trained again from what is kept
    assert numbers(run(tmp_path / "parts", [*options, "train.steps=2"])) == numbers(first)
    between = numbers(run(tmp_path / "parts", [*options, "train.steps=3"]))
    assert between == numbers(run(tmp_path / "three", [*options, "train.steps=3"]))
    assert numbers(run(tmp_path / "parts", [*options, "train.steps=5"])) == numbers(straight)


def test_interrupted_training_can_be_asked_for_less(tmp_path: Path) -> None:
    """Fewer steps, or a snapshot that lies behind, than what an interrupted run has done already."""
    options = [*SMALL, "stages=[train,infer]", "train.method.stop=never"]
    with pytest.raises(Interrupted, match="time limit"):
        run(tmp_path / "a", [*options, "train.steps=2000", "checkpoint_seconds=0", "time_limit_seconds=0.5"])
    less = numbers(run(tmp_path / "a", [*options, "train.steps=3", "train.snapshots=[2]"]))
    assert less == numbers(run(tmp_path / "b", [*options, "train.steps=3"]))


def test_deviations_that_the_user_took_back_are_not_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["train.method.prior=bimodal", "train.method.stop=unique", f"results_dir={tmp_path}"]
    assert cli.main([*SMALL, *options]) == 0
    text = Path(capsys.readouterr().out.strip().splitlines()[-1].split()[-1]).read_text()
    assert "train.method.regions" in text
    assert "train.method.prior" not in text
    assert "train.method.stop" not in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["results_dir=a,b"], "results_dir: cannot be swept"),
        (["hydraa.x=1"], "hydraa.x: no such key"),
        (["hydra/launcher=foo"], "hydra/launcher=foo: must be one of basic, "),
        (["system.n_site=6,8"], "system.n_site: no such key"),
    ],
)
def test_bad_sweep(
    tmp_path: Path,
    options: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["-m", *SMALL, *options]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert "Traceback" not in error
    assert "HYDRA_FULL_ERROR" not in error


def test_results_folder_that_is_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    for flags in ([], ["-m"]):
        assert cli.main([*flags, *SMALL, f"results_dir={tmp_path}/file"]) == 4
        error = capsys.readouterr().err
        assert str(tmp_path / "file") in error
        assert "Traceback" not in error


def test_training_that_stopped_by_its_rule_is_not_continued(tmp_path: Path) -> None:
    options = [*SMALL, "stages=[train]", "train.method.stop=unique", "train.method.unique_threshold=1.0"]
    stopped = run(tmp_path, [*options, "train.steps=50"]).trained
    assert stopped is not None
    assert stopped.stopped is not None
    assert stopped.step < 50
    again = run(tmp_path, [*options, "train.steps=500"]).trained
    assert again is not None
    assert again.step == stopped.step


@pytest.mark.parametrize("stage", ["train", "infer", "baseline"])
def test_damaged_entry_of_any_stage_is_rebuilt_with_the_same_numbers(tmp_path: Path, stage: str) -> None:
    first = run(tmp_path, SMALL)
    victim = next(p for p in (tmp_path / "_store" / stage).glob("*/*") if p.suffix in (".safetensors", ".npz", ".json"))
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    said: list[str] = []
    second = run(tmp_path, SMALL, said)
    assert numbers(second) == numbers(first)
    assert any("is damaged" in line and victim.parent.name in line for line in said)


def test_bare_gpu_node_trains_and_infers_without_the_solvers_and_plotting(tmp_path: Path) -> None:
    """train and infer import none of quspin, tenpy, numba, wandb, pandas, matplotlib."""
    code = (
        "import sys\n"
        "for name in ('quspin', 'tenpy', 'numba', 'wandb', 'pandas', 'matplotlib'): sys.modules[name] = None\n"
        "from pipeline.stages.compose import compose_run\n"
        "from pipeline.stages.context import Context\n"
        "from pipeline.stages.run import execute\n"
        f"run = compose_run({[*SMALL, 'stages=[train,infer]', f'results_dir={tmp_path}']!r})\n"
        "print(execute(Context(run)).result.estimate('energy').value)\n"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 10


def test_probe_rbm_with_vmc_reaches_the_exact_energy_along_training(tmp_path: Path) -> None:
    """A method with another sampler, another ansatz and a curve along training, on another Hamiltonian."""
    output = run(tmp_path, [*RBM, "train.steps=300", "train.snapshots=[0,50,150]"])
    assert output.result is not None
    assert output.reference is not None
    exact = output.reference.result().estimate("energy").value
    curve = output.training_curve
    assert curve is not None
    assert curve.x == (0, 50, 150, 300)
    assert list(curve.y) == sorted(curve.y, reverse=True)
    assert curve.y[-1] == output.result.estimate("energy").value
    assert exact - 1e-6 <= curve.y[-1] <= exact * (1 - 2e-3)
    assert curve.y[0] > exact * (1 - 2e-2)


def test_probe_chains_with_phases_and_marshalls_rule_reach_the_energy_of_a_heisenberg_ring(tmp_path: Path) -> None:
    """Another sampler in training and in inference, on a Hamiltonian that conserves Σ σz."""
    chains = [
        "sampler=metropolis",
        "train.sampler.rule=exchange",
        "train.sampler.samples=400",
        "train.sampler.chains=200",
    ]
    chains += ["train.sampler.burn_in=5", "train.method.sign_rule=stoquastic"]
    phases = "train.phases=[{steps:60,lr:0.05},{steps:40,samples:800,lr_end:0.005}]"
    options = ["method=vmc", "system=chain_heisenberg", "tracker=none", "progress=false", "train.steps=100", phases]
    exact = run(tmp_path, [*options, *chains, "infer_sampler=exhaustive"])
    chained = run(tmp_path, [*options, *chains, "infer.units=4"])
    assert exact.result is not None
    assert chained.result is not None
    assert exact.reference is not None
    reference = exact.reference.result().estimate("energy").value
    # over Σ σz = 0, of which alone the training knows
    assert any("Only the configurations with Σ σz = 0" in note for note in exact.result.notes)
    assert reference - 1e-6 <= exact.result.estimate("energy").value < reference * (1 - 2e-2)
    energy = chained.result.estimate("energy")
    assert energy.sigma is not None
    assert reference - 4 * energy.sigma < energy.value < reference * (1 - 2e-2)
    assert chained.result.estimate("r_hat").value < 1.1
    assert len(list(tmp_path.glob("_store/train/*/status.json"))) == 1, "one training serves both"


def test_report_of_a_run_with_a_rejected_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its metrics have no energy; everything that reads them goes on."""
    from pipeline.spin.vmc.local_energy import local_energy

    calls: list[int] = []

    def sometimes_not_finite(*arguments: Any) -> Any:
        calls.append(1)
        return local_energy(*arguments) * (float("nan") if len(calls) in (1, 3) else 1.0)

    monkeypatch.setattr("pipeline.spin.vmc.method.local_energy", sometimes_not_finite)
    assert cli.main([*RBM, "train.steps=5", f"results_dir={tmp_path}"]) == 0
    (path,) = tmp_path.glob("_store/train/*/metrics.jsonl")
    lines = [json.loads(text) for text in path.read_text().splitlines()]
    assert ["energy" in line for line in lines] == [False, True, False, True, True]
    assert [line["rejected_steps"] for line in lines] == [1, 1, 2, 2, 2]
    (plot,) = tmp_path.rglob("training.png")
    assert plot.stat().st_size > 5000


@pytest.mark.parametrize("more", ["", ",{steps:2}"], ids=["alone", "before energies"])
def test_a_training_from_configurations_is_drawn_and_priced(more: str, tmp_path: Path) -> None:
    learn = "{beta_per_length:1,times:4,warmup:4,updates:2,symmetries:[spin_flip]}"
    phases = f"train.phases=[{{steps:4,samples:16,likelihood:{learn}}}{more}]"
    words = ["method=vmc", "system=square_tfim", "ansatz=dense_ar", "sampler=direct", phases]
    words += [f"train.steps={6 if more else 4}", "train.ansatz.layers=2"]
    assert cli.main([*words, "infer.units=2", *RBM[-2:], f"results_dir={tmp_path}"]) == 0
    (plot,) = tmp_path.rglob("training.png")
    assert plot.stat().st_size > 5000
    cheap, dear = (compose_run([*words, phases.replace("warmup:4", f"warmup:{n}")]) for n in (4, 10**9))
    costs = [one.train.method.cost(one) for one in (cheap, dear)]
    assert costs[0].seconds < 1 < 1e3 < costs[1].seconds
    many = compose_run([*words, phases.replace("updates:2", "updates:10000").replace("samples:16", "samples:100000")])
    assert many.train.method.cost(many).bytes > 1e9 * many.system.size


def test_probe_hmc_agrees_with_the_character_expansion(tmp_path: Path) -> None:
    """A Monte Carlo baseline without a train stage; U(1) at L=4, β=2 has ⟨P⟩ = 0.699252."""
    options = ["system=u1_pure_gauge", "stages=[baseline]", "tracker=none", "progress=false"]
    amounts = ["baseline.hmc.chains=512", "baseline.hmc.warmup=60", "baseline.hmc.measurements=150"]
    output = run(tmp_path, [*options, "baseline=hmc", *amounts])
    exact = run(tmp_path, options).reference
    assert output.reference is not None
    assert exact is not None
    estimate, expected = output.reference.result().estimate("plaquette"), exact.result().estimate("plaquette").value
    assert expected == pytest.approx(0.699252, abs=5e-7)
    assert estimate.sigma is not None
    assert 0 < estimate.sigma < 1e-3
    assert estimate.tau is not None
    assert abs(estimate.value - expected) < 3 * estimate.sigma


def test_probe_qmc_agrees_with_exact_diagonalisation(tmp_path: Path) -> None:
    options = ["system=square_tfim", "system.length_x=3", "system.length_y=3", "stages=[baseline]"]
    options += ["system.field=2", "tracker=none", "progress=false"]
    amounts = ["baseline.qmc.sweeps=100", "baseline.qmc.measurements=60", "threads=2"]
    output = run(tmp_path, [*options, "baseline=qmc", *amounts])
    exact = run(tmp_path, options).reference
    assert output.reference is not None
    assert exact is not None
    for name in ("energy", "absolute_magnetisation", "nearest_correlation"):
        estimate = output.reference.result().estimate(name)
        assert estimate.sigma is not None
        assert 0 < estimate.sigma < 1e-3 * max(1.0, abs(estimate.value))
        assert abs(estimate.value - exact.result().estimate(name).value) < 3 * estimate.sigma


def test_command_line_prints_energy_reference_and_where_the_report_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*SMALL, f"results_dir={tmp_path}"]) == 0
    printed = capsys.readouterr().out
    assert "energy" in printed
    assert "collective spin" in printed
    page = Path(printed.strip().splitlines()[-1].split()[-1])
    text = page.read_text()
    assert "chain_tfim n_sites=10 range=5" in text
    assert "differs from the paper" in text
    assert (page.parent / "training.png").stat().st_size > 5000
    assert '<img src="training.png"' in (page.parent / "report.html").read_text(encoding="utf-8")
    data = json.loads((page.parent / "result.json").read_text())
    assert (
        Result.from_json(data["result"]).estimate("energy").value
        > Result.from_json(data["reference"]).estimates[0].value
    )


def test_energy_below_the_exact_one_is_a_bug_that_shows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.spin.subspace.closed.Subspace.floor", lambda self: -1e6)
    assert cli.main([*SMALL, f"results_dir={tmp_path}"]) == 1
    assert "BELOW-BOUND" in capsys.readouterr().out


def test_sweep_over_groups_and_on_a_parallel_launcher(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = ["-m", "method=vmc", "system=chain_tfim,square_tfim", "train.steps=2", "stages=[train,infer,baseline]"]
    sweep += ["tracker=none", "progress=false", f"results_dir={tmp_path}"]
    assert cli.main(sweep) == 0
    assert "2 of 2 runs finished" in capsys.readouterr().out
    launcher = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "train.seed=1"]
    assert cli.main([*sweep, *launcher]) == 0
    assert "2 of 2 runs finished" in capsys.readouterr().out
    endless = ["train.steps=1000000", "time_limit_seconds=0.05", "stages=[train]"]
    assert cli.main([*sweep, *launcher, *endless]) == 1
    said = capsys.readouterr()
    assert "0 of 2 runs finished" in said.out
    assert said.err.count("time limit of 0.05 s after") == said.err.count("UNFINISHED system=") == 2


@pytest.mark.thorough
def test_sweep_reports_every_failure_and_reruns_as_a_no_op(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = ["-m", "paper=nf_nqs", "scale=smoke", "tracker=none", "progress=false", f"results_dir={tmp_path}"]
    sweep += ["stages=[train,infer,baseline]", "system.n_sites=8,10", "system.range=5", "system.coupling=0.5,1.0"]
    assert cli.main(sweep) == 1
    said = capsys.readouterr()
    assert "2 of 4 runs finished" in said.out
    assert said.err.count("FAILED system.n_sites=8") == 2
    assert "system.range=5: must lie between 1 and n_sites/2 = 4" in said.err
    monkeypatch.setattr("pipeline.stages.train.build_method", lambda *_: pytest.fail("trained again"))
    sweep = [o.replace("8,10", "10") for o in sweep]
    assert cli.main(sweep) == 0
    assert "2 of 2 runs finished" in capsys.readouterr().out


def test_reference_by_dmrg_is_an_upper_bound_and_is_kept(tmp_path: Path) -> None:
    small = ["system=chain_tfim", "system.n_sites=6", "stages=[baseline]", "tracker=none", "progress=false"]
    dmrg = [*small, "baseline=dmrg", "baseline.dmrg.bond_dimensions=[2,4]", "baseline.dmrg.max_sweeps=2"]
    found = run(tmp_path, dmrg).reference
    exact = run(tmp_path, [*small, "baseline=free_fermions"]).reference
    assert found is not None
    assert exact is not None
    energy, bound = (found.result().estimate(name) for name in ("energy", "variational_energy"))
    assert energy.bound == "extrapolated"
    assert 0 <= bound.value - exact.result().estimate("energy").value < 0.05
    again = run(tmp_path, dmrg).reference
    assert again is not None
    assert again.path == found.path
    assert again.finished == found.finished
