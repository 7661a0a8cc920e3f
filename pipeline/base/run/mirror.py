"""The process that talks to Weights & Biases, started as a script by :mod:`pipeline.base.run.tracking`.

A process of its own, since a service that does not answer holds whoever waits for it, at the exit of Python too. It
imports nothing of ours: the first line of its input is how to open the W&B run, each of the others what to log, to put
into the summary or to keep; at the end of its input the run is finished. What goes wrong is the one line of its output.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from typing import Any

ENDED = "ended"
"""File in the folder of a run that says that it was finished: one without it is at work, or was killed."""


def main() -> int:
    """Exit status: 1 after a failure, whose reason was written to standard output."""
    # wandb's service inherits the standard streams, and would keep both pipes open after our end
    orders, answer = os.fdopen(os.dup(0), encoding="utf-8"), os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    try:
        import wandb

        opening = json.loads(orders.readline())
        run = wandb.init(settings=wandb.Settings(**opening.pop("settings")), **opening)
        for line in orders:
            _take(wandb, run, json.loads(line))
        run.finish()
        with open(os.path.join(os.path.dirname(run.dir), ENDED), "w"):
            pass
    except Exception as error:
        text = str(error).strip()
        answer.write(text.splitlines()[0] if text else type(error).__name__)
        answer.flush()
        return 1
    return 0


def _take(wandb: Any, run: Any, line: dict[str, Any]) -> None:
    """What one line asks for. Files are copied into the run's own folder, all of which W&B uploads."""
    if "log" in line:
        run.log(line["log"])
    if line.get("summary"):
        run.summary.update(line["summary"])
    if line.get("figures"):
        run.log({name: wandb.Image(path) for name, path in line["figures"].items()})
    for path in line.get("files", ()):
        copy = os.path.join(run.dir, os.path.basename(path))
        shutil.copyfile(path, copy)
        run.save(copy, base_path=run.dir, policy="end")


if __name__ == "__main__":
    sys.exit(main())
