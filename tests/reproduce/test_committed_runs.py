"""What stands in the repository is what its command makes: no recipe may change under results that stay."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.stages.keys import Keys
from reproduce.artefact import load_artefact
from reproduce.plan import make_tasks

RESULTS = Path(__file__).parents[2] / "results"

PAGES = (
    "contest-equal",
    "nf_nqs-fig2",
    "nf_nqs-fig3",
    "nf_nqs-table1",
    "nf_nqs-table2",
    "nir-divergences",
    "nir-error_per_second",
    "nir-fig2",
    "nir-fig3",
    "nir-fig4",
    "nir-table1",
    "pseudofermion-cost",
    "pseudofermion-fig2",
    "pseudofermion-fig4",
    "pseudofermion-fig5",
    "pseudofermion-fig6",
    "pseudofermion-fig7",
    "pseudofermion-text",
)


@pytest.mark.parametrize("name", PAGES)
def test_committed_runs_are_those_of_todays_recipes(name: str) -> None:
    """By the keys of seed 0; versions of components count too."""
    folder = RESULTS / name.replace("-", "/", 1) / "laptop"
    runs = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["runs"]
    stages = {(run["run"], stage["stage"]): stage for run in runs for stage in run["stages"]}
    for task in make_tasks(load_artefact(name), "laptop", ()):
        if task.seed != 0:
            continue
        keys = Keys(task.run)
        if "train" in task.cell.stages:
            trained = stages[task.id, "train"]
            assert trained["key"] == keys.train, task.id
            assert stages[task.id, "infer"]["key"] == keys.infer(trained["steps"]), task.id
        elif (task.id, "baseline") in stages:
            assert stages[task.id, "baseline"]["key"] == keys.baseline, task.id
