"""Typed configuration of samplers (torch-free). A training and an inference may use different ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from omegaconf import MISSING

from pipeline.base import checks
from pipeline.base.errors import ConfigError
from pipeline.spin.systems import SpinSystem
from pipeline.spin.terms import pauli_terms

if TYPE_CHECKING:
    from pipeline.spin.schema import AnsatzConfig


@dataclass
class SamplerConfig:
    """Base of all samplers; ``key`` in the checks is the node, ``train.sampler`` or ``infer.sampler``.

    Attributes:
        draws: whether it draws samples, which have statistical errors and can be kept.
    """

    draws: ClassVar[bool] = True

    def check(self, system: SpinSystem, key: str = "train.sampler") -> None:
        """Raise ConfigError when ``system`` cannot be sampled like this."""

    def check_ansatz(self, ansatz: AnsatzConfig, key: str = "train.sampler") -> None:
        """Raise ConfigError when the ansatz cannot be sampled like this."""

    def check_samples(self, key: str, samples: int) -> None:
        """Raise ConfigError when a batch cannot have this many samples; ``key`` asks for them."""


@dataclass
class ExhaustiveConfig(SamplerConfig):
    """Every configuration with its exact weight, up to ``max_sites`` spins."""

    version: ClassVar[int] = 1
    draws: ClassVar[bool] = False

    _target_: str = "pipeline.spin.sampler.exhaustive.ExhaustiveSampler"
    max_sites: int = MISSING

    def __post_init__(self) -> None:
        checks.between("sampler.max_sites", self.max_sites, 1, 30)

    def check(self, system: SpinSystem, key: str = "train.sampler") -> None:
        if system.size > self.max_sites:
            raise ConfigError(key, "exhaustive", f"would enumerate 2^{system.size} states (max_sites={self.max_sites})")

    def check_samples(self, key: str, samples: int) -> None:
        raise ConfigError(key, samples, "sampler=exhaustive takes every configuration: there is no number of samples")


@dataclass
class DirectConfig(SamplerConfig):
    """Independent samples, drawn from a normalised ansatz; ``samples`` a batch."""

    version: ClassVar[int] = 1

    _target_: str = "pipeline.spin.sampler.direct.DirectSampler"
    samples: int = MISSING

    def __post_init__(self) -> None:
        checks.at_least("sampler.samples", self.samples, 1)

    def check_ansatz(self, ansatz: AnsatzConfig, key: str = "train.sampler") -> None:
        if not ansatz.direct:
            allowed = f"{type(ansatz).__name__} cannot be drawn from directly; use sampler=metropolis"
            raise ConfigError(key, "direct", allowed)


@dataclass
class MetropolisConfig(SamplerConfig):
    """Metropolis chains side by side; they go on from one update to the next.

    Attributes:
        samples: samples a batch, all chains together.
        chains: number of chains; divides ``samples``.
        rule: ``local`` flips one spin, ``exchange`` swaps an antiparallel pair and so keeps Σ σz.
        pairs: which pairs ``exchange`` may swap: ``neighbours`` of the lattice or ``any``.
        global_flip: probability that a proposal flips all spins instead.
        thinning: proposals that a chain makes for each sample; null: one a site.
        burn_in: proposals before the first sample of a chain.
        start: ``random`` (with Σ σz = 0, or 1 for odd N, under ``exchange``), ``up`` or ``down``: all spins aligned.
    """

    version: ClassVar[int] = 2

    _target_: str = "pipeline.spin.sampler.metropolis.MetropolisSampler"
    samples: int = MISSING
    chains: int = MISSING
    rule: str = MISSING
    pairs: str = MISSING
    global_flip: float = MISSING
    thinning: int | None = MISSING
    burn_in: int = MISSING
    start: str = MISSING

    def __post_init__(self) -> None:
        checks.at_least("sampler.chains", self.chains, 1)
        checks.at_least("sampler.samples", self.samples, 1)
        checks.one_of("sampler.rule", self.rule, ("local", "exchange"))
        checks.one_of("sampler.pairs", self.pairs, ("neighbours", "any"))
        if not 0 <= self.global_flip < 1:
            raise ConfigError("sampler.global_flip", self.global_flip, "must lie in [0, 1)")
        if self.thinning is not None:
            checks.at_least("sampler.thinning", self.thinning, 1)
        checks.at_least("sampler.burn_in", self.burn_in, 0)
        checks.one_of("sampler.start", self.start, ("random", "up", "down"))
        self.check_samples("sampler.samples", self.samples)

    def check(self, system: SpinSystem, key: str = "train.sampler") -> None:
        if self.rule != "exchange":
            return
        if not _conserves_magnetisation(system):
            allowed = "swaps keep Σ σz, which this Hamiltonian does not conserve; use rule=local"
            raise ConfigError(f"{key}.rule", "exchange", allowed)
        if self.start != "random":
            allowed = "aligned spins have nothing to exchange; use start=random"
            raise ConfigError(f"{key}.start", self.start, allowed)
        if self.global_flip and system.size % 2:
            allowed = (
                f"with {system.size} spins a global flip leaves the sector of Σ σz that rule=exchange keeps; use 0"
            )
            raise ConfigError(f"{key}.global_flip", self.global_flip, allowed)

    def check_ansatz(self, ansatz: AnsatzConfig, key: str = "train.sampler") -> None:
        magnetisation = getattr(ansatz, "magnetisation", None)
        if magnetisation is None:
            return
        if self.rule != "exchange":
            allowed = f"leaves the sector of train.ansatz.magnetisation={magnetisation}; use rule=exchange"
            raise ConfigError(f"{key}.rule", self.rule, allowed)
        if magnetisation not in (0, 1):
            allowed = "must be 0 or 1 under sampler=metropolis, whose chains start there"
            raise ConfigError("train.ansatz.magnetisation", magnetisation, allowed)

    def check_samples(self, key: str, samples: int) -> None:
        if samples % self.chains:
            raise ConfigError(key, samples, f"must be a multiple of the {self.chains} chains")


def _conserves_magnetisation(system: SpinSystem) -> bool:
    from pipeline.spin.exact.symmetries import conserves_total_spin

    return conserves_total_spin(pauli_terms(system))
