"""Recipes: which files a paper, a recipe and a scale stand for, what is inherited, and what is an error."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from pipeline.base.config.compose import compose_config
from pipeline.base.config.folders import CONF, RECIPE, search_override
from pipeline.base.config.nodes import SCALES
from pipeline.base.config.recipes import find_recipe, recipes, scales
from pipeline.base.errors import ConfigError, MissingScale, UserError
from pipeline.stages.compose import compose_run
from pipeline.stages.cuts import differences

HEAD = "# @package _global_\n# of a test\n"
FILES = {
    "main/paper": "defaults: [override /method: vmc, override /ansatz: rbm, override /sampler: metropolis, _self_]\n"
    "system: {n_sites: 12, range: 3}\ntrain: {steps: 1000, optimizer: {lr: 0.01}}\n",
    "main/long": "train: {steps: 500}\ndeviations: {train.optimizer.lr: slower, train.steps: half of it}\n",
    "main/laptop": "defaults: [long, _self_]\ntrain: {steps: 100, optimizer: {lr: 0.02}}\n"
    "deviations: {train.steps: a tenth}\n",
    "main/smoke": "defaults: [laptop, _self_]\ntrain: {steps: 2}\nsystem: {n_sites: 6, range: 2}\n",
    "wide/paper": "defaults: [/recipe/new/main/paper, _self_]\nsystem: {range: 6}\n",
    "narrow/paper": "defaults: [/recipe/new/main/paper, override /ansatz: mps, _self_]\nuncut: [gpu]\n",
    "narrow/smoke": "defaults: [/recipe/new/main/smoke, _self_]\ntrain: {ansatz: {bond_dimension: 2}}\n",
}
"""A paper of three recipes at four scales, and one with a fifth: as many files as there are differences."""


@pytest.fixture
def new(tmp_path: Path) -> str:
    """A folder with a paper of three recipes; the override that adds it."""
    return write(tmp_path, FILES)


def write(folder: Path, files: dict[str, str], paper: str = "new") -> str:
    for name, text in files.items():
        path = folder / RECIPE / paper / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(HEAD + text)
    return search_override([str(folder)])


def test_a_paper_with_three_recipes_at_four_scales_needs_a_file_for_each_difference(new: str, tmp_path: Path) -> None:
    expected = {
        "smoke": (2, 6, 0.02, "a tenth"),
        "laptop": (100, 12, 0.02, "a tenth"),
        "long": (500, 12, 0.01, "half of it"),
        "paper": (1000, 12, 0.01, None),
    }
    for paper in ("new", "new/wide", "new/narrow"):
        for scale, numbers in expected.items():
            run = compose_run([new, f"paper={paper}", f"scale={scale}"])
            assert (run.paper, run.scale) == (paper, scale)
            said = run.deviations.get("train.steps")
            assert (run.train.steps, run.system.n_sites, run.train.optimizer.lr, said) == numbers
            assert run.system.range == (2 if scale == "smoke" else 6 if paper == "new/wide" else 3)
            assert ("train.optimizer.lr" in run.deviations) == (scale != "paper")
    assert compose_run([new, "paper=new/narrow", "scale=smoke"]).train.ansatz.bond_dimension == 2
    assert len(list(tmp_path.rglob("*.yaml"))) == len(FILES) == 7


def test_a_scale_that_a_recipe_does_not_have_is_an_error_that_names_those_it_has(new: str, tmp_path: Path) -> None:
    folders = (CONF, tmp_path)
    assert scales("new/wide", folders) == ["smoke", "laptop", "long", "paper"]
    assert scales("new/narrow", folders) == list(SCALES)
    uncut = compose_run([new, "paper=new/narrow", "scale=gpu"])
    assert differences(compose_run([new, "paper=new/narrow", "scale=paper"]), uncut) == ()
    with pytest.raises(MissingScale, match=r"^scale=gpu: paper=new/wide has smoke, laptop, long, paper$"):
        compose_run([new, "paper=new/wide", "scale=gpu"])
    with pytest.raises(MissingScale, match=r"^scale=long: paper=nf_nqs/mps has smoke, laptop, gpu, paper$"):
        compose_run(["paper=nf_nqs/mps", "scale=long"])


def test_one_file_of_a_paper_for_all_its_recipes(tmp_path: Path) -> None:
    added = write(tmp_path, {**FILES, "smoke": "train: {steps: 4}\n", "other/paper": FILES["main/paper"]})
    assert compose_run([added, "paper=new/other", "scale=smoke"]).train.steps == 4
    assert compose_run([added, "paper=new/wide", "scale=laptop"]).train.steps == 100
    assert find_recipe("new", "smoke", (CONF, tmp_path)).files == ("new/main/paper", "new/main/smoke")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["scale=smoke"], r"^scale=smoke: .* needs paper=\.\.\.$"),
        (["scale=smoke", "paper=none"], r"^scale=smoke: .* needs paper=\.\.\.$"),
        (["paper=nf_nqss"], r"^paper=nf_nqss: must be one of none, .*naqs, .*did you mean 'nf_nqs'\?"),
        (["paper=nf_nqs/msp"], r"^paper=nf_nqs/msp: .*did you mean 'nf_nqs/mps'\?"),
        (["paper=nf_nqs_mps"], r"^paper=nf_nqs_mps: .*did you mean 'nf_nqs/mps'\?"),
        (["paper=nf_nqs,naqs"], r"^paper: several values are a sweep, which needs -m"),
        (["paper=nf_nqs", "scale=smoke,laptop"], r"^scale: several values are a sweep"),
        (["paper=nf_nqs", "scale=null"], r"^scale=null: must be one of smoke"),
        (["paper=null"], r"^paper=null: must be one of none"),
        (["paper=nf_nqs", "deviations={a:b}"], r"^deviations: belongs to the recipe"),
        (["recipe/naqs/main=smoke"], r"^recipe/naqs/main: no such config group"),
        (["+run_recipe=naqs/main/smoke"], r"keys can be set, not added"),
    ],
)
def test_what_is_typed_wrongly(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compose_run(words)


def test_without_a_paper_there_is_no_scale() -> None:
    run = compose_run([])
    assert (run.paper, run.scale) == ("none", None)
    assert compose_run(["paper=nf_nqs/main"]).paper == "nf_nqs"
    assert compose_run(["paper=nf_nqs"]).scale == OmegaConf.load(CONF / "config.yaml").scale == "laptop"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "train: {stpes: 3}\n",
            r"^train\.stpes: is set by the paper \(recipe/bad/main/paper\.yaml\) but does not exist",
        ),
        ("train: {steps: many}\n", r"^train\.steps=many: must be an integer \(in recipe/bad/main/paper\.yaml\)$"),
        ("train: {steps: -1}\n", r"^train\.steps=-1: must be at least 0$"),
        ("train: {optimizer: {lr: 0}}\n", r"^train\.optimizer\.lr=0\.0: must be a positive number$"),
        ("defaults: [override /system: chain_tfin]\n", r"^system=chain_tfin: must be one of .*mean 'chain_tfim'"),
        ("train: [\n", r"a configuration file cannot be read|bad/main/paper\.yaml: cannot be read"),
    ],
)
def test_what_a_recipe_says_wrongly_is_named_with_its_full_key(tmp_path: Path, text: str, message: str) -> None:
    added = write(tmp_path, {"main/paper": text}, paper="bad")
    with pytest.raises(UserError, match=message) as caught:
        compose_run([added, "paper=bad", "scale=paper"])
    assert "\n" not in str(caught.value)


def test_a_bad_value_in_the_phases_of_a_recipe(tmp_path: Path) -> None:
    phases = (
        "defaults: [override /method: vmc]\ntrain:\n  phases:\n    - {steps: 1, adam: {lr: -1, betas: [0.9, 0.9]}}\n"
    )
    added = write(tmp_path, {"main/paper": phases}, paper="bad")
    with pytest.raises(ConfigError, match=r"^train\.phases\[0\]\.adam\.lr=-1\.0: must be a positive number$"):
        compose_run([added, "paper=bad", "scale=paper"])


def test_every_recipe_names_what_its_deviations_are_about() -> None:
    """A key of a deviation is one that differs from the paper's; empty sentences take one of a scale below back."""
    for paper in recipes((CONF,)):
        for scale in scales(paper, (CONF,)):
            run = compose_run([f"paper={paper}", f"scale={scale}"])
            cuts = [cut.split(":")[0] for cut in differences(compose_run([f"paper={paper}", "scale=paper"]), run)]
            for key, sentence in run.deviations.items():
                whole = key.partition("[")[0]
                differs = any(cut == whole or cut.startswith(f"{whole}.") for cut in cuts)
                assert differs == bool(sentence), (paper, scale, key)


def test_no_file_of_a_recipe_is_empty_or_repeats_what_it_extends() -> None:
    """Every scale of its own changes something of what it extends, and no two files say the same."""
    contents: dict[str, Path] = {}
    for path in (CONF / RECIPE).rglob("*.yaml"):
        content = OmegaConf.to_yaml(OmegaConf.load(path))
        assert set(OmegaConf.load(path)) - {"defaults"}, f"{path} sets nothing"
        assert contents.setdefault(content, path) == path, f"{path} repeats {contents[content]}"


def test_precedence() -> None:
    """Group < paper < scale < user."""
    draws = [
        compose_config(words).train.method.draws
        for words in ([], ["paper=nf_nqs", "scale=paper"], ["paper=nf_nqs", "scale=laptop"])
    ]
    assert len(set(draws)) == 3
    assert compose_config(["paper=nf_nqs", "scale=laptop", "train.method.draws=7"]).train.method.draws == 7
