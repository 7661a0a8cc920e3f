"""NF+NQS: a normalising flow learns which basis states matter, an NQS learns their amplitudes.

Ngairangbam, Spannowsky and Sypchenko, Sections III and IV.B. The flow proposes sets S of basis states; in each the
energy of the NQS is an exact Rayleigh quotient; its probabilities p_θ are the target of the flow (Eq. 12).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.base.config.nodes import TrainConfig
from pipeline.base.contracts import Record
from pipeline.base.numbers.rng import derive_seed, torch_generator
from pipeline.spin.ansatz.build import build_ansatz
from pipeline.spin.bits import pack
from pipeline.spin.hamiltonian import Hamiltonian
from pipeline.spin.optimizers import build_optimizer
from pipeline.spin.subspace.closed import Subspace
from pipeline.spin.subspace.inference import SubspaceInference
from pipeline.spin.subspace.realnvp import Prior, RealNVP, log_region_probability, region_points
from pipeline.spin.subspace.schema import SubspaceFlowConfig, SubspaceInferConfig
from pipeline.spin.systems import SpinSystem
from pipeline.spin.terms import pauli_terms


class SubspaceFlowState:
    """Flow, driving NQS, their optimizer moments, and the best flow so far by the ``floor`` rule."""

    def __init__(self, seed: int, flow: RealNVP, nqs: nn.Module, optimizers: dict[str, torch.optim.Optimizer]) -> None:
        self.seed = seed
        self.flow, self.nqs, self.optimizers = flow, nqs, optimizers
        self.best_flow: dict[str, Tensor] | None = None
        self.best_floor = math.inf
        self.steps_since_best = 0
        self.largest_unique_fraction = 1.0

    def state_dict(self) -> dict[str, Any]:
        return {
            "flow": self.flow.state_dict(),
            "nqs": self.nqs.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "best_flow": self.best_flow,
            "best_floor": self.best_floor,
            "steps_since_best": self.steps_since_best,
            "largest_unique_fraction": self.largest_unique_fraction,
        }

    def load_state_dict(self, tree: dict[str, Any]) -> None:
        self.flow.load_state_dict(tree["flow"])
        self.nqs.load_state_dict(tree["nqs"])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(tree["optimizers"][name])
        self.best_flow = tree["best_flow"]
        self.best_floor = tree["best_floor"]
        self.steps_since_best = tree["steps_since_best"]
        self.largest_unique_fraction = tree["largest_unique_fraction"]


class SubspaceFlow:
    """The trainable method (see :class:`pipeline.base.contracts.Method`).

    Args:
        system: any spin system of at most 62 sites.
        train: node with ``method`` (SubspaceFlowConfig), ``ansatz``, ``optimizer`` and ``dtype``.
        infer: amounts of the inference.
        device: torch device name.
    """

    def __init__(self, system: SpinSystem, train: TrainConfig, infer: SubspaceInferConfig, device: str) -> None:
        self.config: SubspaceFlowConfig = train.method
        self.train, self.device = train, device
        self.system, self.n_sites = system, system.size
        self.dtype = getattr(torch, train.dtype)
        self.hamiltonian = Hamiltonian(pauli_terms(system), system.size, device)
        self.inference = SubspaceInference(system, self.hamiltonian, train, infer, device)

    def init(self, seed: int) -> SubspaceFlowState:
        """Identity flow and a random NQS; the same parameters on every device."""
        c = self.config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(seed, "flow parameters"))
            flow = RealNVP(self.n_sites, c.flow_layers, c.flow_hidden, Prior(c.prior, c.prior_width))
        flow = flow.to(self.device, self.dtype)
        nqs = build_ansatz(self.train.ansatz, self.system, derive_seed(seed, "nqs parameters"))
        nqs = nqs.to(self.device, self.dtype)
        optimizers = {
            "flow": self._optimizer(flow),
            "nqs": self._optimizer(nqs),
        }
        return SubspaceFlowState(seed, flow, nqs, optimizers)

    def step(self, state: SubspaceFlowState, k: int) -> dict[str, float]:
        """One update of both networks over |B| subspaces (Eq. 13); metrics describe the state before the update."""
        metrics: dict[str, float] = {}
        subspaces = self._draw_subspaces(state, k, metrics)
        fractions = [len(s) / self.config.draws for s in subspaces]
        state.largest_unique_fraction = max(fractions)
        metrics |= {"unique_fraction_mean": sum(fractions) / len(fractions), "unique_fraction_max": max(fractions)}
        if self.config.stop == "floor":
            metrics["floor_mean"] = self._track_floor(state, subspaces)
        energies, psis = self._update_nqs(state, subspaces, metrics)
        if not all(math.isfinite(energy) for energy in energies):
            return metrics | {"energy_mean": math.nan}  # nothing can be drawn from such amplitudes; the loop ends here
        self._update_flow(state, subspaces, energies, psis, k, metrics)
        metrics["energy_mean"] = sum(energies) / len(energies)
        metrics["energy_min"] = min(energies)
        return metrics

    def converged(self, state: SubspaceFlowState) -> str | None:
        """The stopping rule named by ``train.method.stop``."""
        c = self.config
        if c.stop == "unique" and state.largest_unique_fraction < c.unique_threshold:
            return f"unique fraction below {c.unique_threshold:g} in all subspaces"
        if c.stop == "floor" and state.steps_since_best >= c.patience:
            return f"subspace floor not improved for {c.patience} steps"
        return None

    def sampling_flow(self, state: SubspaceFlowState) -> RealNVP:
        """The flow that inference samples from: the best one under ``stop: floor``, else the last one."""
        if self.config.stop == "floor" and state.best_flow is not None:
            best = copy.deepcopy(state.flow)
            best.load_state_dict(state.best_flow)
            return best
        return state.flow

    def measure(self, state: SubspaceFlowState, k: int) -> dict[str, Any]:
        """Fresh subspace ``k`` with a fresh NQS trained in it."""
        return self.inference.measure(self.sampling_flow(state), k)

    def summarise(self, records: Sequence[Record]) -> Any:
        """Mean energy over subspaces, subspace floor, union floor."""
        return self.inference.summarise(records)

    def _draw_subspaces(self, state: SubspaceFlowState, k: int, metrics: dict[str, float]) -> list[Subspace]:
        """|B| fresh subspaces; ``metrics`` gets what tells all their draws, repeated ones included, from uniform ones.

        For M draws that are uniform on B, the mean squares of the site means ⟨σ_i⟩ and of the pairs ⟨σ_i σ_j⟩ are 1/M.
        """
        c = self.config
        generator = torch_generator(state.seed, "subspaces", k, self.device)
        subspaces = []
        sites = torch.zeros(self.n_sites, dtype=torch.float64, device=self.device)
        pairs = torch.zeros(self.n_sites, self.n_sites, dtype=torch.float64, device=self.device)
        for _ in range(c.subspaces):
            signs = state.flow.sample_signs(c.draws, generator)
            subspaces.append(Subspace(pack(signs)[:, 0], self.hamiltonian))
            signs = signs.to(torch.float32)  # sums of fewer than 2^24 signs are exact
            sites += signs.sum(0)
            pairs += signs.T @ signs
        draws = c.draws * c.subspaces
        metrics["site_mean_rms"] = float(sites.square().mean().sqrt()) / draws
        pairs.fill_diagonal_(0.0)
        metrics["pair_mean_rms"] = math.sqrt(float(pairs.square().sum()) / (self.n_sites * (self.n_sites - 1))) / draws
        return subspaces

    def _track_floor(self, state: SubspaceFlowState, subspaces: list[Subspace]) -> float:
        """Mean floor of the fresh draws; keeps the flow that made them when it is the lowest so far."""
        floor = sum(s.floor() for s in subspaces) / len(subspaces)
        if floor < state.best_floor:
            state.best_floor, state.steps_since_best = floor, 0
            state.best_flow = {name: tensor.clone() for name, tensor in state.flow.state_dict().items()}
        elif state.largest_unique_fraction < self.config.unique_threshold:
            # before the sampler concentrates, floors of nearly random subspaces only fluctuate
            state.steps_since_best += 1
        return floor

    def _update_nqs(
        self, state: SubspaceFlowState, subspaces: list[Subspace], metrics: dict[str, float]
    ) -> tuple[list[float], list[Tensor]]:
        """Adam step on the mean energy; returns energies and amplitudes (float64) before the step.

        States that several subspaces share are evaluated once.
        """
        codes, where = torch.unique(torch.cat([s.codes for s in subspaces]), return_inverse=True)
        positions = where.split([len(s) for s in subspaces])
        spins = _spins_of(codes, subspaces, where)
        chunks = spins.split(self.config.chunk)
        outputs = [state.nqs(chunk) for chunk in chunks] if len(chunks) == 1 else None
        with torch.no_grad():
            values = torch.cat(outputs if outputs is not None else [state.nqs(c) for c in chunks]).detach().double()
        gradient = torch.zeros_like(values)
        energies, psis = [], []
        for subspace, position in zip(subspaces, positions, strict=True):
            psi = values[position]
            energy, slope = subspace.energy_and_gradient(psi)
            gradient.index_add_(0, position, slope / len(subspaces))
            energies.append(energy)
            psis.append(psi)
        state.optimizers["nqs"].zero_grad()
        for i, (chunk, slope) in enumerate(zip(chunks, gradient.split(self.config.chunk), strict=True)):
            output = outputs[i] if outputs is not None else state.nqs(chunk)
            output.backward(slope.to(output.dtype))
        metrics["nqs_gradient"] = self._clipped_step(state.nqs, state.optimizers["nqs"])
        return energies, psis

    def _update_flow(
        self,
        state: SubspaceFlowState,
        subspaces: list[Subspace],
        energies: list[float],
        psis: list[Tensor],
        k: int,
        metrics: dict[str, float],
    ) -> None:
        """Adam step on Eq. 12 averaged over subspaces, over all regions or over regions drawn from p_θ."""
        c = self.config
        generator = torch_generator(state.seed, "regions", k, self.device)
        spins, weights = [], []
        for subspace, energy, psi in zip(subspaces, energies, psis, strict=True):
            p = psi.square() / psi.square().sum()
            scale = abs(energy) / (len(subspace) * len(subspaces))
            if c.regions is None:
                spins.append(subspace.spins)
                weights.append(scale * p)
            else:
                drawn = torch.multinomial(p, c.regions, replacement=True, generator=generator)
                spins.append(subspace.spins[drawn])
                weights.append(torch.full((c.regions,), scale / c.regions, dtype=p.dtype, device=p.device))
        state.optimizers["flow"].zero_grad()
        loss = 0.0
        regions_at_once = max(1, c.chunk // c.points)
        # all points at once: what a generator returns depends on the size of the request, which memory must not change
        points = region_points(torch.cat(spins), c.points, c.region_centre, c.region_width, generator, self.dtype)
        all_weights = torch.cat(weights).to(self.dtype)
        for y, w in zip(points.split(regions_at_once), all_weights.split(regions_at_once), strict=True):
            part = -(w * log_region_probability(state.flow, y)).sum()
            part.backward()
            loss += float(part.detach())
        metrics["flow_loss"] = loss
        metrics["flow_gradient"] = self._clipped_step(state.flow, state.optimizers["flow"])

    def _optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        optimizer = build_optimizer(self.train.optimizer, network.parameters())
        assert isinstance(optimizer, torch.optim.Optimizer), "the configuration was checked"
        return optimizer

    def _clipped_step(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> float:
        norm = nn.utils.clip_grad_norm_(network.parameters(), self.config.gradient_clip)
        optimizer.step()
        return float(norm)


def _spins_of(codes: Tensor, subspaces: list[Subspace], where: Tensor) -> Tensor:
    """Spins of the unique ``codes``, gathered from the subspaces that hold them."""
    spins = torch.cat([s.spins for s in subspaces])
    unique = torch.empty((len(codes), spins.shape[1]), dtype=spins.dtype, device=spins.device)
    unique[where] = spins
    return unique
