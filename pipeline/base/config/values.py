"""Setting single values in a composed configuration, with a message for each that cannot be."""

from __future__ import annotations

import contextlib
from dataclasses import is_dataclass
from typing import Any

from hydra.core.override_parser.types import Override, Sweep
from omegaconf import AnyNode, DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.base.config.messages import TYPE_NAMES, exists, short, shown, siblings, suggestion, type_of
from pipeline.base.errors import ConfigError

RECIPES_OWN = ("deviations", "uncut")
"""Keys in which a recipe speaks about itself."""


def set_value(config: DictConfig, override: Override) -> None:
    """Set one value in a composed configuration.

    Raises:
        ConfigError: no such key, or a value of the wrong type.
    """
    set_key(config, override.get_key_element(), override.value())


def set_key(config: DictConfig, key: str, value: Any) -> None:
    """Set a key to plain data; a dictionary for a group of keys key by key, so that every check holds inside it too.

    Raises:
        ConfigError: no such key, or a value of the wrong type.
    """
    if key in RECIPES_OWN:
        raise ConfigError(key, None, "belongs to the recipe, which paper=... and scale=... choose")
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
            set_key(config, f"{key}.{inner}", content)
        return
    if isinstance(node, DictConfig) and not (value is None and node._is_optional() and not _is_part(node)):
        raise ConfigError(key, shown(value), f"must be {TYPE_NAMES['DictConfig']}", siblings(config, key + "."))
    try:
        OmegaConf.update(config, key, value, merge=False)
    except OmegaConfBaseException as error:
        raise ConfigError(key, shown(value), f"must be {type_of(config, key)}") from error


def _set_free(config: DictConfig, key: str, value: Any) -> None:
    """A dictionary whose names are free and whose values are numbers."""
    if not isinstance(value, dict):
        raise ConfigError(key, shown(value), f"must be {TYPE_NAMES['DictConfig']}: {{name: value, ...}}")
    for name, content in value.items():
        try:
            if _too_large(content):
                raise ConfigError(f"{key}.{name}", short(shown(content)), "must fit 64 bits")
            OmegaConf.update(config, f"{key}.{name}", _number(content), force_add=True)
        except OmegaConfBaseException as error:
            raise ConfigError(f"{key}.{name}", shown(content), "must be a number") from error


def _number(content: Any) -> Any:
    """The number that a text spells, as for keys of one type; anything else as it is."""
    for kind in (int, float) if isinstance(content, str) else ():
        with contextlib.suppress(ValueError):
            return kind(content)
    return content


def _item(key: str, kind: Any, content: Any) -> DictConfig:
    """An element of a list of typed nodes, set key by key."""
    item: DictConfig = OmegaConf.structured(kind)
    if not isinstance(content, dict):
        raise ConfigError(key, shown(content), f"must be {TYPE_NAMES['DictConfig']}: {{name: value, ...}}")
    for name, value in content.items():
        try:
            set_key(item, str(name), value)
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
