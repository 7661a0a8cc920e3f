"""Stage 1, train: drive ``method.step`` to the wanted number of steps, or to the method's own stopping rule."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import Any

from pipeline.base.config.components import implementation
from pipeline.base.config.nodes import RunConfig
from pipeline.base.contracts import Method
from pipeline.base.errors import ConfigError
from pipeline.base.run.loop import Loop
from pipeline.base.run.ranks import Ranks
from pipeline.base.store.commit import PROGRESS, commit, drop_checkpoints, reopen, save_state
from pipeline.base.store.entry import METRICS, Entry
from pipeline.base.store.files import exists, read_json, remove, sha256, write_json
from pipeline.base.store.formats import SOURCE, state_name
from pipeline.base.store.store import Work
from pipeline.stages.context import Context
from pipeline.stages.keys import train_nodes


@dataclass(frozen=True)
class Trained:
    """A train entry as one run sees it: ``step`` is the final one for this run's ``train.steps``."""

    entry: Entry
    step: int
    snapshots: tuple[int, ...]

    @property
    def stopped(self) -> str | None:
        """The method's reason to stop, if it stopped at this step."""
        reason: str | None = self.entry.status.get("stopped")
        return reason if self.step == self.entry.status["steps"] else None


@dataclass(frozen=True)
class Start:
    """A state of a training that another stage starts from: that after ``step`` updates."""

    entry: Entry
    step: int


def trained(run: RunConfig, entry: Entry) -> Trained | None:
    """A finished training for ``run``, if it reaches the run's steps and kept every state that is wanted."""
    reached: int = entry.status["steps"]
    wanted = run.train.steps
    if reached < wanted and entry.status.get("stopped") is None:
        return None
    step = min(wanted, reached)
    snapshots = tuple(sorted({s for s in run.train.snapshots if s < step}))
    if not {step, *snapshots} <= set(entry.state_steps()):
        return None
    return Trained(entry, step, snapshots)


def covers(run: RunConfig, entry: Entry) -> bool:
    """Whether ``run`` needs no more of a training than ``entry`` has."""
    return trained(run, entry) is not None


def compute(context: Context, work: Work, start: Start | None) -> None:
    """Train to the wanted steps, on from what is there; states that a longer training did not keep are added to it.

    What an interrupted run of other steps or snapshots left behind is finished first: whoever wanted it finds that the
    entry does not cover the run yet, and calls again.
    """
    run = context.run
    before = _finished(context, work.key)
    target, missing = run.train.steps, _missing(run, before) if before is not None else []
    if before is not None and missing:
        target = max(missing)  # the rest of the training is there
    method = build_method(run, context.ranks)
    state = method.init(run.train.seed)
    loop = Loop(work.path, state, context.loop_settings())
    outcome = loop.run(
        "train",
        method.step,
        target,
        snapshots={*run.train.snapshots, run.train.steps, target},
        converged=method.converged,
    )
    _keep_last_state(work, state, outcome.done)
    facts: dict[str, Any] = {"steps": outcome.done, "stopped": outcome.stopped, "device": _device(method)}
    seconds = outcome.seconds
    if before is not None and outcome.done < before.status["steps"] and outcome.stopped is None:
        _splice(work, before)
        facts = {"steps": before.status["steps"], "stopped": before.status.get("stopped"), "device": before.device}
        seconds = before.seconds
    work.finish(nodes=train_nodes(context.keys), seconds=seconds, facts=facts)


def said(run: RunConfig, entry: Entry) -> str:
    """Steps, why there were not more, and cost."""
    ours = trained(run, entry)
    assert ours is not None, "found as one that covers the run"
    return f"train: {ours.step} steps{f' ({ours.stopped})' if ours.stopped else ''}, {entry.cost}"


def build_method(run: RunConfig, ranks: Ranks | None = None) -> Method:
    """The method that ``train.method`` names, on the configured device, sharing its work with ``ranks``.

    Raises:
        ConfigError: several ranks, for a method that works in one process.
    """
    import torch

    from pipeline.base.run.device import resolve_device
    from pipeline.base.run.memory import keep_freed_memory

    torch.set_num_threads(run.threads)
    keep_freed_memory()
    shares = () if ranks is None or ranks.size == 1 else (ranks,)
    if shares and not run.train.method.shares_work:
        allowed = f"works in one process, not in {shares[0].size}"
        raise ConfigError("method", run.train.method.name, allowed)
    device = resolve_device(run.device)
    method: Method = implementation(run.train.method)(run.system, run.train, run.infer, device, *shares)
    return method


def prepare(context: Context, work: Work) -> None:
    """Seed the working folder with a finished entry of the same key that does not cover the run, if there is one."""
    run, entry = context.run, _finished(context, work.key)
    if entry is None:
        return
    missing = _missing(run, entry)
    if exists(work.path / PROGRESS) and (missing or _begun(work) > entry.status["steps"]):
        return  # an interrupted run was at the same; one that only went after states within the entry is in the way
    copy = work.path.with_name(f"{work.key}.copy")
    remove(copy)
    copy.mkdir()
    for name in entry.status["files"]:
        shutil.copyfile(entry.path / name, copy / name)
    try:
        kept = [step for step in entry.state_steps() if missing and step <= min(missing)]
        reopen(copy, "train", from_step=max(kept, default=0) if missing else None)
    except (OSError, KeyError, ValueError, TypeError, AttributeError):
        context.notify(f"{entry.name} cannot be continued: what it says of its steps is damaged; it is trained anew")
        remove(copy)
        return
    if not entry.has(SOURCE):
        write_json(copy / SOURCE, {})
    # the working folder appears only when it is complete: a kill in between must not leave a finished loop in it
    remove(work.path)
    os.rename(copy, work.path)


def _finished(context: Context, key: str) -> Entry | None:
    """The finished entry that a training may go on from."""
    entry = context.store.find("train", key)
    return None if entry is None or entry.finished < context.recompute_before else entry


def _missing(run: RunConfig, entry: Entry) -> list[int]:
    """Steps below the last one of ``entry`` whose states are wanted and were not kept."""
    wanted = {*run.train.snapshots, run.train.steps}
    return sorted(s for s in wanted if s < entry.status["steps"] and s not in entry.state_steps())


def _begun(work: Work) -> int:
    """Steps that an interrupted run has done."""
    try:
        progress = read_json(work.path / PROGRESS)
        return int((progress["current"] | progress["finished"])["train"]["done"])
    except (OSError, KeyError, ValueError, TypeError):
        return 0


def _splice(work: Work, before: Entry) -> None:
    """Put states of a repeated piece into the longer training ``before``, which is otherwise what it was."""
    for name in before.status["files"]:
        if name in (PROGRESS, METRICS) or not exists(work.path / name):
            shutil.copyfile(before.path / name, work.path / name)
    progress = read_json(work.path / PROGRESS)
    progress["kept"] = {}
    commit(work.path, progress)


def _keep_last_state(work: Work, state: object, step: int) -> None:
    """Keep the final state (a run stopped by its rule ends at no snapshot) and drop the checkpoint it equals."""
    path = work.path / state_name(step)
    if not path.exists():
        save_state(work.path, path.name, state.state_dict())  # type: ignore[attr-defined]
    progress = read_json(work.path / PROGRESS)
    progress["state"], progress["state_sha256"] = path.name, sha256(path)
    commit(work.path, progress)
    drop_checkpoints(work.path)


def _device(method: object) -> str:
    return str(getattr(method, "device", "cpu"))
