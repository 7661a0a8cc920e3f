"""A run of several processes: the first one is like a run of one; the others take their share of its loops."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from pipeline.base.config.nodes import RunConfig
from pipeline.base.errors import Interrupted, RankLost
from pipeline.base.run import loop
from pipeline.base.run.device import resolve_device
from pipeline.base.run.ranks import OneProcess, Processes, Ranks, close, started_by_torchrun
from pipeline.stages import profile
from pipeline.stages.train import build_method


def follows() -> bool:
    """Whether this process is one of several and not the first."""
    return started_by_torchrun() and os.environ.get("RANK", "0") != "0"


@contextlib.contextmanager
def together(run: RunConfig) -> Iterator[Ranks]:
    """The ranks of a run, all of them at work inside the block; whatever the block does is for the first rank only.

    An error ends this process alone: ``torchrun`` ends the others.
    """
    if not started_by_torchrun():
        yield OneProcess()
        return
    ranks = Processes(resolve_device(run.device))
    try:
        yield ranks
    except Interrupted:
        with contextlib.suppress(RankLost):  # a signal that all of us got may have ended another rank first
            ranks.broadcast(None)  # between two units, where the others wait for an order
        raise
    ranks.broadcast(None)
    close()


def follow(run: RunConfig) -> None:
    """Take part in the loops of methods of the first rank, until it is done."""
    ranks = Processes(resolve_device(run.device))
    peak = profile.peak_memory(run)
    method = build_method(run, ranks)
    bodies = {
        "train": method.step,
        "infer": method.measure,
        "warmup": method.step,
        "profile": profile.timed(method, run, ranks, peak),
    }
    loop.follow(ranks, method.init(run.train.seed), bodies)
    close()
