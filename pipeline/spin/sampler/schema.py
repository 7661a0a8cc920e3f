"""Typed configuration of samplers (torch-free). A training and an inference may use different ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from omegaconf import MISSING

from pipeline.base.config import checks
from pipeline.base.config.amounts import states
from pipeline.base.contracts import Cost
from pipeline.base.errors import ConfigError
from pipeline.spin.space import space_of
from pipeline.spin.systems import SpinSystem

if TYPE_CHECKING:
    from pipeline.spin.ansatz.schema import AnsatzConfig


@dataclass
class SamplerConfig:
    """Base of all samplers.

    Attributes:
        draws: whether it draws samples, which have statistical errors and can be kept.
        learns: whether it has a proposal that learns |ψ|².
        name: of the sampler, as its file in ``conf/sampler``.
    """

    draws: ClassVar[bool] = True
    learns: ClassVar[bool] = False

    name: str = MISSING

    def check(self, system: SpinSystem) -> None:
        """Raise ConfigError when ``system`` cannot be sampled like this."""

    def check_ansatz(self, ansatz: AnsatzConfig) -> None:
        """Raise ConfigError when the ansatz cannot be sampled like this."""

    def check_copies(self, system: SpinSystem, copies: int) -> None:
        """Raise ConfigError when several copies of ``system`` cannot be sampled like this."""

    def check_samples(self, samples: int) -> None:
        """Raise ConfigError when a batch cannot have this many samples."""

    def check_fresh(self) -> None:
        """Raise ConfigError when an inference cannot start it anew."""

    def hint_of_fresh(self) -> str:
        """What to know where an inference starts it anew though it could go on; empty: nothing."""
        return ""

    def cost(self, size: int, samples: int | None) -> Cost:
        """Lower bounds of a batch of configurations of ``size`` spins; ``samples`` None: the sampler's own."""
        return Cost(seconds=0.0, bytes=self.rows(size, samples) * (size + 24.0))

    def rows(self, size: int, samples: int | None) -> float:
        """Configurations of a batch, equal ones counted each."""
        own: int = getattr(self, "samples", 1)
        return float(samples or own)

    def sector(self, system: SpinSystem) -> int | None:
        """Σ σz of all configurations that it can reach, whatever the ansatz; None: any."""
        del system
        return None


@dataclass
class ExhaustiveConfig(SamplerConfig):
    """Every configuration with its exact weight, up to ``max_sites`` spins."""

    version: ClassVar[int] = 1
    draws: ClassVar[bool] = False
    implementation: ClassVar[str] = "pipeline.spin.sampler.exhaustive:ExhaustiveSampler"

    name: str = "exhaustive"
    max_sites: int = MISSING

    def __post_init__(self) -> None:
        checks.between("max_sites", self.max_sites, 1, 30)

    def rows(self, size: int, samples: int | None) -> float:
        return states(size)

    def check(self, system: SpinSystem) -> None:
        if system.size > self.max_sites:
            raise ConfigError("", "exhaustive", f"would enumerate 2^{system.size} states (max_sites={self.max_sites})")

    def check_copies(self, system: SpinSystem, copies: int) -> None:
        size = copies * system.size
        if copies > 1 and size > self.max_sites:
            allowed = (
                f"would enumerate 2^{size} states of {copies} copies of {system.size} sites "
                f"(train.ansatz.states={copies}, max_sites={self.max_sites}); use sampler=metropolis"
            )
            raise ConfigError("", "exhaustive", allowed)

    def check_samples(self, samples: int) -> None:
        raise ConfigError(
            "samples", samples, "sampler=exhaustive takes every configuration: there is no number of samples"
        )


@dataclass
class DirectConfig(SamplerConfig):
    """Independent samples, drawn from a normalised ansatz; ``samples`` a batch."""

    version: ClassVar[int] = 1
    implementation: ClassVar[str] = "pipeline.spin.sampler.direct:DirectSampler"

    name: str = "direct"
    samples: int = MISSING

    def __post_init__(self) -> None:
        checks.at_least("samples", self.samples, 1)

    def check_ansatz(self, ansatz: AnsatzConfig) -> None:
        if not ansatz.direct:
            allowed = f"ansatz={ansatz.name} cannot be drawn from directly; use sampler=metropolis"
            raise ConfigError("", "direct", allowed)
        if ansatz.states > 1:
            allowed = (
                f"a determinant of train.ansatz.states={ansatz.states} networks cannot be drawn from directly, "
                "even where each of them can; use sampler=metropolis"
            )
            raise ConfigError("", "direct", allowed)


@dataclass
class MetropolisConfig(SamplerConfig):
    """Metropolis chains side by side; they go on from one update to the next.

    Attributes:
        samples: samples a batch, all chains together.
        chains: number of chains; divides ``samples``.
        rule: ``local`` flips one spin, ``exchange`` swaps an antiparallel pair and so keeps Σ σz.
        pairs: which pairs ``exchange`` may swap: ``neighbours`` of the lattice, ``any``, or ``mixed``: either of
            the two with equal probability.
        global_flip: probability that a proposal flips all spins instead.
        thinning: proposals that a chain makes for each sample; null: one a site. One proposal in N + 1 is to stay.
        burn_in: sweeps, of one proposal a site, before the first sample of a chain.
        start: ``random`` (with Σ σz = 0, or 1 for odd N, under ``exchange``), ``up`` or ``down``: all spins aligned.
    """

    version: ClassVar[int] = 3
    implementation: ClassVar[str] = "pipeline.spin.sampler.metropolis:MetropolisSampler"

    name: str = "metropolis"
    samples: int = MISSING
    chains: int = MISSING
    rule: str = MISSING
    pairs: str = MISSING
    global_flip: float = MISSING
    thinning: int | None = MISSING
    burn_in: int = MISSING
    start: str = MISSING

    def __post_init__(self) -> None:
        checks.at_least("chains", self.chains, 1)
        checks.at_least("samples", self.samples, 1)
        checks.one_of("rule", self.rule, ("local", "exchange"))
        checks.one_of("pairs", self.pairs, ("neighbours", "any", "mixed"))
        if not 0 <= self.global_flip < 1:
            raise ConfigError("global_flip", self.global_flip, "must lie in [0, 1)")
        if self.thinning is not None:
            checks.at_least("thinning", self.thinning, 1)
        checks.at_least("burn_in", self.burn_in, 0)
        checks.one_of("start", self.start, ("random", "up", "down"))
        self.check_samples(self.samples)

    def cost(self, size: int, samples: int | None) -> Cost:
        """A proposal of a chain costs more than a flop a site, and a step of all of them more than a microsecond."""
        batch = super().cost(size, samples)
        steps = self.burn_in * float(size) + self.rows(size, samples) / self.chains * (self.thinning or size)
        chains = self.chains * (size + 32.0)
        return Cost(seconds=steps * (1e-7 + 1e-9 * self.chains), bytes=batch.bytes + chains)

    def check(self, system: SpinSystem) -> None:
        if self.rule != "exchange":
            return
        if space_of(system).magnetisation is None:
            allowed = "swaps keep Σ σz, which this Hamiltonian does not conserve; use rule=local"
            raise ConfigError("rule", "exchange", allowed)
        if self.start != "random":
            allowed = "aligned spins have nothing to exchange; use start=random"
            raise ConfigError("start", self.start, allowed)
        if self.global_flip and system.size % 2:
            allowed = (
                f"with {system.size} spins a global flip leaves the sector of Σ σz that rule=exchange keeps; use 0"
            )
            raise ConfigError("global_flip", self.global_flip, allowed)

    def sector(self, system: SpinSystem) -> int | None:
        return space_of(system).magnetisation if self.rule == "exchange" else None

    def check_ansatz(self, ansatz: AnsatzConfig) -> None:
        magnetisation = getattr(ansatz, "magnetisation", None)
        if magnetisation is None:
            return
        if self.rule != "exchange":
            allowed = f"leaves the sector of train.ansatz.magnetisation={magnetisation}; use rule=exchange"
            raise ConfigError("rule", self.rule, allowed)
        if magnetisation not in (0, 1):
            allowed = "must be 0 or 1 under sampler=metropolis, whose chains start there"
            raise ConfigError("train.ansatz.magnetisation", magnetisation, allowed, whole=True)

    def check_samples(self, samples: int) -> None:
        if samples % self.chains:
            raise ConfigError("samples", samples, f"must be a multiple of the {self.chains} chains")


def reach(sampler: SamplerConfig, ansatz: AnsatzConfig, system: SpinSystem) -> int | None:
    """Σ σz of all configurations that ``sampler`` can draw from the ansatz; None: any."""
    confined: int | None = getattr(ansatz, "magnetisation", None)
    return sampler.sector(system) if confined is None else confined
