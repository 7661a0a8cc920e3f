"""What the parts of a step take, where somebody asks: elsewhere a part costs nothing to mark."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Laps:
    """Seconds of the parts of the work done inside :func:`measured`, those of a part within another count in both.

    Args:
        wait: until the device has done what it was given.

    Attributes:
        seconds: so far, by part.
    """

    def __init__(self, wait: Callable[[], object] = lambda: None) -> None:
        self.wait = wait
        self.seconds: dict[str, float] = {}


_laps: Laps | None = None


@contextmanager
def measured(laps: Laps) -> Iterator[None]:
    """Parts of the work in the block are added up in ``laps``."""
    global _laps
    before, _laps = _laps, laps
    try:
        yield
    finally:
        _laps = before


@contextmanager
def part(name: str) -> Iterator[None]:
    """A part of the work: ``sampling``."""
    laps = _laps
    if laps is None:
        yield
        return
    laps.wait()
    began = time.perf_counter()
    yield
    laps.wait()
    laps.seconds[name] = laps.seconds.get(name, 0.0) + time.perf_counter() - began
