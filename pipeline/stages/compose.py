"""From command-line overrides to a checked, typed run."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.base.config import checks
from pipeline.base.config.compose import compose_config, typed
from pipeline.base.config.nodes import RunConfig
from pipeline.base.errors import ConfigError
from pipeline.base.run.device import check_device
from pipeline.stages.choose import choose
from pipeline.stages.register import BaselineConfig, register

register()


def compose_run(overrides: Sequence[str]) -> RunConfig:
    """The checked configuration of one run; torch is not imported.

    Raises:
        ConfigError: bad key, type or value, or parts that do not fit each other.
        UserError: no baseline supports the system.
    """
    run: RunConfig = typed(compose_config(overrides))
    check(run)
    return run


def check(run: RunConfig) -> None:
    """Checks across nodes: method, sampler and baseline against the system, device against the machine."""
    check_device(run.device)
    if "train" in run.stages or "infer" in run.stages:
        for name in ("method", "ansatz", "sampler"):
            part = getattr(run.train, name)
            if hasattr(part, "check"):
                with checks.under(f"train.{name}"):
                    part.check(run.system)
        run.train.method.check_parts(run)
    if "baseline" in run.stages:
        baseline_name(run)


def baseline_name(run: RunConfig) -> str | None:
    """The baseline that ``baseline.use`` stands for on this system; None for ``none``.

    Raises:
        ConfigError: the named baseline cannot treat the system; the message says what could.
        UserError: ``auto`` finds none.
    """
    config: BaselineConfig = run.baseline
    if config.use == "none":
        return None
    if config.use == "auto":
        return choose(config.candidates(), run.system)
    reason = config.candidates()[config.use].supports(run.system)
    if reason is not None:
        raise ConfigError("baseline.use", config.use, reason)
    return config.use
