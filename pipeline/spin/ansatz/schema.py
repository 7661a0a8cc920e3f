"""Typed configuration of the autoregressive and tensor-network ansätze (torch-free). Values live in ``conf/ansatz``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import comb
from typing import Any, ClassVar

from omegaconf import MISSING

from pipeline.base.config import checks
from pipeline.base.config.amounts import EMPTY_LAYER
from pipeline.base.errors import ConfigError
from pipeline.spin.symmetry.characters import Permutation
from pipeline.spin.symmetry.charges import conserves_magnetisation
from pipeline.spin.symmetry.groups import (
    character_group,
    check_names,
    check_symmetries,
    dimension,
    representatives,
    symmetry_group,
)
from pipeline.spin.systems import SpinSystem
from pipeline.spin.terms import pauli_terms

MOST_STATES = 100
"""Of one determinant."""

MOST_COUNTED, MOST_GROUP = 32, 64
"""Most sites whose symmetric states are counted. Elements a site of any group, with room: more configurations than this
times sites and states have states enough."""


@dataclass
class AnsatzConfig:
    """Base of all ansätze.

    Attributes:
        log_domain: log ψ is available, which ratios of amplitudes need.
        direct: |ψ|² can be drawn from without a Markov chain.
        any_size: the parameters do not depend on the number of sites.
        name: of the ansatz, as its file in ``conf/ansatz``.
        projection: symmetries on which the state is projected by summing amplitudes over their group: any of
            ``translations``, ``rotations``, ``reflections``, ``point_group`` and ``spin_flip``
            (:func:`pipeline.spin.symmetry.groups.symmetry_group`), with a minus before those under which it is odd.
        states: K; more than one are the K lowest, each with a network of its own, in one determinant on K copies of the
            system (:class:`pipeline.spin.ansatz.determinant.Determinant`). Samplers, local energies and references
            follow this number.
    """

    log_domain: ClassVar[bool] = False
    direct: ClassVar[bool] = False
    any_size: ClassVar[bool] = False
    neutral: ClassVar[dict[str, Any]] = {"projection": [], "states": 1}

    name: str = MISSING
    projection: list[str] = field(default_factory=list)
    states: int = 1

    def __post_init__(self) -> None:
        checks.between("states", self.states, 1, MOST_STATES)

    @property
    def positive_unless(self) -> str | None:
        """Of an ansatz with positive amplitudes only: what gives it phases, as ``phase=true``; None of any other."""
        return None

    def check(self, system: SpinSystem) -> None:
        """Raise ConfigError when the ansatz cannot live on ``system``."""
        self.check_projection(system, self.projection)
        self.check_states(system)

    def check_states(
        self, system: SpinSystem, sector: int | None = None, projection: Sequence[str] | None = None
    ) -> None:
        """Raise ConfigError, about ``states``, for more than are independent.

        Args:
            system: whose states they are.
            sector: Σ σz of all configurations; None: any.
            projection: in place of the ansatz's own.
        """
        if self.states == 1:
            return
        if not self.log_domain:
            allowed = f"a determinant of states is made of log ψ, which ansatz={self.name} does not give"
            raise ConfigError("states", self.states, allowed)
        sector = getattr(self, "magnetisation", None) if sector is None else sector
        size = system.size
        basis = 2**size if sector is None else comb(size, (size + sector) // 2)
        if self.states > basis:
            where = "" if sector is None else f" with Σ σz = {sector}"
            allowed = f"{size} sites have only {basis} configurations{where}, and as many independent states"
            raise ConfigError("states", self.states, allowed)
        if size > MOST_COUNTED or basis > MOST_GROUP * size * self.states:
            return
        names = list(self.projection if projection is None else projection)
        averaged = [name for name in getattr(self, "symmetries", []) if not {name, f"-{name}"} & set(names)]
        independent = dimension(system, [*names, *averaged], self.invariances(system), sector)
        if self.states > independent:
            of = f"projected on {', '.join(names)}" if names else "with the symmetries of the ansatz"
            where = "" if sector is None else f" with Σ σz = {sector}"
            allowed = f"{size} sites have only {independent} independent states {of}{where}"
            raise ConfigError("states", self.states, allowed)

    def check_projection(self, system: SpinSystem, names: Sequence[str]) -> None:
        """Raise ConfigError, about ``projection``, when the ansatz cannot be projected on the symmetries ``names``."""
        if not names:
            return
        check_names(names, "projection", odd=True)
        if not self.log_domain:
            allowed = f"sums amplitudes by their logarithms, which ansatz={self.name} does not give"
            raise ConfigError("projection", list(names), allowed)
        magnetisation = getattr(self, "magnetisation", None)
        if magnetisation and any(name.endswith("spin_flip") for name in names):
            raise ConfigError("projection", list(names), f"flips spins, which leaves Σ σz = {magnetisation}")
        if any(name.startswith("-") for name in names):
            representatives(character_group(system, names), self.invariances(system))
        else:  # the group itself, which may be large, has nothing more to check
            check_symmetries(system, names, "projection")

    def invariances(self, system: SpinSystem) -> tuple[Permutation, ...]:
        """Permutations p of the sites that leave every state of the ansatz unchanged, ψ(σ_p) = ψ(σ); generators."""
        del system
        return ()

    def weights(self, size: int) -> float:
        """A lower bound on the number of parameters on ``size`` spins; a float, for it may be absurd."""
        return float(size)

    def activations(self, size: int) -> float:
        """A lower bound on the numbers that one layer holds for one configuration."""
        return float(size)


@dataclass
class MLPConfig(AnsatzConfig):
    """Dense real wave function.

    Attributes:
        hidden: widths of the hidden layers.
        initialisation: ``torch`` (the library's default) or ``orthogonal`` (variance kept from layer to layer).
    """

    version: ClassVar[int] = 1
    implementation: ClassVar[str] = "pipeline.spin.ansatz.mlp:MLP"

    name: str = "mlp"
    hidden: list[int] = MISSING
    initialisation: str = MISSING

    def __post_init__(self) -> None:
        super().__post_init__()
        _widths("hidden", self.hidden)
        checks.one_of("initialisation", self.initialisation, ("torch", "orthogonal"))

    def weights(self, size: int) -> float:
        return dense_weights([size, *self.hidden, 1])

    def activations(self, size: int) -> float:
        return float(max(self.hidden))


def dense_weights(widths: Sequence[int]) -> float:
    """Weights of dense layers of these widths."""
    return sum(float(low) * high for low, high in pairwise(widths))


def _widths(key: str, widths: list[int]) -> None:
    """Hidden widths: at least one layer, each at least one unit wide."""
    if not widths or min(widths) < 1:
        raise ConfigError(key, widths, "must be a non-empty list of positive widths")


@dataclass
class RBMConfig(AnsatzConfig):
    """Restricted Boltzmann machine.

    Attributes:
        alpha: hidden units a spin.
        deviation: standard deviation of the initial parameters.
        parameters: ``real`` (positive amplitudes) or ``complex``.
    """

    version: ClassVar[int] = 3
    log_domain: ClassVar[bool] = True
    implementation: ClassVar[str] = "pipeline.spin.ansatz.rbm:RBM"

    name: str = "rbm"
    alpha: int = MISSING
    deviation: float = MISSING
    parameters: str = MISSING

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.at_least("alpha", self.alpha, 1)
        checks.initial("deviation", self.deviation)
        checks.one_of("parameters", self.parameters, ("real", "complex"))

    def weights(self, size: int) -> float:
        return float(self.alpha) * size**2

    def activations(self, size: int) -> float:
        return float(self.alpha) * size

    @property
    def positive_unless(self) -> str | None:
        return "parameters=complex" if self.parameters == "real" else None


@dataclass
class AutoregressiveConfig(AnsatzConfig):
    """Base of the autoregressive ansätze.

    Attributes:
        phase: give every conditional a phase; without, ψ is real and positive, as stoquastic Hamiltonians allow.
        output_scale: factor on the initial weights of the last layer; small makes the first state almost uniform.
        symmetries: any of ``point_group``, ``translations`` and ``spin_flip``, over which the state is averaged (NAQS
            paper, Appendix B.2; see :func:`pipeline.spin.symmetry.groups.symmetry_group`).
    """

    log_domain: ClassVar[bool] = True
    direct: ClassVar[bool] = True

    phase: bool = MISSING
    output_scale: float = MISSING
    symmetries: list[str] = MISSING

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.initial("output_scale", self.output_scale)
        check_names(self.symmetries)

    @property
    def positive_unless(self) -> str | None:
        return None if self.phase else "phase=true"

    def check(self, system: SpinSystem) -> None:
        """Raise ConfigError for anything but a spin system that has the symmetries."""
        if not isinstance(system, SpinSystem):
            raise ConfigError("", self.name, "works on spin systems")
        symmetry_group(system, self.symmetries)
        super().check(system)


def check_sector(system: SpinSystem, magnetisation: int) -> None:
    """Raise ConfigError unless H conserves Σ σz and N spins can have this one."""
    if not conserves_magnetisation(pauli_terms(system)):
        raise ConfigError("magnetisation", magnetisation, "is for Hamiltonians that conserve Σ σz; use null")
    if abs(magnetisation) > system.size or (system.size - magnetisation) % 2:
        allowed = f"{system.size} spins have Σ σz = {-system.size}, {2 - system.size}, ..., {system.size}"
        raise ConfigError("magnetisation", magnetisation, allowed)


@dataclass
class PixelCNNConfig(AutoregressiveConfig):
    """NAQS on a square lattice (NAQS paper, Appendix B.1).

    Attributes:
        depth: blocks of a vertical and a horizontal convolution; of one branch, convolutions.
        width: channels of each branch.
        spread: variance of the initial weights between different sites, as a part of 2/fan-in.
        magnetisation: Σ σz of all configurations that have an amplitude; null: every one has.
        branches: 2, or 1: one branch of masked convolutions with residual connections, of which a pass takes a quarter
            of the operations (:class:`pipeline.spin.ansatz.pixelcnn.single.SinglePixelCNN`).
    """

    version: ClassVar[int] = 1
    any_size: ClassVar[bool] = True
    neutral: ClassVar[dict[str, Any]] = {**AutoregressiveConfig.neutral, "branches": 2}
    implementation: ClassVar[str] = "pipeline.spin.ansatz.pixelcnn.choice:pixelcnn"

    name: str = "pixelcnn"
    depth: int = MISSING
    width: int = MISSING
    spread: float = MISSING
    magnetisation: int | None = MISSING
    branches: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.between("branches", self.branches, 1, 2)
        checks.at_least("depth", self.depth, 1)
        checks.at_least("width", self.width, 1)
        checks.initial("spread", self.spread)
        if self.magnetisation and "spin_flip" in self.symmetries:
            raise ConfigError("magnetisation", self.magnetisation, "must be 0 where symmetries has spin_flip")

    def weights(self, size: int) -> float:
        return self.depth * (EMPTY_LAYER + 4.0 * float(self.width) ** 2)

    def activations(self, size: int) -> float:
        return float(size) * self.width

    def check(self, system: SpinSystem) -> None:
        """Raise ConfigError for anything but a rectangular lattice that has the symmetries."""
        if not isinstance(system, SpinSystem) or system.lattice is None or len(system.lattice.extents) != 2:
            raise ConfigError("", "pixelcnn", f"needs a square lattice, not {getattr(system, 'kind', system)}")
        if self.magnetisation is not None:
            check_sector(system, self.magnetisation)
        super().check(system)


@dataclass
class SequentialConfig(AutoregressiveConfig):
    """Base of the autoregressive ansätze on a line of sites, in their numerical order, for any system.

    Attributes:
        layers: linear layers, the last of which puts out the conditionals.
        features: a site, of the layers before it.
    """

    layers: int = MISSING
    features: int = MISSING

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.at_least("layers", self.layers, 1)
        checks.at_least("features", self.features, 1)

    def weights(self, size: int) -> float:
        return self.layers * EMPTY_LAYER / size + max(0.0, self.layers - 2.0) * float(self.features) ** 2

    def activations(self, size: int) -> float:
        return float(size) * (self.features if self.layers > 1 else 1)


@dataclass
class DenseARConfig(SequentialConfig):
    """Masked dense layers."""

    version: ClassVar[int] = 1
    implementation: ClassVar[str] = "pipeline.spin.ansatz.dense_ar:DenseAR"

    name: str = "dense_ar"

    def weights(self, size: int) -> float:
        return super().weights(size) * float(size) ** 2


@dataclass
class ConvARConfig(SequentialConfig):
    """Causal convolutions over ``kernel`` sites; null: ⌊N/2⌋."""

    version: ClassVar[int] = 1
    implementation: ClassVar[str] = "pipeline.spin.ansatz.conv_ar:ConvAR"

    name: str = "conv_ar"
    kernel: int | None = MISSING

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kernel is not None:
            checks.at_least("kernel", self.kernel, 1)

    def weights(self, size: int) -> float:
        return super().weights(size) * (self.kernel or max(1, size // 2))


@dataclass
class MPSConfig(AnsatzConfig):
    """Real periodic matrix product state: ``bond_dimension`` χ, initially the identity and noise of ``deviation``."""

    version: ClassVar[int] = 2
    log_domain: ClassVar[bool] = True
    direct: ClassVar[bool] = False
    implementation: ClassVar[str] = "pipeline.spin.ansatz.mps:MPS"

    name: str = "mps"
    bond_dimension: int = MISSING
    deviation: float = MISSING

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.at_least("bond_dimension", self.bond_dimension, 1)
        checks.initial("deviation", self.deviation)

    def weights(self, size: int) -> float:
        return 2.0 * size * float(self.bond_dimension) ** 2

    def activations(self, size: int) -> float:
        return size * float(self.bond_dimension) ** 2

    def check(self, system: SpinSystem) -> None:
        """Raise ConfigError for anything but a ring."""
        lattice = system.lattice if isinstance(system, SpinSystem) else None
        if lattice is None or len(lattice.extents) != 1 or not lattice.periodic:
            raise ConfigError(
                "", "mps", f"needs a ring, which {getattr(system, 'kind', system)} as it is set up is not"
            )
        super().check(system)
