"""The command line of ``python -m pipeline``."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Sequence

from pipeline.base.config.compose import compose_config
from pipeline.base.config.folders import CONF, groups, search_override
from pipeline.base.config.recipes import recipes, scales
from pipeline.base.errors import UserError
from pipeline.base.run.console import guarded, say
from pipeline.base.run.ranks import started_by_torchrun
from pipeline.stages.compose import compose_run, logs_of
from pipeline.stages.follow import follow, follows
from pipeline.stages.recompute import OPTION, recomputing
from pipeline.stages.single import deviations, run_and_report
from pipeline.stages.sweep import sweep

HELP = """\
usage: python -m pipeline [-m] [--config-dir DIR] [key=value ...]

One run: train -> infer -> baseline -> report, each stage kept in results/_store and never computed twice.

examples
  python -m pipeline paper=nf_nqs scale=smoke
  python -m pipeline paper=nf_nqs scale=laptop system.n_sites=34 system.range=17 system.coupling=0.8
  python -m pipeline -m paper=nf_nqs scale=smoke system.n_sites=10,12 system.coupling=0.5,1.0 system.range=5
  python -m pipeline system=square_tfim method=vmc train.steps=300 train.optimizer.lr=0.02
  python -m pipeline stages=[baseline] system=u1_pure_gauge baseline=hmc
  python -m nqs list system=chain_tfim                       what was run, with values, errors and commands
  python -m pipeline --config-dir mine +experiment=large     what mine/experiment/large.yaml sets, sweeps included

options
  -m, --multirun    every combination of comma-separated values (Hydra); failures are listed at the end
  --recompute       compute the run again, whatever the store has of it
  --config-dir DIR  a folder of your own beside conf/: DIR/experiment/*.yaml, DIR/system/*.yaml, ...
  --cfg [job]       print the composed configuration and stop
  -h, --help        this page

papers, with the scales of each recipe
"""


def main(arguments: Sequence[str]) -> int:
    """Entry point; returns the exit status. Of several processes the first one speaks for all."""
    logs = lambda: logs_of(arguments)  # noqa: E731
    if not follows():
        return guarded(lambda: _dispatch(list(arguments)), logs)
    with contextlib.redirect_stderr(io.StringIO()) as said:
        status = guarded(lambda: _dispatch(list(arguments)), logs)
    if status in OWN_ERRORS and said.getvalue():
        say(f"rank {os.environ['RANK']}: {said.getvalue().splitlines()[-1]}")
    return status


OWN_ERRORS = (1, 4)
"""Exit statuses of what may have happened to one process alone: memory that ran out, a disk that is full."""


def console() -> int:
    """Entry point of the script ``nqs``, with tab completion where the shell asks for it."""
    from pipeline.stages.completion import complete

    complete()
    return main(sys.argv[1:])


def _dispatch(arguments: list[str]) -> int:
    if "-h" in arguments or "--help" in arguments:
        return _help()
    flags, overrides = _sorted(arguments)
    if "--cfg" in flags:
        return _show(overrides)
    with recomputing(OPTION in flags):
        return _run_or_sweep(flags - {OPTION}, overrides)


def _run_or_sweep(flags: set[str], overrides: list[str]) -> int:
    if flags:
        if started_by_torchrun():
            raise UserError("a sweep runs its jobs one by one: start it without torchrun, or torchrun each job")
        return sweep(overrides)
    return _single(overrides)


def _sorted(arguments: Sequence[str]) -> tuple[set[str], list[str]]:
    """Options, and overrides with that of ``--config-dir`` first."""
    flags: set[str] = set()
    folders: list[str] = []
    overrides: list[str] = []
    words = iter(arguments)
    for word in words:
        option, given, value = word.partition("=")
        if option == "--config-dir":
            folder = value if given else next(words, None)
            if not folder:
                raise UserError("--config-dir: needs a folder, as in --config-dir DIR")
            folders.append(folder)
        elif word in ("-m", "--multirun", "--cfg", OPTION):
            flags.add(word)
        elif word.startswith("-"):
            raise UserError(f"{word}: no such option (have -m, --recompute, --config-dir, --cfg, --help)")
        elif "--cfg" in flags and word in ("job", "hydra", "all"):
            if word != "job":
                raise UserError(f"--cfg {word}: there is --cfg job alone, the configuration of the run")
        else:
            overrides.append(word)
    return flags, [*([search_override(folders)] if folders else []), *overrides]


def _help() -> int:
    print(HELP, end="")
    for recipe in recipes((CONF,)):
        print(f"  {recipe:<24} {' '.join(scales(recipe, (CONF,)))}")
    print("\ngroups and their choices")
    for group, choices in groups().items():
        print(f"  {group:<14} {' '.join(choices)}")
    return 0


def _show(overrides: list[str]) -> int:
    from omegaconf import OmegaConf

    compose_run(overrides)
    print(OmegaConf.to_yaml(compose_config(overrides)), end="")
    return 0


def _single(overrides: list[str]) -> int:
    """One run in this process, or this process's part in it."""
    run = compose_run(overrides)
    if follows():
        follow(run)
        return 0
    if not sys.stderr.isatty() and run.progress:
        say(f"{run.system.kind}: stages {', '.join(run.stages)}")
    summary = run_and_report(run, str(run.system.kind), deviations(run, overrides))
    print("\n".join(summary.lines), flush=True)
    if summary.unwritten is not None:
        return summary.say_unwritten()
    return 1 if summary.broken else 0
