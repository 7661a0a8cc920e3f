"""Find - lock - find - compute, once for every stage: a result that is there is never computed again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pipeline.base.config.nodes import RunConfig
from pipeline.base.store.entry import Entry
from pipeline.base.store.store import Work
from pipeline.stages.context import Context
from pipeline.stages.keys import Hashed, Keys
from pipeline.stages.train import Start


@dataclass(frozen=True)
class Stage:
    """A stage in one entry.

    Attributes:
        name: as in ``stages=[...]``, and of its folder in the store.
        nodes: what its key hashes.
        compute: fills the working folder and finishes it; goes on with what an interrupted run left there.
        said: a sentence for reports: what an entry holds and what it cost.
        covers: whether a finished entry under the key is all that the run wants of it.
        wanted: whether a run that names the stage needs an entry of it.
        trains: it takes steps of a method, or starts from where they led: the parts under ``train`` must fit.
        on_training: it starts from states of the training: one entry for the last state and one for each snapshot.
        promotable: its entries can be committed, see :mod:`pipeline.base.store.promoted`.
    """

    name: str
    nodes: Hashed
    compute: Callable[[Context, Work, Start | None], None]
    said: Callable[[RunConfig, Entry], str]
    covers: Callable[[RunConfig, Entry], bool] = lambda run, entry: True
    wanted: Callable[[Keys], bool] = lambda keys: True
    trains: bool = False
    on_training: bool = False
    promotable: bool = False

    def key(self, keys: Keys, start: Start | None = None) -> str:
        """Key of its entry, for ``start`` where it works on a training."""
        return keys.of(self.nodes, start.step if start else None)


def find(context: Context, stage: Stage, start: Start | None = None) -> Entry | None:
    """The finished entry of a stage, if there is one and it covers the run."""
    entry = context.store.find(stage.name, stage.key(context.keys, start))
    return entry if entry is not None and stage.covers(context.run, entry) else None


def cached(context: Context, stage: Stage, start: Start | None = None) -> Entry:
    """The entry of a stage, found or computed; waits where another process computes it."""
    found = find(context, stage, start)
    if found is not None:
        return found
    with context.store.work(stage.name, stage.key(context.keys, start)) as work:
        # another process may have finished it while we waited
        while (found := find(context, stage, start)) is None:
            work.path.mkdir(exist_ok=True)
            stage.compute(context, work, start)
        return found
