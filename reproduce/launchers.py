"""What a cell of an artefact asks of a batch system: resources by its scale, its runs as command lines."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.base.config.folders import CONF
from pipeline.base.errors import ConfigError, UserError, did_you_mean
from reproduce.plan import Task

LAUNCHERS = ("pool", "submitit_local", "slurm")
"""Processes of this machine; jobs of submitit on this machine; jobs of a cluster."""

NUMBERS = {"minutes": "timeout_min", "memory_gb": "mem_gb", "cpus": "cpus_per_task", "gpus": "gpus_per_node"}
"""Amounts that ``--job`` takes, with what submitit calls them."""

WORDS = ("partition", "account", "qos", "constraint", "exclude", "gres", "comment", "setup")
"""Words that ``--job`` takes on a cluster; ``setup`` is a line of shell before the job (``module load ...``)."""


@dataclass(frozen=True)
class JobOptions:
    """What the command says about its jobs.

    Attributes:
        launcher: one of :data:`LAUNCHERS`.
        given: words and amounts that win over those of the scale.
    """

    launcher: str = "pool"
    given: Mapping[str, str | int] = field(default_factory=dict)

    @staticmethod
    def of(launcher: str, words: Sequence[str], **named: str | None) -> JobOptions:
        """From the command line.

        Args:
            words: ``key=value`` of ``--job``.
            named: values of options of their own, ``partition`` and ``account``.

        Raises:
            ConfigError: no such launcher or key, or a value that is none.
            UserError: there is no job that an option could be for.
        """
        if launcher not in LAUNCHERS:
            allowed = f"must be one of {', '.join(LAUNCHERS)}"
            raise ConfigError("--launcher", launcher, allowed, did_you_mean(launcher, LAUNCHERS))
        given = dict(_parsed(word) for word in words)
        given |= {key: value for key, value in named.items() if value is not None}
        there = {"slurm": (*NUMBERS, *WORDS), "submitit_local": ("minutes", "gpus"), "pool": ()}[launcher]
        for key in given:
            if key not in there:
                raise UserError(f"{key}: is for jobs of a cluster; add --launcher slurm")
        return JobOptions(launcher, given)


def _parsed(word: str) -> tuple[str, str | int]:
    key, separator, value = word.partition("=")
    if key not in NUMBERS and key not in WORDS:
        allowed = f"has {', '.join((*NUMBERS, *WORDS))}"
        raise ConfigError("--job", key, allowed, did_you_mean(key, (*NUMBERS, *WORDS)))
    if not separator or not value.strip():
        raise ConfigError("--job", word, "needs a value", f"as in --job {key}=...")
    if key in WORDS:
        return key, value
    if not value.isdigit() or (int(value) == 0 and key != "gpus"):
        raise ConfigError("--job", word, "must be a whole number" + (", at least 1" if key != "gpus" else ""))
    return key, int(value)


@cache
def by_scale() -> dict[str, Any]:
    """``conf/cluster.yaml``."""
    from omegaconf import OmegaConf

    values = OmegaConf.to_container(OmegaConf.load(CONF / "cluster.yaml"))
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def resources(tasks: Sequence[Task], scale: str, options: JobOptions, user: Sequence[str] = ()) -> dict[str, Any]:
    """What submitit's ``AutoExecutor.update_parameters`` takes for the job of a cell.

    Args:
        tasks: runs of the cell, one after the other.
        user: overrides that hold where the job runs: ``device=cuda`` asks for a GPU at any scale.
    """
    table, ranks = by_scale(), tasks[0].cell.ranks
    amounts = {
        "minutes": table["minutes"][scale],
        "memory_gb": ranks * table["memory_gb"][scale],
        "cpus": ranks * max(task.run.threads for task in tasks),
        "gpus": ranks * (1 if "device=cuda" in user else table["gpus"][scale]),
    }
    amounts |= {key: value for key, value in options.given.items() if key in NUMBERS}
    asked: dict[str, Any] = {NUMBERS[key]: value for key, value in amounts.items() if value}
    asked |= {"name": f"{tasks[0].artefact}/{tasks[0].cell.id}".replace("/", "."), "nodes": 1, "tasks_per_node": 1}
    if options.launcher == "slurm":
        words: dict[str, Any] = {key: value for key, value in options.given.items() if key in WORDS}
        if "setup" in words:
            words["setup"] = [words["setup"]]
        if tasks[0].cell.exclusive or ranks > 1:  # as on one machine: nothing else disturbs it
            words["exclusive"] = True
        words["signal_delay_s"] = table["warning_seconds"]
        asked |= {f"slurm_{key}": value for key, value in words.items()}
    return asked


def command(task: Task, user: Sequence[str]) -> list[str]:
    """The words that run a task by itself; several ranks by torchrun.

    Args:
        user: overrides that only hold where the job runs, ``device=cuda`` for example.
    """
    ranks = task.cell.ranks
    torchrun = ["torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}", "-m"] if ranks > 1 else []
    group = f"tracker.group='{task.artefact}/{task.cell.id}'"
    return [sys.executable, "-m", *torchrun, "pipeline", *task.overrides, *user, group]


def import_path() -> str:
    """PYTHONPATH with which jobs import the modules that this process does."""
    here = os.fspath(Path(__file__).resolve().parents[1])
    return os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
