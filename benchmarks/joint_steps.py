"""Whole steps of the training of a joint flow, ours and as :mod:`benchmarks.eager_flow` has them: samples to update."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from benchmarks.contract import Work

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from benchmarks.eager_flow import EagerJointFlow
    from pipeline.gauge.joint.method import JointFlowTraining
    from pipeline.gauge.joint.model import JointFlow

GAUGE, CONTEXT, TRANSPORT, SOLVE, OPTIMISER = "gauge layers", "context", "transport", "action and solve", "optimizer"
"""Parts of a step, gradients included."""

Loss = Callable[["torch.Generator", "Marks"], "Tensor"]


class Marks:
    """When the parts of a forward pass began, and when its backward pass reached them."""

    def __init__(self) -> None:
        self.forward: list[float] = []
        self.backward: list[float] = []

    def now(self) -> None:
        """A part of the forward pass begins, or the last one ends."""
        self.forward.append(time.perf_counter())

    def reached(self, tensor: Tensor) -> Tensor:
        """Note the time at which the gradient of a tensor is complete."""
        if tensor.requires_grad:
            tensor.register_hook(lambda _: self.backward.append(time.perf_counter()))
        return tensor

    def seconds(self, begin: float, end: float, update: float) -> dict[str, float]:
        """Of each part: forward pass, and in reverse order the backward pass, from ``begin`` to ``end``."""
        there = [b - a for a, b in itertools.pairwise(self.forward)]
        marks = [begin, *self.backward[:3], end]
        back = [b - a for a, b in itertools.pairwise(marks)][::-1]
        totals = [a + b for a, b in zip(there, back, strict=True)]
        return dict(zip((GAUGE, CONTEXT, TRANSPORT, SOLVE, OPTIMISER), [*totals, update], strict=True))


def training(length: int, batch: int, gauge_layers: int, layers: int) -> JointFlowTraining:
    """Even/odd preconditioning without Hasenbusch steps on the Schwinger model of the paper; all else its recipe."""
    from pipeline.gauge.joint.method import JointFlowTraining
    from pipeline.stages.compose import compose_run

    words = ["scale=paper", f"system.length={length}", f"train.method.batch={batch}", "train.method.chunk=null"]
    words += [f"train.method.marginal.layers={gauge_layers}", f"train.method.conditional.layers={layers}"]
    run = compose_run(["paper=pseudofermion/joint_even_odd", *words])
    return JointFlowTraining(run.system, run.train, run.infer, "cpu")


def our_loss(method: JointFlowTraining, flow: JointFlow) -> Loss:
    """:func:`pipeline.gauge.joint.model.joint_kl` of the reparametrised gradient, with marks between its parts."""
    from pipeline.gauge.action import wilson_action
    from pipeline.gauge.flow.weights import reverse_kl

    def loss(generator: torch.Generator, marks: Marks) -> Tensor:
        marks.now()
        links, log_q = flow.marginal.sample_with_log_prob(method.config.batch, generator)
        gauge = reverse_kl(-wilson_action(flow.marginal.group, method.system.beta).value(links), log_q)
        marks.now()
        (bound,) = flow.conditional(marks.reached(links))
        marks.now()
        # The first layer is the last one that the backward pass reaches.
        marks.reached(bound.couplings[0].outer if bound.couplings[0].inner is None else bound.couplings[0].inner)
        fields, log_q_fields = bound.sample(method.config.draws, generator)
        marks.now()
        actions = method.regulated.actions(links, (marks.reached(fields),))
        total: Tensor = gauge + (actions[0] + log_q_fields).mean()
        marks.now()
        return total

    return loss


def eager_loss(method: JointFlowTraining, flow: EagerJointFlow) -> Loss:
    """The same from the same random numbers, in plain complex tensors."""
    import torch

    from benchmarks.eager_flow import pseudofermion_action
    from pipeline.gauge import u1

    config, system = method.config, method.system
    target, even_odd = config.preconditioning, config.preconditioning.even_odd

    def loss(generator: torch.Generator, marks: Marks) -> Tensor:
        marks.now()
        links, log_q = flow.sample_links(u1.random_links(config.batch, system.length, generator))
        theta_0, theta_1 = links[:, 0], links[:, 1]
        angle = theta_0 + theta_1.roll(-1, dims=1) - theta_0.roll(-1, dims=2) - theta_1
        gauge = (log_q - system.beta * angle.cos().sum(dim=(1, 2))).mean()
        marks.now()
        coefficients = flow.coefficients(marks.reached(links))
        marks.now()
        marks.reached(coefficients[0])
        shape = (config.batch, config.draws, len(flow.sites), 2, 1)
        dtype = next(flow.parameters()).dtype.to_complex()
        base = torch.randn(shape, dtype=dtype, generator=generator)[..., 0]
        fields, log_q_fields = flow.sample_fields(links, base, coefficients)
        marks.now()
        action = pseudofermion_action(links, marks.reached(fields), system.kappa, target.regulator, even_odd)
        total: Tensor = gauge + (action + log_q_fields).mean()
        marks.now()
        return total

    return loss


def contenders(method: JointFlowTraining) -> dict[str, tuple[Any, Loss]]:
    """Both models with the same weights, and their losses."""
    from benchmarks.eager_flow import EagerJointFlow

    flow, config = method.init(0).flow, method.config
    partition = tuple(config.conditional.partition)
    eager = EagerJointFlow(flow, method.system.length, config.preconditioning.even_odd, partition)
    return {"ours": (flow, our_loss(method, flow)), "eager": (eager, eager_loss(method, eager))}


def step(name: str, length: int, batch: int, gauge_layers: int, layers: int) -> Work:
    """One update with the paper's optimizer and clipping.

    Args:
        name: ``ours`` or ``eager``.
        length: L.
        batch: configurations.
        gauge_layers: of q(U).
        layers: of q(φ|U).
    """
    from pipeline.base.run.memory import keep_freed_memory

    keep_freed_memory()  # as every run does
    # Compilation is no part of the memory of a step.
    _update(training(4, 1, 1, 2), name)()
    method = training(length, batch, gauge_layers, layers)
    parameters = sum(p.numel() for p in method.init(0).flow.parameters())
    return Work(_update(method, name), parameters, None)


def _update(method: JointFlowTraining, name: str) -> Callable[[], dict[str, float]]:
    import torch

    from pipeline.base.descent import AdamW
    from pipeline.base.numbers.rng import torch_generator

    model, loss_of = contenders(method)[name]
    settings = method.train.optimizer
    options = {"lr": settings.lr, "betas": tuple(settings.betas), "eps": settings.eps}
    options["weight_decay"] = settings.weight_decay
    optimizer = (AdamW if name == "ours" else torch.optim.AdamW)(model.parameters(), **options)
    steps = itertools.count()

    def run() -> dict[str, float]:
        marks, generator = Marks(), torch_generator(1, "benchmark.joint", next(steps))
        optimizer.zero_grad()
        loss = loss_of(generator, marks)
        begin = time.perf_counter()
        loss.backward()
        end = time.perf_counter()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), method.config.gradient_clip or float("inf"))
        assert norm.isfinite()
        optimizer.step()
        return marks.seconds(begin, end, time.perf_counter() - end)

    return run
