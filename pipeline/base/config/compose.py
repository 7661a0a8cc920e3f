"""Composing the configuration: owns every message about keys and values, before anything heavy is imported.

Hydra stops at the first unknown key with a message of its own, so overrides are checked one by one here first: the
groups, then the keys, then the types, then what the typed nodes themselves check.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import pickle
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any, cast

import hydra
from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.defaults_list import create_defaults_list
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf, ValueNode, version
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from yaml import YAMLError

from pipeline.base import cache
from pipeline.base.config.checks import under
from pipeline.base.config.folders import CONF, EXPERIMENT, SEARCH, default, experiments, folders_of, groups, read
from pipeline.base.config.messages import first_line, invalid, short, shown
from pipeline.base.config.recipes import NONE, Recipe, find_recipe, register, words_of
from pipeline.base.config.values import set_key, set_value
from pipeline.base.errors import ConfigError, UserError, did_you_mean
from pipeline.base.places import ROOT

PAPER, SCALE = "paper", "scale"

MOST_VALUES = 10_000
"""Of one key in a sweep: range(1,1e12) is a slip, and would be checked for ever."""


def compose_config(overrides: Sequence[str]) -> DictConfig:
    """Compose ``conf/config.yaml`` with ``overrides``; every type right (:func:`typed` sees what has no value).

    Raises:
        ConfigError: names the key, the value, what is allowed and what was probably meant.
    """
    line = read_line(overrides)
    alone = line.folders == (CONF,)
    config: DictConfig = pickle.loads(_compose(line.words)) if alone else hydra_compose(line.words, line.folders, False)
    config.paper, config.scale = (line.recipe.paper, line.recipe.scale) if line.recipe else (NONE, None)
    for override in line.values:
        set_value(config, override)
    return config


def typed(config: DictConfig, checked: bool = True) -> Any:
    """The typed object of a composed configuration.

    Its nodes check themselves as they are built, from the leaves up; each names its own fields, and here the path to
    the node comes in front.

    Args:
        checked: False: values are as they are, for a comparison; nothing can be run with them.
    """
    return _built(config, "", checked)


def _built(node: DictConfig | ListConfig, path: str, checked: bool) -> Any:
    names = list(node) if isinstance(node, DictConfig) else range(len(node))
    values: dict[Any, Any] = {}
    for name in names:
        below = f"{path}[{name}]" if isinstance(node, ListConfig) else f"{path}.{name}" if path else str(name)
        try:
            value = _plain(node._get_node(name))
            if value is _OTHER:
                value = node[name]
        except MissingMandatoryValue as error:
            raise ConfigError(below, None, f"needs a value: {below}=...") from error
        except OmegaConfBaseException as error:
            raise ConfigError(below, None, first_line(error)) from error
        values[name] = _built(value, below, checked) if isinstance(value, DictConfig | ListConfig) else value
    if isinstance(node, ListConfig):
        return list(values.values())
    kind = node._metadata.object_type
    if not is_dataclass(kind):
        return values
    if not checked:
        made = object.__new__(kind)
        vars(made).update(values)
        return made
    with under(path):
        return kind(**values)


_OTHER = object()


def _plain(node: Any) -> Any:
    """What a node holds, where that needs no looking up: neither an interpolation, nor missing, nor nothing at all."""
    if isinstance(node, DictConfig | ListConfig):
        return node if isinstance(node._content, dict | list) else _OTHER
    value = node._val if isinstance(node, ValueNode) else None
    return _OTHER if value is None or (isinstance(value, str) and ("${" in value or value == "???")) else value


@functools.lru_cache(maxsize=10_000)
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
    if override.is_delete() or (override.is_add() and override.key_or_group != EXPERIMENT):
        raise ConfigError(text, None, "keys can be set, not added or deleted: write key=value")
    return override


@contextmanager
def _hydra(words: tuple[str, ...], folders: tuple[Path, ...]) -> Iterator[None]:
    """Hydra's compose API, with our messages; inside a job of a sweep, Hydra's own state is put back afterwards."""
    current = GlobalHydra.instance()
    outer = current.hydra
    current.hydra = None
    try:
        with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
            yield
    except YAMLError as error:
        raise UserError(f"a configuration file cannot be read: {' '.join(str(error).split())}") from error
    except HydraException as error:
        raise _blamed(str(error), words, folders) from error
    except OmegaConfBaseException as error:
        raise UserError(f"the configuration cannot be composed: {first_line(error)}") from error
    finally:
        GlobalHydra.instance().hydra = outer


@dataclass(frozen=True)
class Line:
    """A command line, sorted.

    Attributes:
        words: what Hydra composes: folders, groups, recipe, personal files, in this order.
        values: what is set afterwards, key by key.
    """

    folders: tuple[Path, ...]
    words: tuple[str, ...]
    recipe: Recipe | None
    values: tuple[Override, ...]


def read_line(overrides: Sequence[str]) -> Line:
    """Groups, recipe and personal files of a command line, checked; each of the latter as the last word says."""
    parsed = [parse_override(text) for text in overrides]
    folders = folders_of(parsed)
    chosen = [o for o in parsed if is_group(o, folders)]
    for override in chosen:
        _check_choice(override, groups(folders))
    personal = [o for o in parsed if o.key_or_group == EXPERIMENT]
    files = [path for override in personal for path in _experiments(override, folders)]
    recipe = _recipe(parsed, files, folders)
    search = [o.input_line or "" for o in parsed if o.key_or_group == SEARCH]
    words = (*search, *(o.input_line or "" for o in chosen), *([register([recipe])] if recipe else []))
    words += tuple(o.input_line or "" for o in personal)
    return Line(folders, words, recipe, tuple(o for o in parsed if not selects(o, folders)))


def _experiments(override: Override, folders: tuple[Path, ...]) -> list[Path]:
    """Files that ``+experiment=`` names."""
    known = experiments(folders)
    if not override.is_add():
        raise ConfigError(EXPERIMENT, None, "a personal file is added to the configuration: +experiment=NAME")
    value = _one(override)
    names = [shown(name) for name in (value if isinstance(value, list) else [value])]
    have = f"must be one of {', '.join(known)}" if known else "needs --config-dir DIR with DIR/experiment/*.yaml"
    for name in names:
        if name not in known:
            raise ConfigError(f"+{EXPERIMENT}", name, have, did_you_mean(name, known))
    return [known[name] for name in names]


def _recipe(parsed: Sequence[Override], files: Sequence[Path], folders: tuple[Path, ...]) -> Recipe | None:
    """What ``paper`` and ``scale`` ask for, typed or in a personal file.

    Raises:
        ConfigError: no such recipe, a scale without a recipe or one that the recipe does not have.
    """
    asked: dict[str, Any] = {}
    for path in files:
        asked |= {key: value for key, value in read(path).items() if key in (PAPER, SCALE)}
    asked |= {o.key_or_group: _one(o) for o in parsed if o.key_or_group in (PAPER, SCALE) and o.package is None}
    if shown(asked.get(PAPER, NONE)) != NONE:
        return find_recipe(shown(asked[PAPER]), shown(asked.get(SCALE, default(SCALE))), folders)
    if SCALE in asked:
        raise ConfigError(SCALE, shown(asked[SCALE]), "says how much of a paper's recipe is run: it needs paper=...")
    return None


def _one(override: Override) -> Any:
    """The value of something that is chosen once."""
    if override.is_sweep_override():
        sweep_values(override)
        raise ConfigError(override.get_key_element(), None, "several values are a sweep, which needs -m")
    return override.value()


@functools.cache
def _compose(words: tuple[str, ...]) -> bytes:
    """Composition of ``conf/`` without values; cached, since the cells of an artefact differ in values only.

    Pickled, since a copy of nodes takes five times longer; and kept on disk, since most commands compose what another
    one has composed before, in as much time as all their other imports take.
    """
    kept = _kept_compositions()
    path = kept / hashlib.sha256("\0".join(words).encode()).hexdigest()[:32] if kept else None
    content = cache.read(path) if path else None
    if content is None:
        content = pickle.dumps(plain_compose(words))
        if path:
            cache.write(path, content)
    return content


@functools.cache
def _kept_compositions() -> Path | None:
    """Where compositions are kept: a folder for every state of the configuration, of our classes and of Hydra."""
    ours = cache.digest_of(CONF.parent, f"{CONF.name}/**/*.yaml"), cache.digest_of(ROOT, "pipeline/**/*.py")
    versions = (sys.version, hydra.__version__, version.__version__)
    return cache.folder_of("compositions", hashlib.sha256(repr((*ours, *versions)).encode()).hexdigest()[:16])


def hydra_compose(words: tuple[str, ...], folders: tuple[Path, ...], with_hydra: bool) -> DictConfig:
    """Hydra's own composition of a line's words, with its node ``hydra`` if asked for.

    Raises:
        ConfigError, UserError: a file of it sets what does not exist, has a wrong type, or cannot be read.
    """
    with _hydra(words, folders):
        return compose(config_name="sweep", overrides=list(words), return_hydra_config=with_hydra)


def plain_compose(words: tuple[str, ...]) -> DictConfig:
    """Hydra's composition of ``conf/`` without the node ``hydra``, whose own files take as long as all of ours.

    Raises:
        ConfigError, UserError: as :func:`hydra_compose`.
    """
    with _hydra(words, (CONF,)):
        loader = cast(ConfigLoaderImpl, GlobalHydra.instance().config_loader())
        parsed, repository = loader._parse_overrides_and_create_caching_repo("config", list(words))
        found = create_defaults_list(repository, "config", parsed, prepend_hydra=False, skip_missing=False)
        config = loader._compose_config_from_defaults_list(found.defaults, repository)
        OmegaConf.set_struct(config, True)
        return config


def _blamed(text: str, words: tuple[str, ...], folders: tuple[Path, ...]) -> UserError:
    """Our message for Hydra's complaint about what a file of the composition sets or names."""
    missing = re.search(r"Could not find '(.+)/(.+)'", text)
    if missing and (missing[1] in groups(folders) or missing[1].startswith("hydra/")):
        choices = groups(folders).get(missing[1]) or re.findall(r"^\t(\S+)$", text, flags=re.MULTILINE)
        return ConfigError(
            missing[1], missing[2], f"must be one of {', '.join(choices)}", did_you_mean(missing[2], choices)
        )
    file, key = re.match(r"In '(.+?)'", text), re.search(r"full_key: (\S+)", text)
    if not file or not key:
        return UserError(f"the configuration cannot be composed: {text.strip().splitlines()[0]}")
    where = f"in {file[1]}.yaml"
    if file[1].startswith(f"{EXPERIMENT}/"):
        if key[1] == EXPERIMENT:
            return UserError(f"{file[1]}.yaml: must begin with the line '# @package _global_'")
        _check_personal(file[1].removeprefix(f"{EXPERIMENT}/"), words, folders)
    wrong = invalid(text)
    if wrong:
        return ConfigError(key[1], *wrong, where)
    typed_words = [word for text in words for word in words_of(text)]
    allowed = f"is set by the paper ({file[1]}.yaml) but does not exist with {' '.join(typed_words)}"
    return ConfigError(key[1], None, allowed, "paper=none leaves every combination of parts open")


def _check_personal(name: str, words: tuple[str, ...], folders: tuple[Path, ...]) -> None:
    """Set what a personal file says key by key, on the composition that it would change.

    Raises:
        ConfigError: for the first key that cannot be set.
    """
    content = read(experiments(folders)[name])
    entries = [entry for entry in content.pop("defaults", None) or () if isinstance(entry, dict)]
    chosen = [(str(key).removeprefix("override "), value) for entry in entries for key, value in entry.items()]
    kept = [word for word in words if not word.startswith(f"+{EXPERIMENT}=")]
    typed_groups = {word.split("=")[0] for word in kept}
    added = [f"{key.lstrip('/')}={value}" for key, value in chosen if key.lstrip("/") not in typed_groups]
    config = hydra_compose((*kept, *added), folders, False)
    for key, value in content.items():
        if key in (PAPER, SCALE, "hydra"):
            continue
        try:
            set_key(config, key, value)
        except ConfigError as error:
            hint = "; ".join(filter(None, (error.hint, f"in {EXPERIMENT}/{name}.yaml")))
            raise ConfigError(error.key, error.value, error.allowed, hint) from error


def selects(override: Override, folders: tuple[Path, ...]) -> bool:
    """Whether an override chooses what is composed, and does not set a value in it."""
    chooses = override.key_or_group in (PAPER, SCALE, EXPERIMENT, SEARCH)
    return chooses or is_group(override, folders)


def is_group(override: Override, folders: tuple[Path, ...]) -> bool:
    name = override.key_or_group
    return name in groups(folders) or "/" in name or override.package is not None


def _check_choice(override: Override, known: dict[str, list[str]]) -> None:
    name, value = override.key_or_group, override.value()
    choices = known.get(name)
    if choices is None:
        raise ConfigError(name, None, "no such config group", did_you_mean(name, known))
    for text in _choice_texts(override, value):
        if text not in choices:
            hint = did_you_mean(text, choices)
            raise ConfigError(name, text, f"must be one of {', '.join(choices)}", hint)


def _choice_texts(override: Override, value: Any) -> list[str]:
    if override.is_sweep_override():
        return [text.split("=", 1)[1] for text in sweep_values(override)]
    return [shown(value)]


def sweep_values(override: Override) -> list[str]:
    """``key=value`` for every value of a swept override.

    Raises:
        ConfigError: it stands for something that no list of values is, or for too many.
    """
    key = override.get_key_element()
    try:
        texts = list(itertools.islice(override.sweep_string_iterator(), MOST_VALUES + 1))
    except (HydraException, ValueError, OverflowError) as error:
        raise ConfigError(key, None, f"cannot be swept like this: {first_line(error)}", "as in a,b,c") from error
    if len(texts) > MOST_VALUES:
        raise ConfigError(key, None, f"a sweep takes at most {MOST_VALUES} values of a key")
    return [f"{key}={text}" for text in texts]
