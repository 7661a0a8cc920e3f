"""Settings of all tests."""

from __future__ import annotations

import os

# two test processes with two threads each on two cores are many times slower than with one
os.environ.setdefault("OMP_NUM_THREADS", "1")
