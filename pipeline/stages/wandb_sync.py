"""``make wandb-sync``: upload the offline runs of the W&B mirror."""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from pipeline.base.errors import UserError
from pipeline.base.run.console import guarded, say
from pipeline.base.run.mirror import ENDED
from pipeline.base.run.tracking import environment

QUIET_SECONDS = 600.0
"""A run that has not ended is taken for a killed one after so long without a word."""


def main(arguments: Sequence[str]) -> int:
    """Sync what is not synced yet; options and the folder of results as ``--help`` says."""
    return guarded(lambda: _run(list(arguments)))


def _run(words: list[str]) -> int:
    parser = argparse.ArgumentParser("make wandb-sync", description=__doc__)
    parser.add_argument("results", nargs="?", default="results", help="results_dir of the runs (default: results)")
    parser.add_argument("--dry-run", action="store_true", help="list what would be synced")
    options = parser.parse_args(words)
    folder = Path(options.results) / "_wandb"
    pieces = sorted(folder.glob("wandb/offline-run-*/*.wandb"))
    waiting = [piece for piece in pieces if not piece.with_name(piece.name + ".synced").exists()]
    ready = [piece for piece in waiting if not at_work(piece)]
    if len(ready) < len(waiting):
        say(f"{len(waiting) - len(ready)} run(s) are still at work and left for later")
    if not ready:
        print(_nothing(folder, pieces, waiting))
        return 0
    if importlib.util.find_spec("wandb") is None:
        raise UserError("W&B is not installed: pip install wandb")
    runs = {piece.stem for piece in ready}
    pieces_said = "" if len(runs) == len(ready) else f", of which {len(ready) - len(runs)} go on with an earlier one"
    print(f"{len(ready)} offline run(s) in {folder}{pieces_said}", flush=True)
    return _sync(ready, folder, options.dry_run)


def at_work(piece: Path) -> bool:
    """Whether a run seems to be writing its file still: synced now, it would count as synced for good."""
    return not (piece.parent / ENDED).exists() and time.time() - piece.stat().st_mtime < QUIET_SECONDS


def _nothing(folder: Path, pieces: Sequence[Path], waiting: Sequence[Path]) -> str:
    if waiting:
        return f"nothing to sync yet in {folder}"
    if pieces:
        return f"nothing to sync: all {len(pieces)} runs in {folder} are synced"
    return f"nothing to sync: no offline W&B run in {folder} (scale=smoke is mirrored with tracker.mode=offline only)"


def _sync(pieces: Sequence[Path], folder: Path, dry: bool) -> int:
    """W&B's own command, which syncs pieces of one run one after the other, by the time of their start."""
    command = [sys.executable, "-m", "wandb", "sync", "--yes", *(["--dry-run"] if dry else [])]
    command += [str(piece.parent) for piece in pieces]
    loud = {**environment(folder, "online"), "WANDB_SILENT": "false"}
    status = subprocess.run(command, env=loud, check=False).returncode
    if status:
        say(f"error: wandb sync ended with status {status}; is this machine logged in (wandb login) and online?")
    return 1 if status else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
