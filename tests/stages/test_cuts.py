"""Cuts: differences between a run and the same run with the paper's settings."""

import pytest

from pipeline.base.errors import ConfigError
from pipeline.stages.compose import compose_paper, compose_run
from pipeline.stages.cuts import differences
from pipeline.stages.single import deviations


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


@pytest.mark.parametrize(
    ("recipe", "word", "refused"),
    [
        ("nir/j1j2", "infer.coverage=true", "2^100"),  # check of a part against the paper's system
        ("nir", "train.sampler.embedding=6", "heads=4"),  # of a node in itself, with a value of the paper beside it
        ("nir", "baseline=quspin", "QuSpin would visit"),  # of a reference
    ],
)
def test_values_are_checked_at_the_scale_that_was_asked_for(recipe: str, word: str, refused: str) -> None:
    """Fine on a few sites; the paper's scale refuses them, and is only compared with."""
    words = [f"paper={recipe}", word]
    run = compose_run([*words, "scale=smoke"])
    with pytest.raises(ConfigError) as error:
        compose_run([*words, "scale=paper"])
    assert refused in str(error.value)
    assert any(cut.startswith("system.length_x") for cut in differences(compose_paper(words), run))
    assert any("train.phases" in sentence for sentence in deviations(run, [*words, "scale=smoke"]))


def test_unchecked_values_are_what_checked_ones_would_be() -> None:
    words = ["paper=nir", "train.optimizer.shift=0.01"]
    assert compose_paper(words) == compose_run([*words, "scale=paper"])
    taken_back = [*words[:1], "scale=smoke", "train.optimizer.shift=0.001"]  # the paper's own value
    assert not any("train.optimizer.shift" in sentence for sentence in deviations(compose_run(taken_back), taken_back))
