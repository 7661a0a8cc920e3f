"""The CSV files of a report, through pandas."""

from __future__ import annotations

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
    """Lines of a written CSV file, every value as the text that stands there."""
    import pandas as pd

    lines: list[dict[str, str]] = pd.read_csv(path, dtype=str, keep_default_na=False).to_dict("records")
    return lines
