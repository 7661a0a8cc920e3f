"""What tests of the store share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A user's own folder, which must stay as it is."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.tex").write_text("years of work")
    return folder
