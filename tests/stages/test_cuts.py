"""Cuts: differences between a run and the same run with the paper's settings."""

from pipeline.stages.compose import compose_run
from pipeline.stages.cuts import differences


def cuts(*overrides: str) -> tuple[str, ...]:
    paper = compose_run([*overrides, "scale=paper"])
    return differences(paper, compose_run([*overrides, "scale=smoke"]))


def test_of_all_baselines_only_the_chosen_one_is_cut() -> None:
    small = ["paper=pseudofermion/small", "stages=[baseline]"]
    sampled, reweighted = cuts(*small, "baseline=hmc"), cuts(*small, "system.length=4", "baseline=reweighting")
    assert "system.length: 8 → 4" in sampled
    assert "baseline.hmc.chains: 128 → 4" in sampled
    assert not [cut for cut in sampled if "reweighting" in cut]
    assert "baseline.reweighting.measurements: 128 → 2" in reweighted
    assert all(cut.startswith("baseline.reweighting.") for cut in reweighted)


def test_stages_that_do_not_run_are_not_cut() -> None:
    assert all(cut.startswith(("train.", "infer.")) for cut in cuts("paper=nf_nqs", "stages=[train,infer]"))
    assert not [cut for cut in cuts("paper=nf_nqs", "stages=[baseline]") if cut.startswith(("train.", "infer."))]


def test_phases_show_what_they_set() -> None:
    (phases,) = [cut for cut in cuts("paper=naqs", "stages=[train,infer]") if cut.startswith("train.phases")]
    before, after = phases.removeprefix("train.phases: ").split(" → ")
    assert before.endswith("{steps:5000,samples:8000,sgd:{lr:0.001,momentum:0.9}}]")
    assert after.startswith(
        "[{steps:2,samples:8,lr:0.01,system:{length_x:3,length_y:3}},{steps:1,samples:8,sr:{lr:0.01,"
    )


def test_settings_at_their_neutral_values_are_shown_as_what_they_are() -> None:
    """Keys leave them out; a reader must not take them for nothing, nor for everything."""
    found = dict(cut.split(": ") for cut in cuts("paper=nir/divergences"))
    assert found["train.optimizer.solver"] == "pinv → cholesky"
    assert found["train.optimizer.guard"] == "False → True"
    assert found["train.optimizer.max_distance"] == "not set → 0.1"


def test_settings_that_only_one_of_two_has() -> None:
    """Other baselines have values, which nothing uses."""
    words = ["paper=pseudofermion/small", "stages=[baseline]", "system.length=4"]
    sampled, reweighted = (compose_run([*words, f"baseline={name}"]) for name in ("hmc", "reweighting"))
    found = dict(cut.split(": ") for cut in differences(sampled, reweighted))
    assert found["baseline.hmc.chains"].endswith("→ –")
    assert found["baseline.reweighting.measurements"].startswith("– →")
    joint = [compose_run([f"paper=pseudofermion/{name}", "scale=paper"]) for name in ("su3_joint", "joint")]
    assert "infer.correlator_time: 4 → not set" in differences(*joint)
