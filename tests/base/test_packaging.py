"""pyproject.toml, constraints.txt, environment.yml and the Makefile agree with each other."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from pipeline.base.extras import EXTRA_OF
from pipeline.base.extras import PROJECT as PROJECT_NAME

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def locked() -> dict[str, str]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
    pairs = [line.split("==") for line in lines]
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pairs}


def test_every_requirement_is_locked_to_a_version_that_it_allows() -> None:
    versions = locked()
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    for text in (text for group in groups for text in group):
        requirement = Requirement(text)
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        assert name in versions, f"{text} is not in constraints.txt"
        assert requirement.specifier.contains(versions[name]), f"{text} does not allow {versions[name]}"


def test_extras_bring_what_is_said_to_be_missing_without_them() -> None:
    distributions = {"tenpy": "physics-tenpy", "PIL": "pillow", "markdown_it": "markdown-it-py"}
    for module, extra in EXTRA_OF.items():
        names = {Requirement(text).name for text in PROJECT["optional-dependencies"][extra]}
        assert distributions.get(module, module) in names
        assert distributions.get(module, module) not in {Requirement(text).name for text in PROJECT["dependencies"]}
    assert PROJECT["name"] == PROJECT_NAME


def test_lock_names_no_local_build() -> None:
    assert not [name for name, version in locked().items() if "+" in version]


def test_conda_environment_installs_this_package_under_the_lock() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["name"] == PROJECT["name"]
    (pip,) = [d["pip"] for d in environment["dependencies"] if isinstance(d, dict)]
    extras = sorted({*PROJECT["optional-dependencies"]} - {"bench"})
    assert pip[0] == "-c constraints.txt"
    assert sorted(pip[1].removeprefix("-e .[").removesuffix("]").split(",")) == extras
    wanted = pip[1].removeprefix("-e ")
    assert f"-c constraints.txt -e '{wanted}'" in (ROOT / "Makefile").read_text()
    (python,) = [d for d in environment["dependencies"] if isinstance(d, str) and d.startswith("python=")]
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(python.split("=")[1] + ".0")


def test_make_alone_lists_every_target() -> None:
    shown = subprocess.run(["make", "-C", str(ROOT)], capture_output=True, text=True, check=True).stdout
    targets = re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert {"env", "test", "lint", "reproduce-all"} <= set(targets)
    assert [t for t in targets if f"  {t} " not in shown] == []
    assert "reproduce-NAME" in shown
    assert "plan-NAME" in shown


def test_continuous_integration_calls_the_tests() -> None:
    assert "make test" in (ROOT / ".ci" / "run").read_text()
    assert ".ci/run" in (ROOT / ".github" / "workflows" / "test.yml").read_text()


def test_continuous_integration_runs_every_python_that_is_supported() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text())
    versions = workflow["jobs"]["test"]["strategy"]["matrix"]["python"]
    allowed = Requirement(f"python{PROJECT['requires-python']}").specifier
    assert versions == [f"3.{minor}" for minor in range(30) if allowed.contains(f"3.{minor}.0")]


def test_thorough_tests_run_by_themselves() -> None:
    """Once a week, with a browser and micromamba at hand, which the ordinary job does without."""
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "thorough.yml").read_text())
    assert "schedule" in workflow[True], "yaml reads `on` so"
    steps = workflow["jobs"]["thorough"]["steps"]
    commands = [step["run"] for step in steps if "run" in step]
    assert commands == ["make test-all", ".venv/bin/python -m tests.killed_sweep --kills 20"]
    assert {step["uses"].split("@")[0] for step in steps if "uses" in step} >= {
        "browser-actions/setup-chrome",
        "mamba-org/setup-micromamba",
    }


def test_conda_environment_can_be_solved(tmp_path: Path) -> None:
    """By micromamba, which needs a network; pip's part is held by the test of the lock."""
    solver = shutil.which("micromamba")
    if solver is None:
        pytest.skip("no micromamba is at hand")
    command = [solver, "create", "--dry-run", "--yes", "--prefix", str(tmp_path / "env")]
    command += ["--root-prefix", str(tmp_path / "root"), "--file", str(ROOT / "environment.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    if done.returncode and re.search("could not resolve|download error|connection", said, re.IGNORECASE):
        pytest.skip("conda-forge is out of reach")
    assert done.returncode == 0, said[-2000:]
    assert re.search(r"\bpython\b.*\b3\.11", said)
