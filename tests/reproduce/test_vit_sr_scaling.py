"""Figure 3 of the deep ViT paper: the model against counted operations and bytes, and cells of several ranks."""

from __future__ import annotations

import copy
import csv
import errno
import multiprocessing as mp
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from pipeline.spin.ansatz.build import build_ansatz
from pipeline.spin.ansatz.vit.config import ViTConfig
from pipeline.spin.chunks import Chunks
from pipeline.spin.sr.dense import DenseLogDerivatives
from pipeline.spin.systems import SquareHeisenberg
from pipeline.spin.terms import pauli_terms
from pipeline.spin.vmc.method import VariationalMonteCarlo
from pipeline.stages import profile
from reproduce import cli
from reproduce.plan import find, make_tasks
from reproduce.tables import CellRow
from reproduce.vit_sr.fig3 import A100, ARTEFACT, RANKS, claims, paper, row, verdict
from reproduce.vit_sr.scaling import Sizes, apart, exchanged, held, seconds, transposition
from tests.reproduce.rows import Rows
from tests.spin import dense
from tests.threads import Threads, in_threads

SQUARE = SquareHeisenberg(length_x=4, length_y=4, periodic=True, j1=1.0, j2=0.5)
SMALL = Sizes(sites=16, samples=12, patch=2, depth=2, width=8, heads=4, images=1, proposals=3)
QUIET = ("tracker=none", "progress=false")


def network() -> Any:
    config = ViTConfig(patch=2, depth=2, width=8, heads=4, activation="relu", output_scale=1.0, magnetisation=None)
    return build_ansatz(config, SQUARE, 0)


def test_parameters_and_operations_are_those_of_the_network() -> None:
    ansatz = network()
    assert sum(p.numel() for p in ansatz.parameters()) == SMALL.parameters
    assert paper().parameters == 267720
    spins = torch.from_numpy(dense.basis(16)[:5].copy()).to(torch.int8)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        ansatz.log_amplitude(spins)
    assert counter.get_total_flops() / 5 == pytest.approx(SMALL.amplitude, rel=0.1)


def test_connected_configurations_are_a_mean_over_the_sector() -> None:
    basis = dense.basis(16)
    sector = torch.from_numpy(basis[basis.sum(1) == 0].copy())
    bonds = {tuple(sorted(term.sites)) for term in pauli_terms(SQUARE) if len(term.sites) == 2}
    assert len(bonds) == 4 * 16
    unlike = sum(float((sector[:, i] != sector[:, j]).double().mean()) for i, j in bonds)
    assert unlike + 1 == pytest.approx(SMALL.connected)


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_bytes_that_are_sent(ranks: int) -> None:
    """Of the transposition, but for columns that make their number a multiple of the ranks."""
    ansatz = network()
    spins = torch.from_numpy(dense.basis(16)[:12].copy()).to(torch.int8)
    weights = torch.full((12,), 1 / 12, dtype=torch.float64)

    def body(own: Threads) -> int:
        DenseLogDerivatives.of(copy.deepcopy(ansatz), spins, weights, Chunks(None), own).gram()
        return own.sent

    padding = 8 * SMALL.rows / ranks * ranks
    for sent in in_threads(ranks, body):
        assert 0 <= sent - transposition(SMALL, ranks) <= padding


def test_limits_of_the_model() -> None:
    sizes = paper()
    one, many = seconds(sizes, 1, A100), seconds(sizes, 20, A100)
    assert exchanged(sizes, 1) == one.exchange == 0.0
    assert many.solve == one.solve
    assert (one.step - one.solve) / 20 == pytest.approx(many.step - many.solve - many.exchange)
    assert held(sizes, 1) - held(sizes, 20) == pytest.approx(0.95 * 8 * 12000 * 267720)
    assert apart(5.0, 1.0, 1) == 5.0
    assert apart(5.0, 1.0, 4) == 2.0


@pytest.mark.parametrize(
    ("memory", "step", "seen"),
    [
        ((8e8, 4e8, 2e8), (9.0, 5.0, 3.0), ["yes", "yes"]),
        ((8e8, 4e8, 3.9e8), (9.0, 8.0, 3.0), ["in 1 of 2", "in 1 of 2"]),
        ((8e8, 8e8, 8e8), (9.0, 9.0, 9.0), ["no", "no"]),
        ((8e8, None, None), (9.0, None, None), ["not run", "not run"]),
    ],
)
def test_what_falls_with_every_doubling(memory: Any, step: Any, seen: list[str]) -> None:
    measured = {"peak_memory": memory, "seconds_per_step": step}
    rows = [
        CellRow("vit_sr/fig3", row(ranks), "vit", name, "", ours=values[k])
        for k, ranks in enumerate(RANKS)
        for name, values in measured.items()
    ]
    table: Any = Rows(rows)
    assert [claim.seen for claim in claims(table)] == seen
    said = verdict(table)
    assert (len(said) == 2) == (None not in memory)
    assert said[-1].startswith("A model, not a measurement, of the paper's state on 20 A100s")


def only(ranks: str, results: Path) -> list[str]:
    return ["vit_sr/fig3", "--scale", "smoke", "--only", ranks, *QUIET, f"results_dir={results}"]


@pytest.mark.parametrize(
    ("fault", "rank", "reason"),
    [
        ("raises", 0, "no space left on device"),
        ("raises", 1, "rank 1: [Errno 28] no space left on device"),
        ("dies", 1, "rank 1: the process died (signal 9)"),
    ],
)
def test_a_failing_rank_is_a_failed_cell_with_its_reason(
    fault: str, rank: int, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the first step, of workers that are forked from this process to be like it; the same command then goes on."""
    step = VariationalMonteCarlo.step

    def sabotaged(self: VariationalMonteCarlo, state: Any, k: int) -> Any:
        if self.ranks.rank == rank:
            if fault == "raises":
                raise OSError(errno.ENOSPC, "no space left on device")
            os.kill(os.getpid(), signal.SIGKILL)
        return step(self, state, k)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reproduce.pool.workers_context", lambda: mp.get_context("fork"))
        patch.setattr(VariationalMonteCarlo, "step", sabotaged)
        assert cli.main(only("2-ranks", tmp_path)) == 1
    said = capsys.readouterr().err
    assert "FAILED 2-ranks/vit#0" in said
    assert reason in said
    with open(tmp_path / "_partial/vit_sr/fig3/smoke/cells.csv", newline="") as file:
        cells = [c for c in csv.DictReader(file) if c["cell"] == "2-ranks"]
    assert {c["vs_paper"] for c in cells} == {"failed"}


@pytest.mark.thorough
def test_results_of_several_ranks_are_found_by_a_process_alone(smoke_results: Path) -> None:
    assert cli.main(only("2-ranks", smoke_results)) == 0
    words = [*QUIET, f"results_dir={smoke_results}"]
    (two,) = make_tasks(ARTEFACT, "smoke", words, ["2-ranks"])
    found = find(two, print).profiled
    assert found is not None
    assert found.status["nodes"]["ranks"] == 2
    assert len({task.context().keys.of(profile.nodes) for task in make_tasks(ARTEFACT, "smoke", words)}) == 3
    assert two.command.startswith("python -m torch.distributed.run --standalone --nproc-per-node=2 -m pipeline paper=")
    names = {e.name for e in found.result().estimates}
    assert names >= {"seconds_sampling", "seconds_local_energies", "seconds_update", "seconds_solve", "peak_memory"}
    value = found.result().estimate
    assert value("seconds_exchange").value < value("seconds_per_step").value
    assert (
        sum(value(f"seconds_{p}").value for p in ("sampling", "local_energies", "update"))
        < 1.5 * value("slowest_step").value
    )
