"""The two-flavour Schwinger model on small lattices, from independent configurations: a reference without dynamics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from omegaconf import MISSING

from pipeline.base.config import checks
from pipeline.base.contracts import Cost, Exactness, Metrics, Record
from pipeline.base.later import np
from pipeline.base.numbers import rng
from pipeline.base.numbers.result import Result
from pipeline.base.numbers.statistics import doubts, weighted_mean
from pipeline.gauge.systems import Schwinger


@dataclass
class ReweightingState:
    """Batches know their own random numbers: nothing is carried from one to the next."""

    system: Schwinger

    def state_dict(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_state_dict(self, tree: dict[str, Any]) -> None:
        """Nothing to restore."""


@dataclass
class Reweighting:
    """Pure-gauge configurations drawn exactly, each with the weight det D D† = (det D)² (Eq. 9).

    The estimates are ratios Σ w O / Σ w of independent samples. The effective sample size a configuration falls
    exponentially with the volume (0.19 on 8 × 8 at the paper's couplings), so that only small lattices are possible.

    Attributes:
        warmup: 0, since the draws are independent.
        measurements: batches.
        configurations: in a batch.
        max_length: largest L.
        seed: every random number is a function of it and of the batch it is drawn in.

    Raises:
        ConfigError: a value out of range; names ``baseline.reweighting.<field>``.
    """

    kind: ClassVar[str] = "reweighted pure gauge"
    exactness: ClassVar[Exactness] = "stochastic"
    version: ClassVar[int] = 1
    warmup: ClassVar[int] = 0

    measurements: int = MISSING
    configurations: int = MISSING
    max_length: int = MISSING
    seed: int = MISSING

    def __post_init__(self) -> None:
        checks.at_least("measurements", self.measurements, 1)
        checks.at_least("configurations", self.configurations, 2)
        checks.at_least("max_length", self.max_length, 2)
        checks.at_least("seed", self.seed, 0)

    def supports(self, system: Any) -> str | None:
        """None for a :class:`Schwinger` model that is small enough; otherwise why not."""
        if not isinstance(system, Schwinger):
            return f"pure-gauge configurations are drawn exactly for U(1) only, not for {type(system).__name__}"
        if system.length > self.max_length:
            return (
                f"weights of {system.length} x {system.length} sites vary too much; at most {self.max_length} x "
                f"{self.max_length} (baseline.reweighting.max_length)"
            )
        return None

    def cost(self, system: Schwinger) -> Cost:
        """A dense determinant for each configuration."""
        drawn = self.measurements * self.configurations
        return Cost(seconds=drawn * (2e-5 + 2e-9 * system.size**3), bytes=64.0 * self.configurations * system.size**2)

    def init(self, system: Schwinger) -> ReweightingState:
        """Bound to ``system``."""
        return ReweightingState(system)

    def step(self, state: ReweightingState, k: int) -> Metrics:
        """Never called: there is no warm-up."""
        raise NotImplementedError

    def measure(self, state: ReweightingState, k: int) -> Record:
        """Batch ``k``: ``log_weight``, ``plaquette`` and ``topological_charge`` float64, (configurations,)."""
        from pipeline.gauge import pure_u1, u1
        from pipeline.gauge.fermions.actions import WilsonFermions
        from pipeline.gauge.fermions.determinants import log_det

        system = state.system
        generator = rng.numpy_generator(self.seed, "baseline.reweighting", k)
        links = pure_u1.draw_links(self.configurations, system.length, system.beta, generator)
        fermions = WilsonFermions(u1, system.kappa, even_odd=system.length % 2 == 0)
        return {
            "log_weight": system.n_flavours * log_det(fermions.matrix(links))[1].numpy(),
            "plaquette": u1.mean_plaquette(links).numpy(),
            "topological_charge": u1.topological_charge(links).round().numpy(),
            "volume": system.size,
        }

    def summarise(self, records: Sequence[Record]) -> Result:
        """``plaquette``, ``topological_charge`` and ``topological_susceptibility``, and ``ess``, the effective sample
        size of a configuration with its error by the jackknife over blocks."""
        from pipeline.gauge.flow.weights import ess

        log_weight, plaquette, charge = (
            np.concatenate([r[name] for r in records]) for name in ("log_weight", "plaquette", "topological_charge")
        )
        named = {
            "plaquette": plaquette,
            "topological_charge": charge,
            "topological_susceptibility": charge**2 / records[0]["volume"],
        }
        worth = ess(log_weight)
        estimates = [
            replace(weighted_mean(x, log_weight).estimate(name, bound="stochastic"), ess=worth.value * log_weight.size)
            for name, x in named.items()
        ]
        return Result((*estimates, worth), notes=tuple(doubts([*estimates, worth])))
