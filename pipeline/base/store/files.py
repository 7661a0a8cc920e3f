"""Nested state on disk without pickle: arrays in safetensors, the rest as JSON in its header.

Loading runs no code. Torch tensors, numpy arrays, numbers, strings, bools, None, tuples and dictionaries with
non-string keys (optimizer states) all come back as what they were, bit for bit.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np


def save_tree(path: Path, tree: dict[str, Any]) -> None:
    """Write ``tree`` to ``path`` atomically."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    arrays: dict[str, np.ndarray] = {}
    skeleton = _pack(tree, arrays)
    with atomic_path(path) as temporary:
        try:
            save_file(arrays, str(temporary), metadata={"tree": json.dumps(skeleton)})
        except SafetensorError as error:  # how the library reports a full disk
            raise OSError(f"{path.name} cannot be written: {error}") from error


def load_tree(path: Path) -> dict[str, Any]:
    """Inverse of :func:`save_tree`; torch tensors come back on the CPU."""
    from safetensors import safe_open

    with safe_open(str(path), framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        skeleton = json.loads(file.metadata()["tree"])
    tree: dict[str, Any] = _unpack(skeleton, arrays)
    return tree


def tree_digest(tree: dict[str, Any]) -> str:
    """sha256 of a tree's content, whatever file format holds it."""
    arrays: dict[str, np.ndarray] = {}
    skeleton = _pack(tree, arrays)
    total = hashlib.sha256(json.dumps(skeleton, sort_keys=True).encode())
    for name, array in arrays.items():
        total.update(f"{name} {array.dtype} {array.shape}".encode() + array.tobytes())
    return total.hexdigest()


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary sibling that replaces ``path`` when the block ends well, and vanishes when it does not.

    Data reach the disk before the rename, so that a crash leaves either the old file or the new one.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, data: Any) -> None:
    """Write JSON atomically; floats keep all their bits."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(data, indent=1) + "\n")


def _pack(node: Any, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(node, dict):
        return {"dict": [[_pack(k, arrays), _pack(v, arrays)] for k, v in node.items()]}
    if isinstance(node, list | tuple):
        return {"list" if isinstance(node, list) else "tuple": [_pack(item, arrays) for item in node]}
    if node is None or isinstance(node, bool | int | float | str):
        return node
    kind = "array"
    if not isinstance(node, np.ndarray | np.generic):
        node, kind = node.detach().cpu().numpy(), "tensor"
    name = f"a{len(arrays)}"
    arrays[name] = np.array(node, order="C")
    return {kind: name}


def _unpack(node: Any, arrays: dict[str, np.ndarray]) -> Any:
    if not isinstance(node, dict):
        return node
    ((kind, content),) = node.items()
    if kind == "dict":
        return {_unpack(k, arrays): _unpack(v, arrays) for k, v in content}
    if kind == "list":
        return [_unpack(item, arrays) for item in content]
    if kind == "tuple":
        return tuple(_unpack(item, arrays) for item in content)
    if kind == "array":
        return arrays[content]
    import torch

    return torch.from_numpy(arrays[content].copy())


def sha256(path: Path) -> str:
    """Hex digest of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checksum(status: dict[str, Any]) -> str:
    """Digest of everything else in ``status.json`` or ``progress.json``."""
    return hashlib.sha256(json.dumps(status, sort_keys=True).encode()).hexdigest()
