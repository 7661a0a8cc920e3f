"""Sweeps: every value checked before the first run, and papers and scales put into words that Hydra knows."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.base.config.compose import (
    PAPER,
    SCALE,
    Line,
    compose_config,
    hydra_compose,
    parse_override,
    read_line,
    selects,
    sweep_values,
)
from pipeline.base.config.folders import EXPERIMENT, SEARCH, folders_of
from pipeline.base.config.messages import exists, shown, suggestion, type_of
from pipeline.base.config.recipes import register, words_of
from pipeline.base.config.values import set_value
from pipeline.base.errors import ConfigError, UserError

MOST_RUNS = 10_000
"""Of one sweep: several long ranges multiply, and Hydra would list all combinations before the first one runs."""


def ours(overrides: Sequence[str]) -> list[str]:
    """Overrides without those that are for Hydra alone."""
    return [o for o in overrides if not is_hydras(o)]


def is_hydras(override: str) -> bool:
    return override.lstrip("+~").startswith(("hydra.", "hydra/")) and not override.startswith(SEARCH)


def check_sweep(overrides: Sequence[str]) -> None:
    """Check groups, keys and types of a multirun: each swept value by itself, against the rest as given.

    Raises:
        ConfigError: as :func:`compose_config`; every combination of swept groups is checked.
    """
    parsed = [parse_override(text) for text in overrides]
    for override in parsed:
        if isinstance(override.value(), Glob):
            raise ConfigError(override.get_key_element(), None, "name the choices of a sweep one by one, as in a,b,c")
    runs = math.prod(len(single_values(o)) for o in parsed)
    if runs > MOST_RUNS:
        raise ConfigError("the sweep", None, f"stands for {runs} runs; at most {MOST_RUNS} at a time")
    folders = folders_of(parsed)
    choices = [single_values(o) for o in parsed if selects(o, folders)]
    values = [text for o in parsed if not selects(o, folders) for text in single_values(o)]
    for combination in itertools.product(*choices):
        config = compose_config(combination)
        for text in values:
            set_value(config.copy(), parse_override(text))


def with_parameters(overrides: Sequence[str]) -> list[str]:
    """``overrides`` with what personal files sweep by ``hydra.sweeper.params``; what is typed wins over it.

    Raises:
        ConfigError, UserError: as :func:`compose_config`, for what the files set.
    """
    parsed = [parse_override(text) for text in ours(overrides)]
    if not any(o.key_or_group == EXPERIMENT for o in parsed):
        return list(overrides)
    folders = folders_of(parsed)
    found = first_job([o for o in parsed if selects(o, folders)], ()).hydra.sweeper.get("params") or {}
    typed = {o.get_key_element() for o in parsed}
    swept = [f"{key}={value}" for key, value in found.items() if key not in typed]
    return [*swept, *overrides, "hydra.sweeper.params=null"]


def for_hydra(overrides: Sequence[str]) -> list[str]:
    """``overrides`` with ``paper`` and ``scale`` as one choice of a group, every pair of a sweep.

    Raises:
        ConfigError: personal files that are swept over name different recipes.
    """
    parsed = [parse_override(text) for text in ours(overrides)]
    chosen = [o for o in parsed if o.key_or_group in (PAPER, SCALE)]
    files = [o for o in parsed if o.key_or_group in (EXPERIMENT, SEARCH)]
    found = {
        tuple(read_line([*words, *pair]).recipe for pair in itertools.product(*map(single_values, chosen)))
        for words in itertools.product(*map(single_values, files))
    }
    if len(found) > 1:
        raise ConfigError(f"+{EXPERIMENT}", None, "files of one sweep must name the same paper and scale, or none")
    recipes = found.pop()
    kept = [o for o in overrides if not o.startswith((f"{PAPER}=", f"{SCALE}="))]
    return [register(recipes), *kept] if any(recipes) else kept


def jobs(overrides: Sequence[str]) -> list[list[str]]:
    """Overrides of each job, as typed, in the order in which Hydra numbers them.

    Args:
        overrides: what :func:`for_hydra` returned.
    """
    values: dict[str, list[str]] = {}
    for text in ours(overrides):
        override = OverridesParser.create().parse_override(text)
        prefix = "+" if override.is_add() else ""
        values[override.get_key_element()] = [f"{prefix}{v.removeprefix('+')}" for v in single_values(override)]
    return [[word for given in job for word in words_of(given)] for job in itertools.product(*values.values())]


def first_job(parsed: Sequence[Override], words: Sequence[str]) -> DictConfig:
    """Hydra's own composition of the first job of a sweep, with ``words`` for Hydra."""
    line = read_line([single_values(o)[0] for o in parsed])
    values = [o.input_line or "" for o in line.values]
    try:
        return hydra_compose((*line.words, *values, *words), line.folders, True)
    except ConfigError:
        raise
    except UserError as error:
        raise _blamed(words, line, error) from error


def _blamed(words: Sequence[str], line: Line, error: UserError) -> UserError:
    """The first of Hydra's own keys that cannot be set, one by one on what its groups compose."""
    chosen = [word for word in words if "/" in word.partition("=")[0]]
    known = hydra_compose((*line.words, *chosen), line.folders, True)
    for text in words:
        override = OverridesParser.create().parse_override(text)
        key = override.key_or_group
        if text in chosen or override.is_add():
            continue
        if not exists(known, key):
            return ConfigError(key, None, "no such key", suggestion(known, key))
        try:
            OmegaConf.update(known, key, override.value(), merge=False)
        except OmegaConfBaseException:
            return ConfigError(key, shown(override.value()), f"must be {type_of(known, key)}")
    return error


def single_values(override: Override) -> list[str]:
    """``key=value`` for every value of an override, swept or not."""
    return sweep_values(override) if override.is_sweep_override() else [override.input_line or ""]
