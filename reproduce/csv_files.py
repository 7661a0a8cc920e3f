"""The CSV files of a report."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any


def write_csv(path: Path, fields: Sequence[str], lines: Iterable[Any]) -> None:
    """Write a CSV file with exactly these columns; floats keep all their digits, what is missing is empty.

    Args:
        lines: dictionaries by column, or the values of the columns in their order.
    """
    path.write_text(csv_text(fields, lines), encoding="utf-8", newline="")


def csv_text(fields: Sequence[str], lines: Iterable[Any]) -> str:
    """What :func:`write_csv` writes."""
    import pandas as pd

    # as objects: a column of integers with a gap would become one of floats
    frame = pd.DataFrame(list(lines), columns=list(fields), dtype=object)
    text: str = frame.to_csv(index=False, lineterminator="\n")
    return text


def read_csv(path: Path) -> list[dict[str, str]]:
    """Lines of a written CSV file, every value as the text that stands there.

    Raises:
        ValueError: it has no columns, or a line has more values than there are.
    """
    with path.open(encoding="utf-8", newline="") as file:
        return parse_csv(file, path.name)


def parse_csv(text: Iterable[str], name: str) -> list[dict[str, str]]:
    """What :func:`read_csv` reads, from lines of text.

    Args:
        name: of the file, for errors.

    Raises:
        ValueError: as :func:`read_csv`.
    """
    reader = csv.DictReader(text, restval="", strict=True)
    lines: list[dict[str, str]] = list(reader)
    if not reader.fieldnames:
        raise ValueError(f"{name} is empty")
    if any(None in line for line in lines):
        raise ValueError(f"{name} has a line with more values than columns")
    return lines
