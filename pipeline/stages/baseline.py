"""Stage 3, baseline: an exact or independent reference for the same system."""

from __future__ import annotations

import time
from typing import Any

from pipeline.base.config.nodes import RunConfig
from pipeline.base.contracts import DirectBaseline, MonteCarloBaseline, Movable
from pipeline.base.errors import NonFiniteError
from pipeline.base.later import np
from pipeline.base.numbers.formatting import duration
from pipeline.base.numbers.result import Result
from pipeline.base.run.device import resolve_device
from pipeline.base.run.loop import Loop
from pipeline.base.run.memory import PeakMemory
from pipeline.base.store.entry import Entry
from pipeline.base.store.files import write_json
from pipeline.base.store.store import Work
from pipeline.stages.context import Context
from pipeline.stages.keys import baseline_nodes
from pipeline.stages.sampled import summarise
from pipeline.stages.train import Start


def compute(context: Context, work: Work, start: Start | None) -> None:
    """Run the baseline; a Monte Carlo one goes through the loop and resumes."""
    name = context.keys.baseline_name
    assert name is not None, "no entry is wanted for baseline.use: none"
    solver = context.run.baseline.candidates()[name]
    memory = PeakMemory()
    run = _monte_carlo if isinstance(solver, MonteCarloBaseline) else _direct
    result, seconds, device = run(context, solver, work)
    if (broken := result.not_finite()) is not None:
        (work.path / "result.json").unlink()
        raise NonFiniteError(f"{context.label} baseline {solver.kind}: {broken}; it is not kept as a reference")
    facts: dict[str, Any] = {"name": name, "kind": solver.kind, "peak_bytes": memory.bytes(), "device": device}
    work.finish(nodes=baseline_nodes(context.keys), seconds=seconds, facts=facts)


def covers(run: RunConfig, entry: Entry) -> bool:
    """Whether all numbers of a reference are finite."""
    return entry.result().not_finite() is None


def said(run: RunConfig, entry: Entry) -> str:
    """Kind of reference and cost."""
    return f"baseline: {entry.status['kind']}, {entry.cost}, {entry.memory}"


def _direct(context: Context, solver: DirectBaseline, work: Work) -> tuple[Result, float, str]:
    """What it found, the seconds that it took, and where."""
    expected = solver.cost(context.run.system).seconds
    if expected > 5:
        context.notify(f"{context.label} baseline: {solver.kind}, up to about {duration(expected)}")
    began = time.perf_counter()
    try:
        result = solver.run(context.run.system)
    except (ArithmeticError, np.linalg.LinAlgError) as error:
        raise NonFiniteError(
            f"{context.label} baseline {solver.kind}: {error}; are the system's amounts right?"
        ) from error
    seconds = time.perf_counter() - began
    write_json(work.path / "result.json", result.to_json())
    return result, seconds, "cpu"


def _monte_carlo(context: Context, solver: MonteCarloBaseline, work: Work) -> tuple[Result, float, str]:
    """What it found, the seconds in the loop, and where it ran."""
    import torch  # imported before the loop so that it fixes the thread count

    torch.set_num_threads(context.run.threads)
    state, device = solver.init(context.run.system), "cpu"
    if isinstance(state, Movable):
        device = resolve_device(context.run.device)
        state.to(device)
    loop = Loop(work.path, state, context.loop_settings(tracked=False, alone=True))
    warmup = loop.run("warmup", solver.step, solver.warmup)
    outcome = loop.run("measure", solver.measure, solver.measurements, keep_records=True)
    return summarise(work.path, solver), warmup.seconds + outcome.seconds, device
