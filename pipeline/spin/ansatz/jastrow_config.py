"""Typed configuration of the Jastrow ansatz (torch-free)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from omegaconf import MISSING

from pipeline.base.config import checks
from pipeline.spin.ansatz.schema import AnsatzConfig


@dataclass
class JastrowConfig(AnsatzConfig):
    """Products of pairs: log ψ is quadratic in the spins.

    Attributes:
        deviation: standard deviation of the initial parameters.
        parameters: ``real`` (positive amplitudes) or ``complex``.
    """

    version: ClassVar[int] = 1
    log_domain: ClassVar[bool] = True
    implementation: ClassVar[str] = "pipeline.spin.ansatz.jastrow:Jastrow"

    name: str = "jastrow"
    deviation: float = MISSING
    parameters: str = MISSING

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.initial("deviation", self.deviation)
        checks.one_of("parameters", self.parameters, ("real", "complex"))

    @property
    def positive_unless(self) -> str | None:
        return "parameters=complex" if self.parameters == "real" else None

    def weights(self, size: int) -> float:
        return 0.5 * size * size
