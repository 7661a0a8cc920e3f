"""Stage 2, infer: fresh samples from a trained state, summarised; the state after training or at a snapshot."""

from __future__ import annotations

from pipeline.base.config.nodes import RunConfig
from pipeline.base.run.loop import Loop
from pipeline.base.store.entry import Entry
from pipeline.base.store.store import Work
from pipeline.stages.context import Context
from pipeline.stages.hints import hints
from pipeline.stages.keys import infer_nodes
from pipeline.stages.sampled import summarise
from pipeline.stages.train import Start, build_method


def compute(context: Context, work: Work, start: Start | None) -> None:
    """Result of the state that ``start`` names."""
    assert start is not None, "inference starts from a state"
    run = context.run
    method = build_method(run, context.ranks)
    state = method.init(run.train.seed)
    state.load_state_dict(start.entry.state(start.step))
    loop = Loop(work.path, state, context.loop_settings())
    outcome = loop.run("infer", method.measure, run.infer.units, keep_records=True)
    summarise(work.path, method, hints(run))
    facts = {"device": getattr(method, "device", "cpu"), "units": outcome.done}
    work.finish(nodes=infer_nodes(context.keys, start.step), seconds=outcome.seconds, facts=facts)


def said(run: RunConfig, entry: Entry) -> str:
    """Cost, and what errors mean."""
    return f"infer: {entry.cost}; errors are standard errors over independent units"
