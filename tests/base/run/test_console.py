"""How a command begins and ends: streams, signals, crashes; one line and the right exit status, whatever they meet."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.base.errors import TimeLimit, UserError
from pipeline.base.run.console import guarded, say
from pipeline.base.run.loop import Loop, LoopSettings
from pipeline.base.run.progress import Lines
from pipeline.base.run.ranks import OneProcess
from pipeline.base.run.terminal import STOPPED

TEXT = "⟨σ⟩ = −1.5 ± 0.1, τ → Δ², N × 3 – naïve \N{SNOWMAN}"


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("utf-8", TEXT),
        ("latin-1", "<sigma> = -1.5 ± 0.1, tau -> Delta², N × 3 - naïve ?"),
        ("ascii", "<sigma> = -1.5 +- 0.1, tau -> Delta2, N x 3 - naive ?"),
    ],
)
def test_output_that_knows_few_characters(encoding: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe, a terminal or a locale of old; lone surrogates are what Python makes of bytes that it cannot read."""
    held = io.BytesIO()
    stream = io.TextIOWrapper(held, encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    assert guarded(lambda: print(TEXT) or say("\udce9") or 0) == 0  # type: ignore[func-returns-value]
    assert held.getvalue().decode(encoding) == f"{shown}\n?\n"


def test_streams_that_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    monkeypatch.setattr(sys, "stdout", None)
    say("nobody hears")

    def body() -> int:
        print("nobody sees", sys.stderr.isatty())
        raise UserError("nor why")

    assert guarded(body) == 2


def broken_pipe(buffering: int = -1) -> io.TextIOWrapper:
    reader, writer = os.pipe()
    os.close(reader)
    return open(writer, "w", encoding="utf-8", buffering=buffering)


@pytest.mark.parametrize("buffering", [-1, 1])
def test_reader_that_has_gone(
    buffering: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """``| head``: quiet, now and when what is left in the stream is flushed at the exit."""
    stream = broken_pipe(buffering)
    if buffering == 1:
        stream.reconfigure(write_through=True)
    monkeypatch.setattr(sys, "stdout", stream)
    assert guarded(lambda: print("a number") or 0) == 141  # type: ignore[func-returns-value]
    stream.close()
    assert capfd.readouterr().err == ""


def test_messages_that_nobody_reads_stop_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = broken_pipe()
    monkeypatch.setattr(sys, "stderr", stream)
    lines = Lines()

    def body() -> int:
        say("lost")
        lines.update("train", 3, 3, {})
        return 0

    assert guarded(body) == 0
    stream.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_to_a_full_disk_is_an_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    stream = open("/dev/full", "w", encoding="utf-8")  # noqa: SIM115
    monkeypatch.setattr(sys, "stdout", stream)
    assert guarded(lambda: print("a number") or 0) == 4  # type: ignore[func-returns-value]
    assert "No space left" in capsys.readouterr().err
    monkeypatch.undo()
    with pytest.raises(OSError, match="No space left"):
        stream.close()


def interrupted_import() -> int:
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt as error:
        raise ImportError("numpy could not be imported") from error
    return 0


def swallowed() -> int:
    with contextlib.suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
    return 0


def plain() -> int:
    signal.raise_signal(signal.SIGINT)
    return 0


@pytest.mark.parametrize("body", [plain, interrupted_import, swallowed])
def test_a_signal_is_130_and_one_line(
    body: Callable[[], int], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a library makes of it on its way, and SIGTERM too; handlers from before come back."""
    monkeypatch.setattr(signal, "getsignal", lambda number: signal.SIG_DFL)  # as if not started with nohup
    before = [signal.signal(number, signal.default_int_handler) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        assert guarded(body, lambda: tmp_path) == 130
        monkeypatch.undo()
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM), before, strict=True):
            signal.signal(number, handler)
    assert capsys.readouterr().err == f"{STOPPED}\n"
    assert not list(tmp_path.iterdir())


class Counter:
    """A state of one number."""

    def __init__(self) -> None:
        self.count = 0

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count}

    def load_state_dict(self, tree: dict[str, Any]) -> None:
        self.count = tree["count"]

    def step(self, state: Any, k: int) -> dict[str, float]:
        self.count += 1
        return {"count": self.count}


class LateSignal(OneProcess):
    """A signal that comes after the last unit has agreed to be the last."""

    def agree(self, reasons: int) -> int:
        signal.raise_signal(signal.SIGTERM)
        return reasons


def test_a_signal_at_the_end_of_a_loop_is_not_lost(tmp_path: Path) -> None:
    """The next run of a sweep would begin, and the sweep end well. What the loop did is kept."""
    state = Counter()
    loop = Loop(tmp_path, state, LoopSettings(ranks=LateSignal()))
    assert guarded(lambda: loop.run("train", state.step, 1).done) == 130
    assert json.loads((tmp_path / "progress.json").read_text())["finished"]["train"]["done"] == 1


def test_time_limit_is_told_from_a_signal(tmp_path: Path) -> None:
    state = Counter()
    with pytest.raises(TimeLimit, match=r"time limit of 1e-09 s after 1/5"):
        Loop(tmp_path, state, LoopSettings(time_limit_seconds=1e-9)).run("train", state.step, 5)


def test_traceback_goes_where_results_go(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Or, where nothing can be written, to the folder for temporary files: never nowhere."""
    (tmp_path / "file").write_text("")
    for logs in (tmp_path / "results" / "_logs", tmp_path / "file" / "_logs"):
        assert guarded(lambda: 1 // 0, lambda logs=logs: logs) == 1  # type: ignore[misc]
        said = capsys.readouterr().err
        assert said.startswith("error: ZeroDivisionError: ")
        path = Path(said.strip().removesuffix(")").split()[-1])
        assert "ZeroDivisionError" in path.read_text(encoding="utf-8")
        assert (path.parent == logs) == ("file" not in str(logs))
        path.unlink()


BEGIN = "import atexit, time; from pipeline.base.run.terminal import begin; begin();"
BEGIN += "from pipeline.base.run.console import guarded;"
SLEEP = "(print('ready', flush=True), time.sleep(60))"


@pytest.mark.parametrize("code", [SLEEP, f"atexit.register(lambda: {SLEEP}); guarded(lambda: 0)"])
def test_signal_while_a_command_imports_and_at_its_very_end(code: str) -> None:
    """Before anything has begun, and when Python closes down."""
    process = subprocess.Popen(
        [sys.executable, "-c", BEGIN + code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (130, f"{STOPPED}\n")


def test_files_do_not_take_the_place_of_closed_streams(tmp_path: Path) -> None:
    """Else what is printed would go into the next file that is opened."""
    code = (
        BEGIN + f"file = open({str(tmp_path / 'state')!r}, 'w'); print('out'); assert file.fileno() > 2, file.fileno()"
    )
    done = subprocess.run(["sh", "-c", 'exec "$0" -c "$1" >&- 2>&-', sys.executable, code], check=False)
    assert done.returncode == 0
    assert (tmp_path / "state").read_text() == ""
