"""Small checks for configuration dataclasses; each raises one ConfigError that names the key."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pipeline.base.errors import ConfigError, did_you_mean


def at_least(key: str, value: float, low: float) -> None:
    """``value`` is a finite number >= ``low``."""
    if not (math.isfinite(value) and value >= low):
        raise ConfigError(key, value, f"must be at least {low:g}")


def positive(key: str, value: float) -> None:
    """``value`` is a finite number > 0."""
    if not (math.isfinite(value) and value > 0):
        raise ConfigError(key, value, "must be a positive number")


def finite(key: str, value: float) -> None:
    """``value`` is neither NaN nor infinite."""
    if not math.isfinite(value):
        raise ConfigError(key, value, "must be a finite number")


def between(key: str, value: float, low: float, high: float) -> None:
    """``low`` <= ``value`` <= ``high``."""
    if not low <= value <= high:
        raise ConfigError(key, value, f"must lie between {low:g} and {high:g}")


def one_of(key: str, value: str, choices: Sequence[str]) -> None:
    """``value`` is one of ``choices``."""
    if value not in choices:
        raise ConfigError(key, value, f"must be one of {', '.join(choices)}", did_you_mean(value, choices))
