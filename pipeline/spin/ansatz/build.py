"""From a configuration to an initialised ansatz."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from pipeline.base.config.components import implementation
from pipeline.spin.ansatz.determinant import Determinant
from pipeline.spin.ansatz.projected import Projected, ProjectedByImages, ProjectedDirect
from pipeline.spin.ansatz.symmetrised import Symmetrised
from pipeline.spin.symmetry.groups import character_group, symmetry_group
from pipeline.spin.systems import SpinSystem
from pipeline.spin.wave_function import DirectWaveFunction, WaveFunction


def build_ansatz(config: Any, system: SpinSystem, seed: int) -> nn.Module:
    """The ansatz that ``config`` names, initialised on the CPU from ``seed`` alone.

    Where ``config.symmetries`` names any, it is averaged over them; where ``config.projection`` does, projected; of
    several ``config.states`` it is the determinant.
    """
    network = build_unprojected(config, system, seed)
    if not getattr(config, "projection", None):
        return network
    assert isinstance(network, WaveFunction), "the configuration was checked"
    return projected(network, config, system, config.projection)


def build_unprojected(config: Any, system: SpinSystem, seed: int) -> nn.Module:
    """The same without the projection: what has the parameters, whatever it is projected on."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        networks = [_single(config, system) for _ in range(getattr(config, "states", 1))]
    if len(networks) == 1:
        return networks[0]
    return Determinant([network for network in networks if isinstance(network, WaveFunction)], system.size)


def _single(config: Any, system: SpinSystem) -> nn.Module:
    """A network of one state, averaged over ``config.symmetries``."""
    network: nn.Module = implementation(config)(config, system)
    if getattr(config, "symmetries", None):
        assert isinstance(network, DirectWaveFunction)
        return Symmetrised(network, symmetry_group(system, config.symmetries))
    return network


def projected(network: WaveFunction, config: Any, system: SpinSystem, names: Sequence[str]) -> WaveFunction:
    """``network``, of ``config`` on ``system``, projected on the symmetries of ``names``, if there are any.

    Of a determinant each state.
    """
    if not names:
        return network
    if isinstance(network, Determinant):
        states = [n for n in network.networks if isinstance(n, WaveFunction)]
        return Determinant([projected(n, config, system, names) for n in states], network.n_sites)
    group, invariances = character_group(system, names), config.invariances(system)
    if isinstance(network, DirectWaveFunction):
        return ProjectedDirect(network, group, invariances)
    plain = type(network).connected_log_amplitudes is WaveFunction.connected_log_amplitudes
    return (Projected if plain else ProjectedByImages)(network, group, invariances)


def share_parameters(network: WaveFunction, owner: WaveFunction) -> WaveFunction:
    """``network``, built like ``owner`` for another number of sites, with the parameters of ``owner``.

    Raises:
        ValueError: their parameters do not have the same names and shapes.
    """
    theirs = dict(owner.named_parameters())
    shapes = [{name: p.shape for name, p in module.named_parameters()} for module in (network, owner)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"{type(owner).__name__}: the parameters depend on the number of sites")
    for prefix, module in network.named_modules():
        for name in module._parameters:
            module._parameters[name] = theirs[f"{prefix}.{name}".lstrip(".")]
    return network
