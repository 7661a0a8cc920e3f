"""What a finished entry must look like to be used: the checks of ``status.json`` and of results, by format.

Formats carry a number. Format 1 (no number is given) has what format 2 has but for ``source.json``, and results and
facts may lack what was added since; it is read, with "unknown" in those places. A number that is not known is named,
and the entry is not used.
"""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pipeline.base.numbers.result import Result
from pipeline.base.store.keys import digest

FORMAT = 2
"""Of entries, committed files and progress files as they are written now."""

RESULT, PROVENANCE, SOURCE, STATUS = "result.json", "provenance.json", "source.json", "status.json"

TRAINING = "train"
"""The stage whose entries hold states instead of a result."""


def complaint(stage: str, key: str, status: Any) -> str | None:
    """Why an entry with this ``status.json`` cannot be used as that of ``stage`` and ``key``; None if it can."""
    if not isinstance(status, dict):
        return f"{STATUS} cannot be read"
    if not known(status):
        return f"its format {status['format']!r} is not known here, where formats up to {FORMAT} are"
    try:
        return _not_asked_for(stage, key, status) or _misshapen(stage, status)
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError, RecursionError):
        return f"{STATUS} cannot be read"


def known(content: Mapping[str, Any]) -> bool:
    """Whether the format of an entry, a committed file or a progress file can be read."""
    number = content.get("format", 1)
    return type(number) is int and 1 <= number <= FORMAT


def plain_name(name: object) -> bool:
    """Whether ``name`` is a file's name, and no path that leads elsewhere."""
    return isinstance(name, str) and name not in ("", ".", "..") and "/" not in name and "\\" not in name


def _not_asked_for(stage: str, key: str, status: Mapping[str, Any]) -> str | None:
    there = status["stage"], status["key"]
    if there != (stage, key):
        return f"it holds {there[0]}/{there[1]}"
    if not isinstance(status["nodes"], dict) or digest(status["nodes"]) != key:
        return "its settings are those of another key"
    return None


def _misshapen(stage: str, status: Mapping[str, Any]) -> str | None:
    seconds, files = status["seconds"], status["files"]
    if not fits(seconds, float) or not (math.isfinite(seconds) and seconds >= 0):
        return f"{STATUS} has seconds={seconds!r}"
    if not all(plain_name(name) and isinstance(files[name], str) for name in files):
        return f"{STATUS} lists what is no file of it"
    steps = status["steps"] if stage == TRAINING else 0
    if type(steps) is not int or steps < 0 or not fits(status.get("stopped"), str | None):
        return f"{STATUS} has steps={steps!r}, stopped={status.get('stopped')!r}"
    if stage == "baseline" and not fits(status.get("kind"), str):
        return f"{STATUS} does not say which kind of baseline it is"
    for name, kind in (("device", str), ("finished", str), ("peak_bytes", float)):
        if name in status and not fits(status[name], kind):
            return f"{STATUS} has {name}={_short(status[name])}"
    needed = (PROVENANCE, state_name(steps) if stage == TRAINING else RESULT)
    return next((f"{name} is not listed in {STATUS}" for name in needed if name not in files), None)


def complaint_of_provenance(data: Any) -> str | None:
    """Why this content of ``provenance.json`` cannot be used."""
    kinds = {"git": str, "source": str, "packages": dict, "hardware": dict, "threads": int}
    if not isinstance(data, dict):
        return f"{PROVENANCE} holds no fields"
    wrong = (name for name, kind in kinds.items() if not fits(data.get(name), kind))
    return next((f"{PROVENANCE} has {name}={data.get(name)!r}" for name in wrong), None)


def complaint_of_result(data: Any) -> str | None:
    """Why this content of ``result.json`` cannot be used: a field that is not known, is missing or does not fit."""
    if not isinstance(data, dict):
        return f"{RESULT} holds no fields"
    wrong = _unlike(data, Result)
    if wrong is not None:
        return f"{RESULT} {wrong}"
    names = [estimate["name"] for estimate in data.get("estimates", ())]
    if data.get("headline") and data["headline"] not in names:
        return f"{RESULT} has no estimate '{data['headline']}'"
    uneven = [curve["name"] for curve in data.get("curves", ()) if not _even(curve)]
    return f"{RESULT} has a curve '{uneven[0]}' of uneven length" if uneven else None


def _even(curve: Mapping[str, Any]) -> bool:
    lengths = {len(curve[name]) for name in ("x", "y", "sigma", "x_width") if curve.get(name) or name in ("x", "y")}
    return len(lengths) == 1


def _unlike(data: Mapping[str, Any], kind: type) -> str | None:
    """What is wrong with the fields of a dataclass."""
    hints, declared = get_type_hints(kind), {field.name: field for field in fields(kind)}
    for name in data:
        if name not in declared:
            return f"has an unknown field '{name}' of {kind.__name__.lower()}s"
    for name, field in declared.items():
        if name not in data:
            if field.default is MISSING and field.default_factory is MISSING:
                return f"lacks '{name}' of a {kind.__name__.lower()}"
        elif (inner := _items(hints[name])) is not None:
            if not isinstance(data[name], list | tuple) or not all(isinstance(item, dict) for item in data[name]):
                return f"has {name} that are no list"
            wrong = next((text for item in data[name] if (text := _unlike(item, inner)) is not None), None)
            if wrong is not None:
                return wrong
        elif not fits(data[name], hints[name]):
            return f"has {name}={_short(data[name])}"
    return None


def _items(kind: Any) -> type | None:
    """The dataclass of which ``kind`` is a tuple; None for anything else."""
    arguments = get_args(kind)
    return arguments[0] if get_origin(kind) is tuple and is_dataclass(arguments[0]) else None  # type: ignore[return-value]


def fits(value: Any, kind: Any) -> bool:
    """Whether a value from a JSON file is one of a field annotated ``kind``; an int is a float, a bool is no int."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return True
    if origin in (Union, types.UnionType):
        return any(fits(value, option) for option in arguments)
    if origin is Literal:
        return isinstance(value, str) and value in arguments
    if origin is tuple:
        return isinstance(value, list | tuple) and all(fits(item, arguments[0]) for item in value)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int:
        return type(value) is int
    return value is None if kind in (None, type(None)) else isinstance(value, origin or kind)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def state_name(step: int) -> str:
    """File name of the state after ``step`` updates."""
    return f"state-{step:08d}.safetensors"
