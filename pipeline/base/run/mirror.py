"""The process that talks to Weights & Biases, started as a script by :mod:`pipeline.base.run.tracking`.

A process of its own, since a service that does not answer holds whoever waits for it, at the exit of Python too. It
imports nothing of ours: the first line of its input is how to open the W&B run, each of the others what to log; at the
end of its input the run is finished. What goes wrong is the one line of its output.
"""

from __future__ import annotations

import json
import os
import sys


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
            run.log(json.loads(line))
        run.finish()
    except Exception as error:
        text = str(error).strip()
        answer.write(text.splitlines()[0] if text else type(error).__name__)
        answer.flush()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
