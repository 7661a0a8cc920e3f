"""Typed configuration of the Deep ViT (torch-free)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from omegaconf import MISSING

from pipeline.base.config import checks
from pipeline.base.errors import ConfigError
from pipeline.spin.ansatz.layers_config import ACTIVATIONS
from pipeline.spin.ansatz.schema import AnsatzConfig, check_sector
from pipeline.spin.symmetry.characters import Permutation
from pipeline.spin.symmetry.permutations import translations
from pipeline.spin.systems import SpinSystem


@dataclass
class ViTConfig(AnsatzConfig):
    """Deep Vision Transformer (ViT paper, Eq. 11 and Algorithm 1).

    Attributes:
        patch: b: the lattice is cut into patches of b × b sites, of b sites on a ring.
        depth: n_l, blocks of attention and feed-forward network.
        width: d, features of a patch.
        heads: h, which share the features: consecutive d/h of them belong to one head.
        activation: ``relu`` or ``gelu``, of the feed-forward networks.
        output_scale: initial factor of the norms of the last layer: they fix how much log ψ scatters at first.
        magnetisation: Σ σz of all configurations that have an amplitude; null: every one has.
    """

    version: ClassVar[int] = 1
    log_domain: ClassVar[bool] = True
    implementation: ClassVar[str] = "pipeline.spin.ansatz.vit.network:ViT"

    name: str = "vit"
    patch: int = MISSING
    depth: int = MISSING
    width: int = MISSING
    heads: int = MISSING
    activation: str = MISSING
    output_scale: float = MISSING
    magnetisation: int | None = MISSING

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("patch", "depth", "width", "heads"):
            checks.at_least(key, getattr(self, key), 1)
        checks.one_of("activation", self.activation, ACTIVATIONS)
        checks.initial("output_scale", self.output_scale)
        if self.width % self.heads:
            raise ConfigError("heads", self.heads, f"must divide train.ansatz.width={self.width}")

    def check(self, system: SpinSystem) -> None:
        """Raise ConfigError for anything but a periodic lattice that the patches fill."""
        lattice = system.lattice if isinstance(system, SpinSystem) else None
        if lattice is None or not lattice.periodic:
            allowed = (
                f"needs a lattice with periodic boundaries, which {getattr(system, 'kind', system)} as it is set up "
                "has not: the weights of its attention are the same everywhere"
            )
            raise ConfigError("", "vit", allowed)
        if any(extent % self.patch for extent in lattice.extents):
            shape = " x ".join(map(str, lattice.extents))
            raise ConfigError("patch", self.patch, f"must divide the extents of the lattice of {shape} sites")
        if self.magnetisation is not None:
            check_sector(system, self.magnetisation)
        super().check(system)

    def invariances(self, system: SpinSystem) -> tuple[Permutation, ...]:
        """Translations by one patch along each direction."""
        return translations(system.lattice, self.patch) if system.lattice is not None else ()

    def weights(self, size: int) -> float:
        """The number of parameters where patches have b × b sites, but for some of the embedding."""
        d, sites = float(self.width), float(self.patch) ** 2
        block = 2 * (d * d + d) + self.heads * max(1.0, size / sites) + 4 * d * d + 3 * d + 4 * d
        return d * (self.patch + 1) + self.depth * block + 6 * d + 2 * (d * d + d)

    def activations(self, size: int) -> float:
        """Of the hidden layer of a feed-forward network."""
        return 2.0 * self.width * max(1.0, size / float(self.patch) ** 2)
