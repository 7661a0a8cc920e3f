"""The stages, each in one entry. Whatever runs, plans, promotes or reports them reads this table."""

from __future__ import annotations

from pipeline.stages import baseline, infer, profile, train
from pipeline.stages.cached import Stage
from pipeline.stages.keys import baseline_nodes, infer_nodes, train_nodes

STAGES = (
    Stage(
        "train",
        train_nodes,
        train.compute,
        train.said,
        covers=train.covers,
        prepare=train.prepare,
        trains=True,
        promotable=True,
    ),
    Stage("infer", infer_nodes, infer.compute, infer.said, trains=True, on_training=True),
    Stage(
        "baseline",
        baseline_nodes,
        baseline.compute,
        baseline.said,
        covers=baseline.covers,
        wanted=lambda keys: keys.baseline_name is not None,
        promotable=True,
    ),
    Stage("profile", profile.nodes, profile.compute, profile.said, trains=True),
)
"""In the order in which they run."""
