"""Samples that an inference kept (``infer.keep_samples=true``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def kept_samples(records: Sequence[Mapping[str, Any]], n_sites: int) -> NDArray[np.int8]:
    """Spins ±1, (chains, n, N), of all batches one after the other; a single chain where draws are independent.

    Args:
        records: of an inference, in order, each with ``samples`` (chains, n, ⌈N/8⌉) uint8, bit 1 for spin -1.
        n_sites: N.
    """
    packed = np.concatenate([record["samples"] for record in records], axis=1)
    down = np.unpackbits(packed, axis=-1, count=n_sites).astype(np.int8)
    return (1 - 2 * down).astype(np.int8)
