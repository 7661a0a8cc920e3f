"""Hostile values for every key of a run, and what becomes of each: ``python -m tests.hostile FOLDER`` tries them.

An override is refused within about a second with one line that names its key, or it runs; it never ends in a
traceback, and never says nothing for 20 s. The command prints what is otherwise, and how many are refused and run.
"""

from __future__ import annotations

import collections
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig, ListConfig, OmegaConf, StringNode

from pipeline.base.config.compose import compose_config
from pipeline.base.config.messages import known_keys
from pipeline.base.errors import UserError
from pipeline.stages.amounts import run_with_baseline, too_much
from pipeline.stages.choose import baseline_name
from pipeline.stages.compose import compose_run
from tests.children import Child

TINY = ["train.steps=2", "infer.units=2", "profile.steps=2", "profile.warmup=0", "stages=[train,infer,baseline,report]"]
VMC = ["method=vmc", "system.n_sites=4", "system.range=1", *TINY]
GAUGE = ["system=schwinger", "system.length=2", "stages=[baseline,report]"]

STARTS: dict[str, list[str]] = {
    "flow": [
        *("system.n_sites=4", "system.range=1", *TINY, "train.method.draws=50", "train.method.subspaces=2"),
        *("train.method.regions=4", "train.method.flow_hidden=[8]", "train.ansatz.hidden=[8]", "infer.draws=50"),
        "infer.iterations=5",
    ],
    "exhaustive": [*VMC, "optimizer=sr", "stages=[train,infer,profile,baseline,report]", "baseline=quspin"],
    "chains": [
        *(*VMC, "sampler=metropolis", "infer_sampler=metropolis", "optimizer=sgd", "train.sampler.samples=20"),
        *("train.sampler.chains=4", "infer.sampler.samples=20", "infer.sampler.chains=4", "baseline=free_fermions"),
    ],
    "direct": [
        *(*VMC, "sampler=direct", "ansatz=dense_ar", "train.sampler.samples=20", "train.snapshots=[1]"),
        *("train.phases=[{steps:2,samples:10,lr:0.1}]", "system.range=2", "baseline=collective_spin"),
    ],
    "pixels": [
        *("method=vmc", "system=square_tfim", "system.length_x=2", "system.length_y=2", "sampler=direct", *TINY),
        *(
            "ansatz=pixelcnn",
            "train.sampler.samples=10",
            "train.ansatz.depth=2",
            "train.ansatz.width=4",
            "baseline=dmrg",
        ),
    ],
    "states": [*VMC, "ansatz=mps", "baseline=none"],
    "qmc": ["stages=[baseline,report]", "baseline=qmc", "system.n_sites=4", "system.range=1"],
    "hmc": [*GAUGE, "baseline=hmc", "baseline.hmc.chains=2", "baseline.hmc.measurements=4", "baseline.hmc.warmup=2"],
    "reweighting": [*GAUGE, "baseline=reweighting", "baseline.reweighting.configurations=20"],
}
"""Short runs of every kind: what is typed after them is one hostile override."""

NUMBERS = (
    *("0", "-1", "1", "1.5", "1e-300", "5e-324", "-1e-300", "1e-16", "1e19", "1e30", "1e308", "-1e308", "1e400"),
    *("nan", "inf", "-inf", "1000000000", str(2**63 - 1), str(2**64), "-" + "9" * 30, "9" * 400),
)
OTHERS = ("null", "''", "abc", "true", "[]", "[1000000000]", "[nan,1]", "[[1]]", "{}", "{a:{b:[1e308]}}", "'\x00'")
LISTS = ("[0]", "[-1]", "[1e308]", "[1000000000]", "[nan]", "[1,1,1]", f"[{','.join(['8'] * 500)}]", "[a]", "[null]")
WORDS = ("nan", "1e308", "../../x", "x" * 300)

SILENCE = 20.0
"""Seconds for which a run may say nothing."""

STAGES = ("train", "infer", "profile")

NOT_TRIED = ("results_dir", "tracker.mode", "tracker.project", "device", "paper", "scale", "progress")
"""Folders, services and recipes: they have tests of their own."""


def overrides(start: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Keys that a run uses, but for groups of keys that may not be null, with the hostile values for each."""
    config = compose_config(start)
    used = {"profile", *config.stages, *(("infer",) if "train" in config.stages else ())}
    unused = tuple(f"baseline.{name}." for name in config.baseline if name != config.baseline.use)
    for key in known_keys(config):
        parent, _, name = key.rpartition(".")
        node = (OmegaConf.select(config, parent) if parent else config)._get_node(name)
        if isinstance(node, DictConfig) and not node._is_none():
            continue
        if key.startswith((*NOT_TRIED, *unused)) or (key.split(".")[0] in STAGES and key.split(".")[0] not in used):
            continue
        kind = LISTS if isinstance(node, ListConfig) else WORDS if isinstance(node, StringNode) else NUMBERS
        yield from ((key, value) for value in (*kind, *OTHERS))


@dataclass
class Outcome:
    """What became of a run.

    Attributes:
        code: exit status; None: it was stopped, still running.
        seconds: of CPU, until its end, or until it was stopped; the machine may have others to serve.
        silent: longest time without a word, in the same seconds.
        said: standard error, the last part of it.
    """

    code: int | None
    seconds: float
    silent: float
    said: str

    def fault(self, key: str) -> str | None:
        """What should not be: a traceback, a refusal that names no key or comes late, a silence."""
        lines = self.said.strip().splitlines()
        if "Traceback" in self.said or "bug" in self.said.lower():
            return "crash"
        if self.silent > SILENCE:
            return "silence"
        if self.code not in (0, 1, 2, 3, None) or (self.code not in (0, None) and not lines):
            return "strange end"
        if self.code == 2 and not any(key.split(".")[-1] in line for line in lines):
            return "a refusal that does not name the key"
        if self.code == 2 and sum(line.startswith("error") for line in lines) != 1:
            return "a refusal of several lines"
        return "late refusal" if self.code == 2 and self.seconds > 3 else None


def outcome(words: Sequence[str], patience: float) -> Outcome:
    """Run a command until it has ended or, after ``patience`` seconds of its CPU, is known to speak or to be silent."""
    child = Child("pipeline", words)
    size, heard, silent, now = 0, 0.0, 0.0, 0.0
    began = time.monotonic()
    while child.poll() is None and not (now > patience and (silent > SILENCE or heard > 0.5 * patience)):
        if time.monotonic() - began > 30 * SILENCE:  # it sleeps
            silent = time.monotonic() - began
            break
        time.sleep(0.05)
        now = max(now, _cpu_seconds(child.pid))
        if child.written() != size:
            size, heard = child.written(), now
        silent = max(silent, now - heard)
    try:
        ended = child.wait(0.01 if child.poll() is None else 5)
    except TimeoutError as error:
        return Outcome(None, now, silent, str(error)[-1500:])
    return Outcome(ended.returncode, now, silent, ended.stderr[-1500:])


def _cpu_seconds(pid: int) -> float:
    """Of all threads of a process; 0: it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def refused(words: Sequence[str]) -> str | None:
    """The message with which a run is refused before anything is computed; None: it is not."""
    try:
        run = compose_run(words)
        with_baseline = run_with_baseline(run, baseline_name(run) if "baseline" in run.stages else None)
        for stage in run.stages:
            if stage in ("report",) or (stage == "baseline" and with_baseline.baseline.use == "none"):
                continue
            if error := too_much(with_baseline, stage):
                raise error
    except UserError as error:
        return str(error)
    return None


def main(folder: str, only: str = "", every: str = "1", patience: str = "6") -> None:
    """Try those of starts and keys with ``only`` in their names; of those that are not refused one in ``every``."""
    counts: collections.Counter[str] = collections.Counter()
    number = 0
    for name, start in STARTS.items():
        for key, value in overrides(start):
            if only not in f"{name}:{key}":
                continue
            words = [*start, f"{key}={value}", "tracker=none", f"results_dir={Path(folder) / name}"]
            began = time.process_time()
            message = refused(words)
            late = time.process_time() - began > 1
            if message is not None:
                good = key.split(".")[-1] in message and "\n" not in message.strip() and not late
                counts["refused" if good else "refused badly"] += 1
                if not good:
                    print(f"refused badly: {name} {key}={value[:40]!r}: {message[:300]!r}", flush=True)
                continue
            number += 1
            if number % int(every) or ("." not in key and name != "flow"):  # the loop's own keys once
                continue
            found = outcome(words, float(patience))
            kind = {0: "runs", None: "still runs"}.get(found.code, f"status {found.code}")
            counts[found.fault(key) or kind] += 1
            if found.fault(key) or found.code is None or found.code in (1, 3):
                said = " | ".join(found.said.strip().splitlines()[-3:])
                how = f"{found.fault(key) or kind}: {name} {key}={value[:40]!r} {found.seconds:.1f} s"
                print(f"{how}: {said[-700:]}", flush=True)
    print(dict(counts))


if __name__ == "__main__":
    main(*sys.argv[1:])
