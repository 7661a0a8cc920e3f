"""Settings of all tests."""

from __future__ import annotations

import os
import sys

# two test processes with two threads each on two cores are many times slower than with one
os.environ.setdefault("OMP_NUM_THREADS", "1")

# whoever keeps Python from writing what it compiles would pay for the compiler again in every process that tests start
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

from reproduce import pool  # noqa: E402

# workers and other children come from a server that has imported, once, all that any of them needs
pool.PRELOADED += [
    "hydra.compose",
    "matplotlib.figure",
    "numba",
    "pandas",
    "quspin.basis",
    "quspin.operators",
    "scipy.stats",
    "tenpy",
    "torch._dynamo",
    "pipeline.base.plotting",
    "pipeline.gauge.hmc.theory",
    "pipeline.gauge.fermions.hopping_loops",
    "pipeline.spin.subspace.method",
    "pipeline.spin.vmc.method",
    "pipeline.stages.cli",
    "pipeline.stages.report",
    "reproduce.cli",
    "reproduce.report",
]
