"""Choice of a reference: the one that is named, or the cheapest of the most exact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.base.config.nodes import RunConfig
from pipeline.base.contracts import EXACTNESS_ORDER, Baseline
from pipeline.base.errors import ConfigError, UserError
from pipeline.base.store.keys import digest


def states_of(run: RunConfig) -> int:
    """Number of states that the training is for."""
    return int(getattr(run.train.ansatz, "states", 1))


def magnetisation_of(run: RunConfig) -> int | None:
    """Σ σz that a training of several states is confined to; None: it is not, or has one state."""
    said = getattr(run.train.method, "magnetisation_of", None)
    found: int | None = said(run) if said and states_of(run) > 1 else None
    return found


def projection_of(run: RunConfig) -> list[str]:
    """Symmetries that a training of several states is projected on in the end; none: it is not, or has one state."""
    said = getattr(run.train.method, "projection_of", None)
    found: list[str] = said(run) if said and states_of(run) > 1 else []
    return found


def unfit(baseline: Baseline, system: Any, states: int = 1, magnetisation: int | None = None) -> str | None:
    """Why ``baseline`` cannot give as many states of ``system`` as a training has, with its Σ σz; None: it can."""
    if states > 1 and not hasattr(baseline, "states"):
        return f"gives the lowest state alone, train.ansatz.states={states} asks for more"
    if magnetisation is not None and not hasattr(baseline, "magnetisation"):
        return f"counts the states of every Σ σz, and the training is confined to Σ σz = {magnetisation}"
    return baseline.supports(system)


def choose(candidates: Mapping[str, Baseline], system: Any, states: int = 1, magnetisation: int | None = None) -> str:
    """Name of the cheapest of the most exact baselines that support ``system``; ties go to the first listed.

    Of several ``states`` only those that have a number of states can, and of those with one ``magnetisation`` only
    those that can be kept to it.

    Raises:
        UserError: none supports the system; the message has every baseline's reason on a line of its own.
    """
    reasons = {name: unfit(baseline, system, states, magnetisation) for name, baseline in candidates.items()}
    usable = [name for name, reason in reasons.items() if reason is None]
    if not usable:
        lines = [f"  {name}: {reason}" for name, reason in reasons.items()]
        raise UserError("\n".join([f"no baseline supports this {type(system).__name__}:", *lines]))

    def rank(name: str) -> tuple[int, float]:
        return EXACTNESS_ORDER.index(candidates[name].exactness), candidates[name].cost(system).seconds

    return min(usable, key=rank)


_chosen: dict[str, str] = {}
"""What was chosen, by digest of system and settings: the cells of an artefact ask again and again."""


def baseline_name(run: RunConfig) -> str | None:
    """The baseline that ``baseline.use`` stands for on this system; None for ``none``.

    Raises:
        ConfigError: the named baseline cannot treat the system, the message says what could; or any baseline, of
            several states that are projected on a symmetry: those of the references have all of them.
        UserError: ``auto`` finds none.
    """
    config = run.baseline
    if config.use == "none":
        return None
    if projection := projection_of(run):
        allowed = f"counts the states of every symmetry, and the training of {states_of(run)} states is projected on "
        raise ConfigError("baseline.use", config.use, f"{allowed}{', '.join(projection)}; use baseline=none")
    states, magnetisation = states_of(run), magnetisation_of(run)
    if config.use == "auto":
        of = {"states": states, "magnetisation": magnetisation}
        asked = digest({"kind": type(run.system).__name__, "system": run.system, "baseline": config, **of})
        if asked not in _chosen:
            _chosen[asked] = choose(config.candidates(), run.system, states, magnetisation)
        return _chosen[asked]
    reason = unfit(config.candidates()[config.use], run.system, states, magnetisation)
    if reason is not None:
        raise ConfigError("baseline.use", config.use, reason)
    name: str = config.use
    return name
