"""Variational Monte Carlo (NF+NQS paper, Eqs. 4-6; NAQS paper, Eq. 6): any sampler, any ansatz with log ψ."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
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
from pipeline.base.numbers.result import Estimate, Result
from pipeline.base.numbers.rng import derive_seed
from pipeline.base.numbers.statistics import split_r_hat
from pipeline.base.run.laps import part
from pipeline.base.run.ranks import ALONE, Ranks, shared
from pipeline.spin.ansatz.build import build_unprojected, projected
from pipeline.spin.ansatz.determinant import Determinant
from pipeline.spin.chunks import Chunks, footprints_of, in_chunks
from pipeline.spin.hamiltonian import Hamiltonian
from pipeline.spin.sampler.contract import Batch, Errors, NoState, Resampler, Sampler
from pipeline.spin.sampler.exhaustive import ExhaustiveSampler
from pipeline.spin.sampler.schema import ExhaustiveConfig, reach
from pipeline.spin.space import Space, space_of
from pipeline.spin.symmetry.stoquastic import marshall_form, stoquastic_form
from pipeline.spin.systems import SpinSystem
from pipeline.spin.terms import PauliTerm, of_copies, pauli_terms
from pipeline.spin.vmc import coverage, divergence
from pipeline.spin.vmc.inference import Observables, record, summarise
from pipeline.spin.vmc.levels import of_several_states
from pipeline.spin.vmc.likelihood import Source, learn
from pipeline.spin.vmc.local_energy import local_energy
from pipeline.spin.vmc.matrices import matrices, record_matrices
from pipeline.spin.vmc.merged import merged
from pipeline.spin.vmc.rounding import in_double, is_negligible, probed_rows
from pipeline.spin.vmc.schema import VMCConfig, VMCInferConfig
from pipeline.spin.vmc.state import VMCState
from pipeline.spin.vmc.update import clipped, forget_energies, update
from pipeline.spin.wave_function import WaveFunction

log = logging.getLogger(__name__)

PURPOSE = "training samples"
"""Of the random numbers of every step's batch."""

INFERENCE_PURPOSE = "inference samples"
DIVERGENCE_PURPOSE = "inference samples, drawn again"


@dataclass(frozen=True)
class SystemParts:
    """A system that phases train on, with what belongs to its number of sites."""

    system: SpinSystem
    hamiltonian: Hamiltonian
    space: Space
    sampler: Sampler
    chunks: Chunks


class VariationalMonteCarlo:
    """The trainable method (see :class:`pipeline.base.contracts.Method`).

    Args:
        system: any spin system.
        train: node with ``method`` (VMCConfig), ``ansatz``, ``sampler``, ``optimizer``, ``phases`` and ``dtype``.
        infer: amounts, seed and, where it is not that of the training, sampler of the fresh batches.
        device: torch device name.
        ranks: which share sampling, local energies and gradients; all hold the same state.
    """

    def __init__(
        self,
        system: SpinSystem,
        train: TrainConfig,
        infer: VMCInferConfig,
        device: str,
        ranks: Ranks = ALONE,
    ) -> None:
        self.config: VMCConfig = train.method
        self.train, self.infer, self.device, self.system, self.ranks = train, infer, device, system, ranks
        self.dtype = getattr(torch, train.dtype)
        self.copies: int = train.ansatz.states
        self.schedule = Schedule(train.optimizer, train.phases)
        self.parts = [self._parts(replace(system, **changes)) for changes in self.schedule.systems]
        self._projected: dict[tuple[int, int], SystemParts] = {(i, 0): part for i, part in enumerate(self.parts)}
        own = self.parts[0]
        self.hamiltonian, self.sampler, self.chunks = own.hamiltonian, own.sampler, own.chunks
        # what the training never saw does not count in the inference
        self.sector = reach(train.sampler, train.ansatz, system)
        self._sources: dict[int, Source] = {}
        self._measuring: dict[int, tuple[SystemParts, Sampler]] = {}
        self.double, self.inference_sampler = self._parts_of_inference(0)
        self.observables = Observables(system, device)
        self.one_copy = Hamiltonian(_terms(system, self.config), system.size, device)

    def init(self, seed: int) -> VMCState:
        """Random parameters; the same on every device."""
        return VMCState(
            seed,
            self._ansatz(self.system, seed),
            self.schedule,
            lambda seed, number: self.parts[number].sampler.start(seed, PURPOSE),
            lambda: self.inference_sampler.start(self.infer.seed, INFERENCE_PURPOSE),
        )

    def step(self, state: VMCState, k: int) -> dict[str, float]:
        """One update with the covariance gradient; metrics describe the state before it.

        A step with NaN or infinity leaves parameters and moments as they were; the next one has samples of its own.

        Raises:
            NonFiniteError: ``max_rejected`` such steps, one after the other.
        """
        settings, before = self.schedule.at(k), (state.system_number, state.projection_number)
        state.prepare(settings)
        parts = self._parts_of(settings.system, settings.projection)
        # chains do not move while a phase learns from configurations, and ψ is another one after it
        stale = settings.likelihood is None and self.schedule.at(max(0, k - 1)).likelihood is not None
        if settings.system != state.system_number or stale:
            same = self.parts[state.system_number].space.extents == parts.space.extents
            state.move_to(settings.system, keep_sampler=self.config.carry_sampler and same and not stale)
        if (settings.system, settings.projection) != before:
            forget_energies(state.optimizer)
        ansatz = self._view(state, settings.system)
        if settings.likelihood is not None:
            return self._learn(state, settings, ansatz, k)
        with part("sampling"):
            batch = parts.sampler.sample(ansatz, state.sampling, settings.samples, state.seed, PURPOSE, k)
            batch = merged(batch, ansatz)
        with part("local_energies"):
            local = self._local(parts, ansatz, batch)
        energy = (batch.weights * local).sum()
        variance = (batch.weights * (local - energy).abs().square()).sum()
        if not (energy.isfinite() and variance.isfinite()):
            return self._reject(state, k, "local energies")
        seen = self._clipped(local, batch)
        with part("update"):
            change = update(state.optimizer, ansatz, batch, seen, parts.chunks, self.config.gradient_clip, self.ranks)
        if not all(math.isfinite(value) for value in change.values()):
            return self._reject(state, k, "gradient")
        state.rejected_in_a_row = 0
        # energies of another system get names of their own, or curves along training would jump
        prefix = "small_" if settings.system else ""
        quantity = self.config.shown_with(self.train.ansatz).quantity
        metrics = {f"{prefix}{quantity}": float(energy.real), f"{prefix}variance": float(variance)}
        metrics |= change | {"lr": settings.lr, "rejected_steps": state.rejected}
        if seen is not local:
            metrics["clipped"] = float(batch.weights[seen != local].sum())
        return metrics | dict(batch.metrics) | _agreement(batch, local, parts.sampler.errors)

    def _learn(self, state: VMCState, settings: StepSettings, ansatz: WaveFunction, k: int) -> dict[str, float]:
        """One update of a phase that learns from configurations, not from energies."""
        parts = self.parts[settings.system]
        source = self._sources.setdefault(settings.system, Source(parts.system, self.device))
        with part("sampling"):
            spins = source.batch(settings, self.train.sampler.samples, state.seed, k)
        with part("update"):
            change = learn(state.optimizer, ansatz, spins, parts.chunks, self.config.gradient_clip, self.ranks)
        if not all(math.isfinite(value) for value in change.values()):
            return self._reject(state, k, "likelihood")
        state.rejected_in_a_row = 0
        if settings.system:
            change["small_cross_entropy"] = change.pop("cross_entropy")
        return change | {"lr": settings.lr, "rejected_steps": state.rejected}

    def converged(self, state: VMCState) -> str | None:
        """VMC runs all its steps."""
        return None

    def measure(self, state: VMCState, k: int) -> dict[str, Any]:
        """Fresh batch ``k``: energy, its variance and observables (see :func:`pipeline.spin.vmc.inference.record`).

        Weights that are computed from |ψ|² are in double precision, and local energies wherever single would count
        (:mod:`pipeline.spin.vmc.rounding`).

        Raises:
            NonFiniteError: amplitudes of some samples, or of configurations that H connects with them, vanish or are
                not finite.
        """
        sampling = state.inference or state.begin_inference(go_on=self.infer.chains == "training")
        double, sampler = self._parts_of_inference(state.projection_number)
        ansatz = self._view(state, 0)
        precise, errors = in_double(ansatz), sampler.errors
        source = precise if errors in ("exact", "weighted") else ansatz
        draw = sampler.weighted if isinstance(sampler, Resampler) else sampler.sample
        batch = draw(source, sampling, self.infer.samples, self.infer.seed, INFERENCE_PURPOSE, k)
        apart = self._compared(double, sampler, precise, batch, sampling, k)
        if isinstance(precise, Determinant):
            return apart | self._levels(double, precise, batch, errors, k)
        local = self._measured(self._parts_of(0, state.projection_number), double, ansatz, precise, batch)
        _must_be_finite(local, double, precise, batch, k)
        return apart | record(batch, local, self.observables(batch.spins), errors, self.infer.keep_samples)

    def summarise(self, records: Sequence[Record]) -> Result:
        """Energy, variance, V-score and observables over all batches; R-hat and acceptance of chains."""
        config: Any = self.infer.sampler or self.train.sampler
        errors = self.inference_sampler.errors
        result = summarise(records, errors, self.system.size, self._samples(), self.sector)
        if self.copies > 1:
            result = of_several_states(result, records, errors, self.copies, self.sector)
        apart = (*divergence.estimates(records), *coverage.estimates(records))
        more = (*apart, Estimate("parameters", self._parameters(), 0.0))
        result = replace(result, estimates=(*result.estimates, *more))
        if self.sector == reach(config, self.train.ansatz, self.system):
            return result
        note = f"Only the configurations with Σ σz = {self.sector} are summed over: the training explored no others."
        return replace(result, notes=(*result.notes, note))

    def _parts(self, system: SpinSystem) -> SystemParts:
        space, terms = space_of(system, self.copies), _terms(system, self.config)
        hamiltonian = Hamiltonian(of_copies(terms, system.size, self.copies), space.size, self.device)
        chunks = self._chunks(system)
        sampler = _sampler(self.train.sampler, space, self.device, chunks, self.ranks)
        return SystemParts(system, hamiltonian, space, sampler, chunks)

    def _parts_of(self, system: int, projection: int) -> SystemParts:
        """Of a system and a projection, by their numbers: chunks fit what one projected amplitude takes."""
        if (system, projection) not in self._projected:
            parts = self.parts[system]
            chunks = self._chunks(parts.system, projection)
            sampler = _sampler(self.train.sampler, parts.space, self.device, chunks, self.ranks)
            self._projected[system, projection] = replace(parts, sampler=sampler, chunks=chunks)
        return self._projected[system, projection]

    def _parts_of_inference(self, projection: int) -> tuple[SystemParts, Sampler]:
        """Of evaluations in double precision, for chunks of a name have one size; and the sampler."""
        if projection not in self._measuring:
            own = self._parts_of(0, projection)
            double = own
            if self.dtype != torch.float64:
                double = replace(own, chunks=self._chunks(self.system, projection, torch.float64, self.infer.sampler))
            sampler = own.sampler
            if self.infer.sampler or double is not own:
                config = self.infer.sampler or self.train.sampler
                space = replace(own.space, sector=self.sector) if self.infer.sampler else own.space
                sampler = _sampler(config, space, self.device, double.chunks, self.ranks)
            self._measuring[projection] = double, sampler
        return self._measuring[projection]

    def _view(self, state: VMCState, number: int) -> WaveFunction:
        """The state on the system ``number``, with the projection of its last step."""
        system, names = self.parts[number].system, self.schedule.projections[state.projection_number]
        names = self.train.ansatz.projection if names is None else names
        return state.view(
            number,
            lambda: self._ansatz(system, state.seed),
            lambda base: projected(base, self.train.ansatz, system, names),
        )

    def _chunks(
        self, system: SpinSystem, projection: int = 0, dtype: torch.dtype | None = None, sampler: Any = None
    ) -> Chunks:
        sampler, names = sampler or self.train.sampler, self.schedule.projections[projection]
        what = (self.train.ansatz, sampler, system, self.config.sign_rule, names, dtype or self.dtype, self.device)
        return Chunks(self.config.memory_gib, self.device, footprints_of(*map(repr, what)))

    def _samples(self) -> int:
        """Draws of a batch of the inference."""
        config: Any = self.infer.sampler or self.train.sampler
        return self.infer.samples or int(getattr(config, "samples", 1))

    def _parameters(self) -> float:
        """Number of real parameters, two of each complex one."""
        trained = (p for p in self._ansatz(self.system, 0).parameters() if p.requires_grad)
        return float(sum(p.numel() * (2 if p.is_complex() else 1) for p in trained))

    def _local(self, parts: SystemParts, ansatz: WaveFunction, batch: Batch) -> Tensor:
        """E_loc of every row, each rank working on its share; what is known of the batch is known of ``ansatz``."""
        logs = batch.log_amplitudes

        def of_rows(rows: Tensor) -> Tensor:
            known = None if logs is None else logs[rows]
            return local_energy(parts.hamiltonian, ansatz, batch.spins[rows], parts.chunks, batch.log_floor, known)

        return shared(self.ranks, of_rows, torch.arange(len(batch.spins), device=batch.spins.device))

    def _levels(
        self, double: SystemParts, precise: Determinant, batch: Batch, errors: Errors, k: int
    ) -> dict[str, Any]:
        """What is kept of a batch of K copies: of the trace what is kept of any energy, and the matrices."""
        batch = merged(batch, precise) if errors == "exact" else batch
        copies = self.observables(batch.spins.reshape(-1, precise.n_sites))
        diagonals = {name: values.view(-1, precise.states) for name, values in copies.items()}
        found = matrices(self.one_copy, precise, batch, diagonals, double.chunks)
        _must_be_finite(found.local_energy, double, precise, batch, k)
        means = {name: values.mean(1) for name, values in diagonals.items()}
        kept = record(batch, found.local_energy, means, errors, self.infer.keep_samples)
        return kept | record_matrices(batch, found, errors)

    def _compared(
        self, double: SystemParts, sampler: Sampler, precise: WaveFunction, batch: Batch, sampling: Any, k: int
    ) -> dict[str, float]:
        """How far draws, and what a proposal covers, are from |ψ|² of all configurations; every rank does all of it."""
        if not (self.infer.divergence or self.infer.coverage):
            return {}
        space, found = replace(double.space, sector=self.sector), dict[str, float]()
        everything = ExhaustiveSampler(ExhaustiveConfig(max_sites=space.size), space, self.device, double.chunks)
        exact = everything.sample(precise, NoState(), None, 0, "", 0)
        if self.infer.divergence:
            config: Any = self.infer.sampler or self.train.sampler
            at_once = config.samples if getattr(config, "proposals", None) else self._samples()
            many = divergence.Draws(precise, self._samples(), at_once, self.infer.seed, DIVERGENCE_PURPOSE, k)
            found |= divergence.divergences(exact, batch, sampler, sampling, many)
        if self.infer.coverage:
            assert isinstance(sampler, Resampler), "the configuration was checked"
            found |= coverage.coverage(exact.spins, exact.weights, sampler.log_proposal(sampling, exact.spins))
        return found

    def _clipped(self, local: Tensor, batch: Batch) -> Tensor:
        """What an update sees of drawn local energies; all of them where weights are exact."""
        if self.config.local_energy_clip is None or batch.order is None:
            return local
        return clipped(local, batch.weights, self.config.local_energy_clip)

    def _measured(
        self, own: SystemParts, double: SystemParts, ansatz: WaveFunction, precise: WaveFunction, batch: Batch
    ) -> Tensor:
        """E_loc of every row: of ``ansatz`` if draws scatter far more than it is rounded, else of ``precise``.

        ``batch`` was drawn from ``precise`` where weights are exact, else from ``ansatz``.
        """
        if precise is not ansatz and batch.order is not None:
            local = self._local(own, ansatz, batch)
            rows = probed_rows(len(local), local.device)
            # few: every rank does all of them
            exact = local_energy(self.hamiltonian, precise, batch.spins[rows], double.chunks, batch.log_floor)
            if is_negligible(local[rows] - exact, local, batch.weights, self.infer.units * self._samples()):
                return local
            # what the sampler knows of ψ is in single precision
            batch = replace(batch, log_amplitudes=None)
        return self._local(double, precise, batch)

    def _ansatz(self, system: SpinSystem, seed: int) -> WaveFunction:
        ansatz = build_unprojected(self.train.ansatz, system, derive_seed(seed, "ansatz parameters"))
        ansatz = ansatz.to(self.device, self.dtype)
        assert isinstance(ansatz, WaveFunction)
        return ansatz

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


def _must_be_finite(local: Tensor, double: SystemParts, precise: WaveFunction, batch: Batch, k: int) -> None:
    """Raise NonFiniteError, with the reason, for local energies of an inference that are not finite."""
    bad = ~local.isfinite()
    if bad.any():
        logs = in_chunks(double.chunks, "amplitudes", precise.log_amplitude, batch.spins[bad])
        raise NonFiniteError(
            f"inference: {len(logs)} of {len(local)} local energies of batch {k} are not finite; {_why(logs.real)}"
        )


def _why(logs: Tensor) -> str:
    """What is wrong with configurations whose local energies are not finite, from their log|ψ|."""
    broken, vanishing = int((~(logs < torch.inf)).sum()), int((logs == -torch.inf).sum())
    if broken:
        return f"log ψ of {broken} of these configurations is infinite or not a number"
    if vanishing:
        return f"ψ of {vanishing} of these configurations vanishes: they were not drawn from |ψ|²"
    return "ψ of configurations that H connects with them is not finite, or larger by more than a factor of e^700"


def _sampler(config: Any, space: Space, device: str, chunks: Chunks, ranks: Ranks) -> Sampler:
    sampler: Sampler = implementation(config)(config, space, device, chunks, ranks)
    return sampler


def _terms(system: SpinSystem, config: VMCConfig) -> list[PauliTerm]:
    """Pauli strings of ``system``, rotated where a sign rule is asked for."""
    terms = pauli_terms(system)
    if config.sign_rule == "none":
        return terms
    rotated = marshall_form(system) if config.sign_rule == "marshall" else stoquastic_form(terms)
    assert rotated is not None, "the configuration was checked"
    return rotated


def _agreement(batch: Batch, local: Tensor, errors: Errors) -> dict[str, float]:
    """R-hat where the chains of a batch are long enough to tell."""
    if errors != "chains" or batch.order is None or batch.order.shape[1] < 4:
        return {}
    r_hat = split_r_hat(local.real[batch.order].cpu().numpy())
    return {"r_hat": r_hat} if np.isfinite(r_hat) else {}
