"""One run: the stages in order, reading like a recipe."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.base.numbers.result import Curve, Result
from pipeline.base.store.entry import Entry
from pipeline.stages.baseline import baseline
from pipeline.stages.context import Context
from pipeline.stages.infer import along_training, infer
from pipeline.stages.train import Trained, train


@dataclass(frozen=True)
class RunOutput:
    """Entries of one run; None for stages that were not asked for."""

    trained: Trained | None
    inferred: Entry | None
    reference: Entry | None
    training_curve: Curve | None = None

    @property
    def result(self) -> Result | None:
        """What the method found."""
        return self.inferred.result() if self.inferred else None


def execute(context: Context) -> RunOutput:
    """Train, infer and compute the baseline, as far as ``stages`` asks and the store does not have it."""
    stages = context.run.stages
    try:
        trained = train(context) if "train" in stages or "infer" in stages else None
        inferred = infer(context, trained) if trained is not None and "infer" in stages else None
        curve = along_training(context, trained) if trained is not None and "infer" in stages else None
        reference = baseline(context) if "baseline" in stages else None
    finally:
        context.close()
    return RunOutput(trained, inferred, reference, curve)
