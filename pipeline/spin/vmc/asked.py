"""A trained state that is asked: log ψ of configurations, draws of |ψ|², expectation values of Pauli strings."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import pi, prod
from typing import Any

import torch
from torch import Tensor

from pipeline.base.config.nodes import RunConfig
from pipeline.base.errors import NonFiniteError
from pipeline.base.numbers.result import Estimate
from pipeline.base.numbers.rng import torch_generator
from pipeline.base.numbers.statistics import FEWEST_SAMPLES
from pipeline.spin.chunks import in_chunks
from pipeline.spin.hamiltonian import Hamiltonian
from pipeline.spin.lattice import sublattices
from pipeline.spin.sampler.contract import Batch, Resampler, Sampler
from pipeline.spin.symmetry.stoquastic import stoquastic_signs
from pipeline.spin.systems import SpinSystem
from pipeline.spin.terms import PauliTerm, flipped, pauli_terms
from pipeline.spin.vmc.inference import record, summarise
from pipeline.spin.vmc.local_energy import local_energy
from pipeline.spin.vmc.method import VariationalMonteCarlo
from pipeline.spin.vmc.rounding import in_double
from pipeline.spin.wave_function import WaveFunction

PURPOSE = "asked samples"
"""Of the random numbers of draws: neither those of a training nor those of an inference."""

FEWEST_BATCHES = max(8, FEWEST_SAMPLES)
"""Of weighted draws, whose errors are those from batch to batch."""


class TrainedState(VariationalMonteCarlo):
    """The state of a training, in the basis of the system as it is given, whatever the training rotated.

    Args:
        run: its configuration, with one state and the sampler of its inference.
        device: torch device name.
        tree: state of the training after a step.
    """

    def __init__(self, run: RunConfig, device: str, tree: Mapping[str, Any]) -> None:
        super().__init__(run.system, run.train, run.infer, device)
        self._state = self.init(run.train.seed)
        self._state.load_state_dict(dict(tree))
        self._signs = _signs(run.system, self.config.sign_rule)
        network = in_double(self._view(self._state, 0))
        self._psi = network if self.sector is None else _Confined(network, self.sector)
        self._evaluated, self._drawing = self._parts_of_inference(self._state.projection_number)

    def log_psi(self, spins: Tensor) -> Tensor:
        """log ψ(x), not normalised, (B, N) spins ±1 → (B,) complex128; -∞ where ψ vanishes.

        A rotation of signs by Π σz over some sites (``train.method.sign_rule``) is undone.
        """
        logs = in_chunks(self._evaluated.chunks, "amplitudes", self._psi.evaluate, spins).to(torch.complex128)
        rotated = [site for site, sign in self._signs.items() if sign < 0]
        odd = (spins[:, rotated] < 0).sum(1) % 2
        return torch.complex(logs.real, torch.where(logs.real > -torch.inf, logs.imag + pi * odd, 0.0))

    def draws(self, count: int, seed: int) -> Tensor:
        """``count`` configurations from |ψ|², (count, N) int8, as the inference draws: chains are correlated.

        Of exact weights independent ones.
        """
        sampler, sampling = self._drawing, self._start(seed)
        samples = count if sampler.errors == "exact" else self._whole(count)
        batch = sampler.sample(self._source(), sampling, samples, seed, PURPOSE, 0)
        if batch.order is None:
            uniforms = torch.rand(count, generator=torch_generator(seed, PURPOSE, 0), dtype=torch.float64)
            ends = batch.weights.cumsum(0)
            rows = torch.searchsorted(ends, uniforms.to(ends.device) * ends[-1])
            return batch.spins[rows.clamp(max=len(ends) - 1)]
        # one draw of every chain after the other
        return batch.spins[batch.order.T.flatten()[:count]]

    def expectation(self, terms: Sequence[PauliTerm], samples: int | None, seed: int) -> Estimate:
        """⟨ψ|O|ψ⟩/⟨ψ|ψ⟩ of a real operator O of Pauli strings, from fresh draws, with an error like that of an energy.

        Means of local values Σ_x' ⟨x|O|x'⟩ ψ(x')/ψ(x) (NF+NQS paper, Eq. 5, with O in the place of H).

        Args:
            terms: on the N sites; an even number of σy in each.
            samples: draws; None: as many as a batch of the inference has. Exact weights have no use for it.
            seed: of the draws.

        Raises:
            NonFiniteError: ψ vanishes, or is not finite, on some draws or what O connects them with.
        """
        rotated = [replace(t, coefficient=prod(self._signs[i] for i in flipped(t)) * t.coefficient) for t in terms]
        operator = Hamiltonian(rotated, self.system.size, self.device)
        sampler, sampling = self._drawing, self._start(seed)
        count = FEWEST_BATCHES if sampler.errors == "weighted" else 1
        each = self._whole(max(1, -(-(samples or self._samples()) // count)))
        draw = sampler.weighted if isinstance(sampler, Resampler) else sampler.sample
        records = []
        for k in range(count):
            batch = draw(self._source(), sampling, each, seed, PURPOSE, k)
            records.append(self._record(operator, batch, sampler, k))
        result = summarise(records, sampler.errors, self.system.size, each, self.sector)
        return replace(result.estimate("energy"), name="expectation", unit="1", bound="none")

    def _record(self, operator: Hamiltonian, batch: Batch, sampler: Sampler, k: int) -> dict[str, Any]:
        # what the sampler knows of ψ may be in single precision
        known = batch.log_amplitudes if sampler.errors == "exact" else None
        local = local_energy(operator, self._psi, batch.spins, self._evaluated.chunks, batch.log_floor, known)
        if bad := int((~local.isfinite()).sum()):
            raise NonFiniteError(f"expectation: {bad} of {len(local)} local values of batch {k} are not finite")
        return record(batch, local, self.observables(batch.spins), sampler.errors, False)

    def _source(self) -> WaveFunction:
        """What is drawn from: exact weights and importance weights are those of double precision."""
        network = self._view(self._state, 0)
        return in_double(network) if self._drawing.errors in ("exact", "weighted") else network

    def _start(self, seed: int) -> Any:
        """State of the sampler before its first draw: anew, or where the training left it."""
        sampling = self._drawing.start(seed, PURPOSE)
        if self.infer.chains == "training":
            sampling.load_state_dict(copy.deepcopy(self._state.sampling.state_dict()))
        return sampling

    def _whole(self, count: int) -> int:
        """The next multiple of the number of chains, where there are any."""
        config: Any = self.infer.sampler or self.train.sampler
        chains = int(getattr(config, "chains", 1)) if self._drawing.errors == "chains" else 1
        return -(-count // chains) * chains


class _Confined(WaveFunction):
    """A state on the configurations of one Σ σz: the training saw no others, whatever the network gives there."""

    def __init__(self, network: WaveFunction, sector: int) -> None:
        super().__init__()
        self._network, self._sector = network, sector

    def log_amplitude(self, spins: Tensor) -> Tensor:
        logs = self._network.evaluate(spins)
        nothing = torch.full_like(logs.real, -torch.inf)
        inside = spins.long().sum(1) == self._sector
        return torch.where(
            inside, logs, torch.complex(nothing, torch.zeros_like(nothing)) if logs.is_complex() else nothing
        )


def _signs(system: SpinSystem, rule: str) -> Mapping[int, int]:
    """-1 on the sites over which the training rotated by Π σz (see :class:`pipeline.spin.vmc.schema.VMCConfig`)."""
    everywhere = dict.fromkeys(range(system.size), 1)
    if rule == "none":
        return everywhere
    if rule == "marshall":
        found = sublattices(system.size, system.nearest_bonds())
        assert found is not None, "the configuration was checked"
        return dict(enumerate(found))
    signs = stoquastic_signs(pauli_terms(system))
    assert signs is not None, "the configuration was checked"
    return everywhere | dict(signs)
