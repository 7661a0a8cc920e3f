"""Typed configuration of neural importance resampling (torch-free)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from omegaconf import MISSING

from pipeline.base.config import checks
from pipeline.base.config.amounts import OPERATIONS_A_SECOND
from pipeline.base.contracts import Cost
from pipeline.base.errors import ConfigError
from pipeline.spin.sampler.schema import SamplerConfig
from pipeline.spin.symmetry.groups import check_names, check_symmetries
from pipeline.spin.systems import SpinSystem

MOST_ROUNDS = 10**6
"""Of training in one batch: a run that wants more has stopped to learn."""

FEWEST = 2
"""Draws that a batch is worth, and proposals: a single one has a weight of 1 whatever ψ is, and is no draw of |ψ|²."""

MOST_REPLAYED = 1024
"""Batches that are kept: older ones are draws of a state that is no more."""

MOST_ESS = 1e3
"""Batches that a round may have to be worth: it is drawn again for one."""


@dataclass
class NIRConfig(SamplerConfig):
    """Proposals of an autoregressive transformer, redrawn by their importance weights |ψ|²/q (NIR paper, Section 3).

    Attributes:
        samples: a batch; of an inference, how many draws of |ψ|² its weighted proposals are about worth.
        embedding, heads, layers: d, attention heads and blocks of the transformer.
        p_floor: least probability of either value of a site.
        lr: learning rate of its Adam.
        divergence: what is minimised: ``forward`` (Eq. 11) or ``backward`` (Eq. 12).
        replay: latest batches of draws, one a round, of which every forward update of the proposal sees as many as a
            batch has, at random; 1: the newest alone, as in the paper.
        updates: of the proposal a round; one with ``backward``, whose draws must be those of the network as it is.
        importance: ``resampling``, or ``weighting``: updates of ψ see all proposals with their weights.
        ess: α_ESS: a round proposes until its effective sample size is this times ``samples``.
        efficiency: α_eff: a round with fewer effective samples a proposal trains the proposal only; another follows.
        proposals: a fixed number of them a batch of ``samples``, and of others in proportion, then: one round a batch,
            and neither threshold counts; null: adaptive.
        max_proposals: of one round.
        max_rounds: of one batch; after them the run ends.
        permute: whether copies are put in random order for training, where there are several.
        symmetries: of H, by one of which, at random, every configuration is transformed for training
            (:func:`pipeline.spin.symmetry.groups.symmetry_group`).
    """

    version: ClassVar[int] = 1
    implementation: ClassVar[str] = "pipeline.spin.sampler.nir.sampler:NIRSampler"
    learns: ClassVar[bool] = True
    neutral: ClassVar[dict[str, Any]] = {"replay": 1}

    name: str = "nir"
    samples: int = MISSING
    embedding: int = MISSING
    heads: int = MISSING
    layers: int = MISSING
    p_floor: float = MISSING
    lr: float = MISSING
    divergence: str = MISSING
    updates: int = MISSING
    importance: str = MISSING
    ess: float = MISSING
    efficiency: float = MISSING
    proposals: int | None = MISSING
    max_proposals: int = MISSING
    max_rounds: int = MISSING
    permute: bool = MISSING
    symmetries: list[str] = MISSING
    replay: int = 1

    def __post_init__(self) -> None:
        for key in ("samples", "embedding", "heads", "layers", "max_proposals"):
            checks.at_least(key, getattr(self, key), 1)
        checks.between("updates", self.updates, 1, MOST_ROUNDS)
        checks.between("max_rounds", self.max_rounds, 1, MOST_ROUNDS)
        if self.embedding % self.heads:
            raise ConfigError("heads", self.heads, f"must divide train.sampler.embedding={self.embedding}")
        if not 0.0 <= self.p_floor < 0.5:
            raise ConfigError("p_floor", self.p_floor, "must lie in [0, 0.5): two values share a probability of 1")
        checks.positive("lr", self.lr)
        checks.within("lr", self.lr, checks.MOST_LR)
        checks.one_of("divergence", self.divergence, ("forward", "backward"))
        checks.one_of("importance", self.importance, ("resampling", "weighting"))
        if self.divergence == "backward" and self.updates > 1:
            raise ConfigError(
                "updates", self.updates, "must be 1 with divergence=backward: Eq. 12 wants fresh proposals"
            )
        checks.between("replay", self.replay, 1, MOST_REPLAYED)
        if self.divergence == "backward" and self.replay > 1:
            raise ConfigError("replay", self.replay, "must be 1 with divergence=backward, which trains on proposals")
        checks.positive("ess", self.ess)
        checks.within("ess", self.ess, MOST_ESS)
        if not 0.0 <= self.efficiency < 1.0:
            raise ConfigError(
                "efficiency", self.efficiency, "must lie in [0, 1): no proposal is worth more than one draw"
            )
        if self.proposals is not None:
            checks.at_least("proposals", self.proposals, FEWEST)
        check_names(self.symmetries)
        if self.divergence == "backward" and self.symmetries:
            raise ConfigError(
                "symmetries", self.symmetries, "must be [] with divergence=backward, which trains on proposals"
            )
        self.check_samples(self.samples)

    def check(self, system: SpinSystem) -> None:
        """Raise ConfigError where ``system`` does not have one of the symmetries."""
        if self.symmetries:
            check_symmetries(system, self.symmetries, "symmetries")

    def check_samples(self, samples: int) -> None:
        """Raise ConfigError where a round could be a single proposal, or never worth the draws that it has to be."""
        fixed = self.fixed(samples)
        if (self.wanted(samples) if fixed is None else fixed) < FEWEST:
            what = f"ess={self.ess:g}" if fixed is None else f"proposals={self.proposals} for {self.samples}"
            allowed = f"is too few with {what}: a round must be worth at least {FEWEST} draws, for a single one is of q"
            raise ConfigError("samples", samples, allowed)
        if fixed is None and self.wanted(samples) > self.max_proposals:
            allowed = f"a round would need at least ess * samples = {self.wanted(samples):g} proposals"
            raise ConfigError("max_proposals", self.max_proposals, allowed)

    def check_fresh(self) -> None:
        """Raise ConfigError: an inference trains a fresh proposal by the adaptive loop, or not at all."""
        if self.proposals is not None:
            allowed = "leaves the proposal of an inference untrained; use null, or infer.chains=training"
            raise ConfigError("proposals", self.proposals, allowed)

    def hint_of_fresh(self) -> str:
        """A fresh proposal is uniform, and must find what that of the training came to know in many steps."""
        return (
            "the proposal of an inference starts from a uniform one (infer.chains=fresh) and may not find a peaked "
            f"|ψ|² in max_rounds={self.max_rounds}; infer.chains=training goes on with the one of the training"
        )

    def fixed(self, samples: int) -> int | None:
        """Proposals of a batch of ``samples`` where their number is fixed; None: as many as it takes."""
        return None if self.proposals is None else math.ceil(self.proposals * samples / self.samples)

    def wanted(self, samples: int) -> float:
        """Effective sample size of a batch of ``samples``."""
        return self.ess * samples

    def rows(self, size: int, samples: int | None) -> float:
        """Those that an update sees."""
        batch = samples or self.samples
        return float(batch) if self.importance == "resampling" else self._proposed(batch)

    def cost(self, size: int, samples: int | None) -> Cost:
        """Lower bounds: as many proposals as an ideal network needs, each drawn once."""
        proposed, d = self._proposed(samples or self.samples), float(self.embedding)
        weights = self.layers * 12.0 * d * d
        kept = float((self.replay if self.replay > 1 else 0) * (samples or self.samples) * size)
        seconds = 2.0 * proposed * size * weights / OPERATIONS_A_SECOND
        return Cost(seconds=seconds, bytes=16.0 * weights + proposed * (9.0 * size + 24.0) + 8.0 * size * d + kept)

    def _proposed(self, samples: int) -> float:
        fixed = self.fixed(samples)
        return float(math.ceil(self.wanted(samples)) if fixed is None else fixed)
