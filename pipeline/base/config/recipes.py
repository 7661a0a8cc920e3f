"""Recipes: folders ``recipe/<paper>/<name>/`` of ``conf/`` and of personal folders, one file a scale.

``paper.yaml`` always comes first; the file of the scale follows it and names in its defaults what it extends. A recipe
whose ``paper.yaml`` begins with that of another inherits its scales as well, and writes a file only for those in which
it differs; a scale that all recipes of a paper cut alike is one file, ``recipe/<paper>/<scale>.yaml``. ``uncut`` names
scales at which a recipe has nothing to cut. Other files of these folders hold what several recipes or scales share.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra.core.config_store import ConfigStore

from pipeline.base.config.folders import CONF, RECIPE, read
from pipeline.base.config.nodes import SCALES
from pipeline.base.errors import ConfigError, MissingScale, did_you_mean

MAIN = "main"
NONE = "none"
GROUP = "run_recipe"
"""Hydra's group for one recipe at one scale; its choices are made here, from the files, when they are asked for."""


@dataclass(frozen=True)
class Recipe:
    """A recipe at a scale.

    Attributes:
        paper: as typed: ``nf_nqs``, ``nf_nqs/mps``.
        scale: one of ``SCALES``.
        files: configurations below ``recipe/`` in the order in which they are merged.
    """

    paper: str
    scale: str
    files: tuple[str, ...]

    @property
    def choice(self) -> str:
        """Its name in Hydra's group."""
        return f"{_folder_of(self.paper)}/{self.scale}"


def register(chosen: Sequence[Recipe | None]) -> str:
    """The override that composes a recipe, or sweeps over several, now known to Hydra; None stands for no recipe."""
    store = ConfigStore.instance()
    for recipe in chosen:
        if recipe is None:
            store.store(group=GROUP, name=NONE, node={}, package="_global_")
        else:
            defaults = [*(f"/{RECIPE}/{file}@_global_" for file in recipe.files), "_self_"]
            node = {"defaults": defaults, "paper": recipe.paper, "scale": recipe.scale}
            store.store(group=f"{GROUP}/{_folder_of(recipe.paper)}", name=recipe.scale, node=node, package="_global_")
    return f"+{GROUP}={','.join(NONE if recipe is None else recipe.choice for recipe in chosen)}"


def words_of(override: str) -> list[str]:
    """What is typed for one choice of what :func:`register` returned; any other word as it is."""
    name, _, choice = override.partition("=")
    if name != f"+{GROUP}":
        return [override]
    paper, _, scale = choice.rpartition("/")
    return [f"paper={_typed(paper)}", f"scale={scale}"] if paper else [f"paper={NONE}"]


def recipes(folders: Sequence[Path]) -> list[str]:
    """Every recipe as it is typed, the main one of a paper by the paper's name alone."""
    found = (path.parent.relative_to(folder / RECIPE) for folder in folders for path in _papers(folder))
    return sorted({_typed(path.as_posix()) for path in found})


def scales(paper: str, folders: Sequence[Path]) -> list[str]:
    """Scales that a recipe has, of its own or inherited, the smallest first."""
    return [scale for scale in SCALES if _files(paper, scale, folders) is not None]


def find_recipe(paper: str, scale: str, folders: Sequence[Path]) -> Recipe:
    """The recipe that ``paper=`` and ``scale=`` ask for.

    Raises:
        ConfigError: no such recipe or scale.
        MissingScale: the recipe does not have this scale.
    """
    known = recipes(folders)
    paper = _typed(paper)
    if paper not in known:
        raise ConfigError("paper", paper, f"must be one of none, {', '.join(known)}", did_you_mean(paper, known))
    if scale not in SCALES:
        raise ConfigError("scale", scale, f"must be one of {', '.join(SCALES)}", did_you_mean(scale, SCALES))
    files = _files(paper, scale, folders)
    if files is None:
        raise MissingScale(paper, scale, scales(paper, folders))
    return Recipe(paper, scale, files)


def _papers(folder: Path) -> Iterator[Path]:
    return (folder / RECIPE).glob("*/*/paper.yaml")


def _typed(name: str) -> str:
    return name.removesuffix(f"/{MAIN}")


def _folder_of(paper: str) -> str:
    return paper if "/" in paper else f"{paper}/{MAIN}"


def _file(name: str, folders: Sequence[Path]) -> Path | None:
    """A file below ``recipe/``, from the first folder that has it, as Hydra takes it."""
    return next((path for folder in folders if (path := folder / RECIPE / f"{name}.yaml").is_file()), None)


def _files(paper: str, scale: str, folders: Sequence[Path]) -> tuple[str, ...] | None:
    """Files of a recipe at a scale; None where neither it, nor one that it begins with, nor its paper has the scale."""
    first = f"{_folder_of(paper)}/paper"
    if scale == "paper":
        return (first,)
    lineage = _lineage_in_conf if tuple(folders) == (CONF,) else _lineage
    for recipe, uncut in lineage(_folder_of(paper), tuple(folders)):
        if _file(f"{recipe}/{scale}", folders):
            return first, f"{recipe}/{scale}"
        if scale in uncut:
            return (first,)
    shared = f"{_folder_of(paper).split('/')[0]}/{scale}"
    return (first, shared) if _file(shared, folders) else None


def _lineage(recipe: str, folders: tuple[Path, ...]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """A recipe, those that it begins with, and the scales at which each has nothing to cut."""
    found: list[tuple[str, tuple[str, ...]]] = []
    while recipe and recipe not in (name for name, _ in found):
        path = _file(f"{recipe}/paper", folders)
        if path is None:
            break
        content = read(path)
        found.append((recipe, tuple(content.get("uncut") or ())))
        begun = [str(entry) for entry in content.get("defaults") or () if isinstance(entry, str)]
        parents = [entry.split("@")[0] for entry in begun if entry.split("@")[0].endswith("/paper")]
        recipe = parents[0].removeprefix(f"/{RECIPE}/").removesuffix("/paper") if parents else ""
    return tuple(found)


_lineage_in_conf = functools.cache(_lineage)  # personal files may change while a process runs
