"""Stage 3, baseline: an exact or independent reference for the same system."""

from __future__ import annotations

import time
from typing import Any

from pipeline.base.contracts import DirectBaseline, EnsembleBaseline, MonteCarloBaseline
from pipeline.base.numbers.formatting import duration
from pipeline.base.numbers.result import Result
from pipeline.base.run.loop import Loop
from pipeline.base.run.memory import PeakMemory
from pipeline.base.store.commit import drop_checkpoints, load_all_records
from pipeline.base.store.entry import ENSEMBLE, Entry
from pipeline.base.store.files import save_tree, write_json
from pipeline.base.store.store import Work
from pipeline.stages.compose import baseline_name
from pipeline.stages.context import Context, baseline_key, stage_nodes


def baseline(context: Context) -> Entry | None:
    """The reference entry, computed where needed; None for ``baseline.use: none``."""
    name = baseline_name(context.run)
    if name is None:
        return None
    key = baseline_key(context.run)
    found = context.store.find("baseline", key)
    if found is not None:
        return found
    with context.store.work("baseline", key) as work:
        found = context.store.find("baseline", key)
        return found if found is not None else _compute(context, name, work)


def _compute(context: Context, name: str, work: Work) -> Entry:
    """Run the baseline; a Monte Carlo one goes through the loop and resumes."""
    solver = context.run.baseline.candidates()[name]
    memory = PeakMemory()
    if isinstance(solver, MonteCarloBaseline):
        result, seconds = _monte_carlo(context, solver, work)
    else:
        result, seconds = _direct(context, solver)
    write_json(work.path / "result.json", result.to_json())
    facts: dict[str, Any] = {
        "name": name,
        "kind": solver.kind,
        "peak_bytes": memory.bytes(),
        "device": "cpu",
    }
    return work.finish(nodes=stage_nodes(context.run)["baseline"], seconds=seconds, facts=facts)


def _direct(context: Context, solver: DirectBaseline) -> tuple[Result, float]:
    expected = solver.cost(context.run.system).seconds
    if expected > 5:
        context.notify(f"{context.label} baseline: {solver.kind}, up to about {duration(expected)}")
    began = time.perf_counter()
    result = solver.run(context.run.system)
    return result, time.perf_counter() - began


def _monte_carlo(context: Context, solver: MonteCarloBaseline, work: Work) -> tuple[Result, float]:
    import torch  # imported before the loop so that it fixes the thread count

    torch.set_num_threads(context.run.threads)
    state = solver.init(context.run.system)
    loop = Loop(work.path, state, context.loop_settings(tracked=False))
    warmup = loop.run("warmup", solver.step, solver.warmup)
    outcome = loop.run("measure", solver.measure, solver.measurements, keep_records=True)
    drop_checkpoints(work.path)
    records = load_all_records(work.path)
    if isinstance(solver, EnsembleBaseline):
        save_tree(work.path / ENSEMBLE, solver.ensemble(records))
    return solver.summarise(records), warmup.seconds + outcome.seconds
