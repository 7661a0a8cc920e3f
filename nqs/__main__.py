"""The script ``nqs``: ``nqs list``, and everything else as ``python -m pipeline``."""

from __future__ import annotations

import sys

from pipeline.base.errors import did_you_mean
from pipeline.base.run.terminal import Uncollected, begin

LIST = "list"


def console() -> int:
    """Entry point of the script ``nqs``, with tab completion where the shell asks for it; returns the exit status."""
    begin()  # before anything else is imported: a signal is an orderly end then, too
    if sys.argv[1:2] == [LIST]:
        return _list()
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    if word.isalpha() and (hint := did_you_mean(word, [LIST])):
        print(f"error: {word}: no such command ({hint})", file=sys.stderr)
        return 2
    from pipeline.stages import cli

    return cli.console()


def _list() -> int:
    with Uncollected():
        from nqs.cli import main

    return main(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(console())
