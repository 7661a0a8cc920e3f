"""The wheel, installed into a folder of its own and used from another one, with and without the extras."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pipeline.base.extras import EXTRA_OF

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("nqs", "pipeline", "reproduce", "conf", "results/references")
FILES = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE")

BUILD = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"

RUN = ["method=vmc", "system.n_sites=4", "train.steps=2", "tracker=none", "progress=false"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: a build leaves folders behind."""
    folder = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, folder)
    subprocess.run([sys.executable, "-c", BUILD, str(folder)], cwd=folder, capture_output=True, check=True)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the wheel is installed, and nothing else."""
    folder = tmp_path_factory.mktemp("site")
    options = ["--no-deps", "--no-index", "--no-compile", "--quiet", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, "--target", str(folder), str(wheel)], check=True)
    return folder


def call(site: Path, folder: Path, *words: str, without: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """A command in ``folder`` that finds the wheel, and the packages of our environment but those ``without``."""
    blocked = folder / ".blocked"
    blocked.mkdir(exist_ok=True)
    lines = "".join(f"sys.modules[{name!r}] = None\n" for name in without)
    (blocked / "sitecustomize.py").write_text(f"import sys\n{lines}")
    variables = {**os.environ, "PYTHONPATH": f"{blocked}{os.pathsep}{site}", "OMP_NUM_THREADS": "1"}
    variables.pop("NQS_RESULTS", None)
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)


def test_what_the_wheel_holds(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.split("/")[0].split("-")[0] for name in names} == {
        "nqs",
        "pipeline",
        "reproduce",
        "neural_quantum_states",
    }
    for folder, place in (("conf", "pipeline/data/conf"), ("results/references", "pipeline/data/results/references")):
        there = {path.relative_to(ROOT / folder).as_posix() for path in (ROOT / folder).rglob("*") if path.is_file()}
        assert {name.removeprefix(f"{place}/") for name in names if name.startswith(f"{place}/")} == there
    for pattern in ("*.py", "published.csv", "literature.csv", "py.typed"):
        for package in ("nqs", "pipeline", "reproduce"):
            assert {path.relative_to(ROOT).as_posix() for path in (ROOT / package).rglob(pattern)} <= names
    (scripts,) = (name for name in names if name.endswith("entry_points.txt"))
    text = zipfile.ZipFile(wheel).read(scripts).decode()
    assert "nqs = nqs.__main__:console" in text
    assert "nqs-reproduce = reproduce.__main__:console" in text
    assert wheel.stat().st_size < 10 * 2**20


def test_the_base_runs_from_another_folder(site: Path, tmp_path: Path) -> None:
    """Configuration, exact energies, a report and the state in hand, with no extra installed."""
    without = tuple(EXTRA_OF)
    done = call(site, tmp_path, "-m", "nqs", *RUN, without=without)
    assert done.returncode == 0, done.stderr
    assert "energy" in done.stdout
    (page,) = (tmp_path / "results" / "_runs").glob("*/report.md")
    assert "no figure: matplotlib is not installed (pip install 'neural-quantum-states[report]')" in page.read_text()
    listed = call(site, tmp_path, "-m", "nqs", "list", "--json", without=without)
    run = json.loads(listed.stdout)
    assert (run["reference_kind"], run["size"]) == ("free fermions", 4)
    (tmp_path / "notebook").mkdir()
    code = f"import nqs; print(nqs.__file__); print(nqs.load({run['key']!r}).expectation().mean); nqs.runs()"
    asked = call(site, tmp_path / "notebook", "-c", code, without=without)
    where, energy = asked.stdout.split()
    assert where.startswith(str(site))
    assert float(energy) == pytest.approx(run["energy"], abs=1e-6)
    assert "nqs.runs needs pandas, which is not installed: pip install 'neural-quantum-states[report]'" in asked.stderr
    provenance = next((tmp_path / "results" / "_store" / "train").glob("*/provenance.json"))
    assert json.loads(provenance.read_text())["git"] == "unknown"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["pipeline", *RUN, "system=chain_heisenberg"],
            "baseline.use=quspin: needs quspin, which is not installed: pip install 'neural-quantum-states[exact]' "
            "(or baseline=none)",
        ),
        (["pipeline", *RUN, "baseline=dmrg"], "baseline.use=dmrg: needs tenpy, which is not installed"),
        (["reproduce", "table1"], "reproducing tables and figures needs jinja2, matplotlib, pandas, which are not"),
    ],
)
def test_a_missing_extra_is_one_line_before_anything_runs(
    words: list[str], message: str, site: Path, tmp_path: Path
) -> None:
    done = call(site, tmp_path, "-m", *words, without=tuple(EXTRA_OF))
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"error: {message}")
    assert not (tmp_path / "results" / "_store" / "train").exists()


def test_papers_and_committed_references_are_there(site: Path, tmp_path: Path) -> None:
    """A plan knows the recipes and the printed numbers; a committed reference is read without what computed it."""
    plan = call(site, tmp_path, "-m", "reproduce", "naqs-table1", "--plan")
    assert plan.returncode == 0, plan.stderr
    assert "naqs/table1: about" in plan.stdout
    reference = ["stages=[baseline]", "system.n_sites=30", "system.range=8", "progress=false"]
    found = call(site, tmp_path, "-m", "pipeline", *reference, without=tuple(EXTRA_OF))
    assert found.returncode == 0, found.stderr
    assert "`baseline/27153749512624d8`" in found.stdout


@pytest.mark.thorough
def test_two_commands_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    """What pip finds for the base by itself is enough for a paper at smoke scale, from another folder."""
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", str(python.parents[1])], check=True)
    quiet = ["--quiet", "--disable-pip-version-check", "-c", str(ROOT / "constraints.txt")]
    done = subprocess.run(
        [str(python), "-m", "pip", "install", *quiet, str(wheel)], capture_output=True, text=True, check=False
    )
    if done.returncode and re.search("name resolution|establish a new connection", done.stderr):
        pytest.skip("no index of packages is at hand")
    assert done.returncode == 0, done.stderr
    variables = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "NQS_RESULTS")}
    options = ["paper=nf_nqs", "scale=smoke", "tracker=none", "progress=false"]
    command = [str(python.with_name("nqs")), *options]
    (tmp_path / "elsewhere").mkdir()
    ran = subprocess.run(
        command, cwd=tmp_path / "elsewhere", env=variables, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "energy" in ran.stdout
    assert list((tmp_path / "elsewhere" / "results" / "_runs").glob("*/report.md"))
