"""The time limit of a batch job: submitit's signal ends a run as any other does, and then queues the job again."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from contextlib import suppress

LIMIT = signal.SIGUSR2
"""What submitit asks the batch system to send some time before the limit."""


class LimitOfJob:
    """What submitit does at the limit of its job, taken over before our own handlers take its place.

    Its handler would end the process in the middle of a step; called after a checkpoint, it queues the job again as
    often as the launcher allows.
    """

    def __init__(self) -> None:
        handler = signal.getsignal(LIMIT)
        self._handler = handler if callable(handler) and "SUBMITIT_EXECUTOR" in os.environ else None

    def met(self, received: Sequence[int | None]) -> bool:
        """Whether this is a job of submitit and its limit is among the signals that came."""
        return self._handler is not None and LIMIT in received

    def queue_again(self) -> None:
        """Queue the job again and end the process; return where it is not queued again."""
        from submitit.core.utils import UncompletedJobError

        assert self._handler is not None
        with suppress(UncompletedJobError):
            self._handler(LIMIT, None)
