"""Wave functions given by a table, small proposals, and what enumeration says, for the tests of resampling."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.base.run.ranks import ALONE, Ranks
from pipeline.spin.chunks import Chunks
from pipeline.spin.sampler.nir.proposal import Proposal
from pipeline.spin.sampler.nir.sampler import NIRSampler
from pipeline.spin.sampler.nir.schema import NIRConfig
from pipeline.spin.space import Space, space_of
from pipeline.spin.systems import SpinSystem, SquareTFIM
from pipeline.spin.wave_function import WaveFunction
from tests.spin import dense

CONFIG = NIRConfig(
    samples=50,
    embedding=4,
    heads=2,
    layers=1,
    p_floor=1e-3,
    lr=0.02,
    divergence="forward",
    updates=1,
    importance="resampling",
    ess=2.0,
    efficiency=0.1,
    proposals=None,
    max_proposals=4000,
    max_rounds=5,
    permute=True,
    symmetries=[],
)


def lattice(length_x: int, length_y: int = 1, field: float = 1.5) -> SquareTFIM:
    return SquareTFIM(length_x=length_x, length_y=length_y, periodic=False, coupling=1.0, field=field)


class Table(WaveFunction):
    """ψ of every configuration, in the order of :func:`tests.spin.dense.basis`."""

    def __init__(self, log_psi: Tensor) -> None:
        super().__init__()
        self.log_psi = nn.Parameter(log_psi)
        self.evaluated = 0

    def log_amplitude(self, spins: Tensor) -> Tensor:
        self.evaluated += len(spins)
        size = spins.shape[1]
        places = 2 ** torch.arange(size - 1, -1, -1)
        return self.log_psi[((spins < 0).long() * places).sum(1)]

    def probabilities(self) -> np.ndarray:
        return np.asarray(torch.softmax(2.0 * self.log_psi.detach().real.double(), 0))


def scattered(size: int, deviation: float = 1.0, seed: int = 1, dtype: torch.dtype = torch.complex128) -> Table:
    """Independent amplitudes of every configuration."""
    generator = torch.Generator().manual_seed(seed)
    real, imaginary = deviation * torch.randn((2, 2**size), generator=generator, dtype=torch.float64)
    return Table((torch.complex(real, imaginary) if dtype.is_complex else real).to(dtype))


def everything(size: int) -> Tensor:
    return torch.from_numpy(dense.basis(size)).to(torch.int8)


def proposal_of(space: Space, seed: int = 0, scale: float = 0.7, **changes: Any) -> Proposal:
    """A network that is far from uniform, in double precision."""
    torch.manual_seed(seed)
    network = Proposal(replace(CONFIG, **changes), space).double()
    nn.init.normal_(network.logits.weight, std=scale)
    nn.init.normal_(network.logits.bias, std=scale)
    return network


def sampler_of(system: SpinSystem, copies: int = 1, ranks: Ranks = ALONE, **changes: Any) -> NIRSampler:
    return NIRSampler(replace(CONFIG, **changes), space_of(system, copies), "cpu", Chunks(0.05), ranks)
