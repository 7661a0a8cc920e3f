"""Records and ensembles: the bits that were written, without ever holding all of them."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.base.contracts import Record
from pipeline.base.run import loop as loops
from pipeline.base.run.loop import Loop, LoopSettings
from pipeline.base.store.ensemble import save_ensemble
from pipeline.base.store.files import load_tree, save_tree, tree_digest
from pipeline.base.store.records import Records, save_records
from pipeline.gauge.hmc import ensemble

CHAINS, COUNT, TRAJECTORIES = 4, 60, 2


def record(k: int, links: int = 6) -> dict[str, Any]:
    """What hybrid Monte Carlo measures, with made-up numbers."""
    generator = np.random.default_rng(k)
    along = (CHAINS, TRAJECTORIES)
    return {
        "plaquette": generator.normal(0.7, 0.1, along),
        "accepted": generator.uniform(size=along) < 0.9,
        "broken": np.zeros(along, dtype=bool),
        "exp_minus_delta_h": generator.normal(1.0, 0.1, along),
        "links": generator.normal(size=(CHAINS, links)).astype(np.complex64),
        "volume": 16,
    }


def write(folder: Path, links: int = 6, a_file: int = 7) -> list[dict[str, Any]]:
    for begin in range(0, COUNT, a_file):
        chunk = [record(k, links) for k in range(begin, min(begin + a_file, COUNT))]
        save_records(folder / f"records-measure-{begin:08d}.npz", chunk)
    return [record(k, links) for k in range(COUNT)] if links < 100 else []


def test_records_of_many_files_are_one_sequence(tmp_path: Path) -> None:
    written, found = write(tmp_path), Records.of(tmp_path)
    assert len(found) == COUNT
    for here, there in zip(found, written, strict=True):
        assert list(here) == list(there)
        assert all(np.array_equal(here[name], there[name]) for name in there)
    assert type(found[-1]["volume"]) is int
    np.testing.assert_array_equal(found[-1]["links"], written[-1]["links"])
    assert [r["plaquette"][0, 0] for r in found[5:9]] == [r["plaquette"][0, 0] for r in written[5:9]]
    assert "energy" not in found[0]
    with pytest.raises(KeyError, match="energy"):
        found[0]["energy"]
    with pytest.raises(IndexError):
        found[COUNT]


@pytest.mark.parametrize("block", [1, 1000, 10**9])
def test_an_ensemble_holds_the_bits_of_its_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr("pipeline.base.store.ensemble.BLOCK_BYTES", block)
    written = write(tmp_path)
    save_ensemble(tmp_path / "ensemble.safetensors", Records.of(tmp_path), ensemble.kept)
    tree = load_tree(tmp_path / "ensemble.safetensors")
    expected = {
        "plaquette": np.stack([r["plaquette"][:, -1] for r in written], axis=1),
        "links": np.stack([r["links"] for r in written], axis=1),
    }
    assert list(tree) == list(expected)
    assert tree["links"].dtype == np.complex64
    for name, array in expected.items():
        np.testing.assert_array_equal(tree[name], array)
    save_tree(tmp_path / "whole", expected)  # as the library writes it: the same content
    assert tree_digest(load_tree(tmp_path / "whole")) == tree_digest(tree)


def test_an_ensemble_of_unlike_records_is_refused(tmp_path: Path) -> None:
    records: list[Record] = [{"a": np.zeros((2, 3))}, {"a": np.zeros((2, 4))}]
    with pytest.raises(ValueError, match="differ in names, shapes or dtypes"):
        save_ensemble(tmp_path / "e", records, dict)
    with pytest.raises(TypeError, match="a of an ensemble is complex128"):
        save_ensemble(tmp_path / "e", [{"a": np.zeros(2, dtype=complex)}], dict)
    assert not list(tmp_path.iterdir())


def test_summarising_and_keeping_an_ensemble_takes_a_fraction_of_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    links = 40_000
    write(tmp_path, links, a_file=5)
    total = COUNT * CHAINS * links * 8
    monkeypatch.setattr("pipeline.base.store.ensemble.BLOCK_BYTES", total // 20)
    tracemalloc.start()
    try:
        records = Records.of(tmp_path)
        save_ensemble(tmp_path / "ensemble.safetensors", records, ensemble.kept)
        result = ensemble.summarise(records)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert result.estimate("plaquette").n == COUNT * TRAJECTORIES * CHAINS
    assert (tmp_path / "ensemble.safetensors").stat().st_size > total
    assert peak < total / 5, f"{peak / 1e6:.0f} of {total / 1e6:.0f} MB"


class Nothing:
    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, tree: dict[str, Any]) -> None:
        pass


def test_large_records_are_written_before_the_next_checkpoint_is_due(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loops, "MOST_PENDING_BYTES", 3 * 8000)
    loop = Loop(tmp_path, Nothing(), LoopSettings(checkpoint_seconds=1e9))
    loop.run("measure", lambda state, k: {"k": k, "a": np.full(1000, k)}, 10, keep_records=True)
    assert len(list(tmp_path.glob("records-*.npz"))) == 4
    assert [r["k"] for r in Records.of(tmp_path)] == list(range(10))
