"""What is quicker to read than to make again, kept in the user's cache; whoever deletes it loses time only."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from pathlib import Path

NEWEST = 16
"""States of the source whose content is kept: a working day's edits, not a year's."""


def folder_of(kind: str, state: str) -> Path | None:
    """A folder for a kind of content, and a state of the source that made it; None where nothing can be written.

    A new state takes the place of the oldest one but :data:`NEWEST`.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "neural-quantum-states" / kind
    path = cache / state
    try:
        if not path.is_dir():
            path.mkdir(parents=True, exist_ok=True)
            for old in sorted(cache.iterdir(), key=lambda folder: folder.stat().st_mtime)[:-NEWEST]:
                shutil.rmtree(old, ignore_errors=True)
    except OSError:
        return None
    return path if os.access(path, os.W_OK) else None


def digest_of(root: Path, *patterns: str) -> str:
    """Digest of names and contents of all files below ``root`` that patterns such as ``pipeline/**/*.py`` name."""
    total = hashlib.sha256()
    for path in (path for pattern in patterns for path in sorted(root.glob(pattern))):
        total.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return total.hexdigest()[:16]


def read(path: Path) -> bytes | None:
    """What :func:`write` has written; None where that is not there, or not as it was."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    checksum, rest = content[:32], content[32:]
    return rest if hashlib.sha256(rest).digest() == checksum else None


def write(path: Path, content: bytes) -> None:
    """Keep ``content``, whole or not at all; nothing happens where that is not possible."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        temporary.write_bytes(hashlib.sha256(content).digest() + content)
        temporary.replace(path)
