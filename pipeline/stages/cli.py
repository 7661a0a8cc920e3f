"""The command line of ``python -m pipeline``."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.base.config.compose import compose_config, parse_override
from pipeline.base.config.folders import CONF, SEARCH, groups, search_override
from pipeline.base.config.nodes import RunConfig
from pipeline.base.config.recipes import recipes, scales, words_of
from pipeline.base.config.sweep import check_sweep, for_hydra, ours, with_parameters
from pipeline.base.errors import ConfigError, Interrupted, UserError
from pipeline.base.run.console import describe_crash, guarded, say
from pipeline.base.run.progress import make_progress
from pipeline.base.run.ranks import started_by_torchrun
from pipeline.base.store.files import write_json
from pipeline.stages.compose import compose_run
from pipeline.stages.context import Context
from pipeline.stages.cuts import differences, holding
from pipeline.stages.follow import follow, follows, together

HELP = """\
usage: python -m pipeline [-m] [--config-dir DIR] [key=value ...]

One run: train -> infer -> baseline -> report, each stage kept in results/_store and never computed twice.

examples
  python -m pipeline paper=nf_nqs scale=smoke
  python -m pipeline paper=nf_nqs scale=laptop system.n_sites=34 system.range=17 system.coupling=0.8
  python -m pipeline -m paper=nf_nqs scale=smoke system.n_sites=10,12 system.coupling=0.5,1.0 system.range=5
  python -m pipeline system=square_tfim method=vmc train.steps=300 train.optimizer.lr=0.02
  python -m pipeline stages=[baseline] system=u1_pure_gauge baseline=hmc
  python -m pipeline --config-dir mine +experiment=large     what mine/experiment/large.yaml sets, sweeps included

options
  -m, --multirun    every combination of comma-separated values (Hydra); failures are listed at the end
  --config-dir DIR  a folder of your own beside conf/: DIR/experiment/*.yaml, DIR/system/*.yaml, ...
  --cfg [job]       print the composed configuration and stop
  -h, --help        this page

papers, with the scales of each recipe
"""


def main(arguments: Sequence[str]) -> int:
    """Entry point; returns the exit status. Of several processes the first one speaks."""
    if follows():
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
            return guarded(lambda: _dispatch(list(arguments)))
    return guarded(lambda: _dispatch(list(arguments)))


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
    if flags:
        if started_by_torchrun():
            raise UserError("a sweep runs its jobs one by one: start it without torchrun, or torchrun each job")
        return _sweep(overrides)
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
        elif word in ("-m", "--multirun", "--cfg"):
            flags.add(word)
        elif word.startswith("-"):
            raise UserError(f"{word}: no such option (have -m, --config-dir, --cfg, --help)")
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
    for line in summary["lines"]:
        print(line)
    return 1 if summary["broken"] else 0


def deviations(run: RunConfig, overrides: Sequence[str]) -> list[str]:
    """Sentences of the scale about what it changes, as far as the user has not changed it back."""
    if not run.deviations:
        return []
    paper = compose_run([*overrides, "scale=paper"])
    return holding(run.deviations.items(), differences(paper, run))


def run_and_report(run: RunConfig, label: str, said: Sequence[str] = ()) -> dict[str, Any]:
    """Execute a run, write its report and return what to print."""
    from pipeline.stages.report import HEADERS, facts, headline, report, rows
    from pipeline.stages.run import execute

    progress = make_progress(run.progress)
    try:
        with together(run) as ranks:
            context = Context(run, label=label, progress=progress, notify=say, deviations=list(said), ranks=ranks)
            output = execute(context)
    finally:
        progress.close()
    folder = report(context, output) if "report" in run.stages else None
    table = rows(output)
    from tabulate import tabulate

    lines = [tabulate([row.cells() for row in table], headers=HEADERS, disable_numparse=True)] if table else []
    lines += facts(output)
    if folder is not None:
        lines.append(f"report: {folder / 'report.md'}")
    broken = any(row.verdict == "BELOW-BOUND" for row in table)
    main = headline(output)
    return {"lines": lines, "broken": broken, "headline": main.cells() if main else []}


def _sweep(overrides: list[str]) -> int:
    """Every combination through Hydra's launcher; then what each job came to, failures last."""
    overrides = with_parameters(overrides)
    check_sweep(ours(overrides))
    folder = _sweep_folder(ours(overrides))
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    entry = hydra.main(config_path=str(CONF), config_name="config", version_base="1.3")(_job)
    saved = sys.argv
    quoted = str(folder).replace("\\", "\\\\").replace("'", "\\'")
    sys.argv = ["pipeline", "--multirun", *for_hydra(overrides), f"hydra.sweep.dir='{quoted}'"]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # raise to us instead of printing and exiting
    try:
        entry()
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(f"the sweep cannot start: {str(error).strip().splitlines()[0]}") from error
    finally:
        sys.argv = saved
    return _summarise_sweep(folder)


def _sweep_folder(overrides: list[str]) -> Path:
    """A new folder for the outcomes; sweeping over where results go would scatter them."""
    results = "results"
    for override in map(parse_override, overrides):
        if override.key_or_group == "results_dir":
            if override.is_sweep_override():
                raise ConfigError("results_dir", None, "cannot be swept")
            results = str(override.value())
    folder = Path(results) / "_hydra" / "sweep" / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _job(config: Any) -> None:
    """One job of a sweep: composed again through our own checks, its outcome written for the summary."""
    from hydra.core.hydra_config import HydraConfig

    hydra_config = HydraConfig.get()
    added = [word for word in hydra_config.overrides.hydra if word.startswith(SEARCH)]
    overrides = [word for given in hydra_config.overrides.task for word in words_of(given)]
    outcome: dict[str, Any] = {"overrides": overrides, "ok": False}
    try:
        run = compose_run([*added, *overrides])
        summary = run_and_report(run, " ".join(overrides), deviations(run, [*added, *overrides]))
        outcome |= {"ok": not summary["broken"], "headline": summary["headline"]}
        if summary["broken"]:
            outcome["reason"] = "an estimate lies below the exact value"
    except Interrupted as error:
        say(str(error))
        raise SystemExit(error.exit_code) from error
    except (ConfigError, UserError, OSError) as error:
        outcome["reason"] = str(error)
    except Exception as error:
        outcome["reason"] = describe_crash(error, Path(config.results_dir) / "_logs")
    write_json(Path(hydra_config.runtime.output_dir) / "outcome.json", outcome)


def _summarise_sweep(folder: Path) -> int:
    from tabulate import tabulate

    paths = sorted(folder.glob("*/outcome.json"), key=lambda path: int(path.parent.name))
    outcomes = [json.loads(path.read_text()) for path in paths]
    finished = [o for o in outcomes if o["ok"]]
    failed = [o for o in outcomes if not o["ok"]]
    if finished:
        table = [[" ".join(_varying(o, outcomes)), *o["headline"]] for o in finished]
        headers = ["run", "quantity", "value", "spread", "reference", "relative error", "verdict"]
        print(tabulate(table, headers=headers, disable_numparse=True))
    print(f"{len(finished)} of {len(outcomes)} runs finished; outcomes in {folder}")
    for outcome in failed:
        say(f"FAILED {' '.join(_varying(outcome, outcomes))}: {outcome['reason']}")
    return 1 if failed else 0


def _varying(outcome: dict[str, Any], outcomes: list[dict[str, Any]]) -> list[str]:
    """The overrides in which a job differs from the others."""
    common = set.intersection(*(set(o["overrides"]) for o in outcomes))
    return [o for o in outcome["overrides"] if o not in common] or outcome["overrides"]
