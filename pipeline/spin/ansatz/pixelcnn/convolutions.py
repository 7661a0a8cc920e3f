"""What drawing and flipping know of a PixelCNN."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from pipeline.spin.ansatz.pixelcnn.sector import Sector


class Convolutions(Protocol):
    """Masked convolutions in two branches; see :class:`pipeline.spin.ansatz.pixelcnn.network.PixelCNN`.

    Attributes:
        length_y, length_x: extents of the lattice.
        depth, width: blocks, and channels of either branch.
        sector: to which configurations are confined; None: all.
    """

    length_y: int
    length_x: int
    depth: int
    width: int
    sector: Sector | None

    @property
    def dtype(self) -> torch.dtype:
        """Of the parameters."""
        ...

    def kernels(self) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """(vertical weight, its bias, horizontal weight, its bias) of each block, masks applied."""
        ...

    def layers(self, spins: Tensor) -> Iterator[Tensor]:
        """What every convolution gives before its ReLU, (B, channel, y, x), vertical and horizontal in turn."""
        ...
