"""The table at the top of the README: that of a committed report, never typed in."""

from __future__ import annotations

from pathlib import Path

from pipeline.base.errors import UserError
from pipeline.base.store.files import atomic_path

BEGIN = "<!-- table: {} -->"
END = "<!-- end of table -->"
REPORT = "results/nf_nqs/table1/laptop/report.md"


def first_table(report: str) -> str:
    """The first table of a report in Markdown.

    Raises:
        UserError: it has none.
    """
    lines = report.splitlines()
    start = next((k for k, line in enumerate(lines) if line.startswith("|")), None)
    if start is None:
        raise UserError("this report has no table")
    end = next((k for k in range(start, len(lines)) if not lines[k].startswith("|")), len(lines))
    return "\n".join(lines[start:end])


def with_table(readme: str, table: str) -> str:
    """The README with ``table`` between its marks.

    Raises:
        UserError: the marks are missing.
    """
    begin = BEGIN.format(REPORT)
    head, found, rest = readme.partition(begin)
    _, closed, tail = rest.partition(END)
    if not found or not closed:
        raise UserError(f"README.md has no line {begin} with {END} after it")
    return f"{head}{begin}\n\n{table}\n\n{END}{tail}"


def update(root: Path) -> None:
    """Write the table into the README of the repository at ``root``, where it differs."""
    path = root / "README.md"
    old = path.read_text(encoding="utf-8")
    new = with_table(old, first_table((root / REPORT).read_text(encoding="utf-8")))
    if new != old:
        with atomic_path(path) as temporary:
            temporary.write_text(new, encoding="utf-8")
