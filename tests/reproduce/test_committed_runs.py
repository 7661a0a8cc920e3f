"""What stands in the repository is what its command makes: no recipe may change under results that stay."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.stages.keys import Keys
from reproduce.artefact import all_artefacts, load_artefact
from reproduce.plan import make_tasks

RESULTS = Path(__file__).parents[2] / "results"


@pytest.mark.parametrize("name", all_artefacts())
def test_committed_runs_are_those_of_todays_recipes(name: str) -> None:
    """By the keys of seed 0; versions of components count too."""
    folder = RESULTS / name / "laptop"
    runs = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["runs"]
    stages = {(run["run"], stage["stage"]): stage for run in runs for stage in run["stages"]}
    for task in make_tasks(load_artefact(name), "laptop", ()):
        if task.seed != 0:
            continue
        keys = Keys(task.run)
        if "train" in task.cell.stages:
            trained = stages[task.id, "train"]
            assert trained["key"] == keys.train, task.id
            if "infer" in task.cell.stages:
                assert stages[task.id, "infer"]["key"] == keys.infer(trained["steps"]), task.id
        elif (task.id, "baseline") in stages:
            assert stages[task.id, "baseline"]["key"] == keys.baseline, task.id
