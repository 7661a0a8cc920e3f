"""``python -m benchmarks [name ...]``: measure, and write results/benchmarks/<name>.csv and .md."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import table
from benchmarks.cases import CASES, case
from benchmarks.measure import measure
from pipeline.base.errors import ConfigError


def main(arguments: Sequence[str] | None = None) -> int:
    """0, or 1 where a contender failed; one that is not installed is no failure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="our code against NetKet, in one run")
    parser.add_argument("names", nargs="*", metavar="name", help=f"all of them without: {', '.join(CASES)}")
    parser.add_argument("--repeats", type=int, default=7, help="warm runs of each contender")
    parser.add_argument("--threads", type=int, default=1, help="of each contender")
    parser.add_argument("--size", default="full", help="full, or tiny to see that everything runs")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"), help="where the tables go")
    options = parser.parse_args(arguments)
    try:
        for key in ("repeats", "threads"):
            if getattr(options, key) < 1:
                raise ConfigError(f"--{key}", getattr(options, key), "must be at least 1")
        chosen = {name: case(name, options.size) for name in options.names or CASES}
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    failed = False
    for name, what in chosen.items():
        rows = measure(name, options.size, options.repeats, options.threads)
        failed |= any(row.status.startswith("failed") for row in rows)
        print(table.write(options.out, name, what, rows, options.threads).read_text(), flush=True)
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
