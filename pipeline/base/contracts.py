"""The shapes that stages drive: trainable methods and baselines.

Physics implements these protocols; the stages and the loop know nothing else about it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from pipeline.base.later import NDArray
from pipeline.base.numbers.result import Result

Metrics = Mapping[str, float]
"""One line of ``metrics.jsonl``: plain floats, NaN or infinity in any of them stops the run."""

Record = Mapping[str, Any]
"""One unit of inference: floats, ints and numpy arrays by name; stored as npz without pickle."""


class State(Protocol):
    """Everything that changes during a loop (parameters, optimizer moments, chains, best state so far)."""

    def state_dict(self) -> dict[str, Any]:
        """Nested dicts/lists with tensors, numpy arrays, numbers, strings, bools or None as leaves."""
        ...

    def load_state_dict(self, tree: dict[str, Any]) -> None:
        """Restore, bit for bit, what :meth:`state_dict` returned."""
        ...


@runtime_checkable
class Movable(Protocol):
    """A state that computes on the device where its tensors are; without it, a baseline's run stays on the CPU."""

    def to(self, device: str) -> None:
        """Move all tensors."""
        ...


class Method(Protocol):
    """A trainable method: VariationalMonteCarlo, SubspaceFlow, ...

    All randomness of unit ``k`` comes from generators seeded by (seed, purpose, k), so that a loop can be killed
    anywhere and go on from a checkpoint with identical numbers.
    """

    def init(self, seed: int) -> State: ...

    def step(self, state: Any, k: int) -> Metrics:
        """One update, in place; ``k`` counts from 0."""
        ...

    def converged(self, state: Any) -> str | None:
        """The reason to stop training after the last step, or None to go on."""
        ...

    def measure(self, state: Any, k: int) -> Record:
        """One unit of inference (a batch, a subspace, an ensemble chunk); may advance samplers inside ``state``."""
        ...

    def summarise(self, records: Sequence[Record]) -> Result: ...


@dataclass(frozen=True)
class Cost:
    """What a baseline expects to need for a system: an order of magnitude, used to choose and to plan."""

    seconds: float
    bytes: float


Exactness = Literal["closed-form", "exact", "variational", "stochastic", "published"]
EXACTNESS_ORDER: tuple[Exactness, ...] = ("closed-form", "exact", "variational", "stochastic", "published")


@runtime_checkable
class Baseline(Protocol):
    """An independent reference. Constructed with its own config node only, torch-free at import and in all but run.

    Attributes:
        kind: what the report prints as ``reference_kind``, e.g. ``free fermions``.
        exactness: rank for ``auto``, which takes the cheapest of the most exact that support a system.
    """

    kind: ClassVar[str]

    @property
    def exactness(self) -> Exactness: ...

    def supports(self, system: Any) -> str | None:
        """None when the system can be treated, else the reason why not, with what would be needed."""
        ...

    def cost(self, system: Any) -> Cost: ...


@runtime_checkable
class DirectBaseline(Baseline, Protocol):
    """A baseline that computes its result in one go."""

    def run(self, system: Any) -> Result: ...


@runtime_checkable
class MonteCarloBaseline(Baseline, Protocol):
    """A baseline driven by the loop: ``warmup`` steps, then ``measurements`` units, resumable like a training."""

    warmup: int
    measurements: int

    def init(self, system: Any) -> State: ...

    def step(self, state: Any, k: int) -> Metrics:
        """One warm-up update (thermalisation, step-size tuning)."""
        ...

    def measure(self, state: Any, k: int) -> Record: ...

    def summarise(self, records: Sequence[Record]) -> Result: ...


@runtime_checkable
class KeepsEnsemble(Protocol):
    """A method or a Monte Carlo baseline whose configurations are worth keeping beside its result."""

    def ensemble(self, record: Record) -> Mapping[str, NDArray[Any]]:
        """What is kept of one record: arrays (chains, ...) by name, of the same shapes and dtypes in all records."""
        ...


@dataclass(frozen=True)
class Shown:
    """What is drawn of a training; the configuration of a method declares it as its class attribute ``shown``.

    Attributes:
        quantity: what estimates of fresh samples and of the reference are called that stand in the same picture.
        label: of its axis, with unit and convention.
        unit: of these metrics.
        metrics: of the training steps, all of that quantity.
        along: estimates of fresh samples of which there are curves along the training.
        apart: metrics of the training steps in units of their own, on a second axis.
    """

    quantity: str
    label: str
    unit: str
    metrics: tuple[str, ...]
    along: tuple[str, ...]
    apart: tuple[str, ...] = ()
