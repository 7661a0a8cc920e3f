"""Trees and records on disk: bit for bit, without pickle, and never half a file."""

from __future__ import annotations

import json
import math
import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from safetensors import SafetensorError

from pipeline.base.store.files import atomic_path, load_tree, save_tree, write_json
from pipeline.base.store.records import Records, save_records


def read(path: Path) -> list[dict[str, Any]]:
    return [dict(record) for record in Records([path])]


def identical(a: Any, b: Any) -> bool:
    """Same types, same structure, same bits."""
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(identical(a[k], b[k]) for k in a)
    if type(a) is not type(b):
        return False
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(identical, a, b))
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and identical(a.detach().numpy(), b.detach().numpy())
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, float):
        return struct.pack("d", a) == struct.pack("d", b)
    return bool(a == b)


def round_trip(tmp_path: Path, tree: dict[str, Any]) -> dict[str, Any]:
    save_tree(tmp_path / "tree", tree)
    return load_tree(tmp_path / "tree")


def test_leaves(tmp_path: Path) -> None:
    tree = {
        "int": 3,
        "large": 2**80,
        "float": 0.1,
        "tiny": 5e-324,
        "negative zero": -0.0,
        "nan": math.nan,
        "inf": math.inf,
        "-inf": -math.inf,
        "true": True,
        "false": False,
        "none": None,
        "text": 'naïve "quoted"\n',
        "empty": {"dict": {}, "list": [], "tuple": (), "text": ""},
        "nested": [(1, [2.5, (None, {"a": (True,)})]), {}],
    }
    assert identical(round_trip(tmp_path, tree), tree)


def test_keys(tmp_path: Path) -> None:
    tree: dict[str, Any] = {"by int": {0: "a", 1: "b"}, "mixed": {"0": 1, 0: 2, (1, "x"): 3, None: 4, 2.5: 5}}
    loaded = round_trip(tmp_path, tree)
    assert identical(loaded, tree)
    assert [type(key) for key in loaded["mixed"]] == [str, int, tuple, type(None), float]


def test_names_of_the_format_are_ordinary_keys(tmp_path: Path) -> None:
    tree = {"dict": [1], "list": {"tuple": (1,)}, "array": "a0", "tensor": {"tensor": torch.ones(2)}}
    assert identical(round_trip(tmp_path, tree), tree)


@pytest.mark.parametrize(
    "dtype",
    [torch.float16, torch.float32, torch.float64, torch.int8, torch.uint8, torch.int32, torch.int64, torch.bool],
)
def test_tensors(tmp_path: Path, dtype: torch.dtype) -> None:
    values = torch.arange(24).reshape(2, 3, 4)
    tensors = [values, values[0, 0, 1], values[:0], torch.zeros(0, 3), values.transpose(0, 2), values[:, ::2, 1]]
    tree = {"tensors": [t.to(dtype) for t in tensors], "arrays": [t.to(dtype).numpy() for t in tensors]}
    assert identical(round_trip(tmp_path, tree), tree)


def test_bits_of_floats(tmp_path: Path) -> None:
    """Payloads of NaN, signed zeros and denormals survive."""
    bits = np.array([0x7FF8000000000123, 0xFFF0000000000001, 1, 1 << 63, 0x7FF0000000000000], dtype=np.uint64)
    tree = {"tensor": torch.from_numpy(bits.view(np.float64).copy()), "array": bits.view(np.float64)}
    assert identical(round_trip(tmp_path, tree), tree)


def test_views_and_parameters(tmp_path: Path) -> None:
    base = torch.arange(10.0)
    weight = torch.nn.Parameter(torch.randn(3, 2))
    loaded = round_trip(tmp_path, {"a": base[::3], "b": base[2:5], "same": base[2:5], "weight": weight})
    assert torch.equal(loaded["a"], base[::3])
    assert torch.equal(loaded["b"], base[2:5])
    assert torch.equal(loaded["weight"], weight)
    loaded["b"][0] = -1.0
    assert loaded["same"][0] == 2.0
    assert base[2] == 2.0


def test_loaded_arrays_are_writable(tmp_path: Path) -> None:
    loaded = round_trip(tmp_path, {"a": np.arange(3), "t": torch.arange(3)})
    loaded["a"] += 1
    loaded["t"] += 1
    assert loaded["a"].tolist() == loaded["t"].tolist() == [1, 2, 3]


def test_modules_keep_their_order(tmp_path: Path) -> None:
    network = torch.nn.Sequential(*[torch.nn.Linear(2, 2) for _ in range(12)])
    state = network.state_dict()
    assert isinstance(state, OrderedDict)
    loaded = round_trip(tmp_path, {"network": state})["network"]
    assert list(loaded) == list(state)
    other = torch.nn.Sequential(*[torch.nn.Linear(2, 2) for _ in range(12)])
    other.load_state_dict(loaded)
    assert all(torch.equal(p, q) for p, q in zip(network.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_adam_goes_on_as_if_never_stopped(tmp_path: Path, dtype: torch.dtype) -> None:
    def make() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(1)
        network = torch.nn.Linear(3, 2).to(dtype)
        return network, torch.optim.Adam(network.parameters(), lr=0.05, betas=(0.8, 0.99), amsgrad=True)

    def train(network: torch.nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
        for k in steps:
            optimizer.zero_grad()
            network(torch.full((4, 3), 0.1 * k, dtype=dtype)).square().sum().backward()
            optimizer.step()

    with torch.random.fork_rng():
        network, optimizer = make()
        train(network, optimizer, range(5))
        tree = {"network": network.state_dict(), "optimizer": optimizer.state_dict()}
        loaded = round_trip(tmp_path, tree)
        assert identical(loaded["optimizer"], optimizer.state_dict())
        assert all(type(key) is int for key in loaded["optimizer"]["state"])
        assert loaded["optimizer"]["param_groups"][0]["betas"] == (0.8, 0.99)
        assert loaded["optimizer"]["state"][0]["step"].shape == ()
        train(network, optimizer, range(5, 10))
        other, other_optimizer = make()
        other.load_state_dict(loaded["network"])
        other_optimizer.load_state_dict(loaded["optimizer"])
        train(other, other_optimizer, range(5, 10))
    assert all(torch.equal(p, q) for p, q in zip(network.parameters(), other.parameters(), strict=True))
    assert identical(optimizer.state_dict(), other_optimizer.state_dict())


def test_the_file_holds_no_pickle(tmp_path: Path) -> None:
    path = tmp_path / "tree"
    save_tree(path, {"a": torch.arange(3), "b": (1, None)})
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    assert set(header) == {"__metadata__", "a0"}
    assert np.frombuffer(data[8 + length :], dtype=np.int64).tolist() == [0, 1, 2]


def test_a_pickle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tree"
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(Exception, match=r"(?i)header|safetensor"):
        load_tree(path)
    objects: dict[str, Any] = {"0/a": np.array([None, {}], dtype=object)}
    np.savez(tmp_path / "records.npz", **objects)
    with pytest.raises(ValueError, match="allow_pickle"):
        dict(Records([tmp_path / "records.npz"])[0])


@pytest.mark.parametrize("leaf", [object(), {1, 2}, b"bytes", 1 + 2j])
def test_unknown_leaves_are_refused(tmp_path: Path, leaf: Any) -> None:
    save_tree(tmp_path / "tree", {"a": 1})
    with pytest.raises((TypeError, AttributeError)):
        save_tree(tmp_path / "tree", {"a": leaf})
    assert load_tree(tmp_path / "tree") == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["tree"]


class Pair(NamedTuple):
    """A subclass of tuple."""

    a: int
    b: int


@pytest.mark.parametrize("leaf", [Pair(1, 2), torch.Size([1, 2])])
def test_what_was_saved_can_be_loaded(tmp_path: Path, leaf: Any) -> None:
    try:
        save_tree(tmp_path / "tree", {"a": leaf})
    except TypeError:
        return
    assert tuple(load_tree(tmp_path / "tree")["a"]) == tuple(leaf)


def test_a_failing_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import safetensors.numpy

    path = tmp_path / "tree"
    save_tree(path, {"a": torch.ones(3)})
    before = path.read_bytes()

    def half(tensors: dict[str, Any], filename: str, metadata: Any = None) -> None:
        Path(filename).write_bytes(b"half a fi")
        raise OSError("no space left on device")

    monkeypatch.setattr(safetensors.numpy, "save_file", half)
    with pytest.raises(OSError, match="no space"):
        save_tree(path, {"a": torch.zeros(3)})
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["tree"]


def test_atomic_path(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with atomic_path(path) as temporary:
        assert temporary.parent == tmp_path
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"


def test_atomic_path_when_interrupted(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("new")

    def interrupted() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("newer")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_write_json_keeps_all_bits(tmp_path: Path) -> None:
    data = {"a": 0.1 + 0.2, "b": 1e-310, "c": [1, None, True, "ü"]}
    write_json(tmp_path / "file.json", data)
    assert json.loads((tmp_path / "file.json").read_text()) == data
    with pytest.raises(TypeError):
        write_json(tmp_path / "file.json", {"a": object()})
    assert json.loads((tmp_path / "file.json").read_text()) == data


def test_records(tmp_path: Path) -> None:
    records: list[dict[str, Any]] = [
        {
            "energy": -0.1 * i,
            "nan": math.nan,
            "size": 10**15 + i,
            "good": i % 2 == 0,
            "name": f"unit {i}",
            "codes": np.arange(i, dtype=np.int64),
            "trace": np.random.default_rng(i).normal(size=(2, 3)),
            "one": np.ones(1, dtype=np.float32),
        }
        for i in range(12)
    ]
    path = tmp_path / "records.npz"
    save_records(path, records)
    loaded = read(path)
    assert len(loaded) == 12
    assert all(map(identical, loaded, records))
    assert [p.name for p in tmp_path.iterdir()] == ["records.npz"]


def test_records_of_different_fields(tmp_path: Path) -> None:
    records: list[dict[str, Any]] = [{"a": 1}, {"b/c": 2.0, "a": 3}, {"file": 4}]
    save_records(tmp_path / "r.npz", records)
    assert read(tmp_path / "r.npz") == records
    save_records(tmp_path / "r.npz", [])
    assert read(tmp_path / "r.npz") == []


@pytest.mark.parametrize("value", [None, 2**70, {"a": 1}])
def test_records_that_would_need_pickle_are_refused(tmp_path: Path, value: Any) -> None:
    save_records(tmp_path / "r.npz", [{"a": 1}])
    with pytest.raises((TypeError, ValueError)):
        save_records(tmp_path / "r.npz", [{"a": value}])
    assert read(tmp_path / "r.npz") == [{"a": 1}]


def test_full_disk_is_an_operating_system_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    save_tree(tmp_path / "tree", {"a": 1})
    monkeypatch.setattr("safetensors.numpy.save_file", full)
    with pytest.raises(OSError, match=r"tree cannot be written: .*No space left"):
        save_tree(tmp_path / "tree", {"a": 2})
    assert load_tree(tmp_path / "tree") == {"a": 1}
