"""One run, or a sweep: ``python -m pipeline paper=nf_nqs system.n_sites=20`` (``-m`` for Hydra multirun)."""

from __future__ import annotations

import sys

from pipeline.base.run.terminal import Uncollected, begin


def console() -> int:
    """Entry point of the script ``nqs``, with tab completion where the shell asks for it; returns the exit status."""
    begin()
    from pipeline.stages import cli  # only now: a signal during its second of imports is an orderly end too

    return cli.console()


if __name__ == "__main__":
    begin()
    with Uncollected():
        from pipeline.stages.cli import main

    sys.exit(main(sys.argv[1:]))
