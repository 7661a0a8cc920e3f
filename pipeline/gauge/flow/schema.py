"""Settings of marginal flows (torch-free)."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import MISSING

from pipeline.base.config import checks
from pipeline.base.errors import ConfigError
from pipeline.gauge.systems import GaugeSystem

PERIOD = 4
"""The masks of the layers repeat themselves after so many sites along their links."""

ACTIVATIONS = ("leaky_relu", "elu", "silu")

MOST_BINS = 100
"""With more, the least widths of the bins would take a tenth of the interval and more."""

MOST_LAYERS = 1000


@dataclass
class MarginalFlowSettings:
    """A flow for gauge fields, q(U): coupling layers on Haar-distributed links.

    Attributes:
        layers: coupling layers; eight change every link once.
        hidden: channels between the convolutions of a layer's network.
        dilations: distance between the sites of a kernel, one number for each convolution, one more than ``hidden``.
        bins: of a spline, 2 to 100.
        activation: ``leaky_relu``, ``elu`` or ``silu``.
        gain: of the initial weights (Xavier, normal); 0 starts without them.

    Raises:
        ConfigError: a value out of range.
    """

    layers: int = MISSING
    hidden: list[int] = MISSING
    dilations: list[int] = MISSING
    bins: int = MISSING
    activation: str = MISSING
    gain: float = MISSING

    def __post_init__(self) -> None:
        checks.at_least("layers", self.layers, 0)
        checks.within("layers", self.layers, MOST_LAYERS)
        if not self.hidden or any(width < 1 for width in self.hidden):
            raise ConfigError("hidden", self.hidden, "must be one or more numbers of channels, each at least 1")
        if len(self.dilations) != len(self.hidden) + 1 or any(dilation < 1 for dilation in self.dilations):
            allowed = f"must be {len(self.hidden) + 1} numbers, one more than hidden, each at least 1"
            raise ConfigError("dilations", self.dilations, allowed)
        checks.between("bins", self.bins, 2, MOST_BINS)
        checks.one_of("activation", self.activation, ACTIVATIONS)
        checks.at_least("gain", self.gain, 0)
        checks.within("gain", self.gain, checks.MOST)

    def check(self, system: GaugeSystem) -> None:
        """Raise ConfigError for a lattice that the masks do not tile, or that a kernel goes around more than once."""
        if system.length % PERIOD:
            below = system.length - system.length % PERIOD
            near = f"{below} or {below + PERIOD}" if below else f"{PERIOD}"
            allowed = f"masks of a flow tile lattices whose length is a multiple of {PERIOD}: {near}"
            raise ConfigError("system.length", system.length, allowed, whole=True)
        if max(self.dilations) > system.length:
            allowed = f"must not exceed system.length = {system.length}"
            raise ConfigError("dilations", self.dilations, allowed)
