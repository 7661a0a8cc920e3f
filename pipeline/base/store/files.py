"""Nested state on disk without pickle: arrays in safetensors, the rest as JSON in its header.

Loading runs no code. Torch tensors, numpy arrays, numbers, strings, bools, None, tuples and dictionaries with
non-string keys (optimizer states) all come back as what they were, bit for bit.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pipeline.base.later import np

T = TypeVar("T")

PATIENCE_SECONDS = 1.0
"""How long a reader waits for a folder that is being exchanged: there are microseconds between two renames."""


def is_plain(path: Path) -> bool:
    """Whether there is a regular file at ``path``; a link, whatever it leads to, is none."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def is_plain_folder(path: Path) -> bool:
    """Whether there is a folder at ``path``; a link, whatever it leads to, is none."""
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def exists(path: Path) -> bool:
    """Whether there is anything at ``path``, a link that leads nowhere or to itself included."""
    return os.path.lexists(path)


def remove(path: Path) -> None:
    """Remove whatever is at ``path``, if anything; of a link the link itself."""
    if is_plain_folder(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def read_plain(path: Path) -> bytes:
    """The content of a regular file.

    Raises:
        FileNotFoundError: there is nothing.
        OSError: a folder, a link (never followed), a pipe or a device (never waited for), or it cannot be read.
    """
    _check_plain(path)
    return path.read_bytes()


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        OSError: as for :func:`read_plain`.
        ValueError: no JSON.
    """
    try:
        return json.loads(read_plain(path))
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def _check_plain(path: Path) -> None:
    """One look: between two, the folder may be exchanged.

    Raises:
        FileNotFoundError, NotADirectoryError: there is nothing.
        OSError: it is no regular file, or cannot be looked at.
    """
    if not stat.S_ISREG(path.lstat().st_mode):
        raise OSError(f"{path.name} is not a plain file")


def steadily(read: Callable[[], T]) -> T:
    """What ``read`` gives, called again for a while when a file is not there: its folder may be just exchanged.

    Raises:
        FileNotFoundError: it does not appear.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return read()
        except (FileNotFoundError, NotADirectoryError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.001)


def save_tree(path: Path, tree: dict[str, Any], of: str | None = None) -> None:
    """Write ``tree`` to ``path`` atomically; ``of``: the key that it belongs to."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    arrays: dict[str, np.ndarray] = {}
    skeleton = _pack(tree, arrays)
    with atomic_path(path) as temporary:
        try:
            named = {} if of is None else {"key": of}
            save_file(arrays, str(temporary), metadata={"tree": json.dumps(skeleton), **named})
        except SafetensorError as error:  # how the library reports a full disk
            raise OSError(f"{path.name} cannot be written: {error}") from error


def load_tree(path: Path, of: str | None = None) -> dict[str, Any]:
    """Inverse of :func:`save_tree`; torch tensors come back on the CPU.

    Raises:
        OSError: not a regular file.
        ValueError: it says that it belongs to another key than ``of``.
    """
    from safetensors import safe_open

    _check_plain(path)
    with safe_open(str(path), framework="numpy") as file:
        metadata = file.metadata()
        if of is not None and metadata.get("key", of) != of:
            raise ValueError(f"{path.name} belongs to {metadata['key']}")
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        skeleton = json.loads(metadata["tree"])
    tree: dict[str, Any] = _unpack(skeleton, arrays)
    return tree


def copy_tree(tree: dict[str, Any]) -> dict[str, Any]:
    """The tree as it would come back from a file, in memory of its own."""
    arrays: dict[str, np.ndarray] = {}
    copied: dict[str, Any] = _unpack(_pack(tree, arrays), arrays)
    return copied


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
    """Hex digest of the content of a regular file; OSError for anything else."""
    _check_plain(path)
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checksum(status: dict[str, Any]) -> str:
    """Digest of everything else in ``status.json`` or ``progress.json``."""
    return hashlib.sha256(json.dumps(status, sort_keys=True).encode()).hexdigest()
