"""Batches of a state with symmetries: configurations that these map onto each other are one."""

from __future__ import annotations

from dataclasses import replace

import torch

from pipeline.spin.bits import pack, unique_spins, unpack
from pipeline.spin.representatives import Representatives
from pipeline.spin.sampler.contract import Batch
from pipeline.spin.wave_function import WaveFunction


def merged(batch: Batch, ansatz: WaveFunction) -> Batch:
    """The batch with a representative in place of configurations that its symmetries map onto each other.

    |ψ|², local energies and derivatives of log ψ are the same for all of them. Unchanged for any other state, and where
    draws have weights of their own. What is known of log ψ is left out: it belongs to other configurations.
    """
    invariance = ansatz.invariance()
    if invariance is None or batch.log_weights is not None:
        return batch
    words, _ = Representatives(invariance)(pack(batch.spins))
    spins, row, _ = unique_spins(unpack(words, batch.spins.shape[1]))
    weights = torch.zeros(len(spins), dtype=torch.float64, device=spins.device).index_add(0, row, batch.weights)
    order = None if batch.order is None else row[batch.order]
    return replace(batch, spins=spins, weights=weights, order=order, log_amplitudes=None)
