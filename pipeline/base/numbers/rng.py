"""Counter-based randomness: the generator of unit k is a pure function of (seed, purpose, k).

Nothing carries hidden generator state from one step to the next, so a resumed run draws exactly the numbers
that the uninterrupted run would have drawn.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from pipeline.base.later import np

if TYPE_CHECKING:
    import torch


def derive_seed(seed: int, purpose: str, k: int = 0) -> int:
    """A 63-bit seed from (seed, purpose, k); distinct triples give unrelated streams."""
    digest = hashlib.sha256(f"{seed}/{purpose}/{k}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def torch_generator(seed: int, purpose: str, k: int = 0, device: str = "cpu") -> torch.Generator:
    """A torch generator on ``device`` for unit ``k`` of ``purpose``.

    On the CPU torch keeps 32 bits of the seed: among 10⁴ generators two coincide with a probability of about 1 %.
    """
    import torch

    return torch.Generator(device=device).manual_seed(derive_seed(seed, purpose, k))


def numpy_generator(seed: int, purpose: str, k: int = 0) -> np.random.Generator:
    """A numpy generator (Philox) for unit ``k`` of ``purpose``."""
    return np.random.Generator(np.random.Philox(derive_seed(seed, purpose, k)))
