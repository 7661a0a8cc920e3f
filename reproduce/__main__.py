"""``python -m reproduce table1 --scale laptop [--plan] [--jobs 2] [--only CELL] [overrides]``."""

from __future__ import annotations

import sys

from pipeline.base.run.terminal import Uncollected, begin


def console() -> int:
    """Entry point of the script ``nqs-reproduce``, with tab completion; returns the exit status."""
    begin()
    from reproduce import cli  # only now: a signal during its second of imports is an orderly end too

    return cli.console()


if __name__ == "__main__":
    begin()
    with Uncollected():
        from reproduce.cli import main

    sys.exit(main(sys.argv[1:]))
