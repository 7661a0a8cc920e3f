"""Logarithmic derivatives O_k(x) = ∂ log ψ(x)/∂θ_k of single configurations, by vectorised backward passes."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jacrev, vmap

from pipeline.spin.chunks import Chunks
from pipeline.spin.wave_function import WaveFunction


class LogAmplitude(nn.Module):
    """log ψ as the forward pass of a module, which is what ``functional_call`` calls; log|ψ| of a real ψ with signs."""

    def __init__(self, ansatz: WaveFunction) -> None:
        super().__init__()
        self.ansatz = ansatz

    def forward(self, spins: Tensor) -> Tensor:
        found = self.ansatz.log_amplitude(spins)
        return found.real if self.ansatz.signed else found


def log_derivatives(ansatz: WaveFunction, spins: Tensor, chunks: Chunks, only: Collection[str] | None = None) -> Tensor:
    """O_k(x) of every configuration and every trainable parameter, in the order of ``ansatz.parameters()``.

    Args:
        ansatz: with real parameters; log ψ real or complex.
        spins: (B, N) ±1.
        chunks: how many configurations to treat at once.
        only: names of the parameters asked for; None: all that are trained.

    Returns:
        (B, P), of the parameters' dtype, or complex where log ψ is and ψ is not real.
    """
    module = LogAmplitude(ansatz)
    parameters = {
        f"ansatz.{name}": p.detach()
        for name, p in ansatz.named_parameters()
        if (p.requires_grad if only is None else name in only)
    }
    with torch.no_grad():
        is_complex = module(spins[:1]).is_complex()

    def log_psi(values: dict[str, Tensor], one: Tensor) -> Tensor:
        found = functional_call(module, values, (one[None],))[0]
        return torch.view_as_real(found) if is_complex else found

    # a complex log ψ has two derivatives, of its real and of its imaginary part, from one forward pass
    of_one = jacrev(log_psi) if is_complex else grad(log_psi)

    def evaluate(some: Tensor) -> Tensor:
        found = vmap(of_one, in_dims=(None, 0))(parameters, some)
        shape = (len(some), 2, -1) if is_complex else (len(some), -1)
        rows = torch.cat([found[name].reshape(shape) for name in parameters], -1)
        return torch.complex(rows[:, 0], rows[:, 1]) if is_complex else rows

    pieces: list[Tensor] = []

    def body(begin: int, size: int) -> int:
        end = min(begin + size, len(spins))
        pieces.append(evaluate(spins[begin:end]))
        return end

    chunks.run("derivatives", len(spins), body, lambda: evaluate(spins[:1].expand(2, -1)), 2, gradients=True)
    return torch.cat(pieces)
