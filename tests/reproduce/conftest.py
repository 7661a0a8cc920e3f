"""What tests of artefacts share."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import pytest

from pipeline.stages.compose import compose_run
from reproduce import plan

STORE = "_store"


@pytest.fixture(autouse=True)
def composed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same command is given several times in a row, and composes the same runs each time."""
    monkeypatch.setattr(plan, "compose_run", _compose_run)


_compose_run = functools.lru_cache(maxsize=10_000)(compose_run)


@pytest.fixture(scope="session")
def smoke_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store for all test processes of a session: what one has computed at smoke scale the others find."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "smoke" / STORE
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def smoke_results(tmp_path: Path, smoke_store: Path) -> Path:
    """A results folder of one test with the store of all; nothing in the store may be changed."""
    (tmp_path / STORE).symlink_to(smoke_store)
    return tmp_path
