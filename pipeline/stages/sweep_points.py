"""Which runs a report of a sweep is about: those of its folder, or those of the store that a query names."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.analysis.sweeps import Point, Value
from pipeline.base.config.compose import parse_override
from pipeline.base.config.folders import SEARCH
from pipeline.base.config.sweep import single_values
from pipeline.base.errors import ConfigError, UserError, did_you_mean
from pipeline.base.numbers.result import Result
from pipeline.base.places import ROOT
from pipeline.base.store.entry import Entry
from pipeline.base.store.files import read_json
from pipeline.base.store.keys import digest, plain
from pipeline.base.store.store import Store
from pipeline.stages.compose import compose_run
from pipeline.stages.context import Context
from pipeline.stages.run import RunOutput, look_up

OUTCOMES, PLANNED = "outcomes", "planned.json"
"""In the folder of a sweep: one file a job, whatever Hydra calls the job's own folder; and what it consists of."""

GROUPS = {"system": "system.kind"}
GROUPS |= {name: f"train.{name}.name" for name in ("method", "ansatz", "sampler", "optimizer")}
"""Choices of groups, with the keys that results record them under."""

EXACTNESS = ("exact", "projected", "variational", "extrapolated", "stochastic", "none")


@dataclass(frozen=True)
class Found:
    """What there is of a sweep.

    Attributes:
        name: of the report's folder.
        title: how the sweep was asked for.
        points: finished runs.
        missing: runs that are not finished, with what is known of them.
        command: what goes on with it; empty for a query.
        total: how many runs it is to have.
        results: folder that the sweep lies in; None for a query.
    """

    name: str
    title: str
    points: list[Point]
    missing: dict[str, str] = field(default_factory=dict)
    command: str = ""
    total: int = 0
    results: Path | None = None


def sweeps_of(results: Path) -> list[Path]:
    """Folders of sweeps, oldest first."""
    return sorted(path.parent for path in (results / "_hydra" / "sweep").glob(f"*/{OUTCOMES}"))


def of_folder(folder: Path) -> Found:
    """Runs of a sweep, looked up in the store: whoever has computed them, and when.

    Raises:
        UserError: nothing says what the sweep consists of.
    """
    if not (folder / OUTCOMES).is_dir():
        raise UserError(f"{folder}: no sweep has left its outcomes there{_others(folder)}")
    outcomes = {int(path.stem): json.loads(path.read_text()) for path in (folder / OUTCOMES).glob("*.json")}
    planned = read_json(folder / PLANNED) if (folder / PLANNED).exists() else {}
    runs = planned.get("runs") or [outcomes[number]["overrides"] for number in sorted(outcomes)]
    if not runs:
        raise UserError(f"{folder}: the sweep ended before its first run, and does not say what it was to be")
    varying = _varying(runs)
    points, missing = [], {}
    for number, words in enumerate(runs):
        axes = {key: value for key, value in _typed(words).items() if key in varying}
        label = " ".join(f"{key}={value}" for key, value in axes.items()) or f"run {number}"
        point, reason = _look(words, axes)
        if point is not None:
            points.append(point)
        if reason:
            said = outcomes.get(number, {})
            failed = said.get("reason") if said.get("finished") and not said.get("ok") else None
            missing[label] = f"FAILED: {failed}" if failed else reason
    home = folder.absolute().parents[2] if folder.absolute().parts[-3:-1] == ("_hydra", "sweep") else None
    return Found(folder.name, folder.name, points, missing, planned.get("command", ""), len(runs), home)


def _others(folder: Path) -> str:
    there = sweeps_of(folder.parents[2]) if len(folder.parents) > 2 else []
    return f"; have {', '.join(str(path) for path in there[-5:])}" if there else ""


def _typed(words: Sequence[str]) -> dict[str, Value]:
    parsed = [parse_override(word) for word in words]
    return {o.get_key_element().lstrip("+"): number(str(o.value())) for o in parsed if o.key_or_group != SEARCH}


def number(text: str) -> Value:
    """A number where it is one."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _varying(runs: Sequence[Sequence[str]]) -> set[str]:
    typed = [_typed(words) for words in runs]
    return {key for found in typed for key in found if len({other.get(key) for other in typed}) > 1}


def _look(words: Sequence[str], axes: Mapping[str, Value]) -> tuple[Point | None, str]:
    """A run as far as it is there, and what is missing of it."""
    try:
        run = compose_run(words)
    except UserError as error:
        return None, f"cannot be composed any more: {error}"
    context = Context(run, notify=lambda _: None, repair=False)
    output = look_up(context)
    system = {str(name): value for name, value in plain(run.system).items()}
    point = _point(axes, system, output.result, output.reference.result() if output.reference else None)
    return point, _unfinished(context, output)


def _point(
    axes: Mapping[str, Value], system: Mapping[str, Value], result: Result | None, reference: Result | None
) -> Point | None:
    """A run that has no method of its own is its reference."""
    shown = result or reference
    if shown is None or shown.main is None:
        return None
    others = {e.name: e for e in reference.estimates} if reference and result else {}
    return Point(axes, system, {e.name: e for e in shown.estimates}, shown.main.name, others)


def _unfinished(context: Context, output: RunOutput) -> str:
    """What a run still needs, and how far its training has come; empty of a finished one."""
    if not output.missing:
        return ""
    said = f"{', '.join(output.missing)} missing"
    try:
        progress = read_json(context.store.path("train", f"{context.keys.train}.partial") / "progress.json")
        done = sum(loop["done"] for loop in progress["current"].values())
    except (OSError, ValueError, KeyError):
        return said
    return f"{said}, {done} of {context.run.train.steps} steps done" if "train" in output.missing else said


def of_query(words: Sequence[str], results: Path) -> Found:
    """Finished inferences of the store whose settings are those of a query.

    Args:
        words: ``key=value`` or ``key=value,value``, by the keys that results record, or groups (``ansatz=rbm``).

    Raises:
        ConfigError: a key that no result has, with the nearest ones.
        UserError: no result is of these settings.
    """
    wanted = {_recorded(key): values for key, values in map(_asked, words)}
    store = Store(results / "_store", lambda _: None, False, (results, ROOT / "results"))
    runs = list(_runs(store))
    if not runs:
        raise UserError(f"{results}/_store: no finished inference is kept there")
    known = sorted({key for settings, _ in runs for key in settings})
    for key in wanted:
        if key not in known:
            raise ConfigError(key, None, "no result records such a key", did_you_mean(key, known))
    matching = [(s, e) for s, e in runs if all(_among(s.get(k), values) for k, values in wanted.items())]
    if not matching:
        raise UserError(f"{' '.join(words)}: none of {len(runs)} finished inferences is of these settings")
    shared = set.intersection(*(set(settings) for settings, _ in matching))
    varying = [key for key in matching[0][0] if key in shared and len({str(s[key]) for s, _ in matching}) > 1]
    references = _references(store)
    points = []
    for settings, entry in matching:
        system = {k.removeprefix("system."): v for k, v in settings.items() if k.startswith("system.")}
        reference = references.get(digest({"system": system}))
        point = _point({key: settings[key] for key in varying}, system, entry.result(), reference)
        points += [point] if point else []
    points.sort(key=lambda point: [_order(value) for value in point.axes.values()])
    return Found(f"query-{digest({'query': sorted(words)})}", " ".join(words), points, total=len(points))


def _order(value: Value) -> tuple[bool, float, str]:
    """Numbers by size, then words."""
    known = isinstance(value, int | float)
    return not known, float(value) if isinstance(value, int | float) else 0.0, str(value)


def _asked(word: str) -> tuple[str, set[str]]:
    override = parse_override(word)
    return override.get_key_element(), {text.partition("=")[2] for text in single_values(override)}


def _among(value: Value, texts: Iterable[str]) -> bool:
    """Whether a recorded value is one of those typed: 1 is 1.0, and null is None."""
    if value is None:
        return "null" in texts
    return any(str(value).lower() == text.lower() or number(text) == value for text in texts)


def _recorded(key: str) -> str:
    return GROUPS.get(key, key)


def _runs(store: Store) -> Iterable[tuple[dict[str, Value], Entry]]:
    """Every finished inference with the settings of its own and of its training, as ``key: value``."""
    for path in sorted((store.root / "infer").glob("*/status.json")):
        entry = store.find("infer", path.parent.name)
        if entry is None:
            continue
        nodes = entry.status["nodes"]
        trained = store.find("train", nodes["train_key"])
        if trained is not None:
            of_training = dict(trained.status["nodes"])
            settings = _leaves({**of_training, "infer": nodes["infer"]}) | {"train.steps": int(nodes["step"])}
            yield settings, entry


def _references(store: Store) -> dict[str, Result]:
    """The most exact baseline of each system."""
    best: dict[str, tuple[int, Result]] = {}
    for path in sorted((store.root / "baseline").glob("*/status.json")):
        entry = store.find("baseline", path.parent.name)
        result = entry.result() if entry else None
        if entry is None or result is None or result.main is None:
            continue
        system = digest({"system": _leaves(entry.status["nodes"]["system"])})
        rank = EXACTNESS.index(result.main.bound)
        if system not in best or rank < best[system][0]:
            best[system] = (rank, result)
    return {system: result for system, (_, result) in best.items()}


def _leaves(node: Mapping[str, Any], prefix: str = "") -> dict[str, Value]:
    """Settings by dotted keys, without versions; lists as text."""
    found: dict[str, Value] = {}
    for name, value in node.items():
        if isinstance(value, Mapping):
            found |= _leaves(value, f"{prefix}{name}.")
        elif name != "__version__":
            found[prefix + name] = value if isinstance(value, str | int | float | None) else str(value)
    return found
