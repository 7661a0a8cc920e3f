"""RealNVP flow on [-1, 1]^N whose orthants are spin configurations (NF+NQS paper, Sections III.A and IV.B)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress

import torch
from torch import Tensor, nn

from pipeline.spin.ansatz.layers import dense_layers

_EDGE = 1.0 - 1e-6
"""Points are kept this far inside the cube, where atanh is finite in float32."""


class Prior:
    """Product prior p_Z over N independent coordinates; every orthant has the same weight.

    ``bimodal``: equal mixture of two Gaussians at ±1 with standard deviation ``width`` (paper, Section IV.B);
    ``normal``: standard normal (``width`` is not used).
    """

    def __init__(self, kind: str, width: float) -> None:
        self.kind, self.width = kind, width

    def sample(self, shape: Sequence[int], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        """i.i.d. samples of ``shape`` on the generator's device."""
        noise = torch.randn(shape, generator=generator, device=generator.device, dtype=dtype)
        if self.kind == "normal":
            return noise
        signs = torch.randint(0, 2, shape, generator=generator, device=generator.device).to(dtype) * 2 - 1
        return signs + self.width * noise

    def log_prob(self, z: Tensor) -> Tensor:
        """log p_Z(z), (..., N) → (...)."""
        if self.kind == "normal":
            return (-0.5 * z.square() - 0.5 * math.log(2 * math.pi)).sum(-1)
        scaled = torch.stack([(z - 1) / self.width, (z + 1) / self.width])
        log_modes = -0.5 * scaled.square() - math.log(2 * self.width * math.sqrt(2 * math.pi))
        return torch.logsumexp(log_modes, dim=0).sum(-1)


class AffineCoupling(nn.Module):
    """Eqs. 15-16: the first d coordinates scale by exp(s) and shift by t the other N - d.

    One dense network gives s and t together, through a tanh. Its last layer starts at zero: the identity map.
    """

    def __init__(self, n: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.d = (n + 1) // 2
        widths = [self.d, *hidden]
        last = nn.Linear(widths[-1], 2 * (n - self.d))
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.network = nn.Sequential(*dense_layers(widths), last, nn.Tanh())

    def _split(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        fixed, moved = z[..., : self.d], z[..., self.d :]
        s, t = self.network(fixed).chunk(2, dim=-1)
        return fixed, moved, s, t

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """z (..., N) → z' and log|det ∂z'/∂z| (...)."""
        fixed, moved, s, t = self._split(z)
        return torch.cat([fixed, moved * s.exp() + t], dim=-1), s.sum(-1)

    def moved(self, z: Tensor) -> Tensor:
        """z' alone, without derivatives and with activations in one place; (rows, N) → (rows, N)."""
        hidden = z[:, : self.d]
        for layer in list(self.network)[:-1]:
            hidden = hidden.relu_() if isinstance(layer, nn.ReLU) else layer(hidden)
        s, t = hidden.tanh_().chunk(2, dim=-1)
        return torch.cat([z[:, : self.d], torch.addcmul(t, z[:, self.d :], s.exp())], dim=-1)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Inverse map and the log-determinant of the inverse."""
        fixed, moved, s, t = self._split(z)
        return torch.cat([fixed, (moved - t) * (-s).exp()], dim=-1), -s.sum(-1)


class RealNVP(nn.Module):
    """y = tanh(f_K ∘ ... ∘ f_1 (z)) with z ~ prior; the halves change places after each coupling layer.

    Args:
        n: dimension N (number of spins).
        layers: number of coupling layers K.
        hidden: widths of the hidden layers of each coupling network.
        prior: distribution of z.
    """

    def __init__(self, n: int, layers: int, hidden: Sequence[int], prior: Prior) -> None:
        super().__init__()
        self.n, self.prior = n, prior
        self.couplings = nn.ModuleList(AffineCoupling(n, hidden) for _ in range(layers))

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """z (..., N) → y in (-1, 1)^N and log|det ∂y/∂z| (...)."""
        log_det = torch.zeros(z.shape[:-1], dtype=z.dtype, device=z.device)
        for coupling in self.couplings:
            z, change = coupling(z)
            z = z.roll(-(self.n // 2), dims=-1)
            log_det = log_det + change
        # log(1 - tanh²) in a form that does not cancel for large |z|
        log_slope = 2.0 * (math.log(2.0) - z - nn.functional.softplus(-2.0 * z))
        return torch.tanh(z), log_det + log_slope.sum(-1)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """y (..., N) → z and log|det ∂z/∂y| (...)."""
        y = y.clamp(-_EDGE, _EDGE)
        z = torch.atanh(y)
        log_det = -torch.log1p(-y.square()).sum(-1)
        for coupling in reversed(self.couplings):
            assert isinstance(coupling, AffineCoupling)
            z, change = coupling.inverse(z.roll(self.n // 2, dims=-1))
            log_det = log_det + change
        return z, log_det

    def log_prob(self, y: Tensor) -> Tensor:
        """log p_Y(y), Eq. 8; (..., N) → (...)."""
        z, log_det = self.inverse(y)
        return self.prior.log_prob(z) + log_det

    @torch.no_grad()
    def sample_signs(self, count: int, generator: torch.Generator) -> Tensor:
        """``count`` spin configurations sign(y) (Eq. 11) as int8 ±1, shape (count, N)."""
        dtype = next(self.parameters()).dtype
        z = self.prior.sample((count, self.n), generator, dtype)
        for coupling in self.couplings:
            assert isinstance(coupling, AffineCoupling)
            z = coupling.moved(z).roll(-(self.n // 2), dims=-1)
        return 1 - 2 * (z < 0).to(torch.int8)  # the last tanh changes no sign, and no density is asked for


def region_points(
    spins: Tensor, count: int, centre: float, width: float, generator: torch.Generator, dtype: torch.dtype
) -> Tensor:
    """``count`` points around ``centre`` * x in the orthant of each x (step 4 of Section III.C).

    Args:
        spins: (R, N) of ±1.
        centre, width: mean and standard deviation of the isotropic normal (paper: 0.5 and 0.1).

    Returns:
        (R, count, N) of ``dtype``.
    """
    shape = (spins.shape[0], count, spins.shape[1])
    noise = torch.randn(shape, generator=generator, device=spins.device, dtype=dtype)
    return noise.mul_(width).add_(centre * spins[:, None, :].to(dtype))


def log_region_probability(flow: RealNVP, points: Tensor) -> Tensor:
    """log p̂(x) = log[Vol/N_MC Σ_y p_Y(y)] (Eq. 10) with Vol = 1 for an orthant of [-1, 1]^N; (R, N_MC, N) → (R,)."""
    log_density = flow.log_prob(points)
    return torch.logsumexp(log_density, dim=-1) - math.log(points.shape[-2])


def smoothing_bias_at_identity(n: int, prior: Prior, centre: float, width: float) -> float:
    """E[p̂(x)] / p(x) of Eq. 10 against Eq. 9 at the identity map, where both factorise over the ``n`` coordinates.

    The points of Eq. 10 are drawn from a normal around the centre of the region and not uniformly in it, so that
    E[p̂] = Vol ∫ N(y) p_Y(y) dy, which is not the weight ∫ p_Y(y) dy (1/2 for each coordinate).
    """
    from scipy.integrate import quad

    def integrand(u: float) -> float:  # y in widths from the centre
        y = centre + width * u
        z = torch.atanh(torch.tensor([y], dtype=torch.float64))
        density = math.exp(float(prior.log_prob(z))) / (1.0 - y * y)
        return density * math.exp(-0.5 * u**2) / math.sqrt(2.0 * math.pi)

    # beyond 40 widths the normal is zero in double precision
    low, high = max(-centre / width, -40.0), min((_EDGE - centre) / width, 40.0)
    smoothed, _ = quad(integrand, low, high, points=[0.0] if low < 0.0 < high else None, limit=200)
    with suppress(OverflowError):
        return float((smoothed / 0.5) ** n)
    return math.inf
