"""Ensembles of configurations on disk, written record by record: they may be far larger than memory."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from pipeline.base.contracts import Record
from pipeline.base.later import NDArray, np
from pipeline.base.store.files import atomic_path

Arrays = Mapping[str, NDArray[Any]]

BLOCK_BYTES = 2**25
"""Of arrays that are gathered before they are written; a single record may be larger."""

TYPES = {"float64": "F64", "float32": "F32", "complex64": "C64", "int64": "I64", "int32": "I32", "uint8": "U8"}
TYPES |= {"int8": "I8", "bool": "BOOL"}
"""Names of the dtypes in safetensors."""


def save_ensemble(path: Path, records: Sequence[Record], kept: Callable[[Record], Arrays]) -> None:
    """Write what is kept of each record, stacked along the second axis.

    Args:
        path: a safetensors file that :func:`pipeline.base.store.files.load_tree` reads: (chains, records, ...) by name.
        records: at least one.
        kept: arrays (chains, ...) by name of one record; of all records the same names, shapes and dtypes.

    Raises:
        TypeError: an array whose dtype the format does not have.
        ValueError: names, shapes or dtypes that differ between records.
    """
    first = kept(records[0])
    header, layout = _layout(first, len(records))
    size = sum(array.nbytes for array in first.values())
    count = max(1, BLOCK_BYTES // max(1, size))
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        file.write(header)
        for begin in range(0, len(records), count):
            block = [kept(record) for record in records[begin : begin + count]]
            if any(_form(arrays) != _form(first) for arrays in block):
                raise ValueError("records of an ensemble differ in names, shapes or dtypes")
            for name, offset in layout.items():
                _write(file, offset, np.stack([arrays[name] for arrays in block], axis=1), begin, len(records))


def _form(arrays: Arrays) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    return {name: (array.shape, array.dtype) for name, array in arrays.items()}


def _layout(arrays: Arrays, count: int) -> tuple[bytes, dict[str, int]]:
    """Header of the file, and where in the file the content of each array begins."""
    entries: dict[str, Any] = {}
    begins: dict[str, int] = {}
    end = 0
    # widest elements first, so that all are aligned in memory
    for number, (name, array) in sorted(enumerate(arrays.items()), key=lambda item: (-item[1][1].itemsize, item[0])):
        if array.dtype.name not in TYPES:
            raise TypeError(f"{name} of an ensemble is {array.dtype.name}; must be one of {', '.join(TYPES)}")
        shape = [array.shape[0], count, *array.shape[1:]]
        begins[name], end = end, end + math.prod(shape) * array.itemsize
        entries[f"a{number}"] = {
            "dtype": TYPES[array.dtype.name],
            "shape": shape,
            "data_offsets": [begins[name], end],
        }
    tree = {"dict": [[name, {"array": f"a{number}"}] for number, name in enumerate(arrays)]}
    text = json.dumps({"__metadata__": {"tree": json.dumps(tree)}, **entries}).encode()
    text += b" " * (-len(text) % 8)
    header = len(text).to_bytes(8, "little") + text
    return header, {name: len(header) + begin for name, begin in begins.items()}


def _write(file: IO[bytes], offset: int, block: NDArray[Any], begin: int, count: int) -> None:
    """Put ``block`` (chains, n, ...) where the records from ``begin`` of ``count`` have their place."""
    record_bytes = math.prod(block.shape[2:]) * block.itemsize
    for chain, content in enumerate(block):
        file.seek(offset + (chain * count + begin) * record_bytes)
        file.write(np.ascontiguousarray(content).tobytes())
