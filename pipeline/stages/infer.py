"""Stage 2, infer: fresh samples from a trained state, summarised; the state after training or at a snapshot."""

from __future__ import annotations

from pipeline.analysis.along_training import curves_along_training
from pipeline.base.contracts import Method
from pipeline.base.numbers.result import Curve, Result
from pipeline.base.run.loop import Loop
from pipeline.base.store.commit import drop_checkpoints, load_all_records
from pipeline.base.store.entry import Entry
from pipeline.base.store.files import write_json
from pipeline.base.store.store import Work
from pipeline.stages.context import Context, infer_key, stage_nodes, train_key
from pipeline.stages.train import Trained, build_method


def infer(context: Context, trained: Trained) -> Entry:
    """Result of the final state, and of each snapshot along the way (see :func:`along_training`)."""
    for step in trained.snapshots:
        infer_at(context, trained, step)
    return infer_at(context, trained, trained.step)


def infer_at(context: Context, trained: Trained, step: int) -> Entry:
    """Result of the state after ``step`` updates."""
    key = infer_key(context.run, step)
    found = context.store.find("infer", key)
    if found is not None:
        return found
    with context.store.work("infer", key) as work:
        found = context.store.find("infer", key)
        return found if found is not None else _infer_in(context, trained, step, work)


def along_training(context: Context, trained: Trained) -> Curve | None:
    """Energy from fresh samples against the training step, where snapshots were asked for."""
    if not trained.snapshots:
        return None
    entries = [infer_at(context, trained, step) for step in (*trained.snapshots, trained.step)]
    return curves_along_training(trained.entry, entries, ("energy",))[0]


def _infer_in(context: Context, trained: Trained, step: int, work: Work) -> Entry:
    run = context.run
    method: Method = build_method(run)
    state = method.init(run.train.seed)
    state.load_state_dict(trained.entry.state(step))
    loop = Loop(work.path, state, context.loop_settings())
    outcome = loop.run("infer", method.measure, run.infer.units, keep_records=True)
    result: Result = method.summarise(load_all_records(work.path))
    write_json(work.path / "result.json", result.to_json())
    drop_checkpoints(work.path)
    nodes = {**stage_nodes(run)["infer"], "train_key": train_key(run), "step": step}
    facts = {"device": getattr(method, "device", "cpu"), "units": outcome.done}
    return work.finish(nodes=nodes, seconds=outcome.seconds, facts=facts)
