"""Settings of all tests."""

from __future__ import annotations

import os
import sys

# two test processes with two threads each on two cores are many times slower than with one
os.environ.setdefault("OMP_NUM_THREADS", "1")

# whoever keeps Python from writing what it compiles would pay for the compiler again in every process that tests start
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
