"""Small checks for configuration dataclasses; each raises one ConfigError that names the field."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pipeline.base.errors import ConfigError, did_you_mean

CHOSEN_BY = {
    "train.ansatz": "ansatz",
    "train.sampler": "sampler",
    "train.optimizer": "optimizer",
    "train.method": "method",
    "infer.sampler": "infer_sampler",
}
"""Config groups that fill a node: what is typed to choose the part itself."""


@contextmanager
def under(path: str) -> Iterator[None]:
    """Put ``path`` in front of the keys of complaints from inside; a complaint about a part itself names its group."""
    try:
        yield
    except ConfigError as error:
        raise error.below(path if error.key else CHOSEN_BY.get(path, path)) from error.__cause__


def at_least(key: str, value: float, low: float) -> None:
    """``value`` is a finite number >= ``low``."""
    if not (math.isfinite(value) and value >= low):
        raise ConfigError(key, value, f"must be at least {low:g}")


MOST = 1e15
"""Of any number with a unit: as far as integers and halves are exact, and squares fit single precision."""

MOST_LR = 1e6
"""Of learning rates: no step of this size is meant."""


MOST_INITIAL = 1e3
"""Of the scatter of initial weights, and of factors on it: networks begin near 1, and beyond this in overflows."""


def positive(key: str, value: float) -> None:
    """``value`` is a finite number > 0."""
    if not (math.isfinite(value) and value > 0):
        raise ConfigError(key, value, "must be a positive number")


def finite(key: str, value: float) -> None:
    """``value`` is neither NaN nor infinite."""
    if not math.isfinite(value):
        raise ConfigError(key, value, "must be a finite number")


def within(key: str, value: float, largest: float) -> None:
    """``value`` is a finite number whose size is at most ``largest``: beyond, squares and sums of it overflow."""
    finite(key, value)
    if abs(value) > largest:
        raise ConfigError(key, value, f"must not be larger than {largest:g}")


def initial(key: str, value: float) -> None:
    """``value`` is a positive number that initial weights may scatter by."""
    positive(key, value)
    within(key, value, MOST_INITIAL)


def between(key: str, value: float, low: float, high: float) -> None:
    """``low`` <= ``value`` <= ``high``."""
    if not low <= value <= high:
        raise ConfigError(key, value, f"must lie between {low:g} and {high:g}")


def one_of(key: str, value: str, choices: Sequence[str]) -> None:
    """``value`` is one of ``choices``."""
    if value not in choices:
        raise ConfigError(key, value, f"must be one of {', '.join(choices)}", did_you_mean(value, choices))
