"""Variational Monte Carlo (NF+NQS paper, Eqs. 4-6; NAQS paper, Eq. 6): any sampler, any ansatz with log ψ."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.base.config.components import implementation
from pipeline.base.config.nodes import TrainConfig
from pipeline.base.config.phases import Schedule, StepSettings
from pipeline.base.contracts import Record
from pipeline.base.errors import NonFiniteError
from pipeline.base.numbers.result import Result
from pipeline.base.numbers.rng import derive_seed
from pipeline.base.numbers.statistics import split_r_hat
from pipeline.spin.ansatz.build import build_ansatz, share_parameters
from pipeline.spin.chunks import Chunks
from pipeline.spin.hamiltonian import Hamiltonian
from pipeline.spin.optimizers import Optimizer, build_optimizer
from pipeline.spin.sampler.contract import Batch, Sampler, SamplerState
from pipeline.spin.sr.derivatives import log_derivatives
from pipeline.spin.sr.optimizer import StochasticReconfiguration
from pipeline.spin.symmetry.stoquastic import stoquastic_form
from pipeline.spin.systems import SpinSystem
from pipeline.spin.terms import PauliTerm, pauli_terms
from pipeline.spin.vmc.inference import Observables, record, summarise
from pipeline.spin.vmc.local_energy import local_energy
from pipeline.spin.vmc.schema import VMCConfig, VMCInferConfig
from pipeline.spin.wave_function import WaveFunction

log = logging.getLogger(__name__)

PURPOSE = "training samples"
"""Of the random numbers of every step's batch."""


class VMCState:
    """Ansatz, optimizer and its moments, chains of training and of inference, rejected steps.

    Args:
        seed: of the training.
        ansatz: initialised network.
        schedule: knows the optimizers of all phases.
        chains: state of the training's sampler.
    """

    def __init__(self, seed: int, ansatz: WaveFunction, schedule: Schedule, chains: SamplerState) -> None:
        self.seed, self.ansatz, self.chains = seed, ansatz, chains
        self.inference_chains: SamplerState | None = None
        self.rejected = self.rejected_in_a_row = 0
        self.system_number = 0
        self._schedule = schedule
        self._views: dict[int, WaveFunction] = {}
        self._use(0)

    def prepare(self, settings: StepSettings) -> None:
        """Put the learning rate of a step in place; a phase's own optimizer starts with fresh moments."""
        if settings.optimizer != self.optimizer_number:
            self._use(settings.optimizer)
        for group in self.optimizer.param_groups:
            group["lr"] = settings.lr

    def view(self, number: int, build: Callable[[], WaveFunction]) -> WaveFunction:
        """The ansatz on the system ``number`` of the schedule: the same parameters, whatever the number of sites."""
        if number == 0:
            return self.ansatz
        if number not in self._views:
            self._views[number] = share_parameters(build(), self.ansatz)
        return self._views[number]

    def _use(self, number: int) -> None:
        self.optimizer_number = number
        self.optimizer = build_optimizer(self._schedule.optimizers[number], self.ansatz.parameters())

    def state_dict(self) -> dict[str, Any]:
        return {
            "ansatz": self.ansatz.state_dict(),
            "optimizer_number": self.optimizer_number,
            "system_number": self.system_number,
            "optimizer": self.optimizer.state_dict(),
            "chains": self.chains,
            "inference_chains": self.inference_chains,
            "rejected": self.rejected,
            "rejected_in_a_row": self.rejected_in_a_row,
        }

    def load_state_dict(self, tree: dict[str, Any]) -> None:
        self.ansatz.load_state_dict(tree["ansatz"])
        self.system_number = tree["system_number"]
        self._use(tree["optimizer_number"])
        self.optimizer.load_state_dict(tree["optimizer"])
        self.chains, self.inference_chains = tree["chains"], tree["inference_chains"]
        self.rejected, self.rejected_in_a_row = tree["rejected"], tree["rejected_in_a_row"]


@dataclass(frozen=True)
class SystemParts:
    """A system that phases train on, with what belongs to its number of sites."""

    system: SpinSystem
    hamiltonian: Hamiltonian
    sampler: Sampler
    chunks: Chunks


class VariationalMonteCarlo:
    """The trainable method (see :class:`pipeline.base.contracts.Method`).

    Args:
        system: any spin system.
        train: node with ``method`` (VMCConfig), ``ansatz``, ``sampler``, ``optimizer``, ``phases`` and ``dtype``.
        infer: amounts, seed and, where it is not that of the training, sampler of the fresh batches.
        device: torch device name.
    """

    def __init__(self, system: SpinSystem, train: TrainConfig, infer: VMCInferConfig, device: str) -> None:
        self.config: VMCConfig = train.method
        self.train, self.infer, self.device, self.system = train, infer, device, system
        self.dtype = getattr(torch, train.dtype)
        self.schedule = Schedule(train.optimizer, train.phases)
        self.parts = [self._parts(replace(system, **changes)) for changes in self.schedule.systems]
        own = self.parts[0]
        self.hamiltonian, self.sampler, self.chunks = own.hamiltonian, own.sampler, own.chunks
        self.inference_sampler = _sampler(infer.sampler, system, device, self.chunks) if infer.sampler else self.sampler
        self.observables = Observables(system, device)

    def init(self, seed: int) -> VMCState:
        """Random parameters; the same on every device."""
        return VMCState(seed, self._ansatz(self.system, seed), self.schedule, self.sampler.start(seed, PURPOSE))

    def step(self, state: VMCState, k: int) -> dict[str, float]:
        """One update with the covariance gradient; metrics describe the state before it.

        A step with NaN or infinity leaves parameters and moments as they were; the next one has samples of its own.

        Raises:
            NonFiniteError: ``max_rejected`` such steps, one after the other.
        """
        settings = self.schedule.at(k)
        state.prepare(settings)
        parts = self.parts[settings.system]
        if settings.system != state.system_number:
            state.system_number, state.chains = settings.system, parts.sampler.start(state.seed, PURPOSE)
        ansatz = state.view(settings.system, lambda: self._ansatz(parts.system, state.seed))
        batch = parts.sampler.sample(ansatz, state.chains, settings.samples, state.seed, PURPOSE, k)
        local = local_energy(parts.hamiltonian, ansatz, batch.spins, parts.chunks)
        energy = (batch.weights * local).sum()
        variance = (batch.weights * (local - energy).abs().square()).sum()
        if not (energy.isfinite() and variance.isfinite()):
            return self._reject(state, k, "local energies")
        update = self._update(state.optimizer, ansatz, batch, local, parts.chunks)
        if not all(math.isfinite(value) for value in update.values()):
            return self._reject(state, k, "gradient")
        state.rejected_in_a_row = 0
        # energies of another system get names of their own, or curves along training would jump
        prefix = "small_" if settings.system else ""
        metrics = {f"{prefix}energy": float(energy.real), f"{prefix}variance": float(variance)}
        metrics |= update | {"lr": settings.lr, "rejected_steps": state.rejected}
        return metrics | _chain_metrics(batch, local)

    def converged(self, state: VMCState) -> str | None:
        """VMC runs all its steps."""
        return None

    def measure(self, state: VMCState, k: int) -> dict[str, Any]:
        """Fresh batch ``k``: energy, its variance and observables (see :func:`pipeline.spin.vmc.inference.record`).

        Raises:
            NonFiniteError: amplitudes of some samples vanish or are not finite.
        """
        sampler, seed, purpose = self.inference_sampler, self.infer.seed, "inference samples"
        if state.inference_chains is None:
            state.inference_chains = sampler.start(seed, purpose)
        batch = sampler.sample(state.ansatz, state.inference_chains, self.infer.samples, seed, purpose, k)
        local = local_energy(self.hamiltonian, state.ansatz, batch.spins, self.chunks)
        bad = int((~local.isfinite()).sum())
        if bad:
            raise NonFiniteError(f"inference: {bad} of {len(local)} local energies of batch {k} are not finite")
        return record(batch, local, self.observables(batch.spins), self.infer.keep_samples)

    def summarise(self, records: Sequence[Record]) -> Result:
        """Energy, variance, V-score and observables over all batches; R-hat and acceptance of chains."""
        config: Any = self.infer.sampler or self.train.sampler
        samples: Any = self.infer.samples or getattr(config, "samples", 1)
        return summarise(records, self.inference_sampler, self.system.size, samples)

    def _parts(self, system: SpinSystem) -> SystemParts:
        hamiltonian = Hamiltonian(_terms(system, self.config), system.size, self.device)
        chunks = Chunks(self.config.memory_gib, self.device)
        return SystemParts(system, hamiltonian, _sampler(self.train.sampler, system, self.device, chunks), chunks)

    def _ansatz(self, system: SpinSystem, seed: int) -> WaveFunction:
        ansatz = build_ansatz(self.train.ansatz, system, derive_seed(seed, "ansatz parameters"))
        ansatz = ansatz.to(self.device, self.dtype)
        assert isinstance(ansatz, WaveFunction)
        return ansatz

    def _update(
        self, optimizer: Optimizer, ansatz: WaveFunction, batch: Batch, local: Tensor, chunks: Chunks
    ) -> dict[str, float]:
        """Change the parameters; not at all where what it returns is not finite: how large a change it was."""
        if isinstance(optimizer, StochasticReconfiguration):
            derivatives = log_derivatives(ansatz, batch.spins, chunks)
            return {"distance": optimizer.step(derivatives, batch.weights, local)}
        energy = (batch.weights * local).sum()
        norm = self._set_gradients(ansatz, batch, 2.0 * batch.weights * (local - energy), chunks)
        if norm.isfinite():
            optimizer.step()
        return {"gradient_norm": float(norm)}

    def _set_gradients(self, ansatz: WaveFunction, batch: Batch, slope: Tensor, chunks: Chunks) -> Tensor:
        """Put ∇E = Re Σ_x conj(slope(x)) ∇log ψ(x) into the parameters; returns its norm before clipping.

        slope = 2 w (E_loc - E), so that ∇E = 2 Re⟨conj(E_loc - E) ∇log ψ⟩ (NF+NQS paper, Eq. 6).
        """
        parameters = [p for p in ansatz.parameters() if p.requires_grad]
        total = [torch.zeros_like(p) for p in parameters]

        def body(begin: int, size: int) -> int:
            end = min(begin + size, len(batch.spins))
            log_psi = ansatz.log_amplitude(batch.spins[begin:end])
            part = slope[begin:end] if log_psi.is_complex() else slope[begin:end].real
            # added up only when the whole chunk is there: memory may run out half-way through a backward pass
            gradients = torch.autograd.grad(log_psi, parameters, part.to(log_psi.dtype), allow_unused=True)
            for sum_so_far, gradient in zip(total, gradients, strict=True):
                if gradient is not None:
                    sum_so_far += gradient
            return end

        def probe() -> Tensor:
            return ansatz.log_amplitude(batch.spins[:1].expand(2, -1))

        chunks.run("gradients", len(batch.spins), body, probe, 2, gradients=True)
        for parameter, gradient in zip(parameters, total, strict=True):
            parameter.grad = gradient
        limit = self.config.gradient_clip
        return torch.nn.utils.clip_grad_norm_(parameters, float("inf") if limit is None else limit)

    def _reject(self, state: VMCState, k: int, what: str) -> dict[str, float]:
        state.rejected += 1
        state.rejected_in_a_row += 1
        if state.rejected_in_a_row >= self.config.max_rejected:
            raise NonFiniteError(
                f"training: {what} not finite in {state.rejected_in_a_row} steps in a row, the last one step {k}; "
                "try a smaller learning rate, train.method.gradient_clip or train.dtype=float64"
            )
        log.warning("step %d rejected: %s not finite", k, what)
        return {"rejected_steps": state.rejected}


def _sampler(config: Any, system: SpinSystem, device: str, chunks: Chunks) -> Sampler:
    sampler: Sampler = implementation(config)(config, system, device, chunks)
    return sampler


def _terms(system: SpinSystem, config: VMCConfig) -> list[PauliTerm]:
    """Pauli strings of ``system``, rotated where a sign rule is asked for."""
    terms = pauli_terms(system)
    if config.sign_rule == "none":
        return terms
    rotated = stoquastic_form(terms)
    assert rotated is not None, "the configuration was checked"
    return rotated


def _chain_metrics(batch: Batch, local: Tensor) -> dict[str, float]:
    """Acceptance, and R-hat where the chains of a batch are long enough to tell."""
    if batch.acceptance is None or batch.order is None:
        return {}
    metrics = {"acceptance": batch.acceptance}
    if batch.order.shape[1] >= 4:
        r_hat = split_r_hat(local.real[batch.order].cpu().numpy())
        if np.isfinite(r_hat):
            metrics["r_hat"] = r_hat
    return metrics
