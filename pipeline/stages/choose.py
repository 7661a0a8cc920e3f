"""Choice of a reference: the one that is named, or the cheapest of the most exact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.base.config.nodes import RunConfig
from pipeline.base.contracts import EXACTNESS_ORDER, Baseline
from pipeline.base.errors import ConfigError, UserError
from pipeline.base.store.keys import digest


def choose(candidates: Mapping[str, Baseline], system: Any) -> str:
    """Name of the cheapest of the most exact baselines that support ``system``; ties go to the first listed.

    Raises:
        UserError: none supports the system; the message has every baseline's reason on a line of its own.
    """
    reasons = {name: baseline.supports(system) for name, baseline in candidates.items()}
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
        ConfigError: the named baseline cannot treat the system; the message says what could.
        UserError: ``auto`` finds none.
    """
    config = run.baseline
    if config.use == "none":
        return None
    if config.use == "auto":
        asked = digest({"kind": type(run.system).__name__, "system": run.system, "baseline": config})
        if asked not in _chosen:
            _chosen[asked] = choose(config.candidates(), run.system)
        return _chosen[asked]
    reason = config.candidates()[config.use].supports(run.system)
    if reason is not None:
        raise ConfigError("baseline.use", config.use, reason)
    name: str = config.use
    return name
