"""Inference of NF+NQS: fresh subspaces from a trained flow, a freshly initialised NQS in each, floors beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from pipeline.base.config.nodes import TrainConfig
from pipeline.base.contracts import Record
from pipeline.base.numbers.result import Bound, Curve, Estimate, Result
from pipeline.base.numbers.rng import derive_seed, torch_generator
from pipeline.base.numbers.statistics import independent_mean
from pipeline.spin.ansatz.build import build_ansatz
from pipeline.spin.bits import pack
from pipeline.spin.hamiltonian import Hamiltonian
from pipeline.spin.subspace.closed import Subspace
from pipeline.spin.subspace.descent import Descent
from pipeline.spin.subspace.passes import passes
from pipeline.spin.subspace.realnvp import Prior, RealNVP, smoothing_bias_at_identity
from pipeline.spin.subspace.schema import SubspaceInferConfig
from pipeline.spin.systems import SpinSystem

TRACE_POINTS = 50
"""Points kept of each optimisation trace, for plots only: no energy is read off a trace."""


class SubspaceInference:
    """Draws subspaces and minimises the energy in them (Section IV.B, last paragraph on the method).

    Args:
        system: any spin system of at most 62 sites.
        hamiltonian: of the system.
        train: names the dtype and, where ``infer`` has no ansatz of its own, the ansatz ("the same architecture").
        infer: amounts, learning rates and their schedule.
        device: torch device name.
    """

    def __init__(
        self,
        system: SpinSystem,
        hamiltonian: Hamiltonian,
        train: TrainConfig,
        infer: SubspaceInferConfig,
        device: str,
    ) -> None:
        self.system, self.hamiltonian, self.train, self.infer, self.device = system, hamiltonian, train, infer, device
        self.dtype = getattr(torch, train.dtype)

    def measure(self, flow: RealNVP, k: int) -> dict[str, Any]:
        """Record of fresh subspace ``k``: final energy of the NQS, floor, packed basis states, trace."""
        generator = torch_generator(self.infer.seed, "inference subspace", k, self.device)
        subspace = Subspace(pack(flow.sample_signs(self.infer.draws, generator))[:, 0], self.hamiltonian)
        trace, learning_rate = self._minimise(subspace, k)
        return {
            "energy": trace[-1],
            "floor": subspace.floor(),
            "size": len(subspace),
            "learning_rate": learning_rate,
            "codes": subspace.codes.cpu().numpy(),
            "trace": np.asarray(trace[:: max(1, len(trace) // TRACE_POINTS)]),
        }

    def _minimise(self, subspace: Subspace, k: int) -> tuple[list[float], float]:
        """Energies after 0, 1, ..., ``iterations`` updates of a fresh NQS, and the last learning rate.

        Gradients are not clipped here: Section III.C clips in the joint training, and in a fixed subspace a threshold
        of 1000 stopped more networks half-way than it saved.
        """
        c = self.infer
        ansatz = c.ansatz or self.train.ansatz
        nqs = build_ansatz(ansatz, self.system, derive_seed(c.seed, "inference nqs", k))
        nqs = nqs.to(self.device, self.dtype)
        descent = Descent(nqs, c)
        ways = passes(nqs, subspace.spins)
        trace = []
        for _ in range(c.iterations):
            energy, slope = subspace.energy_and_gradient(ways.values())
            trace.append(energy)
            ways.backward(slope)
            descent.step(energy)
        trace.append(subspace.energy_and_gradient(ways.values())[0])
        return trace, descent.learning_rate

    def summarise(self, records: Sequence[Record]) -> Result:
        """Mean, standard error and spread over subspaces; the union floor is one number without error."""
        n = len(records)
        union = Subspace(torch.from_numpy(np.concatenate([r["codes"] for r in records])), self.hamiltonian.to("cpu"))
        lowest = min(float(r["energy"]) for r in records)
        floor = _average("subspace_floor", [r["floor"] for r in records], "total", "variational", "energy")
        if all(r["size"] == 2**self.hamiltonian.n_sites for r in records):
            floor = replace(floor, sigma=0.0, sigma_kind="none", doubt="")  # every subspace is the whole basis
        estimates = [
            _average("energy", [r["energy"] for r in records], "total", "variational"),
            floor,
            Estimate("union_floor", union.floor(), 0.0, "none", None, "total", "variational", n, against="energy"),
            Estimate("lowest_energy", lowest, 0.0, unit="total", bound="variational", n=n, against="energy"),
            _average("subspace_size", [r["size"] for r in records], "1", "none"),
            Estimate("union_size", float(len(union)), unit="1", n=n),
            _average("unique_fraction", [r["size"] / self.infer.draws for r in records], "1", "none"),
        ]
        traces = np.stack([r["trace"] for r in records])
        stride = max(1, (self.infer.iterations + 1) // TRACE_POINTS)
        iterations = [float(i * stride) for i in range(traces.shape[1])]
        curve = Curve.of("inference", "iteration", "energy", iterations, traces.mean(0).tolist(), unit="total")
        return Result(tuple(estimates), (curve,), (self._smoothing_note(),), headline="energy")

    def _smoothing_note(self) -> str:
        c = self.train.method
        bias = smoothing_bias_at_identity(
            self.hamiltonian.n_sites, Prior(c.prior, c.prior_width), c.region_centre, c.region_width
        )
        return (
            f"Eq. 10 as trained does not estimate Eq. 9: at the identity map with the {c.prior} prior and "
            f"N = {self.hamiltonian.n_sites} it gives {bias:.2g} times the weight of a region. Only samples of the "
            "flow are used here, never p̂."
        )


def _average(name: str, values: Sequence[float], unit: str, bound: Bound, against: str = "") -> Estimate:
    mean = independent_mean([float(v) for v in values])
    return replace(mean.estimate(name, unit, bound, against), spread=mean.deviation)
