"""Composing the configuration: owns every message about keys and values, before anything heavy is imported.

Hydra stops at the first unknown key with a message of its own, so overrides are checked one by one here first: the
groups, then the keys, then the types, then what the typed nodes themselves check.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, Sweep
from hydra.errors import HydraException
from omegaconf import AnyNode, DictConfig, ListConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from pipeline.base.config.checks import under
from pipeline.base.config.messages import (
    TYPE_NAMES,
    exists,
    first_line,
    short,
    shown,
    siblings,
    suggestion,
    type_of,
)
from pipeline.base.errors import ConfigError, UserError, did_you_mean

CONF = Path(__file__).resolve().parents[3] / "conf"

MOST_VALUES = 10_000
"""Of one key in a sweep: range(1,1e12) is a slip, and would be checked for ever."""

MOST_RUNS = 10_000
"""Of one sweep: several long ranges multiply, and Hydra would list all combinations before the first one runs."""


@functools.cache
def groups() -> dict[str, list[str]]:
    """Config groups of ``conf/`` and their choices, e.g. ``{"system": ["chain_tfim", ...]}``."""
    found: dict[str, list[str]] = {}
    for path in sorted(CONF.rglob("*.yaml")):
        group = path.parent.relative_to(CONF).as_posix()
        if group != ".":
            found.setdefault(group, []).append(path.stem)
    return found


def compose_config(overrides: Sequence[str]) -> DictConfig:
    """Compose ``conf/config.yaml`` with ``overrides``; every value given, every type right.

    Raises:
        ConfigError: names the key, the value, what is allowed and what was probably meant.
    """
    parsed = [parse_override(text) for text in overrides]
    group_overrides = [o for o in parsed if _is_group(o)]
    value_overrides = [o for o in parsed if not _is_group(o)]
    for override in group_overrides:
        _check_choice(override)
    config = _compose(tuple(o.input_line or "" for o in group_overrides)).copy()
    for override in value_overrides:
        set_value(config, override)
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise ConfigError(missing[0], None, f"needs a value: {missing[0]}=...")
    return config


def typed(config: DictConfig) -> Any:
    """The typed object of a composed configuration.

    Its nodes check themselves as they are built, from the leaves up; each names its own fields, and here the path to
    the node comes in front.
    """
    return _built(config, "")


def _built(node: DictConfig | ListConfig, path: str) -> Any:
    names = list(node) if isinstance(node, DictConfig) else range(len(node))
    values: dict[Any, Any] = {}
    for name in names:
        below = f"{path}[{name}]" if isinstance(node, ListConfig) else f"{path}.{name}" if path else str(name)
        try:
            value = node[name]
        except MissingMandatoryValue as error:
            raise ConfigError(below, None, "needs a value") from error
        except OmegaConfBaseException as error:
            raise ConfigError(below, None, first_line(error)) from error
        values[name] = _built(value, below) if isinstance(value, DictConfig | ListConfig) else value
    if isinstance(node, ListConfig):
        return list(values.values())
    kind = node._metadata.object_type
    if not is_dataclass(kind):
        return values
    with under(path):
        return kind(**values)


def parse_override(text: str) -> Override:
    """Parse ``key=value``.

    Raises:
        ConfigError: not of that form, or an addition or deletion (every key already exists, none can go).
    """
    try:
        override = OverridesParser.create().parse_override(text)
    except HydraException as error:
        hint = "quote special characters inside the value: key='\"...\"'" if "=" in text else None
        raise ConfigError(short(text), None, "is not of the form key=value", hint) from error
    except (ValueError, OverflowError, RecursionError) as error:  # Python gives up on the digits or the brackets
        raise ConfigError(short(text), None, f"cannot be read: {first_line(error)}") from error
    if override.is_add() or override.is_delete():
        raise ConfigError(text, None, "keys can be set, not added or deleted: write key=value")
    return override


def check_sweep(overrides: Sequence[str]) -> None:
    """Check groups, keys and types of a multirun: each swept value by itself, against the rest as given.

    Raises:
        ConfigError: as :func:`compose_config`; every combination of swept groups is checked.
    """
    parsed = [parse_override(text) for text in overrides]
    for override in parsed:
        if isinstance(override.value(), Glob):
            raise ConfigError(override.get_key_element(), None, "name the choices of a sweep one by one, as in a,b,c")
    runs = math.prod(len(_single_values(o)) for o in parsed)
    if runs > MOST_RUNS:
        raise ConfigError("the sweep", None, f"stands for {runs} runs; at most {MOST_RUNS} at a time")
    choices = [_single_values(o) for o in parsed if _is_group(o)]
    values = [text for o in parsed if not _is_group(o) for text in _single_values(o)]
    for combination in itertools.product(*choices):
        config = compose_config(combination)
        for text in values:
            set_value(config.copy(), parse_override(text))


def _single_values(override: Override) -> list[str]:
    """``key=value`` for every value of an override, swept or not."""
    return _sweep_values(override) if override.is_sweep_override() else [override.input_line or ""]


def set_value(config: DictConfig, override: Override) -> None:
    """Set one value in a composed configuration.

    Raises:
        ConfigError: no such key, or a value of the wrong type.
    """
    _set(config, override.get_key_element(), override.value())


def _set(config: DictConfig, key: str, value: Any) -> None:
    """A dictionary for a group of keys is set key by key, so that every check holds inside it too."""
    if not exists(config, key):
        raise ConfigError(key, None, "no such key", suggestion(config, key))
    parent, _, name = key.rpartition(".")
    node = (OmegaConf.select(config, parent) if parent else config)._get_node(name)
    filled = _is_part(node) and (value is None or isinstance(node, AnyNode))
    if name == "name" or (filled and key.startswith("train.")):
        raise ConfigError(key, shown(value), "is chosen by its group", "as in ansatz=mlp, sampler=exhaustive")
    if "${" in str(value) or isinstance(value, Sweep):
        allowed = "several values are a sweep, which needs -m" if isinstance(value, Sweep) else "must be a plain value"
        raise ConfigError(key, None if isinstance(value, Sweep) else shown(value), allowed)
    if _too_large(value):
        raise ConfigError(key, short(shown(value)), "must fit 64 bits")
    kind: Any = node._metadata.element_type if isinstance(node, ListConfig) else None
    if is_dataclass(kind) and isinstance(value, list):
        value = [_item(f"{key}[{i}]", kind, content) for i, content in enumerate(value)]
    if isinstance(node, DictConfig) and node._metadata.object_type is dict:
        _set_free(config, key, value)
        return
    if isinstance(node, DictConfig) and isinstance(value, dict):
        if node._is_none():  # the dataclass that a null stands for, all its values still to be given
            OmegaConf.update(config, key, OmegaConf.structured(node._metadata.ref_type), merge=False)
        for inner, content in value.items():
            _set(config, f"{key}.{inner}", content)
        return
    if isinstance(node, DictConfig) and not (value is None and node._is_optional() and not _is_part(node)):
        raise ConfigError(key, shown(value), f"must be {TYPE_NAMES['DictConfig']}", siblings(config, key + "."))
    try:
        OmegaConf.update(config, key, value, merge=False)
    except OmegaConfBaseException as error:
        raise ConfigError(key, shown(value), f"must be {type_of(config, key)}") from error


def _set_free(config: DictConfig, key: str, value: Any) -> None:
    """A dictionary whose names are free and whose values have one type."""
    if not isinstance(value, dict):
        raise ConfigError(key, shown(value), f"must be {TYPE_NAMES['DictConfig']}: {{name: value, ...}}")
    for name, content in value.items():
        try:
            if _too_large(content):
                raise ConfigError(f"{key}.{name}", short(shown(content)), "must fit 64 bits")
            OmegaConf.update(config, f"{key}.{name}", content, force_add=True)
        except OmegaConfBaseException as error:
            raise ConfigError(f"{key}.{name}", shown(content), "must be an integer") from error


def _item(key: str, kind: Any, content: Any) -> DictConfig:
    """An element of a list of typed nodes, set key by key."""
    item: DictConfig = OmegaConf.structured(kind)
    if not isinstance(content, dict):
        raise ConfigError(key, shown(content), f"must be {TYPE_NAMES['DictConfig']}: {{name: value, ...}}")
    for name, value in content.items():
        try:
            _set(item, str(name), value)
        except ConfigError as error:
            raise ConfigError(f"{key}.{error.key}", error.value, error.allowed, error.hint) from error
    return item


def _is_part(node: Any) -> bool:
    """Whether a group fills this node with a type of its choice, or leaves it null."""
    return isinstance(node, AnyNode) or (isinstance(node, DictConfig) and node._metadata.ref_type is Any)


def _too_large(value: Any) -> bool:
    """Whether an integer, or one in a list, is beyond what arrays, seeds and floats hold."""
    if isinstance(value, list):
        return any(map(_too_large, value))
    return isinstance(value, int) and abs(value) >= 2**63


@contextmanager
def _hydra() -> Iterator[None]:
    """Hydra's compose API; inside a job of a sweep, Hydra's own state is put back afterwards."""
    current = GlobalHydra.instance()
    outer = current.hydra
    current.hydra = None
    try:
        with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
            yield
    finally:
        GlobalHydra.instance().hydra = outer


@functools.cache
def _compose(group_overrides: tuple[str, ...]) -> DictConfig:
    """Composition by groups alone; cached, since the cells of an artefact differ in values only."""
    try:
        with _hydra():
            return compose(config_name="config", overrides=list(group_overrides))
    except HydraException as error:
        key = re.search(r"full_key: (\S+)", f"{error}\n{error.__cause__}")
        if key:
            allowed = f"is set by the paper or its budget but does not exist with {' '.join(group_overrides)}"
            hint = "paper=none leaves every combination of parts open"
            raise ConfigError(key.group(1), None, allowed, hint) from error
        raise UserError(f"the configuration cannot be composed: {first_line(error)}") from error


def _is_group(override: Override) -> bool:
    return override.key_or_group in groups() or "/" in override.key_or_group or override.package is not None


def _check_choice(override: Override) -> None:
    name, value = override.key_or_group, override.value()
    choices = groups().get(name)
    if choices is None:
        raise ConfigError(name, None, "no such config group", did_you_mean(name, groups()))
    for text in _choice_texts(override, value):
        if text not in choices:
            hint = did_you_mean(text, choices)
            raise ConfigError(name, text, f"must be one of {', '.join(choices)}", hint)


def _choice_texts(override: Override, value: Any) -> list[str]:
    if override.is_sweep_override():
        return [text.split("=", 1)[1] for text in _sweep_values(override)]
    return [shown(value)]


def _sweep_values(override: Override) -> list[str]:
    key = override.get_key_element()
    try:
        texts = list(itertools.islice(override.sweep_string_iterator(), MOST_VALUES + 1))
    except (HydraException, ValueError, OverflowError) as error:
        raise ConfigError(key, None, f"cannot be swept like this: {first_line(error)}", "as in a,b,c") from error
    if len(texts) > MOST_VALUES:
        raise ConfigError(key, None, f"a sweep takes at most {MOST_VALUES} values of a key")
    return [f"{key}={text}" for text in texts]
