"""What a command finds around itself: streams that may be closed or know few characters, and signals.

It is what a command loads first, so that a signal meets it: whatever takes a while to import is imported where it is
used.
"""

from __future__ import annotations

import gc
import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import TextIO

STOPPED = "stopped; finished work is kept, run the same command to go on"
STATUS_STOPPED = 130
STATUS_BROKEN_PIPE = 141
"""128 + SIGPIPE, as of any command whose reader has gone."""

GRACE_SECONDS = 60.0
"""After a signal, how long a whole command may take to tidy up before it ends all the same."""

MOST_SIGNALS = 3
"""Whoever sends this many wants no tidying up."""

LOOKALIKES = {"–": "-", "—": "-", "−": "-", "→": "->", "×": "x", "·": "*", "⟨": "<", "⟩": ">", "√": "sqrt ", "±": "+-"}
LOOKALIKES |= {"≤": "<=", "≥": ">=", "≈": "~", "∞": "inf", "∝": "~", "ħ": "hbar", "∇": "grad ", "Σ": "Sum ", "…": "..."}

_whole_process = False


def begin() -> None:
    """What a command does before it imports anything else; from here to its very end, a signal is one line and 130."""
    global _whole_process
    _whole_process = True
    for number in heeded():
        signal.signal(number, _leave)
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            # the lowest free number, which is this one: else the next file to be opened would get what is printed
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    open_streams()


class Uncollected:
    """A block without the search for garbage in cycles: imports and compositions make many objects and next to none.

    It would take a tenth of the time of both.
    """

    def __enter__(self) -> None:
        self._before = gc.isenabled()
        gc.disable()

    def __exit__(self, *_: object) -> None:
        if self._before:
            gc.enable()


def open_streams() -> None:
    """Streams that are closed lead nowhere; those of few characters get the nearest of what they do not have."""
    import codecs
    import io

    codecs.register_error("nearest", _nearest)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None or stream.closed:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - open as long as we run
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="nearest")


def discard(stream: TextIO) -> None:
    """Lead a stream whose reader has gone nowhere: at the exit Python would complain about what is left in it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, stream.fileno())
    except (OSError, ValueError):  # it has no number
        pass
    finally:
        os.close(nowhere)


def heeded() -> list[int]:
    """Signals that end a command, as far as it was not started to ignore them (``nohup``).

    Batch systems send SIGTERM, or one of the users' signals some time before their limit.
    """
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
    return [n for n in numbers if signal.getsignal(n) is not signal.SIG_IGN]


class Interrupts:
    """Signals that end a command, while it is at work: each raises KeyboardInterrupt, wherever the command is.

    Loops put a handler of their own in the place of this one, see :mod:`pipeline.base.run.loop`.

    Attributes:
        received: signals so far: whoever catches a KeyboardInterrupt on its way does not hide it.
    """

    active = False
    """Whether one is at work in this process."""

    def __init__(self) -> None:
        self.received: list[int] = []
        self._closing = False
        self._previous: dict[int, signal._HANDLER] = {}

    def __enter__(self) -> Interrupts:
        import threading

        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._handle) for number in heeded()}
            Interrupts.active = True
        return self

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.received.append(number)
        if len(self.received) == 1 and _whole_process:
            _leave_later()
        if len(self.received) >= MOST_SIGNALS and _whole_process:
            _leave()
        if not self._closing:
            raise KeyboardInterrupt

    def close(self) -> None:
        """From here on signals are noted, and disturb nothing."""
        self._closing = True

    def __exit__(self, *_: object) -> None:
        self._closing = True
        for number, handler in self._previous.items():
            signal.signal(number, handler)
            Interrupts.active = False


def _leave_later() -> None:
    """End in the end, whatever hangs: a thread of its own waits for it."""
    import threading

    watch = threading.Timer(GRACE_SECONDS, _leave)
    watch.daemon = True
    watch.start()


def _leave(number: int = signal.SIGINT, frame: FrameType | None = None) -> None:
    """End at once: nothing has begun, or all is done, or what should have ended does not."""
    try:
        os.write(2, f"{STOPPED}\n".encode())
    finally:
        os._exit(STATUS_STOPPED)


def _nearest(error: UnicodeError) -> tuple[str, int]:
    """Codec error handler: ASCII that looks or sounds like what cannot be encoded."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_spelled, error.object[error.start : error.end])), error.end


def _spelled(character: str) -> str:
    import unicodedata

    if character in LOOKALIKES:
        return LOOKALIKES[character]
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    if plain:
        return plain
    family, _, letter = unicodedata.name(character, "").partition(" LETTER ")
    if not family.startswith("GREEK"):
        return "?"
    letter = letter.split()[0]
    return letter.capitalize() if "CAPITAL" in family else letter.lower()
