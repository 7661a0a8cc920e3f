"""What changes during a training and an inference of variational Monte Carlo."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from pipeline.base.config.phases import Schedule, StepSettings
from pipeline.base.contracts import State
from pipeline.spin.ansatz.build import share_parameters
from pipeline.spin.optimizers import build_optimizer
from pipeline.spin.wave_function import WaveFunction


class VMCState:
    """Ansatz, optimizer and its moments, samplers of training and of inference, rejected steps.

    Args:
        seed: of the training.
        ansatz: initialised network, projected on no symmetries.
        schedule: knows the optimizers and projections of all phases.
        start: from ``seed`` and the number of a system of the schedule, the state of the training's sampler before its
            first batch there.
        start_inference: that of the inference's sampler.

    Attributes:
        sampling: what the training's sampler carries on (chains), on the system ``system_number``.
        projection_number: of the schedule, in the step before; the state is ``ansatz`` with this projection.
        inference: the same of the inference; None before its first batch.
    """

    def __init__(
        self,
        seed: int,
        ansatz: WaveFunction,
        schedule: Schedule,
        start: Callable[[int, int], State],
        start_inference: Callable[[], State],
    ) -> None:
        self.seed, self.ansatz = seed, ansatz
        self.rejected = self.rejected_in_a_row = 0
        self._schedule, self._start, self._start_inference = schedule, start, start_inference
        self.move_to(0)
        self.projection_number = schedule.at(0).projection
        self.inference: State | None = None
        self._elsewhere: dict[int, WaveFunction] = {}
        self._views: dict[tuple[int, int], tuple[WaveFunction, WaveFunction]] = {}
        self._use(0)

    def prepare(self, settings: StepSettings) -> None:
        """Put learning rate and projection of a step in place; a phase's own optimizer starts with fresh moments."""
        self.projection_number = settings.projection
        if settings.optimizer != self.optimizer_number:
            self._use(settings.optimizer)
        for group in self.optimizer.param_groups:
            group["lr"] = settings.lr

    def view(
        self, number: int, build: Callable[[], WaveFunction], project: Callable[[WaveFunction], WaveFunction]
    ) -> WaveFunction:
        """The ansatz on the system ``number`` of the schedule, with the projection that is in place.

        The same parameters, whatever the number of sites and the projection.

        Args:
            number: of the system.
            build: the unprojected ansatz there, whatever its parameters.
            project: puts the projection around it.
        """
        base = self.ansatz
        if number:
            if number not in self._elsewhere:
                self._elsewhere[number] = share_parameters(build(), self.ansatz)
            base = self._elsewhere[number]
        key = (number, self.projection_number)
        if self._views.get(key, (None, base))[0] is not base:
            self._views[key] = (base, project(base))
        return self._views[key][1]

    def move_to(self, number: int, keep_sampler: bool = False) -> None:
        """Train on the system ``number`` from here on: its sampler starts anew, or goes on from where it is."""
        self.system_number = number
        if not keep_sampler:
            self.sampling = self._start(self.seed, number)

    def begin_inference(self, go_on: bool) -> State:
        """State of the inference's sampler: where the training left it, or anew."""
        self.inference = self._start_inference()
        if go_on:
            # optimizers keep the tensors that they are given, and what an inference learns must not reach the training
            self.inference.load_state_dict(copy.deepcopy(self.sampling.state_dict()))
        return self.inference

    def _use(self, number: int) -> None:
        self.optimizer_number = number
        self.optimizer = build_optimizer(self._schedule.optimizers[number], self.ansatz.parameters())

    def state_dict(self) -> dict[str, Any]:
        return {
            "ansatz": self.ansatz.state_dict(),
            "optimizer_number": self.optimizer_number,
            "system_number": self.system_number,
            "projection_number": self.projection_number,
            "optimizer": self.optimizer.state_dict(),
            "chains": self.sampling.state_dict(),
            "inference_chains": None if self.inference is None else self.inference.state_dict(),
            "rejected": self.rejected,
            "rejected_in_a_row": self.rejected_in_a_row,
        }

    def load_state_dict(self, tree: dict[str, Any]) -> None:
        self.ansatz.load_state_dict(tree["ansatz"])
        self.move_to(tree["system_number"])
        # states of before there were projections have none
        self.projection_number = tree.get("projection_number", 0)
        self.sampling.load_state_dict(tree["chains"])
        self.inference = None
        if tree["inference_chains"] is not None:
            self.begin_inference(go_on=False).load_state_dict(tree["inference_chains"])
        self._use(tree["optimizer_number"])
        self.optimizer.load_state_dict(tree["optimizer"])
        self.rejected, self.rejected_in_a_row = tree["rejected"], tree["rejected_in_a_row"]
