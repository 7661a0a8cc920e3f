"""Peak memory counts what a stretch of work allocates, released or not, and nothing from before."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from pipeline.base.run.memory import PeakMemory

FAULTS = """
import resource, sys
import numpy as np
from pipeline.base.run.memory import keep_freed_memory
kept = sys.argv[1] == "kept" and keep_freed_memory()
for k in range(12):
    blocks = [np.ones(2_000_000, np.int8) for _ in range(4)]
    del blocks
    if k == 1:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
print(int(kept), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
"""Page faults of ten rounds of blocks of 2 MB, after two others."""


AGAIN = """
import numpy as np
from pipeline.base.run.memory import PeakMemory, keep_freed_memory
def work():
    return len([np.ones(2_000_000, np.int8) for _ in range(50)])
kept = keep_freed_memory()
work()
memory = PeakMemory()
work()
print(int(kept), memory.bytes())
"""
"""The same 100 MB twice, the second time counted."""


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels cannot reset the high-water mark")
def test_memory_kept_from_earlier_work_counts() -> None:
    said = subprocess.run([sys.executable, "-c", AGAIN], capture_output=True, text=True, check=True).stdout
    kept, peak = map(int, said.split())
    if not kept:
        pytest.skip("another C library")
    assert 90e6 < peak < 130e6


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels cannot reset the high-water mark")
def test_peak_of_a_block_that_is_released_again() -> None:
    before = np.ones(20_000_000)
    memory = PeakMemory()
    block = np.ones(10_000_000)
    del block
    assert 60e6 < memory.bytes() < 120e6
    assert before[0] == 1


def test_freed_memory_comes_back_without_page_faults() -> None:
    def faults(how: str) -> tuple[int, int]:
        command = [sys.executable, "-c", FAULTS, how]
        kept, count = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        return int(kept), int(count)

    kept, count = faults("kept")
    if not kept:
        pytest.skip("another C library")
    # one page is 4 KiB: 20,000 if every block were new
    assert count < 1000 < faults("as it comes")[1]
