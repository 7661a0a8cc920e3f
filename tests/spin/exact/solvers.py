"""QuSpin ED with limits that hold for all that the tests solve."""

from __future__ import annotations

from pipeline.spin.exact.quspin import QuSpinED


def quspin(levels: int = 1, sector: str = "proven", states: int | None = None) -> QuSpinED:
    return QuSpinED(sector, levels, max_scanned=6e8, max_bytes=1.6e10, states=states, magnetisation=None)
