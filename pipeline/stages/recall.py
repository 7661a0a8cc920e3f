"""A run again from what an entry of the store says of it: the overrides that ask for it, and its configuration.

A key hashes nodes, not what was typed; these nodes are turned back into overrides on what the groups compose. That the
overrides have the same key is the proof.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from pipeline.base.config.compose import compose_config
from pipeline.base.config.folders import quoted, search_override
from pipeline.base.config.nodes import RunConfig
from pipeline.base.errors import UserError
from pipeline.base.store.entry import Entry
from pipeline.stages.compose import compose_run
from pipeline.stages.keys import Keys

VERSION = "__version__"

_CHOSEN = ("name", "kind")
"""What the choice of a group says already."""

_ABSENT = object()

_own: list[str] = []
"""Personal folders in which parts of this process's own are configured."""


def look_in(folder: Path) -> None:
    """Take what is configured in a personal folder into account, and anew where it has changed."""
    if str(folder) not in _own:
        _own.append(str(folder))
    _composed.cache_clear()


def with_own(overrides: Sequence[str]) -> list[str]:
    """Overrides that see the personal folders of this process."""
    return [*([search_override(_own)] if _own else []), *overrides]


def overrides_of(train: Mapping[str, Any], steps: int, infer: Mapping[str, Any] | None = None) -> list[str]:
    """The overrides that ask for a training, and for an inference from it.

    Args:
        train: what the key of the training hashes, as its entry holds it.
        steps: of the training.
        infer: the node ``infer`` of what the key of the inference hashes; None: as the method has it.

    Raises:
        UserError: it names parts that there are no more.
    """
    words = _choices(train, infer)
    config = _composed(tuple(words))
    found = [*_differing(config.system, train["system"], "system"), *_differing(config.train, train["train"], "train")]
    if steps != config.train.steps:
        found.append(f"train.steps={steps}")
    if infer is not None:
        found += _differing(config.infer, infer, "infer")
    return [*words, *found]


def recalled(train: Entry, step: int, infer: Mapping[str, Any] | None = None) -> RunConfig:
    """The configuration of a training that is there, of its first ``step`` updates, with an inference from it.

    Raises:
        UserError: it was computed by other versions of its parts, or with parts of somebody's own.
    """
    nodes = train.status["nodes"]
    try:
        run = compose_run(with_own([*overrides_of(nodes, step, infer), "stages=[train,infer]"]))
    except UserError as error:
        raise UserError(f"{train.name} cannot be asked: {error}") from error
    if Keys(run, ranks=1).train != train.path.name:
        outdated = list(dict.fromkeys(_outdated(run.train, nodes["train"]) or _outdated(run.system, nodes["system"])))
        reason = (
            f"it is of another version of {', '.join(outdated)}" if outdated else "its settings are of another kind"
        )
        raise UserError(f"{train.name} cannot be asked: {reason}; the same command computes it anew")
    return run


def _choices(train: Mapping[str, Any], infer: Mapping[str, Any] | None) -> list[str]:
    """Choices of groups, without those that the method makes itself."""
    parts = train["train"]
    words = [f"method={parts['method']['name']}", f"system={train['system']['kind']}"]
    base = _composed(tuple(words)).train
    for group in ("ansatz", "sampler", "optimizer"):
        name, usual = ((node or {}).get("name", "none") for node in (parts.get(group), base.get(group)))
        if name != usual:
            words.append(f"{group}={name}")
    if infer is not None and isinstance(infer.get("sampler"), Mapping):
        words.append(f"infer_sampler={infer['sampler']['name']}")
    return words


@functools.cache
def _composed(words: tuple[str, ...]) -> DictConfig:
    return compose_config(with_own(words))


def _differing(node: DictConfig, wanted: Mapping[str, Any], path: str) -> Iterator[str]:
    """Overrides for what is not as wanted; what is neutral is not hashed, and what no key hashes stays as it is."""
    neutral: Mapping[str, Any] = getattr(OmegaConf.get_type(node), "neutral", {})
    for name in map(str, node):
        value = wanted.get(name, neutral.get(name, _ABSENT))
        if name in _CHOSEN or value is _ABSENT:
            continue
        child = node._get_node(name)
        if isinstance(child, DictConfig) and not child._is_none() and isinstance(value, Mapping):
            yield from _differing(child, value, f"{path}.{name}")
        elif _plain(child) != value:
            yield f"{path}.{name}={written(value)}"


def _plain(node: Any) -> Any:
    return OmegaConf.to_container(node) if isinstance(node, DictConfig | ListConfig) else node._value()


def written(value: Any, inner: bool = False) -> str:
    """A value in the grammar of overrides; of what is ``inner`` to another, nothing is left open."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "null"
    if isinstance(value, str):
        return (
            value
            if re.fullmatch(r"[A-Za-z_][\w/-]*", value) and value not in ("null", "true", "false")
            else quoted(value)
        )
    if isinstance(value, list | tuple):
        return f"[{','.join(map(written, value))}]"
    if isinstance(value, Mapping):
        named = {k: v for k, v in value.items() if k not in (*_CHOSEN, VERSION)}
        kept = named if inner else {k: v for k, v in named.items() if v is not None and v != {}}
        return "{" + ",".join(f"{k}:{written(v, inner=True)}" for k, v in kept.items()) + "}"
    return repr(value)


def _outdated(node: Any, then: Any) -> Iterator[str]:
    """Parts whose version is not that of today."""
    if not isinstance(then, Mapping):
        return
    version = getattr(type(node), "version", None)
    if VERSION in then and then[VERSION] != version:
        yield str(then.get("name", then.get("kind")))
    for name, inner in then.items():
        if hasattr(node, name):
            yield from _outdated(getattr(node, name), inner)
