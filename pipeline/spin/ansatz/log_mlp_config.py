"""Typed configuration of the multilayer perceptron that gives log ψ (torch-free)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from omegaconf import MISSING

from pipeline.base.config import checks
from pipeline.spin.ansatz.layers_config import ACTIVATIONS
from pipeline.spin.ansatz.schema import AnsatzConfig, dense_weights

AMPLITUDES = ("signed", "complex", "positive")


@dataclass
class LogMLPConfig(AnsatzConfig):
    """Multilayer perceptron with layer norms (NIR paper, Section 4.2).

    Attributes:
        depth: hidden layers.
        width: neurons of each, at least 2.
        activation: ``gelu`` or ``relu``, after the norm of every hidden layer.
        amplitudes: ``signed``: ψ = e^u v of two real outputs; ``complex``: log ψ = u + iv; ``positive``: log ψ = u.
    """

    version: ClassVar[int] = 1
    log_domain: ClassVar[bool] = True
    implementation: ClassVar[str] = "pipeline.spin.ansatz.log_mlp:LogMLP"

    name: str = "log_mlp"
    depth: int = MISSING
    width: int = MISSING
    activation: str = MISSING
    amplitudes: str = MISSING

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.at_least("depth", self.depth, 1)
        checks.at_least("width", self.width, 2)  # a layer norm of one number is a constant
        checks.one_of("activation", self.activation, ACTIVATIONS)
        checks.one_of("amplitudes", self.amplitudes, AMPLITUDES)

    @property
    def positive_unless(self) -> str | None:
        return "amplitudes=signed" if self.amplitudes == "positive" else None

    def weights(self, size: int) -> float:
        return dense_weights([size, *[self.width] * self.depth, 1])

    def activations(self, size: int) -> float:
        return float(self.width)
