"""Addresses of results: a key is a digest of exactly what the result depends on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, is_dataclass
from typing import Any


def plain(node: Any) -> Any:
    """A JSON-serialisable copy of typed configuration, with the version of each component inside it.

    A component's ``version`` is a class attribute: bumping it changes the keys of its users and of nobody else.
    ``neutral``, another one, holds the values at which fields that came later leave the component what it was: they
    are left out, so that keys change only for those who use them.
    """
    if is_dataclass(node) and not isinstance(node, type):
        neutral: dict[str, Any] = getattr(type(node), "neutral", {})
        values = {
            field.name: plain(getattr(node, field.name))
            for field in fields(node)
            if field.name not in neutral or getattr(node, field.name) != neutral[field.name]
        }
        version = getattr(type(node), "version", None)
        return values if version is None else {**values, "__version__": version}
    if isinstance(node, dict):
        return {str(k): plain(v) for k, v in node.items()}
    if isinstance(node, list | tuple):
        return [plain(v) for v in node]
    return node


def digest(nodes: dict[str, Any]) -> str:
    """First 16 hex digits of the sha256 of the canonical JSON of ``nodes``."""
    text = json.dumps(plain(nodes), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
