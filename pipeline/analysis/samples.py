"""Samples that an inference kept (``infer.keep_samples=true``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def kept_samples(records: Sequence[Mapping[str, Any]], n_sites: int) -> NDArray[np.int8]:
    """Spins ±1, (chains, n, N), of all batches one after the other; a single chain where draws are independent.

    Args:
        records: of an inference, in order, each with ``samples`` (chains, n, ⌈N/62⌉) int64.
        n_sites: N.
    """
    import torch

    from pipeline.spin.bits import unpack

    packed = np.concatenate([record["samples"] for record in records], axis=1)
    spins: NDArray[np.int8] = unpack(torch.from_numpy(packed), n_sites).numpy()
    return spins
