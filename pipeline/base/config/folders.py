"""Where configuration files lie: ``conf/``, and the personal folders that a command line adds (``--config-dir``)."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override, Quote, QuotedString
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from pipeline.base.errors import ConfigError, UserError
from pipeline.base.places import CONF as CONF

SEARCH = "hydra.searchpath"
"""Hydra's own key for further folders; what ``--config-dir`` stands for."""

EXPERIMENT = "experiment"
"""Group of the personal files that are added by ``+experiment=NAME``."""

RECIPE = "recipe"
"""Folder of the recipes; they are chosen by ``paper=`` and ``scale=`` and are no group of the command line."""


def search_override(folders: Sequence[str]) -> str:
    """The override that adds personal folders.

    Raises:
        ConfigError: no such folder.
    """
    for folder in folders:
        if not Path(folder).is_dir():
            raise ConfigError("--config-dir", folder, "no such folder")
    paths = (quoted(f"file://{Path(folder).resolve()}") for folder in folders)
    return f"{SEARCH}=[" + ",".join(paths) + "]"


def quoted(text: str) -> str:
    """``text`` as a value of an override, whatever quotes, backslashes and brackets are in it."""
    return QuotedString(text=text, quote=Quote.single).with_quotes()


def folders_of(overrides: Sequence[Override]) -> tuple[Path, ...]:
    """``conf/``, then the folders of the last ``hydra.searchpath=[...]``.

    Raises:
        ConfigError: no such folder.
    """
    given = [override.value() for override in overrides if override.key_or_group == SEARCH]
    if not given:
        return (CONF,)
    names = given[-1] if isinstance(given[-1], list) else [given[-1]]
    paths = [Path(str(name).removeprefix("file://")) for name in names]
    for path in paths:
        if not path.is_dir():
            raise ConfigError(SEARCH, path, "no such folder")
    return (CONF, *paths)


def groups(folders: Sequence[Path] = (CONF,)) -> dict[str, list[str]]:
    """Config groups and their choices, e.g. ``{"system": ["chain_tfim", ...]}``."""
    found = _groups_of_conf()
    for folder in folders:
        if folder != CONF:
            found = {**found}
            for group, choices in _groups_of(folder).items():
                found[group] = sorted({*found.get(group, []), *choices})
    return found


def experiments(folders: Sequence[Path]) -> dict[str, Path]:
    """Personal files that ``+experiment=`` can name."""
    found: dict[str, Path] = {}
    for folder in folders:
        for path in sorted((folder / EXPERIMENT).rglob("*.yaml")):
            found.setdefault(path.relative_to(folder / EXPERIMENT).with_suffix("").as_posix(), path)
    return found


def read(path: Path) -> dict[str, Any]:
    """A configuration file as plain data.

    Raises:
        UserError: it is not YAML, or has no keys.
    """
    try:
        content = OmegaConf.to_container(OmegaConf.load(path))
    except (YAMLError, UnicodeDecodeError, OmegaConfBaseException) as error:
        raise UserError(f"{path}: cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: must hold keys with values, key: value")
    return {str(key): value for key, value in content.items()}


@functools.cache
def default(key: str) -> Any:
    """A value of ``conf/config.yaml`` itself."""
    return read(CONF / "config.yaml")[key]


@functools.cache
def _groups_of_conf() -> dict[str, list[str]]:
    return _groups_of(CONF)


def _groups_of(folder: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in sorted(folder.rglob("*.yaml")):
        group = path.parent.relative_to(folder).as_posix()
        if group != "." and group.split("/")[0] not in (RECIPE, EXPERIMENT):
            found.setdefault(group, []).append(path.stem)
    return found
