"""How large the cases are: ``full`` is what is reported, ``tiny`` only shows that everything runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """Attributes are those of the cases below; ``matched``: features that give NetKet our number of parameters."""

    length: int
    depth: int
    width: int
    matched: int
    samples: int
    chunk: int
    field: float
    ring: int
    chains: int
    ring_draws: int
    lattice_draws: int
    deviation: float
    torus: int
    configurations: int
    applications: int
    tori: tuple[int, ...]
    forces: int
    extent: int
    draws: int
    batch: int
    side: int
    copies: int
    proposals: int
    states: int
    hidden: int
    tuples: int
    recipe: str
    sides: tuple[int, int]
    batches: tuple[int, int]
    warmup: int
    joint_length: int
    joint_batch: int
    joint_layers: int
    trajectory: int
    chains_of_links: int


SIZES = {
    "full": Size(
        length=12,
        depth=6,
        width=32,
        matched=60,
        samples=128,
        chunk=256,
        field=3.0,
        ring=30,
        chains=100,
        ring_draws=1000,
        lattice_draws=100,
        deviation=0.05,
        torus=16,
        configurations=64,
        applications=100,
        tori=(4, 8, 16, 32),
        forces=8,
        extent=6,
        draws=1024,
        batch=1024,
        side=8,
        copies=3,
        proposals=256,
        states=3,
        hidden=128,
        tuples=128,
        recipe="paper",
        sides=(4, 8),
        batches=(1024, 2048),
        warmup=2,
        joint_length=8,
        joint_batch=128,
        joint_layers=24,
        trajectory=16,
        chains_of_links=8,
    ),
    "tiny": Size(
        length=3,
        depth=2,
        width=4,
        matched=8,
        samples=4,
        chunk=12,
        field=3.0,
        ring=4,
        chains=2,
        ring_draws=3,
        lattice_draws=2,
        deviation=0.05,
        torus=2,
        configurations=2,
        applications=2,
        tori=(2, 4),
        forces=2,
        extent=4,
        draws=8,
        batch=8,
        side=2,
        copies=2,
        proposals=4,
        states=2,
        hidden=4,
        tuples=4,
        recipe="smoke",
        sides=(2, 2),
        batches=(16, 32),
        warmup=0,
        joint_length=4,
        joint_batch=2,
        joint_layers=2,
        trajectory=4,
        chains_of_links=2,
    ),
}
