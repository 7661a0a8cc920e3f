"""``make promote KEY=...``: commit a long reference or a trained state, so that a fresh clone has it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.base.errors import UserError
from pipeline.base.numbers.formatting import duration
from pipeline.base.places import results_folder
from pipeline.base.run.console import guarded, say
from pipeline.base.store.entry import Entry
from pipeline.base.store.promoted import promote, promoted_path
from pipeline.base.store.source import changed, listed, today
from pipeline.base.store.store import Store
from pipeline.stages.table import STAGES

KEY_LENGTH = 16
LISTED = 30


def main(arguments: Sequence[str], results: Path | None = None) -> int:
    """Promote the entries named by a key, ``stage/key`` or the beginning of one; with none, list what there is."""
    folder = results or results_folder()
    return guarded(lambda: _run(list(arguments), folder), lambda: folder / "_logs")


def _run(wanted: list[str], results: Path) -> int:
    store = Store(results / "_store", say, repair=False)
    entries = [e for stage in STAGES if stage.promotable for e in _finished(store, stage.name)]
    if not wanted:
        _list(entries, results)
        return 0
    for entry in [_named(text, entries) for text in wanted]:
        path = promote(entry, results)
        if differing := changed(entry.sources(), today(entry.sources())):
            say(f"{entry.name} was computed before {listed(differing)} changed")
        print(f"{entry.name}: {_describe(entry)} -> {path} ({path.stat().st_size / 1024:.0f} KiB); commit it")
    return 0


def _finished(store: Store, stage: str) -> list[Entry]:
    paths = sorted((store.root / stage).glob("*/status.json"))
    found = [store.find(stage, path.parent.name) for path in paths if len(path.parent.name) == KEY_LENGTH]
    return [entry for entry in found if entry is not None]


def _named(text: str, entries: Sequence[Entry]) -> Entry:
    matching = [e for e in entries if e.path.name.startswith(text) or e.name.startswith(text)]
    if len(matching) == 1:
        return matching[0]
    if not matching:
        raise UserError(f"{text}: no such finished baseline or training in the store; make promote lists them")
    raise UserError(f"{text}: means {', '.join(e.name for e in matching[:5])}; give more of the key")


def _list(entries: Sequence[Entry], results: Path) -> None:
    from tabulate import tabulate

    body = []
    for entry in sorted(entries, key=lambda e: -e.seconds)[:LISTED]:
        there = promoted_path(results, entry.path.parent.name, entry.path.name).exists()
        body.append([entry.name, _describe(entry), duration(entry.seconds), "promoted" if there else ""])
    print(tabulate(body, headers=["KEY", "what", "compute time", ""], disable_numparse=True))
    if len(entries) > LISTED:
        print(f"the {LISTED} longest of {len(entries)}")


def _describe(entry: Entry) -> str:
    """The method or baseline, and the system's own numbers."""
    nodes = entry.status["nodes"]
    system = {k: v for k, v in nodes["system"].items() if not k.startswith("_") and k != "kind"}
    what = entry.status.get("kind") or f"{nodes['train']['method']['name']} {entry.status['steps']} steps"
    return f"{what}, {nodes['system']['kind']} " + " ".join(f"{k}={v}" for k, v in system.items())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
