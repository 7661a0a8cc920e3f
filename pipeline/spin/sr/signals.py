"""What goes into the layers of a network and the signals that come back: forward hooks and backward passes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.spin.sr.layers import Call
from pipeline.spin.wave_function import WaveFunction


def calls_of(
    log_amplitude: Callable[[Tensor], Tensor], spins: Tensor, modules: Iterable[nn.Module], is_complex: bool
) -> dict[nn.Module, list[Call]]:
    """Inputs and signals of every use of some modules in one forward pass.

    Args:
        log_amplitude: log ψ of configurations, which calls the modules.
        spins: (M, N) ±1.
        modules: those asked for.
        is_complex: log ψ has an imaginary part, and signals of its own for that.

    Returns:
        By module, in the order of their uses; none of a module that is not called, or of which a call takes other
        arguments than one tensor, gives another result, or has one of them overwritten later.
    """
    recorded: list[tuple[nn.Module, Tensor, Tensor]] = []
    versions: list[tuple[int, int]] = []
    unusable: set[nn.Module] = set()

    def record(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        if kwargs or len(args) != 1 or not isinstance(args[0], Tensor) or not isinstance(output, Tensor):
            unusable.add(module)
        else:
            recorded.append((module, args[0].detach(), output))
            versions.append((args[0]._version, output._version))

    hooks = [module.register_forward_hook(record, with_kwargs=True) for module in set(modules)]
    try:
        with torch.enable_grad():
            log_psi = log_amplitude(spins)
    finally:
        for hook in hooks:
            hook.remove()
    for (module, inputs, output), version in zip(recorded, versions, strict=True):
        if (inputs._version, output._version) != version:  # overwritten since
            unusable.add(module)
    recorded = [entry for entry in recorded if entry[0] not in unusable]
    outputs = [output for _, _, output in recorded]
    parts = [_signals(log_psi, outputs, 1.0, keep=is_complex)]
    if is_complex:
        # what torch gives for a real input is Re[conj(v) ∂ log ψ]
        parts.append(_signals(log_psi, outputs, 1.0j, keep=False))
    calls: dict[nn.Module, list[Call]] = {}
    for (module, inputs, _), *signals in zip(recorded, *parts, strict=True):
        calls.setdefault(module, []).append(Call(inputs, tuple(signals)))
    return calls


def _signals(log_psi: Tensor, outputs: list[Tensor], direction: complex, keep: bool) -> list[Tensor]:
    if not outputs:
        return []
    v = torch.full_like(log_psi, direction)
    found = torch.autograd.grad(log_psi, outputs, v, retain_graph=keep, allow_unused=True)
    return [torch.zeros_like(o) if g is None else g for g, o in zip(found, outputs, strict=True)]


def sum_of_gradients(ansatz: WaveFunction, spins: Tensor, coefficients: Tensor) -> list[Tensor | None]:
    """Σ_m Re[conj(c_m) ∂ log ψ(x_m)/∂θ], a tensor a trainable parameter, by one backward pass.

    Args:
        ansatz: log ψ, real or complex.
        spins: (M, N) ±1.
        coefficients: c, (M,), of the dtype of log ψ.
    """
    parameters = [p for p in ansatz.parameters() if p.requires_grad]
    with torch.enable_grad():
        log_psi = ansatz.log_amplitude(spins)
    return list(torch.autograd.grad(log_psi, parameters, coefficients.to(log_psi.dtype), allow_unused=True))
