"""The script ``nqs``: ``nqs list``, and everything else as ``python -m pipeline``."""

from __future__ import annotations

import sys

from pipeline.base.run.terminal import Uncollected, begin

LIST = "list"


def console() -> int:
    """Entry point of the script ``nqs``, with tab completion where the shell asks for it; returns the exit status."""
    begin()  # before anything else is imported: a signal is an orderly end then, too
    if sys.argv[1:2] == [LIST]:
        return _list()
    from pipeline.stages import cli

    return cli.console()


def _list() -> int:
    with Uncollected():
        from nqs.cli import main

    return main(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(console())
