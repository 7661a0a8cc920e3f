"""Variational Monte Carlo (NF+NQS paper, Eqs. 4-6): any sampler, any ansatz with ``log_amplitude``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from hydra.utils import get_class
from torch import Tensor

from pipeline.base.result import Estimate, Result
from pipeline.base.rng import derive_seed
from pipeline.base.schema import InferConfig, TrainConfig
from pipeline.base.statistics import independent_mean
from pipeline.spin.hamiltonian import Hamiltonian
from pipeline.spin.networks import WaveFunction, build_ansatz, build_optimizer
from pipeline.spin.schema import SpinSystem
from pipeline.spin.terms import pauli_terms


class VMCState:
    """Ansatz and optimizer moments."""

    def __init__(self, seed: int, ansatz: WaveFunction, optimizer: torch.optim.Optimizer) -> None:
        self.seed, self.ansatz, self.optimizer = seed, ansatz, optimizer

    def state_dict(self) -> dict[str, Any]:
        return {"ansatz": self.ansatz.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, tree: dict[str, Any]) -> None:
        self.ansatz.load_state_dict(tree["ansatz"])
        self.optimizer.load_state_dict(tree["optimizer"])


class VariationalMonteCarlo:
    """The trainable method (see :class:`pipeline.base.contracts.Method`).

    Args:
        system: any spin system.
        train: node with ``ansatz``, ``sampler``, ``optimizer`` and ``dtype``.
        infer: number and seed of the fresh batches.
        device: torch device name.
    """

    def __init__(self, system: SpinSystem, train: TrainConfig, infer: InferConfig, device: str) -> None:
        self.train, self.infer, self.device = train, infer, device
        self.system, self.n_sites = system, system.size
        self.dtype = getattr(torch, train.dtype)
        self.hamiltonian = Hamiltonian(pauli_terms(system), system.size, device)
        self.sampler = get_class(train.sampler._target_)(train.sampler, system.size, device)

    def init(self, seed: int) -> VMCState:
        """Random parameters; the same on every device."""
        ansatz = build_ansatz(self.train.ansatz, self.system, derive_seed(seed, "ansatz parameters"))
        ansatz = ansatz.to(self.device, self.dtype)
        assert isinstance(ansatz, WaveFunction)
        return VMCState(seed, ansatz, build_optimizer(self.train.optimizer, ansatz.parameters()))

    def step(self, state: VMCState, k: int) -> dict[str, float]:
        """One update with ∇E = 2 Re⟨(E_loc - ⟨E_loc⟩) ∇log ψ⟩ (Eq. 6); metrics describe the state before it."""
        spins, weights = self.sampler.sample(state.ansatz, state.seed, "training samples", k)
        local = local_energy(self.hamiltonian, state.ansatz, spins)
        energy = (weights * local).sum()
        slope = 2.0 * weights * (local - energy)
        state.optimizer.zero_grad()
        state.ansatz.log_amplitude(spins).backward(slope.to(self.dtype))
        state.optimizer.step()
        return {"energy": float(energy), "variance": float((weights * (local - energy).square()).sum())}

    def converged(self, state: VMCState) -> str | None:
        """VMC runs all its steps."""
        return None

    def measure(self, state: VMCState, k: int) -> dict[str, Any]:
        """Energy and variance of H over fresh batch ``k``."""
        spins, weights = self.sampler.sample(state.ansatz, self.infer.seed, "inference samples", k)
        local = local_energy(self.hamiltonian, state.ansatz, spins)
        energy = (weights * local).sum()
        return {"energy": float(energy), "variance": float((weights * (local - energy).square()).sum())}

    def summarise(self, records: Sequence[dict[str, Any]]) -> Result:
        """Mean over batches; exhaustive sampling has no statistical error."""
        energy = independent_mean([r["energy"] for r in records])
        variance = independent_mean([r["variance"] for r in records]).value
        sigma = 0.0 if self.sampler.exact else energy.sigma
        kind: Any = "none" if self.sampler.exact else "standard-error"
        v_score = self.n_sites * variance / energy.value**2
        return Result(
            (
                Estimate("energy", energy.value, sigma, kind, None, "total", "variational", energy.n),
                Estimate("variance", variance, unit="total^2", n=energy.n),
                Estimate("v_score", v_score, n=energy.n),
            )
        )


@torch.no_grad()
def local_energy(hamiltonian: Hamiltonian, ansatz: WaveFunction, spins: Tensor) -> Tensor:
    """E_loc(x) = Σ_x' ⟨x|H|x'⟩ ψ(x')/ψ(x) (Eq. 5), (B, N) → (B,) float64, ratios in the log domain."""
    connected, elements = hamiltonian.connected(spins)
    batch, groups, n_sites = connected.shape
    log_here = ansatz.log_amplitude(spins).double()
    log_there = ansatz.log_amplitude(connected.reshape(-1, n_sites)).double().reshape(batch, groups)
    return hamiltonian.diagonal(spins) + (elements * (log_there - log_here[:, None]).exp()).sum(-1)
