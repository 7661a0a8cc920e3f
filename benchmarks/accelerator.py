"""``python -m benchmarks.accelerator``: a training step of the paper's joint flow on a GPU.

The paper's flows (Section IV.A.2 and Appendix B.3) with three Hasenbusch steps on 8 × 8 sites: 24 gauge layers, 24
layers of each of four monomials, batches of 4096. A step is timed whole, its kernels replayed as a CUDA graph and
launched one by one, and once with waits between its parts, which tells their shares. On a CPU it runs too, without
graphs.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.gauge.joint.method import JointFlowTraining
    from pipeline.gauge.joint.model import JointFlow

RECIPE = ("paper=pseudofermion/joint", "scale=paper", "train.method.evaluate_every=0")
TINY = ("system.length=4", "train.method.marginal.layers=1", "train.method.conditional.layers=2")
PARTS = ("gauge layers", "context nets", "parallel transports", "actions and solves")


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: what was timed.
        seconds: median over the repeats; of a share, forward pass of one chunk.
        gib: most that torch has reserved of the device, graphs included, GiB; 0 on a CPU.
    """

    name: str
    seconds: float
    gib: float


def measure(device: str, batch: int, chunk: int, repeats: int, size: str) -> list[Row]:
    """Whole steps by graphs and without, then the parts of a forward pass."""
    import torch

    from pipeline.stages.compose import compose_run
    from pipeline.stages.train import build_method

    words = [*RECIPE, f"train.method.batch={batch}", f"train.method.chunk={chunk}", f"device={device}"]
    run = compose_run([*words, *(TINY if size == "tiny" else ())])
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    rows = []
    for graphs in (True, False) if device == "cuda" else (False,):
        method: Any = build_method(run)
        if not graphs:
            method.graphs = None
        if device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        state = method.init(0)
        method.step(state, 0)
        wait()
        seconds = []
        for k in range(1, repeats + 1):
            begin = time.perf_counter()
            method.step(state, k)
            wait()
            seconds.append(time.perf_counter() - begin)
        name = "a step, replayed as a CUDA graph" if graphs else "a step, kernels launched one by one"
        rows.append(Row(name, statistics.median(seconds), _peak(device)))
        method.graphs = None  # which hold memory of their own
        parts = state.flow
        del state
    return rows + shares(method, parts, min(chunk, batch), wait)


def shares(method: JointFlowTraining, flow: JointFlow, batch: int, wait: Callable[[], None]) -> list[Row]:
    """The parts of the forward pass of one chunk, each waited for; their backward passes run the other way round."""
    import torch

    from pipeline.base.numbers.rng import torch_generator

    totals = dict.fromkeys(PARTS, 0.0)
    for number in range(2):  # the first one warms up
        generator = torch_generator(1, "benchmark.accelerator", number, method.device)
        with torch.enable_grad():
            marks = [_now(wait)]
            links, _ = flow.marginal.sample_with_log_prob(batch, generator)
            marks.append(_now(wait))
            bound = flow.conditional(links)
            marks.append(_now(wait))
            fields = tuple(model.sample(method.config.draws, generator)[0] for model in bound)
            marks.append(_now(wait))
            method.regulated.actions(links, fields)
            marks.append(_now(wait))
        totals = {name: after - before for name, before, after in zip(PARTS, marks, marks[1:], strict=False)}
    whole = sum(totals.values())
    return [Row(f"{name}: {value / whole:.0%} of a forward pass", value, 0.0) for name, value in totals.items()]


def _now(wait: Callable[[], None]) -> float:
    wait()
    return time.perf_counter()


def _peak(device: str) -> float:
    import torch

    return torch.cuda.max_memory_reserved() / 2**30 if device == "cuda" else 0.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table and write ``accelerator.csv``."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accelerator", description="a joint flow's step on a GPU"
    )
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--batch", type=int, default=4096, help="configurations of a step")
    parser.add_argument("--chunk", type=int, default=1024, help="of them in memory at a time")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--size", default="full", choices=("full", "tiny"))
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    options = parser.parse_args(arguments)
    rows = measure(options.device, options.batch, options.chunk, options.repeats, options.size)
    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / "accelerator.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(asdict(rows[0])))
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
    for row in rows:
        print(f"{row.name:60s} {row.seconds:9.3f} s {row.gib:7.2f} GiB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
