"""Periodic matrix product state (a baseline of the NF+NQS paper, Section IV.B)."""

from __future__ import annotations

import importlib.util
import math
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.spin.ansatz.schema import MPSConfig
from pipeline.spin.systems import SpinSystem
from pipeline.spin.wave_function import WaveFunction


class MPS(WaveFunction):
    """ψ(s) = Tr Π_i A^(i)_{s_i}, real and signed, not normalised; log ψ = ln|ψ| + iπ[ψ < 0].

    Every site has two matrices of its own, χ × χ, initially the identity plus normal numbers of ``deviation``: as in
    NetKet's ``MPSPeriodic`` without a period, the paper's baseline at χ = 5. Products are rescaled on the way.

    Args:
        config: bond_dimension χ and deviation.
        system: a ring of N spins.
    """

    walks = True

    def __init__(self, config: MPSConfig, system: SpinSystem) -> None:
        super().__init__()
        chi = config.bond_dimension
        noise = config.deviation * torch.randn(system.size, 2, chi, chi)
        self.matrices = nn.Parameter(torch.eye(chi) + noise)

    def _chosen(self, spins: Tensor) -> Tensor:
        """The matrices of the spins (B, N) ±1, s = +1 first: (B, N, χ, χ)."""
        return self.matrices[torch.arange(spins.shape[1], device=spins.device), (spins < 0).long()]

    def log_amplitude(self, spins: Tensor) -> Tensor:
        """log ψ, (B, N) spins ±1 → (B,) complex."""
        matrices, logs = _rescaled(self._chosen(spins))
        scale = logs.sum(1)
        while matrices.shape[1] > 1:
            even, odd, rest = matrices[:, 0:-1:2], matrices[:, 1::2], matrices[:, 2 * (matrices.shape[1] // 2) :]
            # neighbours first: all products of a level at once
            products, logs = _rescaled(even @ odd)
            matrices, scale = torch.cat([products, rest], 1), scale + logs.sum(1)
        return _log(_trace(matrices[:, 0]), scale)

    def evaluate(self, spins: Tensor) -> Tensor:
        """log ψ without derivatives, by a compiled loop where there is numba and a CPU."""
        if not self._compiled(spins):
            return self.log_amplitude(spins)
        from pipeline.spin.ansatz import mps_loops

        return _log(*mps_loops.traces(self.matrices.detach(), spins))

    @torch.inference_mode()
    def walk(self, spins: Tensor, sites: Tensor, thresholds: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`pipeline.spin.wave_function.WaveFunction.walk`; on a CPU that has numba by a compiled loop."""
        if self._compiled(spins):
            from pipeline.spin.ansatz import mps_walk

            matrices = self.matrices.detach().double().numpy()
            ended, moved = mps_walk.walk(matrices, spins.numpy(), sites.numpy(), thresholds.double().numpy())
            return torch.from_numpy(ended), torch.from_numpy(moved)
        here, accepted = self.log_amplitude(spins).real, []
        for site, threshold in zip(sites[..., None], thresholds, strict=True):
            proposed = spins.scatter(1, site, -spins.gather(1, site))
            there = self.log_amplitude(proposed).real
            # a chain that starts where ψ vanishes leaves by its first move; NaN and infinity are never entered
            accept = (there - here > threshold) | ((here == -torch.inf) & (threshold < torch.inf))
            accept &= there < torch.inf
            spins, here = torch.where(accept[:, None], proposed, spins), torch.where(accept, there, here)
            accepted.append(accept)
        return spins, torch.stack(accepted)

    def batch_log_amplitude(self, spins: Tensor) -> Tensor:
        """log ψ, with derivatives from compiled loops where there is numba and a CPU."""
        if not self._compiled(spins):
            return self.log_amplitude(spins)
        magnitude, phase = _LogPsi.apply(self.matrices, spins)  # type: ignore[no-untyped-call]
        return torch.complex(magnitude, phase)

    def connected_log_amplitudes(self, spins: Tensor, masks: Tensor, wanted: Tensor | None = None) -> Tensor:
        """log ψ with the sites of every mask flipped, without gradients: (B, N), (K, N) bool → (B, K).

        From the products left and right of the flipped sites; all values come for about the price of three.
        """
        del wanted
        with torch.no_grad():
            if self._compiled(spins) and bool((masks.sum(1) == 1).all()):
                from pipeline.spin.ansatz import mps_loops

                sites = masks.int().argmax(1)
                around, logs = mps_loops.environments(self.matrices, spins)
                return _log(_closed(around, self._chosen(-spins))[:, sites], logs[:, sites])
            here, there = self._chosen(spins), self._chosen(-spins)
            left, left_scale = _running(here)
            right, right_scale = _running(here.flip(1).mT)
            right, right_scale = right.flip(1).mT, right_scale.flip(1)
            found = []
            for mask in masks:
                flipped = torch.nonzero(mask).flatten().tolist() or [0]
                first, last = flipped[0], flipped[-1]
                product, scale = left[:, first], left_scale[:, first] + right_scale[:, last]
                for site in range(first, last + 1):
                    product, log = _rescaled(product @ torch.where(mask[site], there[:, site], here[:, site]))
                    scale = scale + log
                found.append(_log(_trace(product @ right[:, last]), scale))
            return torch.stack(found, 1)

    @staticmethod
    def _compiled(spins: Tensor) -> bool:
        """Whether compiled loops can be used."""
        return spins.device.type == "cpu" and importlib.util.find_spec("numba") is not None


class _LogPsi(torch.autograd.Function):
    """ln|ψ| and the phase; ∂ln ψ/∂A^(i) = E_iᵀ/Tr[E_i A^(i)] with what closes the ring around site i."""

    @staticmethod
    def forward(context: Any, matrices: Tensor, spins: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 2, χ, χ), (B, N) → (B,) each."""
        from pipeline.spin.ansatz import mps_loops

        around, logs = mps_loops.environments(matrices, spins)
        sites = torch.arange(spins.shape[1])
        value = _closed(around, matrices[sites, (spins < 0).long()])
        context.save_for_backward(around, value, spins)
        log_psi = _log(value[:, 0], logs[:, 0])
        phase = log_psi.imag.clone()
        context.mark_non_differentiable(phase)
        return log_psi.real.clone(), phase

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(context: Any, slope: Tensor, _: Tensor) -> tuple[Tensor, None]:
        """(B,) → (N, 2, χ, χ)."""
        around, value, spins = context.saved_tensors
        weights = (slope[:, None] / value)[:, :, None] * torch.stack([spins > 0, spins < 0], 2)
        return torch.einsum("bns,bnij->nsji", weights, around), None


def _closed(around: Tensor, matrices: Tensor) -> Tensor:
    """Tr[E A] at every site, (B, N, χ, χ) twice → (B, N)."""
    return (around.mT * matrices).sum((-2, -1))


def _running(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Products of the first 0, 1, ..., N-1 of (B, N, χ, χ) matrices, rescaled, and the logarithms of their scales."""
    product = torch.eye(matrices.shape[-1], dtype=matrices.dtype, device=matrices.device).expand(len(matrices), -1, -1)
    scale = matrices.new_zeros(len(matrices))
    products, scales = [product], [scale]
    for site in range(matrices.shape[1] - 1):
        product, log = _rescaled(product @ matrices[:, site])
        scale = scale + log
        products.append(product)
        scales.append(scale)
    return torch.stack(products, 1), torch.stack(scales, 1)


def _rescaled(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Matrices divided by their largest element, and its logarithm; the scale is a constant to the gradient."""
    scale = matrices.detach().abs().amax((-2, -1))
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    return matrices / scale[..., None, None], scale.log()


def _trace(matrices: Tensor) -> Tensor:
    return matrices.diagonal(dim1=-2, dim2=-1).sum(-1)


def _log(values: Tensor, scale: Tensor) -> Tensor:
    """ln(value) + scale with the imaginary part π for negative values."""
    return torch.complex(values.abs().log() + scale, math.pi * (values < 0).to(values.dtype))
