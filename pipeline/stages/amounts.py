"""What a run asks for, before anything is allocated: refused where no machine like this one could ever do it."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from pipeline.base.config.amounts import RECORD_BYTES, SECONDS_A_CALL
from pipeline.base.config.nodes import RunConfig
from pipeline.base.contracts import Cost, MonteCarloBaseline
from pipeline.base.errors import ConfigError
from pipeline.base.run.device import uses_cuda
from pipeline.base.run.memory import machine_bytes

USABLE = 0.95
"""Of the memory of the machine."""

HOUR, DAY, YEAR = 3600.0, 86400.0, 3.15576e7

LONGEST_UNIT = DAY
"""Of a step, a batch, a subspace: no checkpoint is written and no signal heeded in between."""

LONGEST_STAGE = 10 * YEAR

SILENT_SECONDS = 20.0
"""A unit of more than this is announced."""


@dataclass(frozen=True)
class Amounts:
    """Of one stage: bytes held at once, seconds of a unit (None: the stage has none), seconds of all units."""

    bytes: float
    unit: float | None
    seconds: float


def run_with_baseline(run: RunConfig, name: str | None) -> RunConfig:
    """The run with the reference that ``auto`` stands for."""
    return replace(run, baseline=replace(run.baseline, use=name)) if name else run


def amounts(run: RunConfig, stage: str) -> Amounts:
    """Lower bounds for a training or an inference, expected amounts of a reference."""
    if stage == "baseline":
        name = run.baseline.use
        return _of_baseline(run.baseline.candidates()[name], run.system)
    if stage == "infer":
        cost: Cost = run.infer.cost(run)
        return Amounts(cost.bytes, cost.seconds, cost.seconds * run.infer.units * (1 + len(run.train.snapshots)))
    cost = run.train.method.cost(run)
    steps = run.train.steps if stage == "train" else run.profile.steps + run.profile.warmup
    kept = RECORD_BYTES * steps if stage == "profile" else 0.0
    return Amounts(cost.bytes + kept, cost.seconds, cost.seconds * steps)


def _of_baseline(solver: Any, system: Any) -> Amounts:
    cost: Cost = solver.cost(system)
    if not isinstance(solver, MonteCarloBaseline):
        return Amounts(cost.bytes, None, cost.seconds)
    units = float(solver.warmup) + solver.measurements
    kept = RECORD_BYTES * solver.measurements
    warm = copy.copy(solver)
    warm.warmup = 0
    unit = warm.cost(system).seconds / solver.measurements
    return Amounts(cost.bytes + kept, unit, cost.seconds + SECONDS_A_CALL * units)


def too_much(run: RunConfig, stage: str) -> ConfigError | None:
    """Why ``stage`` cannot be done here: how much it would need, the key that asks for most, and what would do."""
    need, memory = amounts(run, stage), USABLE * _memory(run)
    if need.bytes > memory:
        text = f"{stage} would need {_size(need.bytes)} of memory or more, of {_size(memory)} on this machine"
        return _complaint(run, stage, text, lambda found: found.bytes, memory)
    if need.unit is not None and need.unit > LONGEST_UNIT:
        text = f"{stage} would take {_time(need.unit)} or more a unit, between two checkpoints"
        return _complaint(run, stage, text, lambda found: found.unit or 0.0, LONGEST_UNIT)
    if need.seconds > LONGEST_STAGE:
        text = f"{stage} would take {_time(need.seconds)} or more"
        return _complaint(run, stage, text, lambda found: found.seconds, LONGEST_STAGE)
    return None


def announcement(run: RunConfig, stage: str) -> str | None:
    """A line for a stage whose single units are long: otherwise nothing would be heard of it."""
    need = amounts(run, stage)
    if need.unit is None or need.unit <= SILENT_SECONDS:
        return None
    key, value, _ = _culprit(run, stage, lambda found: found.unit or 0.0, SILENT_SECONDS)
    return f"{stage}: {_time(need.unit)} or more a unit, for {key}={_shown(value)}"


Measure = Callable[[Amounts], float]


def _complaint(run: RunConfig, stage: str, text: str, measure: Measure, allowed: float) -> ConfigError:
    key, value, largest = _culprit(run, stage, measure, allowed)
    hint = None if largest is None else f"at most about {largest:.2g} would do"
    return ConfigError(key, _shown(value), text, hint)


def _culprit(run: RunConfig, stage: str, measure: Measure, allowed: float) -> tuple[str, Any, float | None]:
    """Key and value of the amount that is farthest beyond the largest one that would be allowed, and this one.

    Where no single amount would mend it, the one without which least is left, and None.
    """
    trial = copy.deepcopy(run)
    found: list[tuple[float, float, str, Any, float | None]] = []
    for key, owner, name, value in _leaves(trial, stage):

        def measured(scale: float, owner: Any = owner, name: str = name, value: Any = value) -> float:
            try:
                setattr(owner, name, _scaled(value, scale))
                return measure(amounts(trial, stage))
            finally:
                setattr(owner, name, value)

        with suppress(Exception):  # a value that the others do not go with
            least = measured(0.0)
            scale = _largest_scale(measured, allowed) if least <= allowed else 1.0
            known = least <= allowed and not isinstance(value, list)
            found.append((scale, least, key, value, max(1.0, scale * value) if known else None))
    _, _, key, value, largest = min(found, key=lambda one: one[:2])
    return key, value, largest


def _largest_scale(measured: Callable[[float], float], allowed: float) -> float:
    """The part of an amount at which the limit would be met, by bisection of its logarithm."""
    low, high = -700.0, 0.0
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if measured(math.exp(middle)) <= allowed else (low, middle)
    return math.exp(low)


def _scaled(value: Any, scale: float) -> Any:
    """A part of an amount; at least 1."""
    if isinstance(value, list):
        return [_scaled(one, scale) for one in value]
    return max(1, int(value * scale)) if isinstance(value, int) else max(min(value, 1.0), value * scale)


def _leaves(run: RunConfig, stage: str) -> Iterator[tuple[str, Any, str, Any]]:
    """Amounts on which a stage may depend: key, node, field, value; lists of numbers as a whole."""
    nodes = [("system", run.system)]
    if stage == "baseline":
        nodes.append((f"baseline.{run.baseline.use}", getattr(run.baseline, run.baseline.use)))
    else:
        nodes += [("train", run.train), ("infer", run.infer), ("profile", run.profile)]
    for path, node in nodes:
        yield from _below(path, node)


def _below(path: str, node: Any) -> Iterator[tuple[str, Any, str, Any]]:
    for field in fields(node):
        value, key = getattr(node, field.name), f"{path}.{field.name}"
        if is_dataclass(value):
            yield from _below(key, value)
        elif isinstance(value, list) and value and all(is_dataclass(one) for one in value):
            for number, one in enumerate(value):
                yield from _below(f"{key}[{number}]", one)
        elif _numbers([value]) or (isinstance(value, list) and value and _numbers(value)):
            yield key, node, field.name, value


def _numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(one, int | float) and not isinstance(one, bool) for one in values)


def _memory(run: RunConfig) -> float:
    """Of the machine, or of its accelerator where that is larger and used."""
    memory = machine_bytes()
    if uses_cuda(run.device):
        import torch

        memory = max(memory, float(torch.cuda.get_device_properties(0).total_memory))
    return memory


def _size(size: float) -> str:
    return f"{size / 1e9:.3g} GB" if size < 1e15 else f"{size / 1e12:.2g} TB"


def _time(seconds: float) -> str:
    units = ((YEAR, "years"), (DAY, "days"), (HOUR, "hours"), (60.0, "minutes"))
    for unit, name in units:
        if seconds >= 2 * unit:
            return f"{seconds / unit:.2g} {name}"
    return f"{seconds:.2g} seconds"


def _shown(value: Any) -> Any:
    return f"[{','.join(map(str, value))}]" if isinstance(value, list) else value
