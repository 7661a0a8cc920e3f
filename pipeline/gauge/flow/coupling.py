"""Gauge-equivariant coupling layer: a mask, a conditioner and a transformation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.gauge.flow.conditioner import ConvConditioner
from pipeline.gauge.flow.loops import Loops
from pipeline.gauge.flow.masks import Mask
from pipeline.gauge.flow.transformation import Transformation


class Coupling(nn.Module):
    """U' = C U for the active links, with the change C = L' L† of the loops L that begin with them.

    Kanwar et al., Phys. Rev. Lett. 125, 121601 (2020), and Boyda et al., Phys. Rev. D 103, 074504 (2021). L -> L'
    depends on frozen, gauge-invariant loops and commutes with conjugation: the layer commutes with gauge
    transformations. As L = U S with frozen S, the Haar measure of U changes as that of L does, each active link by
    itself.

    Args:
        mask: of the layer; it goes to the device of the fields.
        loops: of the group.
        conditioner: from frozen loops to parameters of the transformation.
        transformation: of the active loops.
    """

    def __init__(self, mask: Mask, loops: Loops, conditioner: ConvConditioner, transformation: Transformation) -> None:
        super().__init__()
        self.mask, self.loops, self.transformation = mask, loops, transformation
        self.conditioner = conditioner

    def forward(self, links: Tensor) -> tuple[Tensor, Tensor]:
        """New links and log J of each configuration, (batch,) float64; ``links`` as the group has them."""
        mask, loops, parameters = self._observe(links)
        changes, log_j = self.transformation.forward(loops, parameters)
        return self.loops.multiply(links, mask, changes), log_j.sum(dim=1)

    def inverse(self, links: Tensor) -> tuple[Tensor, Tensor]:
        """The links that :meth:`forward` makes these of, and -log J."""
        mask, loops, parameters = self._observe(links)
        changes, log_j = self.transformation.inverse(loops, parameters)
        return self.loops.multiply(links, mask, changes), log_j.sum(dim=1)

    def _observe(self, links: Tensor) -> tuple[Mask, Tensor, Tensor]:
        """The mask on the device of the links, active loops, and parameters in their precision."""
        mask = self.mask.to(links.device)
        loops, features = self.loops.observe(links, mask)
        parameters = self.conditioner(features, mask.sites)
        return mask, loops, parameters.to(features.dtype, memory_format=torch.contiguous_format)
