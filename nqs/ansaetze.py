"""An ansatz of one's own, from a notebook: a class that gives log ψ, under a name that runs can ask for."""

from __future__ import annotations

import functools
import hashlib
import inspect
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import field, make_dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from pipeline.base.config.folders import groups
from pipeline.base.errors import ConfigError, UserError
from pipeline.spin.ansatz.schema import AnsatzConfig
from pipeline.spin.wave_function import WaveFunction
from pipeline.stages import recall
from pipeline.stages.register import register_own

W = TypeVar("W", bound=WaveFunction)

KINDS = (bool, int, float, str)


def ansatz(
    name: str, *, version: int | None = None, **settings: bool | int | float | str
) -> Callable[[type[W]], type[W]]:
    """Decorator that makes a class an ansatz of this process: ``nqs.run(..., ansatz=name)``.

    The class is constructed with (config, system): ``config`` has the settings as attributes, ``system.size`` is N. It
    gives ``log_amplitude(spins)``, (B, N) int8 spins ±1 → (B,) log ψ, real or complex, differentiable in its parameters
    of the ``dtype`` of the run. Draws are by ``sampler=exhaustive`` or ``metropolis``.

    Args:
        name: small letters, digits and underscores; none of the names that the project has.
        version: enters the keys of results: a new one where the same settings mean another state. None: a digest of
            the source of the class, so that an edit is another ansatz.
        settings: with their usual values; runs change them by ``train__ansatz__<setting>``.

    Raises:
        UserError: a name that is taken or cannot be typed, a setting of another kind, a class that is no
            :class:`nqs.WaveFunction`, or one whose source cannot be read, without a version.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", str(name)):
        raise ConfigError("ansatz", name, "a name has small letters, digits and underscores")
    if name in groups()["ansatz"]:
        raise ConfigError("ansatz", name, "is one of the project's own; choose another name")
    for key, value in settings.items():
        if type(value) not in KINDS or key in ("name", "projection", "states"):
            raise ConfigError(
                f"train.ansatz.{key}", value, "a setting is a number, text, true or false, with a name of its own"
            )

    def known(network: type[W]) -> type[W]:
        if not (isinstance(network, type) and issubclass(network, WaveFunction)):
            raise UserError(f"ansatz={name}: {network!r} is no subclass of nqs.WaveFunction")
        _register(name, network, _digest(name, network) if version is None else version, settings)
        return network

    return known


def _digest(name: str, network: type[WaveFunction]) -> int:
    """Of the source of all methods of the class and of those that it is made from, below ours."""
    kinds = [kind for kind in network.__mro__ if kind.__module__.split(".")[0] not in ("pipeline", "torch", "builtins")]
    methods = [method for kind in kinds for method in vars(kind).values() if inspect.isfunction(method)]
    try:
        # a class in a notebook has no file that inspect could read it from; its methods have
        source = "".join(map(inspect.getsource, methods))
    except (OSError, TypeError):
        source = ""
    if not source:
        raise UserError(f"ansatz={name}: the source of {network.__name__} cannot be read; give a version=1")
    return int(hashlib.sha256(source.encode()).hexdigest()[:8], 16)


def _register(name: str, network: type[WaveFunction], version: int, settings: Mapping[str, Any]) -> None:
    attribute = f"own_{name}"
    setattr(sys.modules[__name__], attribute, network)
    described = {"version": version, "log_domain": True, "implementation": f"{__name__}:{attribute}"}
    fields = [("name", str, field(default=name)), *((key, type(v), field(default=v)) for key, v in settings.items())]
    kind = make_dataclass(f"{network.__name__}Config", fields, bases=(AnsatzConfig,), namespace=described)
    kind.__module__ = network.__module__
    register_own("ansatz", name, kind)
    path = _folder() / "ansatz" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    head = f"# @package train.ansatz\ndefaults: [/schema/ansatz/{name}@_here_, _self_]\n"
    path.write_text(head + (yaml.safe_dump(dict(settings)) if settings else ""), encoding="utf-8")
    recall.look_in(_folder())


@functools.cache
def _folder() -> Path:
    """A folder of personal configuration that ends with the process."""
    import atexit

    folder = tempfile.mkdtemp(prefix="nqs-own-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
