"""Processes that a command starts and does not speak to: a signal reaches the command alone, which passes it on."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

AGAIN_SECONDS = 5.0
"""After which a process that has not ended gets the signal again: the first may have come before it could heed it."""

GRACE_SECONDS = 25.0
"""How long processes may take to reach the end of a unit and write a checkpoint."""


@contextmanager
def sigint_for_us_alone() -> Iterator[None]:
    """Processes that are started inside the block do not get the terminal's SIGINT; this one goes on to heed it.

    The mask of the thread that starts them is theirs too; another thread of ours stays open for the signal, and
    Python runs its handler in the main thread all the same.
    """
    over = threading.Event()
    ear = threading.Thread(target=over.wait, daemon=True)
    ear.start()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        over.set()


def environments(processes: int) -> list[dict[str, str]]:
    """What ``torchrun`` would put into the environment of each of several processes of one run on this machine.

    Nothing for a single one. They meet at a port that is free now.
    """
    if processes == 1:
        return [{}]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(processes)}
    shared |= {"LOCAL_WORLD_SIZE": str(processes), "TORCHELASTIC_RUN_ID": "none"}
    return [{**shared, "RANK": str(n), "LOCAL_RANK": str(n)} for n in range(processes)]


def end(children: Sequence[int]) -> None:
    """Pass SIGTERM on to processes of ours and wait until they have written their checkpoints.

    Args:
        children: process ids; one that is no child of this process, or no longer, is left alone.
    """
    alive = [pid for pid in children if _runs(pid)]
    began = last = time.monotonic()
    for pid in alive:
        os.kill(pid, signal.SIGTERM)
    while alive and time.monotonic() - began < GRACE_SECONDS:
        time.sleep(0.05)
        alive = [pid for pid in alive if _runs(pid)]
        if time.monotonic() - last > AGAIN_SECONDS:
            last = time.monotonic()
            for pid in alive:
                os.kill(pid, signal.SIGTERM)


def _runs(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG) == (0, 0)
    except ChildProcessError:
        return False
