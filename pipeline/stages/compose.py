"""From command-line overrides to a checked, typed run."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from pipeline.base.config import checks
from pipeline.base.config.compose import compose_config, parse_override, typed
from pipeline.base.config.nodes import RunConfig
from pipeline.base.errors import ConfigError, UserError
from pipeline.base.places import results_folder
from pipeline.base.run.device import check_device
from pipeline.base.run.terminal import Uncollected
from pipeline.stages.choose import baseline_name, magnetisation_of, states_of
from pipeline.stages.register import register
from pipeline.stages.table import STAGES

register()


def compose_run(overrides: Sequence[str]) -> RunConfig:
    """The checked configuration of one run; torch is not imported.

    Raises:
        ConfigError: bad key, type or value, or parts that do not fit each other.
        UserError: no baseline supports the system.
    """
    with Uncollected():
        run: RunConfig = typed(compose_config(overrides))
        if (states := states_of(run)) > 1:
            run.baseline = run.baseline.following(states, magnetisation_of(run))
        check(run)
    return run


def compose_paper(overrides: Sequence[str]) -> RunConfig:
    """What the same overrides make of the paper's own settings, to be compared and never run.

    Values are not checked: they are meant for the scale that was asked for, and others, such as sixteen sites instead
    of a hundred, may be what makes them right.

    Raises:
        ConfigError: bad key or type.
    """
    with Uncollected():
        run: RunConfig = typed(compose_config([*overrides, "scale=paper"]), checked=False)
        with contextlib.suppress(ConfigError):
            if (states := states_of(run)) > 1:
                run.baseline = run.baseline.following(states, magnetisation_of(run))
    return run


def check(run: RunConfig) -> None:
    """Checks across nodes: method, sampler and baseline against the system, device against the machine."""
    names = [stage.name for stage in STAGES]
    for name in run.stages:
        checks.one_of("stages", name, (*names, "report"))
    if not set(names) & set(run.stages):
        raise ConfigError("stages", run.stages, f"needs at least one of {', '.join(names)}")
    check_device(run.device)
    if {stage.name for stage in STAGES if stage.trains} & set(run.stages):
        for name in ("method", "ansatz", "sampler"):
            part = getattr(run.train, name)
            if hasattr(part, "check"):
                with checks.under(f"train.{name}"):
                    part.check(run.system)
        run.train.method.check_parts(run)
    if "baseline" in run.stages:
        baseline_name(run)


def logs_of(arguments: Sequence[str]) -> Path:
    """Where the traceback of a crash goes: below the ``results_dir`` of the command, as far as it can be read."""
    results = str(results_folder())
    for word in arguments:
        with contextlib.suppress(UserError):
            override = parse_override(word)
            if override.key_or_group == "results_dir" and not override.is_sweep_override():
                results = str(override.value())
    return Path(results) / "_logs"
