"""Quantum Monte Carlo without a sign problem: Heisenberg antiferromagnets and transverse-field Ising models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from omegaconf import MISSING

from pipeline.base.config import checks
from pipeline.base.contracts import Cost, Exactness, Metrics, Record
from pipeline.base.later import NDArray, np
from pipeline.base.numbers import rng
from pipeline.base.numbers.result import Estimate, Result, SigmaKind
from pipeline.base.numbers.statistics import correlated_mean, doubts, gelman_rubin, with_control_variates
from pipeline.spin.exact.unfrustrated import Model, model_of
from pipeline.spin.systems import SpinSystem, beyond_range

if TYPE_CHECKING:
    from pipeline.spin.exact.worldlines import Worldlines

LARGEST_R_HAT = 1.1
"""Chains that differ by more than this have not forgotten where they started."""


@dataclass
class QMCState:
    """Everything that changes during a run.

    Attributes:
        model, beta: what is simulated; not part of the state dict, since ``init`` knows them.
        replicas: configurations at β (``chains`` of them), then as many at β/2.
    """

    model: Model
    beta: float
    replicas: list[Worldlines]

    def state_dict(self) -> dict[str, Any]:
        """A copy of all that changes; random numbers are a function of the unit and need no state."""
        return {"replicas": [lines.state_dict() for lines in self.replicas]}

    def load_state_dict(self, tree: dict[str, Any]) -> None:
        """Restore bit for bit.

        Raises:
            ValueError: the configurations are of another lattice or number of chains.
        """
        from pipeline.spin.exact.worldlines import Worldlines

        replicas = [Worldlines(**arrays) for arrays in tree["replicas"]]
        have, want = ([len(lines.spins) for lines in group] for group in (replicas, self.replicas))
        if have != want:
            raise ValueError(f"{len(have)} configurations of {have[:1]} spins do not fit {len(want)} of {want[:1]}")
        self.replicas = replicas


@dataclass
class QMC:
    """Cluster Monte Carlo of the stochastic series in continuous imaginary time, free of Trotter and truncation errors.

    Sampled at one inverse temperature β = ``beta_per_length`` · ℓ / w, with ℓ the linear extent of the lattice in
    units of the range, and w = J1 or the larger of |V| and |h| / (neighbours a site), Pauli units. Other chains at β/2
    run along: what they show of E(β/2) - E(β) says how far β is from the ground state. Errors at given cost do not
    depend on β, whose operators are so many more samples.

    Attributes:
        beta_per_length: as above.
        chains: independent chains from random spins at β, and again at β/2; at least 2.
        warmup: units of ``sweeps`` sweeps before measuring.
        measurements: units of inference, at least 2.
        sweeps: sweeps of each chain at β in a unit, averaged to one bin.
        half_beta_sweeps: the same for the chains at β/2.
        seed: every random number is a function of it and of the unit and chain it is drawn in.

    Raises:
        ConfigError: a value out of range; names ``baseline.qmc.<field>``.
    """

    kind: ClassVar[str] = "QMC"
    exactness: ClassVar[Exactness] = "stochastic"
    version: ClassVar[int] = 1

    beta_per_length: float = MISSING
    chains: int = MISSING
    warmup: int = MISSING
    measurements: int = MISSING
    sweeps: int = MISSING
    half_beta_sweeps: int = MISSING
    seed: int = MISSING

    def __post_init__(self) -> None:
        checks.positive("beta_per_length", self.beta_per_length)
        checks.between("chains", self.chains, 2, 1024)
        checks.at_least("warmup", self.warmup, 0)
        checks.at_least("measurements", self.measurements, 2)
        checks.at_least("sweeps", self.sweeps, 1)
        checks.at_least("half_beta_sweeps", self.half_beta_sweeps, 1)
        checks.at_least("seed", self.seed, 0)

    def supports(self, system: Any) -> str | None:
        """None for unfrustrated Ising models in a field and Heisenberg antiferromagnets; else the reason."""
        if reason := beyond_range(system):
            return reason
        model = model_of(system)
        return f"QMC: {model}" if isinstance(model, str) else None

    def cost(self, system: SpinSystem) -> Cost:
        """Operators of all sweeps at the price of one, on one core."""
        model = _model(system)
        beta = model.beta(self.beta_per_length)
        sweeps = (self.warmup + self.measurements) * self.chains * (self.sweeps + self.half_beta_sweeps / 2)
        # Import and compilation of numba, then the sweeps.
        return Cost(seconds=8.0 + sweeps * model.seconds(beta), bytes=2e8 + 60.0 * model.operators(beta))

    def init(self, system: SpinSystem) -> QMCState:
        """Random spins without kinks."""
        from pipeline.spin.exact.worldlines import Worldlines

        model = _model(system)
        spins = rng.numpy_generator(self.seed, "baseline.qmc.init").integers(
            0, 2, (2 * self.chains, model.size), dtype=np.int8
        )
        beta = model.beta(self.beta_per_length)
        return QMCState(model, beta, [Worldlines(line, np.empty(0), np.empty(0, np.int32)) for line in spins])

    def step(self, state: QMCState, k: int) -> Metrics:
        """Warm-up unit ``k``; ``energy`` is the mean over the chains at β, without control variates."""
        values = self._advance(state, "baseline.qmc.warmup", k)
        return {"energy": float(values["energy"].mean()), "half_beta_energy": float(values["half_beta_energy"].mean())}

    def measure(self, state: QMCState, k: int) -> Record:
        """``sweeps`` sweeps of all chains at β, and ``half_beta_sweeps`` of those at β/2.

        Returns:
            Means over the sweeps, float64 of shape (chains,): ``energy``, ``absolute_magnetisation`` and, where there
            are bonds, ``nearest_correlation``; of shape (chains, controls): ``controls``, whose exact mean is zero.
            The same with ``half_beta_`` before the name. ``beta``.
        """
        return {**self._advance(state, "baseline.qmc.measure", k), "beta": state.beta}

    def summarise(self, records: Sequence[Record]) -> Result:
        """Means over chains and bins, errors from the integrated autocorrelation time of the bins.

        Returns:
            Estimates ``energy`` (total, Pauli convention), ``absolute_magnetisation`` ⟨|Σ σz|⟩/N and, where there are
            bonds, ``nearest_correlation`` ⟨σz_i σz_j⟩, the mean over all nearest-neighbour pairs: the names of QuSpin;
            ``beta_doubling_shift``, E(β/2) - E(β). ``extra``: ``beta`` and Gelman and Rubin's ``r_hat`` of each. A note
            for each reason to distrust the errors.

        Raises:
            ValueError: fewer than two records.
        """
        series = {name: np.stack([r[name] for r in records], axis=1) for name in records[0] if name != "beta"}
        names = [name for name in ("energy", "absolute_magnetisation", "nearest_correlation") if name in series]
        improved = {name: with_control_variates(series[name], series["controls"]) for name in names}
        half = correlated_mean(with_control_variates(series["half_beta_energy"], series["half_beta_controls"]))
        estimates = [
            correlated_mean(values).estimate(name, "total" if name == "energy" else "1", "stochastic")
            for name, values in improved.items()
        ]
        shift = _shift(half.estimate("energy", "total"), estimates[0])
        r_hat: dict[str, float] = {name: gelman_rubin(values) for name, values in improved.items()}
        extra = {"beta": float(records[0]["beta"]), "r_hat": r_hat}
        return Result((*estimates, shift), notes=_notes(estimates, shift, r_hat), extra=extra)

    def _advance(self, state: QMCState, purpose: str, k: int) -> dict[str, NDArray[np.float64]]:
        """One unit: all replicas advance, each with its own random numbers, and their averages by name."""
        import torch

        count, model, beta = self.chains, state.model, state.beta
        seeds = rng.numpy_generator(self.seed, purpose, k).integers(0, 2**64, (2 * count, 4), dtype=np.uint64)
        plan = [(beta, self.sweeps)] * count + [(beta / 2, self.half_beta_sweeps)] * count

        def advance(r: int) -> tuple[Worldlines, dict[str, Any]]:
            return model.advance(state.replicas[r], seeds[r], *plan[r])

        # Kernels release the interpreter lock; the number of threads of the process is the one that torch was given.
        with ThreadPoolExecutor(min(torch.get_num_threads(), len(plan))) as pool:
            done = list(pool.map(advance, range(len(plan))))
        state.replicas = [lines for lines, _ in done]
        values = {name: np.array([means[name] for _, means in done[:count]]) for name in done[0][1]}
        for name in ("energy", "controls"):
            values[f"half_beta_{name}"] = np.array([means[name] for _, means in done[count:]])
        return values


def _shift(half: Estimate, full: Estimate) -> Estimate:
    """E(β/2) - E(β); its error is known if both are."""
    known = half.sigma is not None and full.sigma is not None
    sigma = float(np.hypot(half.sigma or 0.0, full.sigma or 0.0)) if known else None
    kind: SigmaKind = "standard-error" if known else "none"
    doubt, value = half.doubt or full.doubt, half.value - full.value
    return Estimate("beta_doubling_shift", value, sigma, kind, unit="total", n=half.n, doubt=doubt)


def _notes(estimates: Sequence[Estimate], shift: Estimate, r_hat: Mapping[str, float]) -> tuple[str, ...]:
    """What makes the errors untrustworthy: short series, chains that differ, a temperature that is felt."""
    notes = doubts(estimates)
    notes += [
        f"{name}: the chains differ (R-hat = {value:.3f}); warm-up or measurements are too short."
        for name, value in r_hat.items()
        if value > LARGEST_R_HAT
    ]
    if shift.sigma is not None and shift.value > 3 * shift.sigma:
        notes.append(
            f"QMC: E(β/2) - E(β) = {shift.value:.2g} is {shift.value / shift.sigma:.1f} standard errors from zero; "
            "raise baseline.qmc.beta_per_length if E(β) must be the ground state."
        )
    return tuple(notes)


def _model(system: SpinSystem) -> Model:
    model = model_of(system)
    if isinstance(model, str):
        raise ValueError(model)
    return model
