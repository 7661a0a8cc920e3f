"""Runs of seconds that the tests of the package share."""

from __future__ import annotations

from pathlib import Path

import nqs

QUIET = ("tracker=none", "progress=false", "stages=[train,infer]", "train.steps=3")


def small(results: Path, *overrides: str, system: str | nqs.Operator | None = None) -> nqs.Run:
    """A few steps of variational Monte Carlo, later overrides win."""
    return nqs.run("method=vmc", *QUIET, *overrides, system=system, results=results)
