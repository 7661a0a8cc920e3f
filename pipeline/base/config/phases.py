"""Optimizers and phases of a training (torch-free): which settings update ``k`` runs with."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from omegaconf import MISSING

from pipeline.base.config import checks
from pipeline.base.errors import ConfigError


@dataclass
class AdamConfig:
    """Adam with learning rate ``lr``; ``betas`` are the decay rates of its two moments."""

    version: ClassVar[int] = 1

    name: str = "adam"
    lr: float = MISSING
    betas: tuple[float, float] = MISSING

    def __post_init__(self) -> None:
        checks.positive("lr", self.lr)
        checks.within("lr", self.lr, checks.MOST_LR)
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError("betas", list(self.betas), "must be two numbers in [0, 1)")


@dataclass
class AdamWConfig(AdamConfig):
    """Adam with decoupled weight decay: θ <- θ - lr (m/(√v + ``eps``) + ``weight_decay`` θ)."""

    name: str = "adamw"
    eps: float = MISSING
    weight_decay: float = MISSING

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.positive("eps", self.eps)
        checks.within("eps", self.eps, checks.MOST)
        checks.between("weight_decay", self.weight_decay, 0, 1)


@dataclass
class SGDConfig:
    """Gradient descent with learning rate ``lr``: v <- momentum v + g, θ <- θ - lr v."""

    version: ClassVar[int] = 1

    name: str = "sgd"
    lr: float = MISSING
    momentum: float = MISSING

    def __post_init__(self) -> None:
        checks.positive("lr", self.lr)
        checks.within("lr", self.lr, checks.MOST_LR)
        if not 0 <= self.momentum < 1:
            raise ConfigError("momentum", self.momentum, "must lie in [0, 1)")


DENSE_BYTES = 2**30
"""Largest matrix of log-derivatives, counting two real numbers an element, that is held where the choice is open."""


def holds_derivatives(kind: str, rows: float, weights: float) -> bool:
    """Whether log-derivatives of so many configurations and parameters may be held as a matrix, by ``derivatives``.

    By sizes alone, so that a run makes the same choice everywhere.
    """
    return kind == "dense" or (kind == "auto" and 16.0 * rows * weights <= DENSE_BYTES)


@dataclass
class SRConfig:
    """Stochastic reconfiguration: gradient descent in the geometry of the states, not of the parameters.

    Attributes:
        lr: τ: θ moves by -τ (S + λ)⁻¹ ∇, with S the quantum geometric tensor; 2τ of imaginary time.
        shift: λ, added to the diagonal of XᵀX (samples weigh 1/M in it).
        momentum: μ of SPRING: how much of the step before guides what the batch does not determine.
        max_distance: longest step, as standard deviation of the change of log ψ over the batch; null: no limit.
        derivatives: ``dense`` holds the matrix of log-derivatives, ``layerwise`` adds up its Gram matrix layer by
            layer, ``auto`` holds it while it takes at most 1 GiB, on a CPU while that is faster; the results are the
            same but for rounding, which stays below ``shift``.
        solver: ``cholesky``; or ``pinv``, the pseudo-inverse of MinSR with a soft cut-off of small eigenvalues.
        rtol, atol: cut-off of ``pinv``: rtol times the largest eigenvalue of XᵀX, plus atol.
        second_moment: β of MARCH: how long the changes between steps are remembered that scale the parameters; 0: off.
        guard: undo a step that brings less than a quarter of what was predicted, beyond noise, and adapt the shift,
            ``shift`` being the least; true in ``conf/``, false for those that a phase brings.
    """

    version: ClassVar[int] = 1
    neutral: ClassVar[dict[str, Any]] = {
        "derivatives": "auto",
        "solver": "cholesky",
        "rtol": 1e-12,
        "atol": 0.0,
        "second_moment": 0.0,
        "guard": False,
    }

    name: str = "sr"
    lr: float = MISSING
    shift: float = MISSING
    momentum: float = MISSING
    max_distance: float | None = MISSING
    derivatives: str = "auto"
    solver: str = "cholesky"
    rtol: float = 1e-12
    atol: float = 0.0
    second_moment: float = 0.0
    guard: bool = False

    def __post_init__(self) -> None:
        checks.positive("lr", self.lr)
        checks.within("lr", self.lr, checks.MOST_LR)
        checks.one_of("derivatives", self.derivatives, ("auto", "dense", "layerwise"))
        checks.one_of("solver", self.solver, ("cholesky", "pinv"))
        checks.between("rtol", self.rtol, 0, 1)
        checks.at_least("atol", self.atol, 0)
        for key in ("shift", "atol"):
            checks.within(key, getattr(self, key), checks.MOST)
        if self.solver == "pinv" and self.shift == 0 and self.guard:
            raise ConfigError(
                "shift", self.shift, "must be a positive number, which the guard multiplies", "guard=false"
            )
        if self.solver == "pinv" and not self.guard:
            checks.at_least("shift", self.shift, 0)
        else:
            checks.positive("shift", self.shift)
        for key in ("momentum", "second_moment"):
            if not 0 <= getattr(self, key) < 1:
                raise ConfigError(key, getattr(self, key), "must lie in [0, 1)")
        if self.max_distance is not None:
            checks.positive("max_distance", self.max_distance)

    def holds(self, rows: float, weights: float) -> bool:
        """See :func:`holds_derivatives`."""
        return holds_derivatives(self.derivatives, rows, weights)


MOST_BETA = 1e4
"""Inverse temperature over length: far beyond any gap that single precision would show."""

MOST_TIMES = 10**4
"""Imaginary times of a sweep: far more than there are independent ones."""

MOST_UPDATES = 10**4
"""Batches that are kept at once."""

OptimizerConfig = AdamConfig | AdamWConfig | SGDConfig | SRConfig


@dataclass
class LikelihoodConfig:
    """Maximum likelihood of configurations that quantum Monte Carlo draws from the ground state.

    Attributes:
        beta_per_length: inverse temperature, in the units of the baseline ``qmc``.
        times: imaginary times of a sweep at which configurations are taken.
        warmup: sweeps of a chain before the first; a chain serves ``updates``.
        updates: that see, in random order, the configurations of one chain.
        symmetries: by one of which, at random, every configuration is transformed.
    """

    beta_per_length: float = MISSING
    times: int = MISSING
    warmup: int = MISSING
    updates: int = MISSING
    symmetries: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        checks.positive("beta_per_length", self.beta_per_length)
        checks.within("beta_per_length", self.beta_per_length, MOST_BETA)
        checks.between("times", self.times, 1, MOST_TIMES)
        checks.at_least("warmup", self.warmup, 0)
        checks.between("updates", self.updates, 1, MOST_UPDATES)


@dataclass
class PhaseConfig:
    """A stretch of training with settings of its own; what is null stays as it was in the phase before.

    Attributes:
        steps: updates in this phase.
        samples: samples a batch; null in the first phase: the sampler's own.
        lr: learning rate at the start of the phase; null: that of the optimizer that the phase brings, else the one
            with which the phase before ended.
        lr_end: where a half cosine takes the learning rate by the end of the phase; null: constant.
        adam, sgd, sr: another optimizer from here on, with fresh moments; at most one of them.
        system: fields of the system that are different in this phase only: ``{length_x: 6, length_y: 6}``, for what a
            network that fits any size learns on a small system is a good start on the large one; ``{field: 3.0}``, for
            the state follows a system that changes little by little.
        projection: symmetries on which the state is projected from here on, so that they can be restored one by one; in
            place of those before, ``[]`` for none; null in the first phase: those of the ansatz.
        likelihood: what the updates of this phase learn from; null: from what the method minimises.
    """

    neutral: ClassVar[dict[str, Any]] = {"projection": None, "likelihood": None}

    steps: int = MISSING
    samples: int | None = None
    lr: float | None = None
    lr_end: float | None = None
    adam: AdamConfig | None = None
    sgd: SGDConfig | None = None
    sr: SRConfig | None = None
    system: dict[str, int | float] = field(default_factory=dict)
    projection: list[str] | None = None
    likelihood: LikelihoodConfig | None = None

    def __post_init__(self) -> None:
        checks.at_least("steps", self.steps, 1)
        if self.samples is not None:
            checks.at_least("samples", self.samples, 1)
        if self.lr is not None:
            checks.positive("lr", self.lr)
            checks.within("lr", self.lr, checks.MOST_LR)
        if self.lr_end is not None:
            checks.at_least("lr_end", self.lr_end, 0)
            checks.within("lr_end", self.lr_end, checks.MOST_LR)
        if len(self._optimizers) > 1:
            raise ConfigError("", None, "a phase brings one of adam, sgd and sr")

    @property
    def optimizer(self) -> OptimizerConfig | None:
        """The optimizer that this phase brings."""
        return next(iter(self._optimizers), None)

    @property
    def _optimizers(self) -> list[OptimizerConfig]:
        return [optimizer for optimizer in (self.adam, self.sgd, self.sr) if optimizer is not None]


@dataclass(frozen=True)
class StepSettings:
    """What one update runs with.

    Attributes:
        optimizer: index into ``Schedule.optimizers``.
        lr: learning rate.
        samples: samples a batch; None: the sampler's own.
        system: index into ``Schedule.systems``.
        projection: index into ``Schedule.projections``.
        likelihood: what the update learns from; None: from what the method minimises.
        first: number of the update with which the phase began.
    """

    optimizer: int
    lr: float
    samples: int | None
    system: int = 0
    projection: int = 0
    likelihood: LikelihoodConfig | None = None
    first: int = 0


@dataclass(frozen=True)
class _Stretch:
    first: int
    steps: int
    lr: float
    lr_end: float
    optimizer: int
    samples: int | None
    system: int
    projection: int
    likelihood: LikelihoodConfig | None


class Schedule:
    """Settings of every update as a pure function of its number; after the last phase its settings stay.

    The number of updates, ``train.steps``, has no part in it: it may end the training inside a phase, and training can
    go on beyond the last one.

    Args:
        optimizer: of the start, with a field ``lr``.
        phases: in order; empty: the optimizer's settings throughout.

    Attributes:
        optimizers: of the start, and of each phase that brings one.
        systems: changed fields of the system; none of them first.
        projections: symmetries that phases project on; None first: those of the ansatz.

    Raises:
        ConfigError: a phase whose learning rate would be zero from its start.
    """

    def __init__(self, optimizer: Any, phases: Sequence[PhaseConfig]) -> None:
        self.optimizers: list[Any] = [optimizer]
        self.systems: list[dict[str, int | float]] = [{}]
        self.projections: list[list[str] | None] = [None]
        lr, samples, first, projection = float(optimizer.lr), None, 0, 0
        self._stretches: list[_Stretch] = []
        for number, phase in enumerate(phases):
            if phase.optimizer is not None:
                self.optimizers.append(phase.optimizer)
                lr = phase.optimizer.lr
            lr = lr if phase.lr is None else phase.lr
            if lr == 0:
                allowed = "needs a value, for the phase before ends with a learning rate of 0"
                raise ConfigError(f"phases[{number}].lr", None, allowed)
            lr_end = lr if phase.lr_end is None else phase.lr_end
            samples = samples if phase.samples is None else phase.samples
            if phase.system not in self.systems:
                self.systems.append(dict(phase.system))
            system = self.systems.index(phase.system)
            if phase.projection is not None:
                if phase.projection not in self.projections:
                    self.projections.append(list(phase.projection))
                projection = self.projections.index(phase.projection)
            of_phase = (lr, lr_end, len(self.optimizers) - 1, samples, system, projection, phase.likelihood)
            self._stretches.append(_Stretch(first, phase.steps, *of_phase))
            first, lr = first + phase.steps, lr_end
        self._first = [stretch.first for stretch in self._stretches]
        self.steps, self.final_lr = first, lr

    def at(self, k: int) -> StepSettings:
        """Settings of update ``k`` >= 0."""
        if not self._stretches:
            return StepSettings(0, self.final_lr, None)
        now = self._stretches[bisect.bisect_right(self._first, k) - 1]
        done = min(1.0, (k - now.first) / now.steps)
        lr = now.lr_end + (now.lr - now.lr_end) * 0.5 * (1.0 + math.cos(math.pi * done))
        return StepSettings(now.optimizer, lr, now.samples, now.system, now.projection, now.likelihood, now.first)
