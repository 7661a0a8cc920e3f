"""Loops compiled by numba, kept on disk for the next process that runs the same source."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

import numba

from pipeline.base.store.provenance import source_digest


@functools.cache
def folder() -> Path | None:
    """Where compiled loops are kept: a folder of its own for every state of the source; None where none can be made.

    numba's own check looks at the file of a function alone, not at what the function calls in other files.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = cache / "neural-quantum-states" / "numba" / source_digest()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return path if os.access(path, os.W_OK) else None


def njit(*arguments: Any, **options: Any) -> Any:
    """``numba.njit`` whose result outlives the process; for functions that are no closures over other compiled ones.

    With ``fastmath``, what a function calls must be of ``inline="always"``: a function that comes from the disk brings
    its own copy of what it calls, which may have been optimised in another way than the one that a fresh process uses.
    """
    path = folder()
    if path is None:
        return numba.njit(*arguments, **options)
    numba.config.CACHE_DIR = str(path)  # type: ignore[attr-defined]
    return numba.njit(*arguments, cache=True, **options)
