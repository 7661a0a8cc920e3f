"""What a phase that learns from configurations of the ground state needs, and what it costs (torch-free)."""

from __future__ import annotations

from dataclasses import replace

from pipeline.base.config import checks
from pipeline.base.config.nodes import RunConfig, TrainConfig
from pipeline.base.config.phases import SRConfig
from pipeline.base.contracts import Cost
from pipeline.base.errors import ConfigError
from pipeline.spin.exact.unfrustrated import model_of
from pipeline.spin.lattice import sublattices
from pipeline.spin.symmetry.groups import check_names, check_symmetries
from pipeline.spin.symmetry.stoquastic import is_stoquastic
from pipeline.spin.systems import SpinSystem
from pipeline.spin.terms import pauli_terms


def check_likelihoods(run: RunConfig) -> None:
    """Raise ConfigError where a phase cannot learn from configurations of the ground state."""
    names, optimizer = run.train.ansatz.projection, run.train.optimizer
    for number, phase in enumerate(run.train.phases):
        names = names if phase.projection is None else phase.projection
        optimizer = phase.optimizer or optimizer
        if phase.likelihood is None:
            continue
        with checks.under(f"train.phases[{number}]"):
            system = replace(run.system, **phase.system)
            _check_system(system, run.train.method.sign_rule)
            _check_state(run.train, system, names)
            if isinstance(optimizer, SRConfig):
                allowed = "stochastic reconfiguration takes energies; give the phase its own adam"
                raise ConfigError("likelihood", None, allowed)
            with checks.under("likelihood"):
                check_names(phase.likelihood.symmetries)
                check_symmetries(system, phase.likelihood.symmetries, "symmetries")


def _check_system(system: SpinSystem, sign_rule: str) -> None:
    """Raise ConfigError where nothing is drawn, or what is drawn does not determine the state."""
    model = model_of(system)
    if isinstance(model, str):
        raise ConfigError("likelihood", None, f"quantum Monte Carlo draws no configurations: {model}")
    if sign_rule == "none" and not is_stoquastic(pauli_terms(system)):
        allowed = "configurations say nothing of the signs of this state; use train.method.sign_rule=stoquastic"
        raise ConfigError("likelihood", None, allowed)


def _check_state(train: TrainConfig, system: SpinSystem, names: list[str]) -> None:
    """Raise ConfigError for a state whose |ψ|² is not normalised, or vanishes on what is drawn."""
    ansatz, sampler = train.ansatz, train.sampler
    if not ansatz.direct or ansatz.states > 1 or names:
        what = f"projected on {', '.join(names)}" if names else f"ansatz={ansatz.name}, states={ansatz.states}"
        raise ConfigError("likelihood", None, f"needs one normalised state, as ansatz=pixelcnn is, not {what}")
    if not sampler.draws:
        raise ConfigError("likelihood", None, f"sampler={sampler.name} has no batches; use sampler=direct")
    sector = getattr(ansatz, "magnetisation", None)
    signs = sublattices(system.size, system.nearest_bonds())
    # Lieb and Mattis: the total spin of the ground state is half the difference of the sublattices
    most = 0 if signs is None else abs(sum(signs))
    if sector is not None and abs(sector) > most:
        allowed = f"train.ansatz.magnetisation={sector}: all configurations of the ground state have |Σ σz| <= {most}"
        raise ConfigError("likelihood", None, allowed)


def cost_of_chains(run: RunConfig) -> Cost:
    """Of an update of the phase with the most expensive chain: its share of the sweeps, and the configurations."""
    found, samples = [Cost(0.0, 0.0)], float(getattr(run.train.sampler, "samples", 1))
    for phase in run.train.phases:
        samples = float(phase.samples or samples)
        model = model_of(replace(run.system, **phase.system)) if phase.likelihood else ""
        if phase.likelihood is None or isinstance(model, str):
            continue
        beta, count = model.beta(phase.likelihood.beta_per_length), phase.likelihood.updates * samples
        sweeps = phase.likelihood.warmup + count / phase.likelihood.times
        # configurations as they are drawn and shuffled, and which symmetry each is transformed by
        held = count * (2.0 * model.size + 8.0) + 60.0 * model.operators(beta)
        found.append(Cost(sweeps * model.seconds(beta) / phase.likelihood.updates, held))
    return Cost(max(cost.seconds for cost in found), max(cost.bytes for cost in found))
