"""Where a number comes from: source, packages, hardware, threads. No host names, no absolute paths."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from pipeline.base.cache import digest_of
from pipeline.base.places import INSTALLED, ROOT

PACKAGES = ("torch", "numpy", "scipy", "hydra-core", "omegaconf", "quspin", "physics-tenpy", "numba")


@functools.cache
def source_digest() -> str:
    """Digest of every Python file of ``pipeline/``: tells whether the source of a cached result has changed."""
    return digest_of(ROOT, "pipeline/**/*.py")


@functools.cache
def git_revision() -> str:
    """Commit hash, with ``+changes`` for a modified tree; ``unknown`` without a checkout or an answer in time."""
    if INSTALLED:  # the repository around an environment is somebody else's
        return "unknown"
    try:
        sha = _git("rev-parse", "HEAD")
        dirty = _git("status", "--porcelain", "--untracked-files=no", "--", "pipeline", "reproduce", "conf")
    except (OSError, subprocess.SubprocessError):  # no git, no checkout, or no answer in time
        return "unknown"
    return sha + ("+changes" if dirty else "")


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True, timeout=10
    ).stdout.strip()


@functools.cache
def packages() -> dict[str, str]:
    """Versions of the packages that numbers depend on."""
    from importlib import metadata  # with all of ``email``, which composing a run does without

    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "absent"
    return versions


@functools.cache
def processor() -> str:
    """Model name of the CPU."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def accelerator() -> str:
    """Model name of the GPU that torch uses."""
    import torch

    return str(torch.cuda.get_device_name())


def processes() -> int:
    """Number of processes that share a run: what torchrun says in ``WORLD_SIZE``, else 1."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def hardware() -> dict[str, Any]:
    """CPU, cores and, where torch is loaded and sees one, the GPU."""
    facts: dict[str, Any] = {"cpu": processor(), "cores": os.cpu_count(), "system": platform.system()}
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        facts["gpu"] = accelerator()
    return facts


def provenance() -> dict[str, Any]:
    """Everything above, for ``provenance.json``."""
    torch = sys.modules.get("torch")
    return {
        "git": git_revision(),
        "source": source_digest(),
        "packages": packages(),
        "hardware": hardware(),
        "threads": torch.get_num_threads() if torch is not None else 1,
    }
