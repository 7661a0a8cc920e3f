"""``--recompute``: what was finished before the command began counts as not there.

The moment is an environment variable, so that the jobs of a sweep and the workers of an artefact know it too, and
compute what they share once.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

OPTION = "--recompute"

MOMENT = "NQS_RECOMPUTE_BEFORE"


@contextmanager
def recomputing(asked: bool) -> Iterator[None]:
    """Inside the block, if ``asked``, what was finished before it is computed again."""
    outer = os.environ.get(MOMENT)
    if asked:
        os.environ[MOMENT] = repr(time.time())
    try:
        yield
    finally:
        if outer is None:
            os.environ.pop(MOMENT, None)
        else:
            os.environ[MOMENT] = outer


def outdated_before() -> float:
    """The moment, in seconds since the epoch; 0 where nothing is to be computed again."""
    try:
        return float(os.environ.get(MOMENT, "0"))
    except ValueError:
        return 0.0
