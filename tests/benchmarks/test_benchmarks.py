"""The benchmark harness at its tiny size; nothing here looks at how long anything takes."""

from __future__ import annotations

import csv
import importlib.util
import itertools
import math
import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks import lattice, measure, ours, peer, scaling, steps, table, worker
from benchmarks.__main__ import main
from benchmarks.cases import CASES, case
from benchmarks.contract import Case, Contender, Work
from benchmarks.measure import Row
from benchmarks.sizes import SIZES

NETKET = importlib.util.find_spec("netket") is not None


def broken() -> Work:
    raise ValueError("no such thing")


def test_tables_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["local_energies", "--size", "tiny", "--repeats", "2", "--out", str(tmp_path)]) == 0
    with open(tmp_path / "local_energies.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["contender"] for row in rows] == [c.name for c in case("local_energies", "tiny").contenders]
    for row in rows:
        if row["package"] == "netket" and not NETKET:
            assert row["status"] == "not installed"
            assert row["warm_wall_s"] == row["version"] == ""
            continue
        assert row["status"] == "ok"
        assert float(row["warm_wall_s"]) > 0
        assert float(row["cold_wall_s"]) > 0
        assert row["repeats"] == "2"
    assert float(rows[0]["wall_over_first"]) == 1
    text = (tmp_path / "local_energies.md").read_text()
    assert text in capsys.readouterr().out
    assert "| ours | " in text
    assert ("not installed" in text) != NETKET


COMPILED = ("trajectories_u1", "forces_u1", "forces_su3")
"""Cases whose loops take longer to compile than all others take to run; their loops have tests of their own."""


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.thorough) if n in COMPILED else n for n in CASES])
def test_our_side_of_every_case_runs(name: str) -> None:
    chosen = case(name, "tiny")
    for contender in chosen.contenders:
        if contender.package == "torch":
            contender.build().run()


@pytest.mark.skipif(not NETKET, reason="needs the extra [bench]")
@pytest.mark.parametrize("name", CASES)
def test_the_other_side_of_every_case_runs(name: str) -> None:
    for contender in case(name, "tiny").contenders:
        if contender.package == "netket":
            contender.build().run()


@pytest.mark.parametrize("branches", [1, 2])
def test_both_of_our_local_energies_are_the_same_numbers(branches: int) -> None:
    import torch

    def energies(reuse: bool) -> torch.Tensor:
        torch.manual_seed(0)
        found = ours.local_energies(4, 3, 5, 6, 3.0, branches, reuse).run()
        assert isinstance(found, torch.Tensor)
        return found

    torch.testing.assert_close(energies(True), energies(False), rtol=1e-5, atol=0)


@pytest.mark.skipif(not NETKET, reason="needs the extra [bench]")
@pytest.mark.parametrize("name", ["steps_resnet", "steps_vit"])
def test_networks_of_steps_have_the_same_parameters(name: str) -> None:
    assert len({contender.build().parameters for contender in case(name, "tiny").contenders}) == 1


@pytest.mark.parametrize("network", steps.NETWORKS)
def test_parts_of_a_step_make_up_the_step(network: str, tmp_path: Path) -> None:
    parts = steps.step(network, 4, 6, "layerwise").run()
    assert isinstance(parts, dict)
    assert list(parts) == [steps.SAMPLING, steps.ENERGIES, steps.UPDATE]
    assert all(seconds > 0 for seconds in parts.values())
    row = Row("ours", "torch", "1", "ok", wall=[9.0, 1.0, 3.0], cpu=[9.0, 1.0, 3.0])
    row.parts = [{"a part": 8.0}, {"a part": 0.5}, {"a part": 1.5}]
    plain = Row("other", "torch", "1", "ok", wall=[9.0, 2.0, 2.0], cpu=[9.0, 2.0, 2.0])
    text = table.write(tmp_path, "x", Case("A title", 1, "steps", (), ()), [row, plain], 1).read_text()
    assert "| a part s |" in text
    with open(tmp_path / "x.csv") as file:
        assert [record["a_part_s"] for record in csv.DictReader(file)] == ["1.0", ""]


def test_forces_against_the_lattice_size(tmp_path: Path) -> None:
    """Numbers a configuration, whatever the number of configurations."""
    text = "contender,status,configurations_a_second,warm_wall_s,warm_cpu_s,peak_bytes\n"
    text += '"Hasenbusch, 4×4",ok,16,0.5,0.4,1024\n"Hasenbusch, 8×8",ok,4,2,1.6,8388608\n"exact, 4×4",failed: x,,,,\n'
    (tmp_path / "forces_u1.csv").write_text(text)
    points = scaling.read(tmp_path / "forces_u1.csv")
    assert points.keys() == {"Hasenbusch"}
    assert points["Hasenbusch"][8] == {"seconds": 0.2, "bytes": 2**20}
    assert points["Hasenbusch"][4]["seconds"] == 0.05
    assert math.isnan(points["Hasenbusch"][4]["bytes"])
    assert scaling.main(["--out", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"forces_u1.csv", "forces.svg", "forces.png"}
    assert "U(1), Hasenbusch" in (tmp_path / "forces.svg").read_text()


@pytest.mark.parametrize("group", ["u1", "su3"])
def test_all_dirac_operators_are_the_same(group: str) -> None:
    import torch

    expected = lattice.apply_rolled(group, 4, 3, 1).run()
    for compiled in (True, False):
        image = lattice.apply_dirac(group, 4, 3, 1, compiled).run()
        torch.testing.assert_close(image, expected, atol=1e-13, rtol=0)


def test_sizes_of_the_networks_that_are_compared() -> None:
    """Same parameters to 2 %, and with them the same operations; one branch of ours has nearly as many as NetKet's."""
    s = SIZES["full"]
    mine = ours.multiply_adds(s.length, s.depth, s.width, 2)
    assert mine == 144 * (131_106 - 6 * 32 - 5 * 32 - 2)  # every weight but no bias, once a site
    assert peer.multiply_adds(s.length, s.depth, s.matched) == pytest.approx(mine, rel=0.02)
    assert mine / peer.multiply_adds(s.length, s.depth, s.width) == pytest.approx(3.5, abs=0.1)
    single = ours.multiply_adds(s.length, s.depth, s.width, 1)
    assert single == 144 * (33_666 - 5 * 32 - 2)
    assert single / peer.multiply_adds(s.length, s.depth, s.width) == pytest.approx(8 / 9, abs=0.01)


def test_failures_and_missing_packages_are_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contenders = (Contender("broken", "torch", broken), Contender("absent", "no-such-package", broken))
    chosen = Case("A title", 5, "items", contenders, ("A note.",))
    monkeypatch.setattr(measure, "case", lambda name, size: chosen)
    rows = measure.measure("does_not_exist", "tiny", 2, 1)  # the process of a contender finds no such case
    assert rows[0].status.startswith("failed: ConfigError")
    assert rows[1].status == "not installed"
    text = table.write(tmp_path, "x", chosen, rows, 1).read_text()
    assert "failed: ConfigError" in text
    assert "A note." in text


def test_ratios_are_those_of_each_round() -> None:
    """Load that doubles every time of a round changes no ratio, though it changes medians."""
    first = Row("a", "torch", "1", "ok", wall=[9.0, 1.0, 2.0, 4.0], cpu=[9.0, 1.0, 1.0, 1.0])
    other = Row("b", "torch", "1", "ok", wall=[1.0, 3.0, 6.0, 12.0], cpu=[1.0, 2.0, 3.0, 7.0])
    assert other.ratio(first, "wall") == 3.0
    assert other.ratio(first, "cpu") == 3.0
    assert other.warm("wall") == 6.0
    assert other.spread("wall") == 4.5
    assert Row("c", "torch", "", "not installed").ratio(first, "wall") is None


def test_memory_of_building_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def build() -> Work:
        np.ones(2**25)  # 256 MiB, given back at once
        return Work(lambda: None, 0, 0)

    chosen = Case("A title", 1, "items", (Contender("large", "numpy", build),), ())
    monkeypatch.setattr("benchmarks.cases.case", lambda name, size: chosen)
    answers = worker._Answers("x", "tiny", 0, 1)
    answers.build()
    assert 250 < answers.peak()["bytes"] / table.MIB < 300


def test_environment_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    with measure._environment(3):
        assert os.environ["OMP_NUM_THREADS"] == "3"
        assert os.environ["JAX_PLATFORMS"] == "cpu"
    assert os.environ["OMP_NUM_THREADS"] == "5"
    assert "JAX_PLATFORMS" not in os.environ


@pytest.mark.parametrize(
    ("arguments", "key"),
    [(["nothing"], "benchmark"), (["--size", "huge"], "--size"), (["--repeats", "0"], "--repeats")],
)
def test_refused(arguments: list[str], key: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert key in capsys.readouterr().err


def test_names_of_contenders_are_distinct() -> None:
    for name, size in itertools.product(CASES, SIZES):
        names = [contender.name for contender in case(name, size).contenders]
        assert len(set(names)) == len(names)
