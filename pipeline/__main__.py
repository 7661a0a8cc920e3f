"""One run, or a sweep: ``python -m pipeline paper=nf_nqs system.n_sites=20`` (``-m`` for Hydra multirun)."""

from __future__ import annotations

import sys

from pipeline.stages.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
