"""Typed configuration of the residual CNN (torch-free)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from omegaconf import MISSING

from pipeline.base.config import checks
from pipeline.base.errors import ConfigError
from pipeline.spin.ansatz.layers_config import ACTIVATIONS
from pipeline.spin.ansatz.schema import AnsatzConfig, check_sector
from pipeline.spin.symmetry.characters import Permutation
from pipeline.spin.symmetry.groups import check_names, check_symmetries
from pipeline.spin.symmetry.permutations import translations
from pipeline.spin.systems import SpinSystem


@dataclass
class ResNetConfig(AnsatzConfig):
    """Residual convolutional network on a torus (NIR paper, Section 4.5).

    Attributes:
        depth: residual blocks, of two convolutions each.
        width: channels.
        kernel: odd extent of the convolutions.
        activation: ``gelu`` or ``relu``, after the norm of every convolution.
        averaged: symmetries over which log ψ is averaged, as in ``projection``, which sums ψ instead.
        first_up: flip all spins where the first one is down, which makes the state even under the spin flip, but
            translations no longer leave it unchanged.
        magnetisation: Σ σz of all configurations that have an amplitude; null: every one has.
    """

    version: ClassVar[int] = 1
    log_domain: ClassVar[bool] = True
    any_size: ClassVar[bool] = True
    implementation: ClassVar[str] = "pipeline.spin.ansatz.resnet:ResNet"

    name: str = "resnet"
    depth: int = MISSING
    width: int = MISSING
    kernel: int = MISSING
    activation: str = MISSING
    averaged: list[str] = MISSING
    first_up: bool = MISSING
    magnetisation: int | None = MISSING

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.at_least("depth", self.depth, 0)
        checks.at_least("width", self.width, 1)
        checks.at_least("kernel", self.kernel, 1)
        if self.kernel % 2 == 0:
            raise ConfigError("kernel", self.kernel, "must be odd")
        checks.one_of("activation", self.activation, ACTIVATIONS)
        check_names(self.averaged, "averaged")

    def check(self, system: SpinSystem) -> None:
        """Raise ConfigError for anything but a torus that has the symmetries."""
        lattice = system.lattice if isinstance(system, SpinSystem) else None
        if lattice is None or len(lattice.extents) != 2 or not lattice.periodic:
            allowed = (
                f"needs a square lattice with periodic boundaries, which {getattr(system, 'kind', system)} "
                "as it is set up is not"
            )
            raise ConfigError("", "resnet", allowed)
        if self.kernel > min(lattice.extents):
            raise ConfigError("kernel", self.kernel, f"is larger than the lattice, {min(lattice.extents)} sites wide")
        check_symmetries(system, self.averaged, "averaged")
        if self.magnetisation is not None:
            check_sector(system, self.magnetisation)
        super().check(system)

    def invariances(self, system: SpinSystem) -> tuple[Permutation, ...]:
        """All translations, unless the first site is a special one."""
        return () if self.first_up or system.lattice is None else translations(system.lattice, 1)

    def weights(self, size: int) -> float:
        """The number of parameters."""
        del size
        c, area = float(self.width), float(self.kernel) ** 2
        return area * c + 3 * c + 2 * self.depth * (area * c * c + 3 * c) + 2 * c + 2

    def activations(self, size: int) -> float:
        return float(size) * self.width
