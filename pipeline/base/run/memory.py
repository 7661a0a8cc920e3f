"""Memory of the machine, and the peak of one stretch of work inside a longer-lived process."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import sys
from pathlib import Path

LARGEST_KEPT = 2**25
"""Bytes of the largest piece of memory that is kept; glibc allows no more."""

KEPT = 2**28
"""Free bytes that a process keeps for later."""


def keep_freed_memory() -> bool:
    """Make the allocator of this process reuse what was freed, instead of giving it back to the system at once.

    Tensors of some MiB come and go with every layer of a network. By default each of them is new memory, which the
    system fills with zeros page by page: a third of the time of a forward pass of a small network on a CPU.

    Returns:
        Whether that is done; False for anything but the C library of GNU.
    """
    # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD and M_TOP_PAD of malloc.h
    options = ((-3, LARGEST_KEPT), (-1, KEPT), (-2, KEPT // 4))
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return all(mallopt(option, value) == 1 for option, value in options)


class PeakMemory:
    """Memory that a stretch of work needs on top of what the process (Python, libraries, earlier work) holds already.

    What earlier work has freed and the allocator has kept is given back first: work that used it again would seem to
    need nothing. Where the kernel cannot reset the high-water mark (anything but Linux) it is a lower bound.
    """

    def __init__(self) -> None:
        with contextlib.suppress(AttributeError, OSError, TypeError):  # of the C library of GNU
            ctypes.CDLL(None).malloc_trim(0)
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        self._before = _status_bytes("VmRSS") or _peak()

    def bytes(self) -> int:
        """Peak so far minus the resident size at the start."""
        return max(0, _peak() - self._before)


def machine_bytes() -> float:
    """What this process may take at most: of the machine, of its control group, of its own limit."""
    sizes = [float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))]
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        sizes.append(float(limit))
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):  # absent, or "max"
            sizes.append(float(Path(path).read_text()))
    return min(sizes)


def ran_out(error: BaseException) -> bool:
    """Whether an allocator found no room: Python's, numpy's, or one of torch's."""
    text = str(error)
    return isinstance(error, MemoryError) or "out of memory" in text or "DefaultCPUAllocator" in text


def _peak() -> int:
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes
    return _status_bytes("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _status_bytes(field: str) -> int | None:
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


def out_of_memory(error: BaseException) -> bool:
    """Whether an allocator, of the CPU or of a GPU, found no room."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error)
    return "out of memory" in text or "DefaultCPUAllocator" in text
