"""Keys of a run: which nodes of its configuration each stage hashes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from pipeline.base.config.nodes import RunConfig
from pipeline.base.store.keys import digest
from pipeline.base.store.provenance import processes
from pipeline.stages.choose import baseline_name

Nodes = dict[str, Any]
"""What a key hashes, by name: configuration dataclasses, dictionaries of them, numbers and strings."""


class Keys:
    """All keys of one run, each computed once.

    Args:
        run: the checked configuration.
        ranks: processes that share the run; None: as many as this one is of. Timings alone depend on it.
    """

    def __init__(self, run: RunConfig, ranks: int | None = None) -> None:
        self.run = run
        self.ranks = processes() if ranks is None else ranks
        self._known: dict[tuple[Hashed, int | None], str] = {}

    def of(self, hashed: Hashed, step: int | None = None) -> str:
        """The key that ``hashed`` gives; ``step`` for stages that start from a state of the training."""
        if (hashed, step) not in self._known:
            self._known[hashed, step] = digest(hashed(self, step))
        return self._known[hashed, step]

    @property
    def train(self) -> str:
        """Key of the training."""
        return self.of(train_nodes)

    def infer(self, step: int) -> str:
        """Key of the inference on the state after ``step`` updates."""
        return self.of(infer_nodes, step)

    @property
    def baseline(self) -> str:
        """Key of the reference; never depends on ``auto``."""
        return self.of(baseline_nodes)

    @cached_property
    def baseline_name(self) -> str | None:
        """The baseline that the run takes; None where it takes none."""
        return baseline_name(self.run) if "baseline" in self.run.stages else None


Hashed = Callable[[Keys, int | None], Nodes]


def train_nodes(keys: Keys, step: int | None = None) -> Nodes:
    """The system and the training.

    Left out: the number of steps and the snapshots, so that a run can be continued; and phases where there are none,
    so that only those who use them depend on them.
    """
    train = keys.run.train
    unhashed = {"steps", "snapshots"} | (set() if train.phases else {"phases"})
    return {"system": keys.run.system, "train": {n: value for n, value in vars(train).items() if n not in unhashed}}


def infer_nodes(keys: Keys, step: int | None) -> Nodes:
    """The inference, the key of the training and the step whose state it starts from."""
    return {"infer": keys.run.infer, "train_key": keys.train, "step": step}


def baseline_nodes(keys: Keys, step: int | None = None) -> Nodes:
    """The system and the baseline that is taken, with its own settings only."""
    name = keys.baseline_name
    if name is None:
        return {"system": keys.run.system}
    return {"system": keys.run.system, "name": name, "baseline": keys.run.baseline.candidates()[name]}
