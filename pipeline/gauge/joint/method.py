"""Training of joint flows by reverse Kullback-Leibler divergence (Abbott et al. 2022, Section III B, Appendix B.1)."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.linalg import LinAlgError  # type: ignore[attr-defined]

from pipeline.base.config.nodes import TrainConfig
from pipeline.base.config.phases import AdamWConfig, Schedule
from pipeline.base.contracts import Record
from pipeline.base.descent import Adam, AdamW
from pipeline.base.errors import NonFiniteError
from pipeline.base.later import np
from pipeline.base.numbers.result import Result
from pipeline.base.numbers.rng import derive_seed, torch_generator
from pipeline.base.run.cuda_graph import GraphedGradients
from pipeline.gauge import observables
from pipeline.gauge.fermions.solver import ConjugateGradient, NotConverged
from pipeline.gauge.joint.conditional import exact_conditional, solved_applications
from pipeline.gauge.joint.model import JointFlow, WeightedSample, build_joint_flow, joint_kl, weighted_sample
from pipeline.gauge.joint.reinforce import score_function_kl
from pipeline.gauge.joint.schema import JointFlowConfig, JointInferConfig
from pipeline.gauge.joint.state import JointFlowState
from pipeline.gauge.joint.summary import kept, quality, summarise
from pipeline.gauge.pseudofermion.estimators import conditional_divergence
from pipeline.gauge.pseudofermion.loss import Gradient
from pipeline.gauge.pseudofermion.target import pseudofermion_target
from pipeline.gauge.systems import TwoFlavours

log = logging.getLogger(__name__)

ADVICE = (
    "try a smaller learning rate, train.method.gradient_clip, a larger train.method.preconditioning.regulator or "
    "train.dtype=float64"
)
"""Where updates fail."""

COLLAPSED, ENOUGH = 2.0, 100
"""Effective configurations of an evaluation at or below which one carries all weight, if it is of at least so many."""


class JointFlowTraining:
    """The trainable method (see :class:`pipeline.base.contracts.Method`).

    Args:
        system: two flavours.
        train: node with ``method`` (JointFlowConfig), ``optimizer``, ``phases`` and ``dtype``, of the networks.
        infer: amounts of the inference.
        device: torch device name.
    """

    def __init__(self, system: TwoFlavours, train: TrainConfig, infer: JointInferConfig, device: str) -> None:
        self.config: JointFlowConfig = train.method
        self.system, self.train, self.infer, self.device = system, train, infer, device
        self.dtype = getattr(torch, train.dtype)
        self.schedule = Schedule(train.optimizer, train.phases)
        preconditioning = self.config.preconditioning
        self.regulated = pseudofermion_target(system, preconditioning, regulated=True)
        self.target = pseudofermion_target(system, preconditioning, regulated=False)
        # Conjugate gradients end as they converge, which a graph cannot.
        graphs = torch.device(device).type == "cuda" and preconditioning.solver == "dense"
        self.graphs = GraphedGradients(self._loss) if graphs else None

    def init(self, seed: int) -> JointFlowState:
        """Random parameters, the same on every device."""
        flow = build_joint_flow(self.config, self.system, seed).to(self.device, self.dtype)
        return JointFlowState(seed, flow, self._optimizer(flow))

    def step(self, state: JointFlowState, k: int) -> dict[str, float]:
        """Update ``k`` of all parameters; one whose solves fail, or with NaN or infinity in it, is skipped.

        Returns:
            ``loss`` (D_KL(q‖p) - log Z of the regulated target), ``gradient`` (norm before clipping) of an update that
            was not skipped; ``lr``; ``skipped_steps`` so far; every ``evaluate_every`` updates, beginning with the
            first, the quality before the update, see :meth:`evaluate`.

        Raises:
            NonFiniteError: ``max_skipped`` skipped updates, one after the other, or all of a shorter training.
        """
        settings = self.schedule.at(k)
        for group in state.optimizer.param_groups:
            group["lr"] = settings.lr
        every = self.config.evaluate_every
        metrics = self.evaluate(state, k) if every and k % every == 0 else {}
        metrics |= self._update(state, k, settings.samples or self.config.batch)
        if state.skipped == k + 1 == self.train.steps:
            raise NonFiniteError(f"training: all {state.skipped} updates were skipped: nothing is trained; {ADVICE}")
        return metrics | {"lr": settings.lr, "skipped_steps": float(state.skipped)}

    def converged(self, state: JointFlowState) -> str | None:
        """All steps are run."""
        return None

    def evaluate(self, state: JointFlowState, k: int) -> dict[str, float]:
        """Quality from fresh samples with one draw each, without the regulator.

        Returns:
            ``joint_ess`` (Eq. 15) and ``joint_kl``; where L allows for determinants ``marginal_ess``,
            ``marginal_kl`` and ``conditional_kl``, the mean over links of Σ_i D_KL(q(φ_i|U)‖p(φ_i|U)). Nothing where
            solves fail or weights are not finite.
        """
        generator = torch_generator(state.seed, "joint flow evaluation", k, self.device)
        exact = self.system.length <= self.config.exact_length
        try:
            found = self._sample(state.flow, self.config.evaluate_configurations, 1, generator, exact)
        except (NotConverged, LinAlgError) as error:
            log.warning("quality before step %d unknown: %s", k, error)
            return {}
        log_gauge, log_ratios = found.log_gauge.cpu().numpy(), found.log_ratios.cpu().numpy()
        metrics = quality("joint", log_gauge + log_ratios.sum(axis=(0, 2)))
        self._look_for_collapse(metrics, k)
        if found.log_marginal is not None:
            log_marginal = found.log_marginal.cpu().numpy()
            metrics |= quality("marginal", log_marginal)
            each = conditional_divergence(log_marginal - log_gauge, log_ratios, found.log_volume)
            metrics |= {"conditional_kl": float(each.mean())} if np.isfinite(each).all() else {}
        return metrics

    def _look_for_collapse(self, metrics: dict[str, float], k: int) -> None:
        """Warn where the second half of a training still has next to no overlap with its target."""
        drawn = self.config.evaluate_configurations
        effective = metrics.get("joint_ess", 1.0) * drawn
        if effective <= COLLAPSED and drawn >= ENOUGH and 2 * k >= self.train.steps:
            log.warning(
                "before step %d %d configurations are worth %.1f: the effective sample size has collapsed; %s",
                k,
                drawn,
                effective,
                "try longer training, a smaller learning rate, gradient_clip, or a Hasenbusch step more",
            )

    def measure(self, state: JointFlowState, k: int) -> Record:
        """Batch ``k`` of weighted configurations.

        Returns:
            ``log_gauge``, (batch,), and ``log_ratios``, (monomials, batch, draws), see
            :class:`pipeline.gauge.joint.model.WeightedSample`; ``log_marginal``, (batch,), with exact determinants
            where L allows for it; ``plaquette`` and, for U(1), ``topological_charge``, (batch,); if wanted
            ``correlator``, C(x_0) of Eq. C3 with the source at time 0, (batch,); of the first ``spectra``
            configurations what :func:`pipeline.gauge.joint.conditional.exact_conditional` finds, and
            ``dirac_applications``, those of one draw by conjugate gradients, (spectra,), unless they do not converge;
            ``volume``, ``log_volume`` of the fields, and the ``seed`` of the inference; ``metropolis``, whether a chain
            is wanted; ``skipped_steps`` of the training, if there are any.

        Raises:
            NotConverged: by conjugate gradients; weights cannot leave such configurations out.
            NonFiniteError: a weight is NaN or infinite.
        """
        infer = self.infer
        generator = torch_generator(infer.seed, "joint flow inference", k, self.device)
        exact = self.system.length <= infer.exact_length
        found = self._sample(state.flow, infer.configurations, infer.draws, generator, exact)
        record: dict[str, Any] = {
            "log_gauge": found.log_gauge.cpu().numpy(),
            "log_ratios": found.log_ratios.cpu().numpy(),
        }
        if found.log_marginal is not None:
            record["log_marginal"] = found.log_marginal.cpu().numpy()
        if not all(torch.from_numpy(value).isfinite().all() for value in record.values()):
            raise NonFiniteError(f"inference: weights of batch {k} are not finite; try train.dtype=float64")
        record |= observables.gauge_observables(found.links, self.system)
        if infer.correlator_time is not None:
            measured = observables.fermion_observables(
                found.links, self.system, correlator=True, condition_numbers=False
            )
            record["correlator"] = measured["correlator_from_zero"][:, infer.correlator_time]
        if infer.spectra:
            record |= self._of_some(state.flow, found.links[: infer.spectra], k)
        record |= {"volume": self.system.size, "log_volume": found.log_volume}
        record |= {"skipped_steps": state.skipped} if state.skipped else {}
        return record | {"seed": infer.seed, "metropolis": int(infer.metropolis)}

    def _of_some(self, flow: JointFlow, links: Tensor, k: int) -> Record:
        """What costs too much, or says enough, to be found of all configurations of batch ``k``."""
        preconditioning = self.config.preconditioning
        solver = ConjugateGradient(preconditioning.tolerance, preconditioning.max_iterations)
        generator = torch_generator(self.infer.seed, "applications of the Dirac operator", k, self.device)
        found = dict(exact_conditional(flow, self.target, links))
        try:
            return found | {"dirac_applications": solved_applications(flow, self.target, links, solver, generator)}
        except NotConverged as error:
            log.warning("applications of the Dirac operator are not counted: %s", error)
            return found

    def summarise(self, records: Sequence[Record]) -> Result:
        """Reweighted observables and the quality of the model, see :func:`pipeline.gauge.joint.summary.summarise`."""
        return summarise(records)

    def ensemble(self, record: Record) -> dict[str, Any]:
        """Observables and log weights of configurations; see :func:`pipeline.gauge.joint.summary.kept`."""
        return kept(record)

    def _sample(
        self, flow: JointFlow, batch: int, draws: int, generator: torch.Generator, exact: bool
    ) -> WeightedSample:
        return weighted_sample(flow, self.target, self.system, batch, draws, generator, exact)

    def _update(self, state: JointFlowState, k: int, batch: int) -> dict[str, float]:
        try:
            loss = self._backward(state, k, batch)
        except (NotConverged, LinAlgError) as error:
            return self._skip(state, k, str(error))
        limit = math.inf if self.config.gradient_clip is None else self.config.gradient_clip
        norm = float(nn.utils.clip_grad_norm_(state.flow.parameters(), limit))
        if not (math.isfinite(loss) and math.isfinite(norm)):
            return self._skip(state, k, "loss or gradient not finite")
        state.optimizer.step()
        state.skipped_in_a_row = 0
        return {"loss": loss, "gradient": norm}

    def _backward(self, state: JointFlowState, k: int, batch: int) -> float:
        """Gradients of the loss, a chunk at a time; its value."""
        parts, purpose = [(part, part / batch) for part in self.config.parts(batch)], "joint flow training"
        if self.graphs is not None:
            found = self.graphs.add(state.flow, parts, derive_seed(state.seed, purpose, k))
            if found is not None:
                return found
        generator = torch_generator(state.seed, purpose, k, self.device)
        state.optimizer.zero_grad()
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        for part in parts:
            loss = self._loss(state.flow, *part)(generator)
            loss.backward()
            total += loss.detach()
        return float(total)

    def _loss(self, flow: JointFlow, size: int, share: float) -> Callable[[torch.Generator], Tensor]:
        """``share`` of the loss over ``size`` configurations."""

        def loss(generator: torch.Generator) -> Tensor:
            arguments = flow, self.regulated, self.system, size, self.config.draws, generator
            if self.config.gradient == "reinforce":
                return share * score_function_kl(*arguments)
            return share * joint_kl(*arguments, cast("Gradient", self.config.gradient))

        return loss

    def _skip(self, state: JointFlowState, k: int, why: str) -> dict[str, float]:
        state.optimizer.zero_grad()
        state.skipped += 1
        state.skipped_in_a_row += 1
        if state.skipped_in_a_row >= self.config.max_skipped:
            raise NonFiniteError(
                f"training: {state.skipped_in_a_row} updates skipped in a row, the last one step {k}: {why}; {ADVICE}"
            )
        log.warning("step %d skipped: %s", k, why)
        return {}

    def _optimizer(self, flow: JointFlow) -> torch.optim.Optimizer:
        config = self.train.optimizer
        options = {name: value for name, value in vars(config).items() if name != "name"}
        kind = AdamW if isinstance(config, AdamWConfig) else Adam
        return kind(flow.parameters(), **options)
