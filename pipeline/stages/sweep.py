"""A sweep: every combination through Hydra's launcher; then what each job came to, failures last."""

from __future__ import annotations

import json
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from pipeline.base.config.folders import CONF, SEARCH, quoted
from pipeline.base.config.launching import sweep_folder
from pipeline.base.config.messages import first_line
from pipeline.base.config.recipes import words_of
from pipeline.base.config.sweep import check_sweep, for_hydra, jobs, ours, with_parameters
from pipeline.base.errors import Interrupted, TimeLimit, UserError
from pipeline.base.run.children import end, sigint_for_us_alone
from pipeline.base.run.console import describe_crash, say
from pipeline.base.run.terminal import Interrupts
from pipeline.base.store.files import write_json
from pipeline.stages.compose import compose_run
from pipeline.stages.limit import LimitOfJob
from pipeline.stages.single import READ_ONLY, deviations, run_and_report
from pipeline.stages.sweep_points import OUTCOMES, PLANNED

HEADERS = ["run", "quantity", "value", "spread", "reference", "relative error", "verdict"]


def sweep(overrides: list[str]) -> int:
    """Exit status of a sweep: 1 if any job has failed or is unfinished.

    Raises:
        UserError: it cannot start.
        Interrupted: SIGINT or SIGTERM, after what was running has written its checkpoint.
    """
    overrides = with_parameters(overrides)
    check_sweep(ours(overrides))
    folder = _made(sweep_folder(overrides, f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"))
    words = for_hydra(overrides)
    planned = jobs(words)
    write_json(folder / PLANNED, {"runs": planned, "command": _command(overrides)})
    problem: Exception | None = None
    try:
        with sigint_for_us_alone() if any("submitit_local" in word for word in words) else nullcontext():
            _launch([*words, f"hydra.sweep.dir={quoted(str(folder))}"])
    except KeyboardInterrupt:
        # of submitit's local launcher, which names the folder of a job after its process
        end([int(path.name) for path in folder.glob(".submitit/*") if path.name.isdigit()])
        done = sum(outcome["ok"] for outcome in _outcomes(folder).values())
        raise Interrupted(f"stopped after {done}/{len(planned)} runs; run the same command to go on") from None
    except Exception as error:
        problem = error
    found = _outcomes(folder)
    if problem is not None and not found:
        raise _no_start(problem) from problem
    if problem is not None:
        say(f"error: the launcher ended early: {type(problem).__name__}: {first_line(problem)}")
    return _summarise(planned, found, folder)


def _command(overrides: Sequence[str]) -> str:
    """What goes on with a sweep."""
    return "python -m pipeline -m " + " ".join(shlex.quote(word) for word in overrides)


def _launch(words: Sequence[str]) -> None:
    """Hydra's own multirun of our job; what goes wrong is raised to us instead of printed."""
    import hydra

    entry = hydra.main(config_path=str(CONF), config_name="sweep", version_base="1.3")(job)
    saved = sys.argv
    sys.argv = ["pipeline", "--multirun", *words]
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        entry()
    finally:
        sys.argv = saved


def _no_start(problem: Exception) -> Exception:
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    if isinstance(problem, HydraException | OmegaConfBaseException):
        return UserError(f"the sweep cannot start: {first_line(problem)}")
    if isinstance(problem, RuntimeError) and "srun" in str(problem):
        hint = "start it on a login node of the cluster, or try hydra/launcher=submitit_local"
        return UserError(f"hydra/launcher=submitit_slurm: this machine has no Slurm ({first_line(problem)}); {hint}")
    return problem


def _made(folder: Path) -> Path:
    """A new folder for outcomes; a temporary one where results can only be read, for finished runs can be shown."""
    try:
        (folder / OUTCOMES).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno not in READ_ONLY:
            raise
        folder = Path(tempfile.mkdtemp(prefix="sweep-"))
        (folder / OUTCOMES).mkdir()
    return folder


def job(config: Any) -> None:
    """One job of a sweep: composed again through our own checks, its outcome written for the summary."""
    from hydra.core.hydra_config import HydraConfig

    hydra_config = HydraConfig.get()
    path = Path(hydra_config.sweep.dir) / OUTCOMES / f"{int(hydra_config.job.num)}.json"
    added = [word for word in hydra_config.overrides.hydra if word.startswith(SEARCH)]
    overrides = [word for given in hydra_config.overrides.task for word in words_of(given)]
    label = " ".join(overrides)
    outcome: dict[str, Any] = {"overrides": overrides, "ok": False, "finished": True}
    limit = LimitOfJob()
    heard = Interrupts()
    try:
        with nullcontext() if Interrupts.active else heard:  # a launcher may have started a process for us
            outcome |= _done([*added, *overrides], label)
    except TimeLimit as error:
        outcome |= {"finished": False, "reason": f"{str(error).removeprefix(label).strip()}; run again to go on"}
    except (KeyboardInterrupt, Interrupted) as error:
        write_json(path, outcome | {"finished": False, "reason": str(error) or "stopped; run again to go on"})
        if not limit.met([*heard.received, getattr(error, "number", None)]):
            raise KeyboardInterrupt from error
        limit.queue_again()
        return
    except (UserError, OSError) as error:
        outcome["reason"] = str(error)
    except Exception as error:
        outcome["reason"] = describe_crash(error, Path(config.results_dir) / "_logs")
    write_json(path, outcome)


def _done(overrides: Sequence[str], label: str) -> dict[str, Any]:
    """What there is to say of a run that came to its end."""
    run = compose_run(overrides)
    summary = run_and_report(run, label, deviations(run, overrides))
    outcome: dict[str, Any] = {"ok": not summary.broken, "headline": summary.headline}
    if summary.broken:
        outcome["reason"] = "an estimate lies below the exact value"
    if summary.unwritten is not None and summary.say_unwritten() == 4:
        outcome |= {"ok": False, "reason": f"the report is not written: {summary.unwritten}"}
    return outcome


def _outcomes(folder: Path) -> dict[int, dict[str, Any]]:
    """What jobs left, by their numbers."""
    return {int(path.stem): json.loads(path.read_text()) for path in (folder / OUTCOMES).glob("*.json")}


def _summarise(planned: Sequence[Sequence[str]], found: dict[int, dict[str, Any]], folder: Path) -> int:
    from tabulate import tabulate

    lost = {"ok": False, "finished": False, "reason": "its process ended without a word; run again to go on"}
    outcomes = [found.get(number, lost) for number in range(len(planned))]
    names = [" ".join(_varying(words, planned)) for words in planned]
    table = [[name, *outcome["headline"]] for name, outcome in zip(names, outcomes, strict=True) if outcome["ok"]]
    if table:
        print(tabulate(table, headers=HEADERS, disable_numparse=True))
    print(f"{len(table)} of {len(planned)} runs finished; outcomes in {folder}", flush=True)
    for name, outcome in zip(names, outcomes, strict=True):
        if not outcome["ok"]:
            say(f"{'FAILED' if outcome['finished'] else 'UNFINISHED'} {name}: {outcome['reason']}")
    return 1 if len(table) < len(planned) else 0


def _varying(words: Sequence[str], planned: Sequence[Sequence[str]]) -> list[str]:
    """The overrides in which a job differs from the others."""
    common = set.intersection(*map(set, planned))
    return [word for word in words if word not in common] or list(words)
