"""Cuts: what a configuration changes from the paper's own, computed and not declared."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pipeline.base.config.nodes import RunConfig
from pipeline.base.errors import UserError
from pipeline.base.store.keys import plain
from pipeline.stages.choose import baseline_name

HASHED = ("system", "train", "infer", "baseline", "profile")


def differences(paper: RunConfig, here: RunConfig) -> tuple[str, ...]:
    """``key: paper → here`` for everything hashed that differs; parts that no stage of the run uses are left out."""
    sections = [s for s in HASHED if s == "system" or _used(s, here)]
    old, new = (_leaves({s: _explicit(run, s) for s in sections}) for run in (paper, here))
    keys = [k for k in {**old, **new} if old.get(k) != new.get(k) and not k.endswith((".name", "__version__"))]
    return tuple(f"{key}: {_at(paper, key, old)} → {_at(here, key, new)}" for key in keys)


def _at(run: RunConfig, key: str, hashed: dict[str, Any]) -> str:
    """The value of ``key``, which has one if it is not hashed for being neutral, too; a dash where there is no such."""
    if key in hashed:
        return _shown(hashed[key])
    section, part, *_ = key.split(".")
    if section == "baseline" and not any(k.startswith(f"{section}.{part}.") for k in hashed):
        return "–"  # of a baseline that is not the chosen one
    node: Any = run
    for name in key.split("."):
        if not hasattr(node, name):
            return "–"
        node = getattr(node, name)
    return _shown(plain(node))


def _explicit(run: RunConfig, section: str) -> Any:
    """A section as plain data: an inference without an ansatz of its own uses that of the training, and of all
    baselines only the chosen one matters."""
    node = plain(getattr(run, section))
    if section == "baseline":
        name = _chosen(run)
        return {name: node[name]} if name else {}
    if section == "infer" and "ansatz" in node and node["ansatz"] is None:
        node["ansatz"] = plain(run.train.ansatz)
    return node


def _chosen(run: RunConfig) -> str | None:
    """The baseline of a run; where none can treat the paper's system, the one that is named, if any."""
    try:
        return baseline_name(run)
    except UserError:
        use: str = run.baseline.use
        return None if use == "auto" else use


def _used(section: str, run: RunConfig) -> bool:
    return section in run.stages or (section == "train" and not {"infer", "profile"}.isdisjoint(run.stages))


def _leaves(node: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(node, dict):
        return {k: v for name, child in node.items() for k, v in _leaves(child, f"{prefix}{name}.").items()}
    return {prefix[:-1]: node}


def _shown(value: Any) -> str:
    return "not set" if value is None else str(_set(value)).replace(" ", "").replace("'", "")


def _set(value: Any) -> Any:
    """``value`` without what its nodes leave open, as most of the settings of a phase are."""
    if isinstance(value, dict):
        kept = {name: _set(child) for name, child in value.items() if child is not None and child != {}}
        return {name: child for name, child in kept.items() if name not in ("name", "__version__")}
    return [_set(child) for child in value] if isinstance(value, list | tuple) else value


def holding(deviations: Iterable[tuple[str, str]], cuts: Iterable[str]) -> list[str]:
    """Sentences, each with its key, of deviations whose key is among the cuts: an override may have taken one back.

    Args:
        deviations: key and sentence; a key may lead into a list, whose cut is that of the list.
    """
    changed = [cut.split(":")[0] for cut in cuts]

    def holds(key: str) -> bool:
        whole = key.partition("[")[0]
        return any(cut in (key, whole) or cut.startswith(f"{key}.") for cut in changed)

    return list(dict.fromkeys(f"{text} ({key})" for key, text in deviations if holds(key)))
