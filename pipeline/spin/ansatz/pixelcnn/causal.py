"""What autoregressive convolutional networks on a rectangular lattice have in common, however they convolve."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import torch
from torch import Tensor

from pipeline.spin.ansatz.conditionals import normalise
from pipeline.spin.ansatz.pixelcnn.sector import Sector
from pipeline.spin.ansatz.schema import PixelCNNConfig
from pipeline.spin.systems import SpinSystem
from pipeline.spin.wave_function import AutoregressiveWaveFunction


class CausalNetwork(AutoregressiveWaveFunction):
    """Masked convolutions that put out the conditionals of all sites, row by row.

    Args:
        config: depth, width, magnetisation.
        system: rectangular lattice.

    Attributes:
        length_y, length_x: extents of the lattice.
        depth, width: convolutions one after the other, and channels between them.
        sector: to which configurations are confined; None: all.
    """

    def __init__(self, config: PixelCNNConfig, system: SpinSystem) -> None:
        super().__init__()
        assert system.lattice is not None
        self.length_x, self.length_y = system.lattice.extents
        self.depth, self.width = config.depth, config.width
        self.sector = None if config.magnetisation is None else Sector(system.size, config.magnetisation)
        self.n_uniforms = system.size
        self.order = tuple(range(system.size))

    @property
    def dtype(self) -> torch.dtype:
        """Of the parameters."""
        return next(self.parameters()).dtype

    def layers(self, spins: Tensor) -> Iterator[Tensor]:
        """One forward pass, (B, N) spins ±1 → (B, channel, y, x) each; the last ones are the outputs."""
        raise NotImplementedError

    def conditionals(self, spins: Tensor) -> Tensor:
        """log ψ_i(s | s_<i), (B, N) spins ±1 → (B, N, 2) for s = +1, -1; complex with ``phase``."""
        (outputs,) = deque(self.layers(spins), maxlen=1)
        values = outputs.permute(0, 2, 3, 1).flatten(1, 2)
        return normalise(values if self.sector is None else self.sector.weighted(values, spins, 1))

    def present(self, spins: Tensor) -> Tensor | None:
        """Those in the sector, (B, N) → (B,) bool; None without one."""
        return None if self.sector is None else (spins > 0).sum(1) == self.sector.up
