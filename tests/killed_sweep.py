"""A sweep whose processes are killed again and again, at moments spread over all of it, and then left to finish.

``python -m tests.killed_sweep --kills 20`` kills a sweep of twelve runs twenty times and compares it, bit for bit, with
one that was left alone.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.children import Child, run

SHORT = (
    *(
        "method=vmc",
        "system=chain_tfim",
        "system.range=1",
        "sampler=exhaustive",
        "infer.units=4",
        "checkpoint_seconds=0",
    ),
    *("ansatz=rbm", "tracker=none", "progress=false"),
)
TWELVE = (*SHORT, "system.n_sites=4,6", "train.ansatz.alpha=1,2", "train.seed=0,1,2", "train.steps=40")
LINES_OF_TWELVE = 12 * 44
"""Of their metrics: one for each step and each unit of inference."""


def written(results: Path) -> int:
    """Lines of metrics so far; what was not committed by a checkpoint is taken back by the next process."""
    return sum(len(path.read_bytes().splitlines()) for path in results.glob("_store/*/*/metrics.jsonl"))


def kill_at(words: Sequence[str], results: Path, lines: int) -> bool:
    """Start a sweep and kill it with all its children when it has written so many lines; False if it ended before."""
    child = Child("pipeline", ["-m", *words, f"results_dir={results}"], own_group=True)
    deadline = time.monotonic() + 120
    while child.poll() is None and time.monotonic() < deadline:
        if written(results) >= lines and os.getpgid(child.pid) == child.pid:
            break
        time.sleep(0.002)
    alive = child.poll() is None
    if alive:
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    return alive


def results_of(results: Path) -> dict[str, object]:
    """What every inference came to, by its key."""
    return {path.parent.name: json.loads(path.read_text()) for path in results.glob("_store/infer/*/result.json")}


def killed_and_finished(words: Sequence[str], results: Path, lines: int, kills: int) -> list[int]:
    """Kill a sweep, evenly over the rest of its lines, and let it finish; returns how many there were at each kill.

    Raises:
        AssertionError: it ended too early to be killed so often, or does not end well.
    """
    at, begun = [], written(results)
    for k in range(kills):
        assert kill_at(words, results, begun + (lines - begun) * (k + 1) // (kills + 1)), f"ended after {k} kills"
        at.append(written(results))
    done = run("pipeline", "-m", *words, f"results_dir={results}")
    assert done.returncode == 0, done.stderr
    return at


def main(arguments: Sequence[str]) -> int:
    """Exit status: 1 where numbers differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("words", nargs="*", help="more words of the sweep; its runs are one after the other")
    options = parser.parse_args(arguments)
    words = [*TWELVE, *options.words]
    with tempfile.TemporaryDirectory() as folder:
        killed, alone = Path(folder) / "killed", Path(folder) / "alone"
        at = killed_and_finished(words, killed, LINES_OF_TWELVE, options.kills)
        print(f"killed {len(at)} times, with {', '.join(map(str, at))} of {LINES_OF_TWELVE} lines written; finished")
        done = run("pipeline", "-m", *words, f"results_dir={alone}")
        print(done.stdout)
        same = results_of(killed) == results_of(alone) and len(results_of(alone)) == 12
        left = list(killed.glob("_store/*/*.partial"))
    print(f"the same {12} results, bit for bit: {same}; left behind: {len(left)}")
    return 0 if same and not left else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
