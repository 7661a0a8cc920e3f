"""Peak memory counts what a stretch of work allocates, released or not, and nothing from before."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from pipeline.base.run.memory import PeakMemory


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels cannot reset the high-water mark")
def test_peak_of_a_block_that_is_released_again() -> None:
    before = np.ones(20_000_000)
    memory = PeakMemory()
    block = np.ones(10_000_000)
    del block
    assert 60e6 < memory.bytes() < 120e6
    assert before[0] == 1
