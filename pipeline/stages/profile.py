"""The profile stage: what one training step costs on this machine, after a warm-up and on a fresh state."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pipeline.base.config.nodes import RunConfig
from pipeline.base.contracts import Method, Record
from pipeline.base.numbers.formatting import memory
from pipeline.base.numbers.result import Estimate, Result
from pipeline.base.run.device import resolve_device, uses_cuda
from pipeline.base.run.laps import Laps, measured
from pipeline.base.run.loop import Loop
from pipeline.base.run.memory import PeakMemory
from pipeline.base.run.ranks import Ranks
from pipeline.base.store.commit import drop_checkpoints
from pipeline.base.store.entry import Entry
from pipeline.base.store.files import write_json
from pipeline.base.store.provenance import accelerator, processor
from pipeline.base.store.records import Records
from pipeline.base.store.store import Work
from pipeline.stages.context import Context
from pipeline.stages.keys import Keys, Nodes, train_nodes
from pipeline.stages.train import Start, build_method


def nodes(keys: Keys, step: int | None = None) -> Nodes:
    """What the training hashes, the amounts, and what else a time depends on: hardware, threads and ranks."""
    run = keys.run
    machine = accelerator() if uses_cuda(run.device) else processor()
    return {
        **train_nodes(keys),
        "profile": run.profile,
        "hardware": machine,
        "threads": run.threads,
        "ranks": keys.ranks,
    }


def compute(context: Context, work: Work, start: Start | None) -> None:
    """Time the first steps of the training; the state is thrown away."""
    run, amounts = context.run, context.run.profile
    peak = peak_memory(run)
    method = build_method(run, context.ranks)
    state = method.init(run.train.seed)
    loop = Loop(work.path, state, context.loop_settings(tracked=False))
    warmup = loop.run("warmup", method.step, amounts.warmup)
    body = timed(method, run, context.ranks, peak)
    outcome = loop.run("profile", body, amounts.steps, keep_records=True)
    drop_checkpoints(work.path)
    write_json(work.path / "result.json", summarise(Records.of(work.path)).to_json())
    facts = {"device": getattr(method, "device", "cpu"), "steps": outcome.done}
    work.finish(nodes=nodes(context.keys), seconds=warmup.seconds + outcome.seconds, facts=facts)


def timed(method: Method, run: RunConfig, ranks: Ranks, peak: Callable[[], int]) -> Callable[[Any, int], Record]:
    """A step that is timed, of the profile's loop: what every rank does.

    Args:
        peak: memory of this rank so far, see :func:`peak_memory`; the largest of all ranks is what counts.
    """
    import torch

    device = resolve_device(run.device)
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None

    def step(state: Any, k: int) -> Record:
        laps = Laps(wait)
        ranks.barrier()
        wait()
        began = time.perf_counter()
        with measured(laps):
            method.step(state, run.profile.warmup + k)
        wait()
        seconds = time.perf_counter() - began
        peaks = ranks.gather(torch.tensor([peak()], device=device))
        parts = {f"{name}{PART}": value for name, value in laps.seconds.items()}
        return {"step_seconds": seconds, "peak_bytes": int(peaks.max()), **parts}

    return step


PART = "_seconds_of_step"
"""How the seconds of a part are called in a record."""


def summarise(records: Sequence[Mapping[str, Any]]) -> Result:
    """Estimates ``seconds_per_step`` (median), ``slowest_step`` and ``peak_memory`` (bytes beyond an idle process with
    torch, of the rank that needs most), and ``seconds_<part>`` (median) of the parts of a step on the first rank.

    Args:
        records: of one step each, ``step_seconds``, ``peak_bytes`` so far, and the seconds of parts.
    """
    import statistics

    seconds = [float(record["step_seconds"]) for record in records]
    time_of_step = Estimate("seconds_per_step", statistics.median(seconds), unit="s", n=len(seconds))
    slowest = Estimate("slowest_step", max(seconds), unit="s", n=len(seconds))
    peak = Estimate("peak_memory", float(max(record["peak_bytes"] for record in records)), unit="bytes")
    names = dict.fromkeys(name for record in records for name in record if name.endswith(PART))
    parts = [
        Estimate(
            f"seconds_{name.removesuffix(PART)}",
            statistics.median(float(record.get(name, 0.0)) for record in records),
            unit="s",
            n=len(records),
        )
        for name in names
    ]
    return Result((time_of_step, slowest, peak, *parts), headline="seconds_per_step")


def said(run: RunConfig, entry: Entry) -> str:
    """Time and memory of a step, and where."""
    result, where = entry.result(), entry.status["nodes"]
    step, peak = result.estimate("seconds_per_step"), result.estimate("peak_memory")
    return (
        f"profile: {step.value:.3g} s a step (median of {step.n}), {memory(peak.value)} of memory, "
        f"{where['threads']} thread(s) and {where['ranks']} rank(s) on {where['hardware']}, {entry.cost}"
    )


def peak_memory(run: RunConfig) -> Callable[[], int]:
    """A function that gives the peak, from now on, of the memory of the device that computes, in bytes."""
    import torch  # before the memory is looked at, which is not to count it

    if resolve_device(run.device) != "cuda":
        return PeakMemory().bytes
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    return lambda: int(torch.cuda.max_memory_allocated()) - before
