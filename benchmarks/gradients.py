"""``python -m benchmarks.gradients``: noise of the three gradients of a joint flow, and what averaging it away costs.

Along one training of the laptop recipe with even/odd preconditioning, every estimator is asked for gradients at the
same parameters from the same random numbers. Noise is the trace of their covariance; to reach a given error an
estimator takes as many seconds as its variance times the seconds of one gradient, which is what decides.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pipeline.gauge.joint.schema import GRADIENTS

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.gauge.joint.method import JointFlowTraining
    from pipeline.gauge.joint.state import JointFlowState

RECIPE = "paper=pseudofermion/joint_even_odd"

SIZES: dict[str, tuple[Sequence[str], Sequence[int], int]] = {
    "tiny": (
        ("train.method.batch=4", "train.method.conditional.layers=2", "train.method.marginal.layers=1"),
        (0, 1),
        3,
    ),
    "full": ((), (0, 100, 400), 24),
}
"""What is changed of the recipe, after how many updates gradients are taken, and how many of them."""


@dataclass(frozen=True)
class Noise:
    """One estimator at one state of the training.

    Attributes:
        updates: before.
        gradient: name of the estimator.
        norm: of the mean gradient, of all repeats.
        variance: trace of the covariance of one gradient.
        seconds: of one, median, of the CPU.
        cost: variance times seconds.
    """

    updates: int
    gradient: str
    norm: float
    variance: float
    seconds: float
    cost: float


def training(changed: Sequence[str]) -> JointFlowTraining:
    """The laptop recipe."""
    from pipeline.gauge.joint.method import JointFlowTraining
    from pipeline.stages.compose import compose_run

    run = compose_run([RECIPE, "scale=laptop", "train.method.evaluate_every=0", *changed])
    return JointFlowTraining(run.system, run.train, cast("Any", run.infer), "cpu")


def gradient(method: JointFlowTraining, state: JointFlowState, name: str, k: int) -> Tensor:
    """Of all parameters, flat, from batch ``k``."""
    import torch

    from pipeline.base.numbers.rng import torch_generator
    from pipeline.gauge.joint.model import joint_kl
    from pipeline.gauge.joint.reinforce import score_function_kl

    config, generator = method.config, torch_generator(3, "benchmark.gradients", k)
    arguments = state.flow, method.regulated, method.system, config.batch, config.draws, generator
    loss = score_function_kl(*arguments) if name == "reinforce" else joint_kl(*arguments, cast("Any", name))
    found = torch.autograd.grad(loss, list(state.flow.parameters()), materialize_grads=True)
    return torch.cat([part.flatten() for part in found]).double()


def noise(method: JointFlowTraining, state: JointFlowState, updates: int, name: str, repeats: int) -> Noise:
    """From ``repeats`` independent batches."""
    import torch

    seconds, found = [], []
    for k in range(repeats):
        begin = time.process_time()
        found.append(gradient(method, state, name, k))
        seconds.append(time.process_time() - begin)
    gradients = torch.stack(found)
    variance, middle = gradients.var(dim=0).sum().item(), statistics.median(seconds)
    return Noise(updates, name, gradients.mean(dim=0).norm().item(), variance, middle, variance * middle)


def run(size: str) -> list[Noise]:
    """All estimators at all states of one training."""
    changed, states, repeats = SIZES[size]
    method = training(changed)
    state, done, found = method.init(0), 0, []
    for updates in states:
        for k in range(done, updates):
            method.step(state, k)
        done = updates
        found += [noise(method, state, updates, name, repeats) for name in GRADIENTS]
    return found


def text(found: Sequence[Noise], repeats: int, threads: int) -> str:
    """A table in Markdown, with costs in units of the reparametrised gradient at the same state."""
    rows = ["| updates | gradient | norm of the mean | variance | seconds | variance × seconds | relative |"]
    rows.append("| ---: | --- | ---: | ---: | ---: | ---: | ---: |")
    unit = {one.updates: one.cost for one in found if one.gradient == GRADIENTS[0]}
    for one in found:
        numbers = (one.norm, one.variance, one.seconds, one.cost, one.cost / unit[one.updates])
        rows.append(f"| {one.updates} | {one.gradient} | " + " | ".join(f"{number:.3g}" for number in numbers) + " |")
    title = f"# Gradients of a joint flow: noise and its price, `{RECIPE}`, laptop scale\n"
    notes = [
        f"- Variances from {repeats} batches of the recipe, the same random numbers for all; {threads} thread(s), "
        "seconds of the CPU. Single batches with a small eigenvalue of D D† dominate the variances of those that "
        "differentiate the action.",
        "- reinforce: score function with the mean of the other configurations as control variate; needs no "
        "derivative of an action.",
        *_unsure(found, repeats),
    ]
    return "\n".join([title, *rows, "", *notes, ""])


def _unsure(found: Sequence[Noise], repeats: int) -> list[str]:
    """Updates after which a mean is not above its own error: few batches carry such variances."""
    loud = {one.updates for one in found if one.norm < 2.0 * (one.variance / repeats) ** 0.5}
    return [
        f"- After {updates} updates a mean is within two of its errors, the root of its variance over the batches: few "
        "of these carry the variances, and the ratios say nothing."
        for updates in sorted(loud)
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and write ``gradients.md`` and ``.csv``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gradients", description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    given = parser.parse_args(arguments)
    import torch

    torch.set_num_threads(given.threads)
    found = run(given.size)
    given.out.mkdir(parents=True, exist_ok=True)
    with open(given.out / "gradients.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(asdict(found[0])), lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(one) for one in found)
    written = text(found, SIZES[given.size][2], given.threads)
    (given.out / "gradients.md").write_text(written, encoding="utf-8")
    print(written)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
