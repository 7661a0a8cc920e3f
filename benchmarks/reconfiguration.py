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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.base.plotting import PAGE, new_figure, save_figure
from pipeline.base.run.memory import PeakMemory

KINDS = ("dense", "layerwise")
LINES = ("parameters", "samples")
VALUES = ("cpu_seconds", "peak_bytes")
TOKENS, SITES = 16, 64
FIELDS = ("kind", "line", "parameters", "samples", "seconds", "cpu_seconds", "peak_bytes")

SIZES = {
    "tiny": ((4, 8), (8, 16), 8, 8, None),
    "small": ((16, 24, 36, 54), (128, 256, 512), 256, 24, None),
    "full": ((24, 36, 54, 80), (256, 512, 1024, 2048), 512, 36, (93, 4096)),
}
"""Widths of the network, numbers of samples, the samples and the width that stay while the other changes, and width and
samples of one point that only the layers are asked for, in a single step."""

LARGEST_DENSE = 2 * 2**30
"""Bytes of X in double precision up to which it is held: a step takes several times as much."""

COMPLEX = 16
"""Bytes of an element of a Jacobian in complex128."""


@dataclass(frozen=True)
class Point:
    """One measurement.

    Attributes:
        kind: dense or layerwise.
        line: what changes along it, parameters or samples; ``largest`` for a point by itself.
        parameters, samples: P and M; log ψ is complex, so that R = 2M.
        seconds: of a warm step, median, wall clock; of the cold one where there is no other.
        cpu_seconds: the same of all cores, which what else a machine does hardly changes.
        peak_bytes: of all steps, on top of what the process holds after its imports.
    """

    kind: str
    line: str
    parameters: int
    samples: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int

    @property
    def jacobian_bytes(self) -> int:
        """Of a dense Jacobian in complex128, (M, P)."""
        return COMPLEX * self.samples * self.parameters


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
    sr = StochasticReconfiguration(ansatz.parameters(), lr=1e-3, shift=1e-2, momentum=0.9, max_distance=0.1)
    chunks, wall, cpu = Chunks(None), [], []
    # what the first use of vmap loads is no part of a step
    derivatives_of(kind, ansatz, spins[:2], weights[:2], chunks).gram()
    memory = PeakMemory()
    for _ in range(1 + repeats):
        begin, used = time.perf_counter(), time.process_time()
        sr.step(derivatives_of(kind, ansatz, spins, weights, chunks, shift=sr.shift), target)
        wall.append(time.perf_counter() - begin)
        cpu.append(time.process_time() - used)
    seconds, used = statistics.median(wall[1:] or wall), statistics.median(cpu[1:] or cpu)
    parameters = sum(p.numel() for p in ansatz.parameters())
    return Point(kind, line, parameters, samples, seconds, used, memory.bytes())


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
    columns = (
        "log-derivatives",
        "P",
        "M",
        "seconds a step",
        "CPU seconds",
        "peak memory (MB)",
        "of a complex128 Jacobian",
    )
    rows = [f"| {' | '.join(columns)} |", "| " + " | ".join(["---"] * len(columns)) + " |"]
    for p in points:
        memory = f"{p.peak_bytes / 1e6:.0f} | {p.peak_bytes / p.jacobian_bytes:.2f}"
        rows.append(f"| {p.kind} | {p.parameters} | {p.samples} | {p.seconds:.3g} | {p.cpu_seconds:.3g} | {memory} |")
    rows += [
        "",
        "| log-derivatives | against | exponent of the CPU seconds | of the memory |",
        "| --- | --- | --- | --- |",
    ]
    for kind in KINDS:
        for line in LINES:
            fits = [exponent(*curve(points, kind, line, value)) for value in VALUES]
            cells = " | ".join(f"{slope:.2f} ± {error:.2f}" for slope, error in fits)
            rows.append(f"| {kind} | {line} | {cells} |")
    counted = f"{threads} thread" + ("s" if threads > 1 else "")
    title = f"# A step of stochastic reconfiguration: {counted}, float32, complex log ψ\n"
    notes = [
        "",
        "- Layer by layer the Gram matrix (2M × 2M, float64) and a slab of derivatives are held, never those of all "
        "parameters.",
        "- Wall seconds grow with what else the machine does, CPU seconds hardly. The largest point is one cold step.",
        "- Exponents of power laws through all points of a line, errors by their scatter; the cost is a sum of powers, "
        "and the exponents are those of this range.",
    ]
    return "\n".join([title, *rows, *notes, ""])


def curve(points: Sequence[Point], kind: str, line: str, value: str) -> tuple[list[float], list[float]]:
    """Sizes and values of the points of a line."""
    some = [p for p in points if (p.kind, p.line) == (kind, line)]
    return [float(getattr(p, line)) for p in some], [float(getattr(p, value)) for p in some]


def draw(points: Sequence[Point], path: Path) -> list[Path]:
    """CPU seconds and peak memory against parameters and samples, with the power laws; ``path`` without a suffix."""
    figure, axes = new_figure(PAGE, 4.8, rows=2, columns=2)
    labels = {"cpu_seconds": ("CPU seconds a step", 1.0), "peak_bytes": ("peak memory (MB)", 1e-6)}
    for row, line in zip(axes, LINES, strict=True):
        for panel, value in zip(row, VALUES, strict=True):
            label, unit = labels[value]
            for number, kind in enumerate(KINDS):
                x, y = curve(points, kind, line, value)
                if x:
                    slope, error = exponent(x, y)
                    scaled = [unit * v for v in y]
                    panel.plot(x, scaled, "o-", color=f"C{number}", label=f"{kind}: {slope:.2f} ± {error:.2f}")
            panel.set(xscale="log", yscale="log", xlabel="parameters P" if line == "parameters" else "samples M")
            panel.set_ylabel(label)
            sizes = sorted({getattr(p, line) for p in points if p.line == line})
            panel.xaxis.minorticks_off()
            panel.set_xticks(sizes, [f"{size:,}" for size in sizes])
            if panel.lines:
                panel.legend(fontsize=7, title="exponent", title_fontsize=7)
    return save_figure(figure, path)


def run(size: str, repeats: int, threads: int) -> Iterator[Point]:
    """All points of a size, each measured in a fresh process."""
    widths, counts, samples, width, largest = SIZES[size]
    lines = [("parameters", w, samples) for w in widths] + [("samples", width, m) for m in counts]
    # first, for what it takes is what may not be there
    lines = [("largest", *largest), *lines] if largest else lines
    for line, w, m in lines:
        for kind in KINDS:
            if kind == "dense" and COMPLEX * m * _parameters(w) > LARGEST_DENSE:
                continue
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                yield pool.apply(measure, (kind, line, w, m, 0 if line == "largest" else repeats, threads))


def _parameters(width: int) -> int:
    """P of the network."""
    return 18 * width**2 + 27 * width


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write ``reconfiguration.md`` and ``.csv``, and draw them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reconfiguration", description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--repeats", type=int, default=3, help="warm steps")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    given = parser.parse_args(arguments)
    points: list[Point] = []
    given.out.mkdir(parents=True, exist_ok=True)
    for point in run(given.size, given.repeats, given.threads):
        points.append(point)
        # what is there is kept if the rest is interrupted
        with open(given.out / "reconfiguration.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, FIELDS)
            writer.writeheader()
            writer.writerows({name: getattr(point, name) for name in FIELDS} for point in points)
    written = text(points, given.threads)
    (given.out / "reconfiguration.md").write_text(written)
    draw(points, given.out / "reconfiguration")
    print(written)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
