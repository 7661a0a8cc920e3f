"""From the records of a finished loop to what an entry keeps: its result and, of some, an ensemble."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.base.contracts import KeepsEnsemble, Method, MonteCarloBaseline
from pipeline.base.numbers.result import Result
from pipeline.base.store.commit import drop_checkpoints
from pipeline.base.store.ensemble import save_ensemble
from pipeline.base.store.entry import ENSEMBLE
from pipeline.base.store.files import write_json
from pipeline.base.store.records import Records


def summarise(folder: Path, source: Method | MonteCarloBaseline, notes: Sequence[str] = ()) -> Result:
    """The result of all records in ``folder``, written there with the ensemble where ``source`` keeps one.

    Args:
        notes: what it says beside its own.
    """
    drop_checkpoints(folder)
    records = Records.of(folder)
    if isinstance(source, KeepsEnsemble):
        save_ensemble(folder / ENSEMBLE, records, source.ensemble)
    result = source.summarise(records)
    result = replace(result, notes=(*result.notes, *notes))
    write_json(folder / "result.json", result.to_json())
    return result
