"""What a benchmark consists of: a case, its contenders, and the work that each of them repeats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Work:
    """What is timed.

    Attributes:
        run: does the work once and returns when its result is there: of work that has parts, seconds by their names.
        parameters: of the network; None without one.
        multiply_adds: of one forward pass of one configuration; None where nobody counted.
    """

    run: Callable[[], object]
    parameters: int | None
    multiply_adds: int | None


@dataclass(frozen=True)
class Contender:
    """One implementation; it gets a process of its own.

    Attributes:
        name: a row of the table.
        package: the distribution that it needs, and the module of that name, whose memory is not counted.
        build: imports it and constructs everything that is not timed.
    """

    name: str
    package: str
    build: Callable[[], Work]


@dataclass(frozen=True)
class Case:
    """One table; the first contender is what the others are compared with.

    Attributes:
        title: what is done, with its size.
        units: items of work in one run, for rates.
        unit: what an item is.
        contenders: at least one.
        notes: what a reader must know to read the ratios fairly.
        precision: of the arithmetic.
    """

    title: str
    units: int
    unit: str
    contenders: tuple[Contender, ...]
    notes: tuple[str, ...]
    precision: str = "float32"
