"""Numbers as physicists write them."""

from __future__ import annotations

import math


def with_error(value: float | None, sigma: float | None, digits: int = 9) -> str:
    """``-435.517(2)``: the error in units of the last digits; ``digits`` significant ones where it is 0 or unknown."""
    if value is None or not math.isfinite(value):
        return "–"
    if sigma is None or not math.isfinite(sigma) or sigma <= 1e-12 * abs(value):
        return f"{value:.{digits}g}"
    from uncertainties import ufloat

    return f"{ufloat(value, sigma):.1uS}"


def relative(error: float | None) -> str:
    """A signed relative error, ``+2.3e-05``."""
    return "–" if error is None or not math.isfinite(error) else f"{error:+.1e}"


def duration(seconds: float) -> str:
    """``12 s``, ``3 min 20 s`` or ``2 h 05 min``."""
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"


def memory(size: float) -> str:
    """``350 MB`` or ``1.2 GB``."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
