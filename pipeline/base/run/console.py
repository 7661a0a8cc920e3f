"""How a command ends: one line for what a user can mend, a log file for what only we can."""

from __future__ import annotations

import select
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from pipeline.base.errors import Interrupted, UserError
from pipeline.base.extras import explained
from pipeline.base.places import results_folder
from pipeline.base.run.memory import ran_out
from pipeline.base.run.terminal import STATUS_BROKEN_PIPE, STATUS_STOPPED, STOPPED, Interrupts, discard, open_streams


def say(text: str) -> None:
    """One line for the user, on standard error; a reader that has gone stops no run."""
    stream = sys.stderr
    if stream is None:
        return
    try:
        print(text, file=stream, flush=True)
    except (OSError, ValueError):
        discard(stream)


def guarded(body: Callable[[], int], logs: Callable[[], Path] = lambda: results_folder() / "_logs") -> int:
    """Run ``body`` and turn whatever it raises into one line and an exit status; never a traceback.

    SIGINT and SIGTERM give 130, whatever they meet. Anything that is not a UserError or an operating-system error is
    our bug: its traceback goes to a file in the folder that ``logs`` gives, which the line names.
    """
    open_streams()
    interrupts = Interrupts()
    try:
        with interrupts:
            status, line = _ended(body, logs, interrupts)
            interrupts.close()
    except KeyboardInterrupt:  # between the end of the work and here
        status, line = STATUS_STOPPED, STOPPED
    if interrupts.received and status != STATUS_STOPPED:
        status, line = STATUS_STOPPED, STOPPED
    if line:
        say(line)
    return status


def _ended(body: Callable[[], int], logs: Callable[[], Path], interrupts: Interrupts) -> tuple[int, str | None]:
    """Exit status, and the line that says why."""
    try:
        try:
            status = body()
        except SystemExit as error:  # how a parser of options ends, its help printed
            status = error.code if isinstance(error.code, int) else 0
        sys.stdout.flush()
        return status, None
    except Interrupted as error:
        return error.exit_code, str(error)
    except UserError as error:
        return error.exit_code, f"error: {error}"
    except KeyboardInterrupt:
        return STATUS_STOPPED, STOPPED
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _reader_has_gone():
            return STATUS_BROKEN_PIPE, None
        return 4, f"error: {error}"
    except Exception as error:
        if interrupts.received:  # what a library makes of a signal in the middle of an import, say
            return STATUS_STOPPED, STOPPED
        if (reason := explained(error)) is not None:
            return reason.exit_code, f"error: {reason}"
        return 1, f"error: {describe_crash(error, logs())}"


def _reader_has_gone() -> bool:
    """Whether standard output is the pipe that broke (``| head``); what is left in it goes nowhere."""
    try:
        sys.stdout.flush()
        state = select.poll()
        state.register(sys.stdout.fileno(), 0)
        if not state.poll(0):  # errors of the other end are told unasked, also where nothing was left to flush
            return False
    except (OSError, ValueError) as error:
        if not isinstance(error, BrokenPipeError):
            return False
    discard(sys.stdout)
    return True


def describe_crash(error: BaseException, logs: Path) -> str:
    """One line about an unexpected error, with its traceback in a new file below ``logs``.

    Where nothing can be written there, the folder for temporary files has to do. Memory that ran out, and an extra that
    is not installed, are no bugs of ours and have no traceback.
    """
    summary = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}".rstrip(": ")
    if (reason := explained(error)) is not None:
        return str(reason)
    if ran_out(error):
        return f"the memory ran out, what was finished is kept ({summary})"
    name = f"crash-{time.strftime('%Y%m%d-%H%M%S')}-{time.monotonic_ns() % 10**6:06d}.txt"
    text = "".join(traceback.format_exception(error))
    for folder in (logs, Path(tempfile.gettempdir())):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8", errors="backslashreplace")
        except OSError:
            continue
        return f"{summary} (unexpected; the traceback is in {folder / name})"
    return f"{summary} (unexpected)"
