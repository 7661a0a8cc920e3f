"""Draws of the proposal of neural importance resampling, with and without a cache of keys and values."""

from __future__ import annotations

from typing import Any

from benchmarks.contract import Work
from pipeline.spin.sampler.nir.schema import NIRConfig
from pipeline.spin.systems import SquareTFIM

WIDTH, HEADS, LAYERS = 32, 4, 4
"""Of the NIR paper's Table A1."""

SPREAD = 0.5
"""Standard deviation of the last weights: a proposal that is not uniform."""


def draw(length: int, copies: int, proposals: int, cached: bool) -> Work:
    """Fresh configurations of ``copies`` of a square lattice, random numbers included, and their log q."""
    import torch

    from pipeline.spin.chunks import Chunks, in_chunks
    from pipeline.spin.sampler.nir.proposal import Proposal
    from pipeline.spin.space import space_of

    system = SquareTFIM(length_x=length, length_y=length, periodic=False, coupling=1.0, field=1.0)
    torch.manual_seed(1)
    network: Any = Proposal(config(proposals), space_of(system, copies))
    torch.nn.init.normal_(network.logits.weight, std=SPREAD)
    chunks = Chunks(None)

    def drawn(uniforms: torch.Tensor) -> torch.Tensor:
        spins, log_q = (network.draw if cached else network.draw_uncached)(uniforms)
        return torch.cat([spins.double(), log_q[:, None]], 1)

    def run() -> object:
        return in_chunks(chunks, "draws", drawn, torch.rand((proposals, network.size), dtype=torch.float64))

    parameters = sum(p.numel() for p in network.parameters())
    return Work(run, parameters, network.size * (12 * LAYERS + 4) * WIDTH**2)


def config(proposals: int) -> NIRConfig:
    """The paper's proposal; what concerns rounds and training plays no part here."""
    return NIRConfig(
        samples=proposals,
        embedding=WIDTH,
        heads=HEADS,
        layers=LAYERS,
        p_floor=1e-4,
        lr=1e-3,
        divergence="forward",
        updates=1,
        importance="resampling",
        ess=1.0,
        efficiency=0.1,
        proposals=proposals,
        max_proposals=proposals,
        max_rounds=1,
        permute=True,
        symmetries=[],
    )
