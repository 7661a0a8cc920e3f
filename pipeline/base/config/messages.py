"""Words of the messages about keys and values."""

from __future__ import annotations

import re
from typing import Any

from omegaconf import DictConfig, OmegaConf

from pipeline.base.errors import did_you_mean

TYPE_NAMES = {
    "IntegerNode": "an integer",
    "FloatNode": "a number",
    "BooleanNode": "true or false",
    "StringNode": "text",
    "ListConfig": "a list such as [1,2]",
    "DictConfig": "a group of keys, which are set one by one",
}


def known_keys(config: DictConfig) -> list[str]:
    """Dotted names of all keys, leaves and nodes."""
    names: list[str] = []

    def walk(node: Any, prefix: str) -> None:
        for name in node:
            names.append(prefix + str(name))
            child = node._get_node(name)
            if isinstance(child, DictConfig) and not child._is_none() and not child._is_missing():
                walk(child, f"{prefix}{name}.")

    walk(config, "")
    return names


def exists(config: DictConfig, key: str) -> bool:
    node: Any = config
    for part in key.split("."):
        if not isinstance(node, DictConfig) or node._is_none() or node._is_missing() or part not in node.keys():  # noqa: SIM118
            return False
        node = node._get_node(part)
    return True


def suggestion(config: DictConfig, key: str) -> str:
    """The closest key; among the neighbours where the path is right, for a long path resembles everything below it."""
    parent, _, name = key.rpartition(".")
    if parent and exists(config, parent):
        node = OmegaConf.select(config, parent)
        names = [str(k) for k in node] if isinstance(node, DictConfig) else []
        close = did_you_mean(name, names)
        return close.replace("'", f"'{parent}.", 1) if close else siblings(config, key)
    return did_you_mean(key, known_keys(config)) or siblings(config, key)


def siblings(config: DictConfig, key: str) -> str:
    """Keys next to the one that does not exist, for a hint."""
    parent = key.rpartition(".")[0]
    while parent and not exists(config, parent):
        parent = parent.rpartition(".")[0]
    node = OmegaConf.select(config, parent) if parent else config
    if not isinstance(node, DictConfig):
        return f"{parent} is null; set it as a whole: {parent}={{name: value, ...}}"
    return f"{parent or 'the top level'} has {', '.join(str(k) for k in node)}"


def type_of(config: DictConfig, key: str) -> str:
    parent, _, name = key.rpartition(".")
    holder = OmegaConf.select(config, parent) if parent else config
    node = holder._get_node(name)
    text = TYPE_NAMES.get(type(node).__name__, type(node).__name__)
    return f"{text} or null" if node is not None and node._is_optional() else text


def invalid(text: str) -> tuple[str, str] | None:
    """Value and what is allowed, from OmegaConf's words about a value of the wrong type; None for other words."""
    found = re.search(r"Value '(.*?)'(?: of type '\w+')? could not be converted to (\w+)", text)
    if found:
        return found[1], f"must be {TYPE_NAMES.get(f'{found[2]}Node', found[2])}"
    if "ValidationError" not in text:
        return None
    lines = text.strip().splitlines()
    return "", f"cannot have this value: {lines[1 if len(lines) > 1 else 0]}"


def shown(value: Any) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def short(text: str) -> str:
    """A word of the command line as a message repeats it."""
    return text if len(text) <= 120 else f"{text[:100]}... ({len(text)} characters)"


def first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
