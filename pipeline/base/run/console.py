"""How a command ends: one line for what a user can mend, a log file for what only we can."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from pipeline.base.errors import UserError


def say(text: str) -> None:
    """One line for the user, on standard error."""
    print(text, file=sys.stderr, flush=True)


def guarded(body: Callable[[], int], logs: Path = Path("results/_logs")) -> int:
    """Run ``body`` and turn whatever it raises into one line and an exit status; never a traceback.

    Anything that is not a UserError or an operating-system error is our bug: its traceback goes to a file in
    ``logs``, which the line names.
    """
    try:
        return body()
    except UserError as error:
        say(f"error: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        say("stopped; finished work is kept, run the same command to go on")
        return 130
    except OSError as error:
        say(f"error: {error}")
        return 4
    except Exception as error:
        say(f"error: {describe_crash(error, logs)}")
        return 1


def describe_crash(error: BaseException, logs: Path) -> str:
    """One line about an unexpected error, with its traceback in a new file below ``logs``."""
    summary = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}".rstrip(": ")
    try:
        logs.mkdir(parents=True, exist_ok=True)
        path = logs / f"crash-{time.strftime('%Y%m%d-%H%M%S')}-{time.monotonic_ns() % 10**6:06d}.txt"
        path.write_text("".join(traceback.format_exception(error)))
        return f"{summary} (unexpected; the traceback is in {path})"
    except OSError:
        return f"{summary} (unexpected)"
