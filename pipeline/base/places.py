"""Where the project's own files are: beside the code in a checkout, inside the package where it is installed.

A wheel holds the configuration and the committed references below ``pipeline/data``, see ``setup.py``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
ROOT = PACKAGE.parent
"""Folder of the packages ``pipeline``, ``reproduce`` and ``nqs``."""

INSTALLED = (PACKAGE / "data" / "conf").is_dir()
"""Whether this is an installed package and not a checkout."""

DATA = PACKAGE / "data" if INSTALLED else ROOT
CONF = DATA / "conf"
COMMITTED = DATA / "results"
"""Results folder with the references, and in a checkout the trained states, that come with the project."""

RESULTS = "results"
VARIABLE = "NQS_RESULTS"
"""Environment variable with the results folder of all commands, in the place of ``results`` in the current folder."""


def results_folder() -> Path:
    """Where results go unless ``results_dir`` says otherwise, as ``conf/config.yaml`` has it."""
    return Path(os.environ.get(VARIABLE, RESULTS))


def results_folders() -> list[Path]:
    """Results folders that hold runs, the nearest first, each once.

    Where runs are written; ``results`` in the current folder and in those above it; and that of the checkout which the
    code is imported from. So a notebook finds the runs of the project that it lies in.
    """
    return list(dict.fromkeys(path for path in _candidates() if (path / "_store").is_dir()))


def _candidates() -> Iterator[Path]:
    yield results_folder().resolve()
    here = Path.cwd()
    yield from (folder / RESULTS for folder in (here, *here.parents))
    if not INSTALLED:
        yield COMMITTED
