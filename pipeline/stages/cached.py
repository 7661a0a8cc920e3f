"""Find - lock - find - compute, once for every stage: a result that is there is never computed again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pipeline.base.config.nodes import RunConfig
from pipeline.base.store.entry import Entry
from pipeline.base.store.files import read_json, remove, write_json
from pipeline.base.store.formats import SOURCE
from pipeline.base.store.provenance import source_digest
from pipeline.base.store.source import SOMETHING, Sources, changed, listed, sources
from pipeline.base.store.store import Work
from pipeline.stages.context import Context
from pipeline.stages.keys import Hashed, Keys, Nodes, train_nodes
from pipeline.stages.recompute import OPTION
from pipeline.stages.train import Start


@dataclass(frozen=True)
class Stage:
    """A stage in one entry.

    Attributes:
        name: as in ``stages=[...]``, and of its folder in the store.
        nodes: what its key hashes.
        compute: fills the working folder and finishes it; goes on with what is there.
        prepare: puts what can be gone on from into an empty working folder.
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
    prepare: Callable[[Context, Work], None] = lambda context, work: None
    trains: bool = False
    on_training: bool = False
    promotable: bool = False

    def key(self, keys: Keys, start: Start | None = None) -> str:
        """Key of its entry, for ``start`` where it works on a training."""
        return keys.of(self.nodes, start.step if start else None)

    def parts(self, keys: Keys, start: Start | None = None) -> Nodes:
        """What names the parts whose code makes its numbers: what its key hashes, and that of its training."""
        own = self.nodes(keys, start.step if start else None)
        return {**train_nodes(keys), **own} if self.on_training else own


def find(context: Context, stage: Stage, start: Start | None = None) -> Entry | None:
    """The finished entry of a stage, if there is one, it covers the run, and it is not to be computed again."""
    entry = _covering(context, stage, start)
    return None if entry is None or entry.finished < context.recompute_before else entry


def _covering(context: Context, stage: Stage, start: Start | None) -> Entry | None:
    entry = context.store.find(stage.name, stage.key(context.keys, start))
    return entry if entry is not None and stage.covers(context.run, entry) else None


def cached(context: Context, stage: Stage, start: Start | None = None) -> Entry:
    """The entry of a stage, found or computed; waits where another process computes it."""
    found = find(context, stage, start)
    if found is not None:
        return found
    now = sources(stage.parts(context.keys, start))
    source_digest()  # both are read before the work begins: files may be edited meanwhile
    with context.store.work(stage.name, stage.key(context.keys, start)) as work:
        found = find(context, stage, start)  # another process may have finished it while we waited
        while found is None:
            work.path.mkdir(exist_ok=True)
            work.sources = now
            stage.prepare(context, work)
            _begin(context, work, now)
            stage.compute(context, work, start)
            found = _covering(context, stage, start)  # just finished, whatever the clock says
        return found


def _begin(context: Context, work: Work, now: Sources) -> None:
    """Say in the working folder which source the entry is computed with; what is begun there keeps its own.

    What an interrupted run began with other source goes on, and is told from what it would be today at every use; asked
    to compute anew, it begins again.
    """
    path = work.path / SOURCE
    if not any(work.path.iterdir()):
        write_json(path, now)
        return
    then = _recorded(work)
    differing = changed(then, now)
    if not differing:
        write_json(path, now)
    elif context.recompute_before:
        for leftover in work.path.iterdir():
            remove(leftover)
        write_json(path, now)
    else:
        write_json(path, then)
        context.notify(
            f"{work.stage}/{work.key} was begun before {listed(differing if then else ())} changed, and goes on; "
            f"{OPTION} begins it anew"
        )


def _recorded(work: Work) -> Sources:
    """The source that is noted in a working folder; none where an older program began it."""
    try:
        found = read_json(work.path / SOURCE)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def stale(context: Context, stage: Stage, entry: Entry, start: Start | None = None) -> str | None:
    """What of the source has changed since an entry was computed; None if nothing has, or it cannot be told.

    It can not of committed results that do not name their modules; their keys hold the versions of their parts.
    """
    then = entry.sources()
    if then:
        differing = changed(then, sources(stage.parts(context.keys, start)))
        return listed(differing) if differing else None
    told = entry.has(SOURCE) or not (entry.status.get("promoted") or entry.provenance()["source"] == source_digest())
    return SOMETHING if told else None
