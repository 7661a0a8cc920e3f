"""Hydra's own settings on the command line of a sweep: what they may be, and where a sweep keeps its outcomes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import setup_globals
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from pipeline.base.config.compose import parse_override
from pipeline.base.config.messages import first_line
from pipeline.base.config.sweep import first_job, is_hydras, ours
from pipeline.base.errors import ConfigError


def sweep_folder(overrides: Sequence[str], name: str) -> Path:
    """Where a sweep called ``name`` keeps its outcomes, after a check of what is for Hydra alone.

    Raises:
        ConfigError: a key of Hydra's that does not exist, or that would lead a sweep out of its folder or into code
            that no group of Hydra's names.
    """
    parsed = [parse_override(text) for text in ours(overrides)]
    for override in parsed:
        if override.key_or_group == "results_dir" and override.is_sweep_override():
            raise ConfigError("results_dir", None, "cannot be swept")
    words = [text for text in overrides if is_hydras(text)]
    for text in words:
        _check_word(text)
    config = first_job(parsed, words)
    folder = Path(str(config.results_dir)) / "_hydra" / "sweep" / name
    _check_node(config, folder, OmegaConf.to_container(config.hydra, resolve=False))
    return folder


def _check_word(text: str) -> None:
    override = OverridesParser.create().parse_override(text)
    key = override.key_or_group
    if override.is_sweep_override():
        raise ConfigError(key, None, "cannot be swept: it is a setting of the sweep itself")
    if "_target_" in text:
        raise ConfigError(key, override.value(), "is chosen by its group", "as in hydra/launcher=joblib")
    if key == "hydra.sweep.dir":
        raise ConfigError(key, override.value(), "a sweep keeps its outcomes below results_dir", "set results_dir")


def _check_node(config: DictConfig, folder: Path, node: Any) -> None:
    """What words and personal files make of Hydra's own settings."""
    for part in ("launcher", "sweeper"):
        target = str((node[part] or {}).get("_target_"))
        if not target.startswith(("hydra_plugins.", "hydra._internal.core_plugins.")):
            raise ConfigError(f"hydra.{part}._target_", target, "is chosen by its group", f"as in hydra/{part}=basic")
    if not node["sweeper"]["_target_"].endswith(".BasicSweeper"):
        raise ConfigError("hydra/sweeper", None, "must be basic: every combination of the values given")
    if any("_target_" in found for found in _mappings(node["callbacks"])):
        raise ConfigError("hydra.callbacks", None, "must be empty: a sweep calls nothing but its runs")
    if node["job"]["chdir"]:
        raise ConfigError("hydra.job.chdir", "true", "must be false: folders are relative to where the command starts")
    subdir = _subdir(config)
    if not Path(os.path.abspath(folder / subdir)).is_relative_to(os.path.abspath(folder)):
        raise ConfigError("hydra.sweep.subdir", subdir, f"must lead to a folder below that of the sweep, {folder}")


def _subdir(config: DictConfig) -> str:
    """The folder of the first job, relative to that of the sweep."""
    state = HydraConfig.instance()
    outer, state.cfg = state.cfg, config
    try:
        setup_globals()
        with open_dict(config):
            config.hydra.job.num, config.hydra.job.id = 0, "0"
        return str(OmegaConf.select(config, "hydra.sweep.subdir"))
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError("hydra.sweep.subdir", None, first_line(error)) from error
    finally:
        state.cfg = outer


def _mappings(node: Any) -> Iterator[dict[Any, Any]]:
    if isinstance(node, dict):
        yield node
        for child in node.values():
            yield from _mappings(child)
