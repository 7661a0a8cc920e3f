"""Typed configuration of spin systems (torch-free). Values live in ``conf/``; the checks live here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from omegaconf import MISSING

from pipeline.base import checks
from pipeline.base.errors import ConfigError
from pipeline.base.schema import InferConfig
from pipeline.spin import lattice

MAX_PACKED_SITES = 62
"""A basis state of this many spins fits one signed 64-bit word."""

MOST_SITES = 4096
"""Nothing here treats more, and a slip of the keyboard should not fill the memory with bonds."""


@dataclass
class SpinSystem:
    """Base of all spin systems; ``version`` enters the keys of everything computed for the system."""

    version: ClassVar[int] = 1

    @property
    def size(self) -> int:
        """Number of spins N."""
        raise NotImplementedError

    def bonds(self) -> list[lattice.Bond]:
        """Interacting pairs, each once."""
        raise NotImplementedError


@dataclass
class ChainTFIM(SpinSystem):
    """Periodic chain H = -V Σ_{0<d(i,j)<=L} σz_i σz_j - h Σ σx_i (NF+NQS paper, Eq. 14).

    Attributes:
        n_sites: N.
        range: L, largest distance round the ring that interacts, 1 <= L <= N/2.
        coupling: V.
        field: h.
    """

    kind: str = "chain_tfim"
    n_sites: int = MISSING
    range: int = MISSING
    coupling: float = MISSING
    field: float = MISSING

    def __post_init__(self) -> None:
        checks.one_of("system.kind", self.kind, ["chain_tfim"])
        checks.between("system.n_sites", self.n_sites, 2, MOST_SITES)
        checks.finite("system.coupling", self.coupling)
        checks.finite("system.field", self.field)
        largest = self.n_sites // 2
        if not 1 <= self.range <= largest:
            raise ConfigError(
                "system.range", self.range, f"must lie between 1 and n_sites/2 = {largest} on a ring of {self.n_sites}"
            )

    @property
    def size(self) -> int:
        return self.n_sites

    @property
    def all_to_all(self) -> bool:
        """Every pair interacts."""
        return self.range == self.n_sites // 2

    def bonds(self) -> list[lattice.Bond]:
        return lattice.chain_bonds(self.n_sites, self.range)


@dataclass
class SquareTFIM(SpinSystem):
    """Nearest-neighbour H = -V Σ_<ij> σz_i σz_j - h Σ σx_i on a length_y × length_x square lattice.

    Attributes:
        length_x, length_y: extents; site = y * length_x + x.
        periodic: wrap both directions (then both extents must be at least 3, or bonds would double).
        coupling: V.
        field: h.
    """

    kind: str = "square_tfim"
    length_x: int = MISSING
    length_y: int = MISSING
    periodic: bool = MISSING
    coupling: float = MISSING
    field: float = MISSING

    def __post_init__(self) -> None:
        checks.one_of("system.kind", self.kind, ["square_tfim"])
        low = 3 if self.periodic else 1
        checks.at_least("system.length_x", self.length_x, low)
        checks.at_least("system.length_y", self.length_y, low)
        checks.between("system.length_x * system.length_y", self.size, 1, MOST_SITES)
        checks.finite("system.coupling", self.coupling)
        checks.finite("system.field", self.field)

    @property
    def size(self) -> int:
        return self.length_x * self.length_y

    def bonds(self) -> list[lattice.Bond]:
        return lattice.square_bonds(self.length_x, self.length_y, self.periodic)


@dataclass
class AnsatzConfig:
    """Base of all ansätze; ``log_domain`` says whether log ψ is available, which ratios of amplitudes need."""

    log_domain: ClassVar[bool] = False


@dataclass
class MLPConfig(AnsatzConfig):
    """Dense real wave function.

    Attributes:
        hidden: widths of the hidden layers.
        initialisation: ``torch`` (the library's default) or ``orthogonal`` (variance kept from layer to layer).
    """

    version: ClassVar[int] = 1

    _target_: str = "pipeline.spin.ansatz.mlp.MLP"
    hidden: list[int] = MISSING
    initialisation: str = MISSING

    def __post_init__(self) -> None:
        _widths("train.ansatz.hidden", self.hidden)
        checks.one_of("train.ansatz.initialisation", self.initialisation, ("torch", "orthogonal"))


@dataclass
class AdamConfig:
    """Adam with a constant learning rate ``lr``; ``betas`` are the decay rates of its two moments."""

    version: ClassVar[int] = 1

    _target_: str = "torch.optim.Adam"
    lr: float = MISSING
    betas: tuple[float, float] = MISSING

    def __post_init__(self) -> None:
        checks.positive("train.optimizer.lr", self.lr)
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError("train.optimizer.betas", list(self.betas), "must be two numbers in [0, 1)")


@dataclass
class SubspaceFlowConfig:
    """NF+NQS: a normalising flow proposes subspaces, an NQS gives them amplitudes.

    Attributes:
        subspaces: |B|, independent subspaces an update.
        draws: |S|, samples a subspace before duplicates are removed.
        flow_layers, flow_hidden: number of coupling layers, widths of their hidden layers.
        prior: ``bimodal`` (paper) or ``normal``; prior_width is the standard deviation of the two modes.
        points: N_MC, smoothing points a region; region_centre and region_width are their mean and deviation.
        regions: regions a subspace in the flow loss, drawn from p_θ (an unbiased estimate of Eq. 12); null: all.
        gradient_clip: largest gradient norm of either network.
        stop: ``unique`` (paper: all unique fractions below unique_threshold), ``floor`` (keep the state with the
            lowest mean subspace floor; once the paper's rule has fired, stop after ``patience`` steps without a new
            one) or ``never``.
        chunk: largest number of flow or NQS evaluations held in memory at once; sums are split by it, so that the
            last bits depend on it.
    """

    version: ClassVar[int] = 1

    _target_: str = "pipeline.spin.subspace_flow.SubspaceFlow"
    subspaces: int = MISSING
    draws: int = MISSING
    flow_layers: int = MISSING
    flow_hidden: list[int] = MISSING
    prior: str = MISSING
    prior_width: float = MISSING
    points: int = MISSING
    region_centre: float = MISSING
    region_width: float = MISSING
    regions: int | None = MISSING
    gradient_clip: float = MISSING
    stop: str = MISSING
    unique_threshold: float = MISSING
    patience: int = MISSING
    chunk: int = MISSING

    def __post_init__(self) -> None:
        key = "train.method."
        for name in ("subspaces", "draws", "flow_layers", "points", "patience", "chunk"):
            checks.at_least(key + name, getattr(self, name), 1)
        if self.regions is not None:
            checks.at_least(key + "regions", self.regions, 1)
        for name in ("prior_width", "region_width", "gradient_clip"):
            checks.positive(key + name, getattr(self, name))
        checks.between(key + "region_centre", self.region_centre, 0, 1)
        checks.between(key + "unique_threshold", self.unique_threshold, 0, 1)
        checks.one_of(key + "prior", self.prior, ("bimodal", "normal"))
        checks.one_of(key + "stop", self.stop, ("unique", "floor", "never"))
        _widths(key + "flow_hidden", self.flow_hidden)

    def check(self, system: object) -> None:
        """Raise ConfigError for anything but a spin system of 2..62 sites."""
        _must_be_spins("subspace_flow", system)
        assert isinstance(system, SpinSystem)
        if not 2 <= system.size <= MAX_PACKED_SITES:
            allowed = f"method=subspace_flow packs a state into one word: 2 to {MAX_PACKED_SITES} sites"
            raise ConfigError("system", f"{system.size} sites", allowed)

    def check_parts(self, ansatz: AnsatzConfig, sampler: object) -> None:
        """Raise ConfigError for a sampler: the flow is the sampler."""
        del ansatz
        if sampler is not None:
            raise ConfigError(
                "sampler", type(sampler).__name__, "method=subspace_flow samples by its flow; use sampler=none"
            )


@dataclass
class SubspaceInferConfig(InferConfig):
    """Inference of NF+NQS: ``units`` fresh subspaces, each with a freshly initialised NQS trained in it.

    Attributes:
        draws: |S|, samples a subspace before duplicates are removed.
        ansatz: the fresh NQS; null: the same architecture as in training.
        iterations: Adam updates of the NQS.
        lr: initial learning rate; multiplied by ``plateau_factor`` when the energy has not decreased for
            ``plateau_patience`` updates.
    """

    version: ClassVar[int] = 1

    draws: int = MISSING
    ansatz: MLPConfig | None = None
    iterations: int = MISSING
    lr: float = MISSING
    plateau_factor: float = MISSING
    plateau_patience: int = MISSING

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.at_least("infer.draws", self.draws, 1)
        checks.at_least("infer.iterations", self.iterations, 1)
        checks.positive("infer.lr", self.lr)
        if not 0 < self.plateau_factor < 1:
            raise ConfigError("infer.plateau_factor", self.plateau_factor, "must lie between 0 and 1, ends excluded")
        checks.at_least("infer.plateau_patience", self.plateau_patience, 0)


def _widths(key: str, widths: list[int]) -> None:
    """Hidden widths: at least one layer, each at least one unit wide."""
    if not widths or min(widths) < 1:
        raise ConfigError(key, widths, "must be a non-empty list of positive widths")


@dataclass
class RBMConfig(AnsatzConfig):
    """Real restricted Boltzmann machine: ``alpha`` hidden units a spin, initial weights of ``deviation``."""

    version: ClassVar[int] = 1
    log_domain: ClassVar[bool] = True

    _target_: str = "pipeline.spin.ansatz.rbm.RBM"
    alpha: int = MISSING
    deviation: float = MISSING

    def __post_init__(self) -> None:
        checks.at_least("train.ansatz.alpha", self.alpha, 1)
        checks.positive("train.ansatz.deviation", self.deviation)


@dataclass
class ExhaustiveConfig:
    """Every configuration with its exact weight, up to ``max_sites`` spins."""

    version: ClassVar[int] = 1

    _target_: str = "pipeline.spin.sampler.exhaustive.ExhaustiveSampler"
    max_sites: int = MISSING

    def check(self, system: SpinSystem) -> None:
        """Raise ConfigError when ``system`` has too many configurations to enumerate."""
        if system.size > self.max_sites:
            raise ConfigError(
                "train.sampler", "exhaustive", f"would enumerate 2^{system.size} states (max_sites={self.max_sites})"
            )


@dataclass
class VMCConfig:
    """Variational Monte Carlo with the covariance gradient; sampler, ansatz and optimizer are its parts."""

    version: ClassVar[int] = 1

    _target_: str = "pipeline.spin.vmc.VariationalMonteCarlo"

    def check(self, system: object) -> None:
        """Raise ConfigError for anything but a spin system."""
        _must_be_spins("vmc", system)

    def check_parts(self, ansatz: AnsatzConfig, sampler: object) -> None:
        """Raise ConfigError without a sampler, or for an ansatz that does not give log ψ."""
        if sampler is None:
            raise ConfigError("sampler", "none", "method=vmc needs one, such as sampler=exhaustive")
        if not ansatz.log_domain:
            raise ConfigError(
                "ansatz", type(ansatz).__name__, "does not give log ψ, which method=vmc needs; use ansatz=rbm"
            )


@dataclass
class VMCInferConfig(InferConfig):
    """Inference of VMC: ``units`` batches from the sampler."""

    version: ClassVar[int] = 1


def _must_be_spins(method: str, system: object) -> None:
    if not isinstance(system, SpinSystem):
        raise ConfigError("method", method, f"works on spin systems, not on {getattr(system, 'kind', system)}")
