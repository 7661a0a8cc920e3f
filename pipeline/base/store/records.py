"""Records on disk: written in chunks as a loop goes, read one field of one record at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload
from zipfile import ZipFile

from pipeline.base.later import np
from pipeline.base.store.files import atomic_path


def save_records(path: Path, records: list[dict[str, Any]]) -> None:
    """Write a chunk of records (floats, ints, strings and arrays by name) as npz without pickle."""
    arrays = {f"{i}/{name}": np.asarray(value) for i, record in enumerate(records) for name, value in record.items()}
    for name, array in arrays.items():
        if array.dtype.hasobject:
            raise TypeError(f"record field '{name.split('/', 1)[1]}' is neither a number, a string nor an array")
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


class StoredRecord(Mapping[str, Any]):
    """One record; a field is read from disk each time that it is asked for, and never kept."""

    def __init__(self, records: Records, number: int) -> None:
        self._records, self._number = records, number

    def __getitem__(self, field: str) -> Any:
        """Scalars as Python numbers, arrays as arrays, the bits that were written."""
        return self._records.read(self._number, field)

    def __iter__(self) -> Iterator[str]:
        return iter(self._records.fields(self._number))

    def __len__(self) -> int:
        return len(self._records.fields(self._number))


class Records(Sequence[StoredRecord]):
    """Records of several files as one sequence, of which nothing but names of fields is held in memory.

    Args:
        paths: of :func:`save_records`, in order.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._where: list[tuple[Path, int, tuple[str, ...]]] = []
        self._open: tuple[Path, ZipFile] | None = None
        for path in paths:
            fields: dict[int, list[str]] = {}
            for name in self._archive(path).namelist():
                index, field = name.removesuffix(".npy").split("/", 1)
                fields.setdefault(int(index), []).append(field)
            self._where += [(path, index, tuple(fields[index])) for index in sorted(fields)]

    @staticmethod
    def of(folder: Path) -> Records:
        """All records of a folder that a loop wrote, in order."""
        return Records(sorted(folder.glob("records-*.npz")))

    @overload
    def __getitem__(self, number: int) -> StoredRecord: ...
    @overload
    def __getitem__(self, number: slice) -> list[StoredRecord]: ...
    def __getitem__(self, number: int | slice) -> StoredRecord | list[StoredRecord]:
        numbers = range(len(self._where))[number]
        return StoredRecord(self, numbers) if isinstance(numbers, int) else [StoredRecord(self, n) for n in numbers]

    def __len__(self) -> int:
        return len(self._where)

    def fields(self, number: int) -> tuple[str, ...]:
        """Names of the fields of a record, in the order in which they were written."""
        return self._where[number][2]

    def read(self, number: int, field: str) -> Any:
        """A field of a record; KeyError where it has none of that name."""
        path, index, fields = self._where[number]
        if field not in fields:
            raise KeyError(field)
        with self._archive(path).open(f"{index}/{field}.npy") as file:
            value = np.lib.format.read_array(file, allow_pickle=False)
        return value.item() if value.ndim == 0 else value

    def _archive(self, path: Path) -> ZipFile:
        """The file at ``path``, open; the one before is closed."""
        if self._open is None or self._open[0] != path:
            if self._open is not None:
                self._open[1].close()
            self._open = path, ZipFile(path)
        return self._open[1]
