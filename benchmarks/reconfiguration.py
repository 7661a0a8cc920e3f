"""``python -m benchmarks.reconfiguration``: seconds and peak memory of a step of SR against parameters and samples.

Dense log-derivatives and those that are added up layer by layer, on a stack of residual blocks over 16 tokens with a
complex log ψ: each point in a process of its own, with power laws fitted to the points of each line.
"""

from __future__ import annotations

import argparse
import csv
import math
import multiprocessing
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.base.run.memory import PeakMemory

KINDS = ("dense", "layerwise")
TOKENS, SITES = 16, 64
FIELDS = ("kind", "line", "parameters", "samples", "seconds", "peak_bytes")

SIZES = {
    "tiny": ((4, 8), (8, 16), 8, 8),
    "small": ((16, 24, 36, 54), (128, 256, 512), 256, 24),
    "full": ((36, 54, 80, 120), (512, 1024, 2048, 4096), 1024, 54),
}
"""Widths of the network, numbers of samples, and the samples and the width that stay while the other changes."""


@dataclass(frozen=True)
class Point:
    """One measurement.

    Attributes:
        kind: dense or layerwise.
        line: what changes along it, parameters or samples.
        parameters, samples: P and M; log ψ is complex, so that R = 2M.
        seconds: of a warm step, median, wall clock.
        peak_bytes: of all steps, on top of what the process holds after its imports.
    """

    kind: str
    line: str
    parameters: int
    samples: int
    seconds: float
    peak_bytes: int


def network(width: int) -> Any:
    """Four residual blocks of two linear layers, d → 2d → d, with norms, and a complex head."""
    import torch
    from torch import Tensor, nn

    from pipeline.spin.wave_function import WaveFunction

    class Stack(WaveFunction):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.head = nn.Linear(SITES // TOKENS, width), nn.Linear(width, 2 * width)
            self.blocks = nn.ModuleList(
                nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
                for _ in range(4)
            )

        def log_amplitude(self, spins: Tensor) -> Tensor:
            x = self.embedding(spins.to(self.head.weight.dtype).view(-1, TOKENS, SITES // TOKENS))
            for block in self.blocks:
                x = x + block(x)
            values = torch.tanh(self.head(x.mean(1))).view(-1, 2, width).sum(2)
            return torch.complex(values[:, 0], values[:, 1])

    torch.manual_seed(0)
    return Stack()


def measure(kind: str, line: str, width: int, samples: int, repeats: int, threads: int) -> Point:
    """A cold step of SR and ``repeats`` warm ones, in float32 as in training."""
    import torch

    from pipeline.spin.chunks import Chunks
    from pipeline.spin.sr.choice import derivatives_of
    from pipeline.spin.sr.optimizer import StochasticReconfiguration

    torch.set_num_threads(threads)
    ansatz = network(width)
    generator = torch.Generator().manual_seed(0)
    spins = (2 * torch.randint(0, 2, (samples, SITES), generator=generator) - 1).to(torch.int8)
    weights = torch.full((samples,), 1 / samples, dtype=torch.float64)
    target = torch.randn(2 * samples, generator=generator, dtype=torch.float64) / samples
    sr = StochasticReconfiguration(ansatz.parameters(), 1e-3, 1e-2, 0.9, 0.1)
    chunks, seconds = Chunks(None), []
    # what the first use of vmap loads is no part of a step
    derivatives_of(kind, ansatz, spins[:2], weights[:2], chunks).gram()
    memory = PeakMemory()
    for _ in range(1 + repeats):
        begin = time.perf_counter()
        sr.step(derivatives_of(kind, ansatz, spins, weights, chunks), target)
        seconds.append(time.perf_counter() - begin)
    parameters = sum(p.numel() for p in ansatz.parameters())
    return Point(kind, line, parameters, samples, statistics.median(seconds[1:]), memory.bytes())


def exponent(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """b of y ∝ x^b by least squares in logarithms, and its standard error; NaN where there are too few points."""
    a, b = [math.log(v) for v in x], [math.log(max(v, 1e-300)) for v in y]
    if len(set(a)) < 2:
        return math.nan, math.nan
    slope, intercept = statistics.linear_regression(a, b)
    if len(a) < 3:
        return slope, math.nan
    rest = sum((q - slope * p - intercept) ** 2 for p, q in zip(a, b, strict=True))
    spread = sum((p - statistics.fmean(a)) ** 2 for p in a)
    return slope, math.sqrt(rest / (len(a) - 2) / spread)


def text(points: Sequence[Point], threads: int) -> str:
    """A table in Markdown, and the exponents."""
    rows = ["| log-derivatives | P | M | seconds a step | peak memory (MB) |", "| --- | --- | --- | --- | --- |"]
    for p in points:
        rows.append(f"| {p.kind} | {p.parameters} | {p.samples} | {p.seconds:.3g} | {p.peak_bytes / 1e6:.0f} |")
    rows += ["", "| log-derivatives | against | exponent of the seconds | of the memory |", "| --- | --- | --- | --- |"]
    for kind in KINDS:
        for line in ("parameters", "samples"):
            some = [p for p in points if (p.kind, p.line) == (kind, line)]
            x = [float(getattr(p, line)) for p in some]
            fits = [exponent(x, y) for y in ([p.seconds for p in some], [float(p.peak_bytes) for p in some])]
            cells = " | ".join(f"{slope:.2f} ± {error:.2f}" for slope, error in fits)
            rows.append(f"| {kind} | {line} | {cells} |")
    title = f"# A step of stochastic reconfiguration: {threads} threads, float32, complex log ψ\n"
    return "\n".join([title, *rows, ""])


def run(size: str, repeats: int, threads: int) -> list[Point]:
    """All points of a size, each measured in a fresh process."""
    widths, counts, samples, width = SIZES[size]
    lines = [("parameters", w, samples) for w in widths] + [("samples", width, m) for m in counts]
    points = []
    for line, w, m in lines:
        for kind in KINDS:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                points.append(pool.apply(measure, (kind, line, w, m, repeats, threads)))
    return points


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and write ``reconfiguration.md`` and ``.csv``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reconfiguration", description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--repeats", type=int, default=3, help="warm steps")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    given = parser.parse_args(arguments)
    points = run(given.size, given.repeats, given.threads)
    given.out.mkdir(parents=True, exist_ok=True)
    with open(given.out / "reconfiguration.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        writer.writerows({name: getattr(point, name) for name in FIELDS} for point in points)
    written = text(points, given.threads)
    (given.out / "reconfiguration.md").write_text(written)
    print(written)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
