"""Which parameters of a network can be treated layer by layer: found by looking at one forward pass, and checked."""

from __future__ import annotations

import copy
import logging
from collections import Counter
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from pipeline.spin.chunks import Chunks
from pipeline.spin.sr.derivatives import log_derivatives
from pipeline.spin.sr.layers import Affine, Calls, Differentiated, Layer, PerSampleGradient, layer_of
from pipeline.spin.sr.signals import calls_of
from pipeline.spin.wave_function import WaveFunction

PROBED = 3
"""Configurations that the rules of the layers are tried on; an odd number, which hardly divides others by chance."""

TOLERANCE = 1e-8
"""Of derivatives in double precision, relative to the largest one of a layer."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """How the parameters of a network are treated.

    Attributes:
        layers: whose derivatives come from their calls.
        positions: T of every affine layer, by its number in ``layers``.
        rest: names and sizes of the parameters that take a backward pass through the whole network.
        offsets: where the parameters of a name begin among all of them.
        is_complex: log ψ has an imaginary part.
    """

    layers: tuple[Layer, ...]
    positions: dict[int, int]
    rest: dict[str, int]
    offsets: dict[str, int]
    is_complex: bool


_PLANS: WeakKeyDictionary[WaveFunction, Plan] = WeakKeyDictionary()


def plan_of(ansatz: WaveFunction, spins: Tensor) -> Plan:
    """The plan for a network; made once, as long as the same parameters are trained.

    Every rule is tried on a copy of the network in double precision, with other parameters, against backward passes
    through the whole of it: what a hook does not see, a weight used past its module or samples in another order, puts a
    layer among the rest, at the price of speed alone.

    Args:
        ansatz: with real parameters.
        spins: (M, N) configurations to try rules on.
    """
    sizes = {name: p.numel() for name, p in ansatz.named_parameters() if p.requires_grad}
    known = _PLANS.get(ansatz)
    if known is None or known.offsets.keys() != sizes.keys():
        _PLANS[ansatz] = known = _made(ansatz, spins, sizes)
    return known


_DOUBLES: WeakKeyDictionary[WaveFunction, WaveFunction] = WeakKeyDictionary()


@torch.no_grad()
def double_of(ansatz: WaveFunction) -> WaveFunction:
    """A copy in double precision, with the parameters and buffers as they are now; it is kept, and its plan with it."""
    twin = _DOUBLES.get(ansatz)
    if twin is None or [p.requires_grad for p in twin.parameters()] != [p.requires_grad for p in ansatz.parameters()]:
        _DOUBLES[ansatz] = twin = copy.deepcopy(ansatz).double()
    mine, theirs = [*ansatz.parameters(), *ansatz.buffers()], [*twin.parameters(), *twin.buffers()]
    for there, here in zip(theirs, mine, strict=True):
        there.copy_(here)
    return twin


def _made(ansatz: WaveFunction, spins: Tensor, sizes: dict[str, int]) -> Plan:
    some = _distinct(spins)
    other = _elsewhere(ansatz)
    expected = log_derivatives(other, some, Chunks(None, str(spins.device)))
    parts = [expected.real, expected.imag] if expected.is_complex() else [expected]
    offsets = dict(zip(sizes, [0, *torch.tensor(list(sizes.values())).cumsum(0).tolist()], strict=False))
    layers: list[list[Layer]] = []
    trials: list[list[Layer]] = []
    twins = dict(other.named_modules())
    owners = Counter(p for m in set(ansatz.modules()) for p in m.parameters(recurse=False))
    for name, module in ansatz.named_modules():
        own = [p for p in module.parameters(recurse=False) if p.requires_grad]
        # a parameter of two modules gets signals from both
        if name and own and all(owners[p] == 1 for p in own):
            candidates = [layer_of(name, module), Differentiated(name, module)]
            layers.append(candidates)
            trials.append([layer_of(name, twins[name]), Differentiated(name, twins[name])])
    calls = calls_of(other.log_amplitude, some, [trial[0].module for trial in trials], expected.is_complex())
    chosen: list[Layer] = []
    positions: dict[int, int] = {}
    for candidates, doubles in zip(layers, trials, strict=True):
        for layer, trial in zip(candidates, doubles, strict=True):
            if _agrees(trial, calls.get(trial.module, []), parts, offsets):
                if isinstance(trial, Affine):
                    positions[len(chosen)] = trial.activations(calls[trial.module], len(some)).shape[1]
                chosen.append(layer)
                break
            if isinstance(layer.module, PerSampleGradient):
                log.warning("%s: per_sample_gradient does not give its derivatives", type(layer.module).__name__)
    rest = {name: size for name, size in sizes.items() if not any(name in layer.sizes for layer in chosen)}
    return Plan(tuple(chosen), positions, rest, offsets, expected.is_complex())


def _elsewhere(ansatz: WaveFunction) -> WaveFunction:
    """A copy in double precision with other parameters: where some vanish, wrong derivatives might too."""
    other = copy.deepcopy(ansatz).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in other.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(0.05 * noise.to(parameter.device))
    return other


def _distinct(spins: Tensor) -> Tensor:
    """Different configurations where there are any."""
    found = torch.unique(spins[:256], dim=0)[:PROBED]
    return found[torch.arange(PROBED, device=spins.device) % len(found)]


def _agrees(layer: Layer, calls: Calls, parts: list[Tensor], offsets: dict[str, int]) -> bool:
    """Whether derivatives from calls are those of the whole network."""
    if not calls:
        return False
    try:
        found = layer.rows(calls, PROBED, 0, layer.cuts)
    except (RuntimeError, ValueError, TypeError, KeyError):
        return False
    places = columns_of(layer, 0, layer.cuts, offsets).to(parts[0].device)
    for rows, whole in zip(found, parts, strict=True):
        expected = whole[:, places]
        if rows.shape != expected.shape:
            return False
        scale = expected.abs().max()
        if not bool(((rows - expected).abs() <= TOLERANCE * scale).all()):
            return False
    return True


def columns_of(layer: Layer, first: int, last: int, offsets: dict[str, int]) -> Tensor:
    """Places of a layer's columns among all parameters, int64."""
    return torch.cat(
        [
            torch.arange(offsets[name] + where.start, offsets[name] + where.stop)
            for name, where in layer.places(first, last)
        ]
    )
