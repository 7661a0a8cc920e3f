"""Parts that a configuration picks by name: the node of a part says where its implementation is (torch-free)."""

from __future__ import annotations

import importlib
from typing import Any


def load(name: str) -> Any:
    """What ``module:Class`` names, imported only now."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def implementation(node: Any) -> Any:
    """The class that implements a part, imported only now.

    Args:
        node: a configuration dataclass with ``implementation = "module:Class"``, a class attribute: keys of results
            hold the part's ``name`` and ``version``, never where its code lives, so that files may move.
    """
    return load(type(node).implementation)
