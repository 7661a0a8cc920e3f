"""Stage 1, train: drive ``method.step`` to the wanted number of steps, or to the method's own stopping rule."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass

from pipeline.base.config.components import implementation
from pipeline.base.config.nodes import RunConfig
from pipeline.base.contracts import Method
from pipeline.base.errors import ConfigError
from pipeline.base.run.loop import Loop
from pipeline.base.run.ranks import Ranks
from pipeline.base.store.commit import commit, drop_checkpoints, reopen
from pipeline.base.store.entry import Entry
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
        reason: str | None = self.entry.status["stopped"]
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
    if reached < wanted and entry.status["stopped"] is None:
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
    """Train to the wanted steps, on from what is there.

    What an interrupted run of other steps or snapshots left behind is finished first: whoever wanted it finds that the
    entry does not cover the run yet, and calls again.
    """
    _prepare(context, work)
    _train_in(context, work)


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

    torch.set_num_threads(run.threads)
    shares = () if ranks is None or ranks.size == 1 else (ranks,)
    if shares and not run.train.method.shares_work:
        allowed = f"works in one process, not in {shares[0].size}"
        raise ConfigError("method", run.train.method.name, allowed)
    device = resolve_device(run.device)
    method: Method = implementation(run.train.method)(run.system, run.train, run.infer, device, *shares)
    return method


def _prepare(context: Context, work: Work) -> None:
    """Seed the working folder with a finished, shorter entry of the same key, if there is one."""
    entry = context.store.find("train", work.key)
    if entry is None or (work.path / "progress.json").exists():
        return
    copy = work.path.with_name(f"{work.key}.copy")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(entry.path, copy)
    (copy / "status.json").unlink()
    wanted = {*context.run.train.snapshots, context.run.train.steps}
    missing = [s for s in wanted if s < entry.status["steps"] and s not in entry.state_steps()]
    if missing:
        kept = [s for s in entry.state_steps() if s <= min(missing)]
        reopen(copy, "train", from_step=max(kept, default=0))
    else:
        reopen(copy, "train")
    # the working folder appears only when it is complete: a kill in between must not leave a finished loop in it
    shutil.rmtree(work.path)
    os.rename(copy, work.path)


def _train_in(context: Context, work: Work) -> None:
    run = context.run
    method = build_method(run, context.ranks)
    state = method.init(run.train.seed)
    loop = Loop(work.path, state, context.loop_settings())
    steps = max(run.train.steps, _reached_before(context, work))
    outcome = loop.run(
        "train",
        method.step,
        steps,
        snapshots={*run.train.snapshots, run.train.steps, steps},
        converged=method.converged,
    )
    _keep_last_state(work, state, outcome.done)
    work.finish(
        nodes=train_nodes(context.keys),
        seconds=outcome.seconds,
        facts={"steps": outcome.done, "stopped": outcome.stopped, "device": _device(method)},
    )


def _reached_before(context: Context, work: Work) -> int:
    """Steps of the finished entry that a continued run must not lose."""
    path = context.store.path("train", work.key) / "status.json"
    return int(json.loads(path.read_text())["steps"]) if path.exists() else 0


def _keep_last_state(work: Work, state: object, step: int) -> None:
    """Keep the final state (a run stopped by its rule ends at no snapshot) and drop the checkpoint it equals."""
    from pipeline.base.store.entry import state_name
    from pipeline.base.store.files import save_tree, sha256

    path = work.path / state_name(step)
    if not path.exists():
        save_tree(path, state.state_dict())  # type: ignore[attr-defined]
    progress = json.loads((work.path / "progress.json").read_text())
    progress["state"], progress["state_sha256"] = path.name, sha256(path)
    commit(work.path, progress)
    drop_checkpoints(work.path)


def _device(method: object) -> str:
    return str(getattr(method, "device", "cpu"))
