"""The cases and their sizes: ``full`` is what is reported, ``tiny`` only shows that everything runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from benchmarks import lattice, nir_steps, ours, peer, peer_steps, proposals, states, steps
from benchmarks.contract import Case, Contender
from pipeline.base.errors import ConfigError
from pipeline.spin.systems import ChainTFIM, SquareTFIM


@dataclass(frozen=True)
class _Size:
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


SIZES = {
    "full": _Size(
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
    ),
    "tiny": _Size(
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
    ),
}

LARGEST_DENSE = 1024
"""Of the matrices whose determinant is exact: 16 MiB a copy."""

COMPILED = "What numba compiles is compiled before the first run."

BRANCHES = (
    "Depth and features are the same, the networks are not: our PixelCNN has two branches (no blind spot), NetKet's "
    "FastARNNConv2D one, which costs it fewer operations a pass; the row with the same number of parameters has "
    "about the same number of operations, too. One branch of ours (`train.ansatz.branches=1`, kernels of 2×5, residual "
    "connections) stands beside NetKet's with the same features."
)


def direct_sampling(s: _Size) -> Case:
    """Draws of an autoregressive state."""
    shape = (s.length, s.depth)
    mine = partial(ours.draw_directly, *shape, s.width, s.samples, s.field)
    return Case(
        f"Autoregressive sampling: {s.length}×{s.length}, depth {s.depth}, {s.samples} configurations",
        s.samples,
        "configurations",
        (
            Contender("ours", "torch", partial(mine, 2)),
            Contender("ours, one branch", "torch", partial(mine, 1)),
            Contender("NetKet, same features", "netket", partial(peer.draw_directly, *shape, s.width, s.samples)),
            Contender("NetKet, same parameters", "netket", partial(peer.draw_directly, *shape, s.matched, s.samples)),
        ),
        (BRANCHES,),
    )


def local_energies(s: _Size) -> Case:
    """Local energies of an autoregressive state."""
    mine = partial(ours.local_energies, s.length, s.depth, s.width, s.samples, s.field)
    theirs = partial(peer.local_energies, s.length, s.depth)
    rest = (s.samples, s.chunk, s.field)
    return Case(
        f"Local energies of the Ising model in a field: {s.length}×{s.length}, depth {s.depth}, "
        f"{s.samples} configurations",
        s.samples * s.length**2,
        "flips",
        (
            Contender("ours", "torch", partial(mine, 2, True)),
            Contender("ours, one branch", "torch", partial(mine, 1, True)),
            Contender("ours, whole forward passes", "torch", partial(mine, 2, False)),
            Contender("ours, one branch, whole forward passes", "torch", partial(mine, 1, False)),
            Contender("NetKet, same features", "netket", partial(theirs, s.width, *rest)),
            Contender("NetKet, same parameters", "netket", partial(theirs, s.matched, *rest)),
        ),
        (
            BRANCHES,
            "NetKet evaluates every flipped configuration as a whole forward pass, "
            f"{s.chunk} at a time: on a CPU that is faster than all at once.",
        ),
    )


def metropolis_lattice(s: _Size) -> Case:
    """Chains on a lattice, where evaluating the RBM counts."""
    system, n_sites = ours.square(s.length, s.field), s.length**2
    return _metropolis(f"{s.length}×{s.length}", system, n_sites, s.lattice_draws, s)


def metropolis_ring(s: _Size) -> Case:
    """Chains on a ring, where the overhead of a step counts."""
    system = ChainTFIM(n_sites=s.ring, range=1, coupling=1.0, field=1.0)
    return _metropolis(f"ring of {s.ring}", system, s.ring, s.ring_draws, s)


def _metropolis(where: str, system: SquareTFIM | ChainTFIM, n_sites: int, draws: int, s: _Size) -> Case:
    amounts = (s.chains, draws, s.deviation)
    return Case(
        f"Metropolis sampling: {where}, RBM with α = 1, {s.chains} chains × {draws} draws, {n_sites} proposals apart",
        s.chains * draws * n_sites,
        "proposals",
        (
            Contender("ours", "torch", partial(ours.metropolis, system, *amounts)),
            Contender("NetKet", "netket", partial(peer.metropolis, n_sites, *amounts)),
        ),
        ("Ours also merges equal configurations and counts them, which NetKet does not.",),
    )


def dirac_u1(s: _Size) -> Case:
    """Wilson-Dirac operator over U(1) gauge fields."""
    return _dirac("u1", "U(1)", s)


def dirac_su3(s: _Size) -> Case:
    """Wilson-Dirac operator over SU(3) gauge fields."""
    return _dirac("su3", "SU(3)", s)


def _dirac(group: str, shown: str, s: _Size) -> Case:
    size = (group, s.torus, s.configurations, s.applications)
    return Case(
        f"Wilson-Dirac operator: {shown}, {s.torus}×{s.torus}, {s.configurations} configurations, {s.applications} "
        "times",
        s.applications * s.configurations,
        "applications",
        (
            Contender("ours", "torch", partial(lattice.apply_dirac, *size, True)),
            Contender("ours, plain torch", "torch", partial(lattice.apply_dirac, *size, False)),
            Contender("rolled complex fields", "torch", partial(lattice.apply_rolled, *size)),
        ),
        (
            "Plain torch is what runs elsewhere than on a CPU: gathered neighbours, one spin component a direction.",
            "Rolled complex fields are Eq. 5 of the paper term by term: both spin components of each neighbour are "
            "transported, then multiplied by 1 ∓ σ.",
            COMPILED,
            "Multiply-adds are complex ones with colour matrices in ours; rolled fields need twice as many.",
        ),
        "complex128",
    )


def forces_u1(s: _Size) -> Case:
    """Fermion forces of the Schwinger model at all lattice sizes."""
    return _forces("u1", "U(1)", 1, s)


def forces_su3(s: _Size) -> Case:
    """Fermion forces of SU(3) at all lattice sizes."""
    return _forces("su3", "SU(3)", 3, s)


def _forces(group: str, shown: str, colors: int, s: _Size) -> Case:
    contenders = [
        Contender(f"{method}, {torus}×{torus}", "torch", partial(lattice.fermion_force, group, torus, s.forces, method))
        for method in ("exact determinant", *lattice.SHIFTS)
        for torus in s.tori
        if method in lattice.SHIFTS or colors * torus**2 <= LARGEST_DENSE
    ]
    return Case(
        f"Fermion force: {shown}, {s.forces} configurations, even/odd, κ = {lattice.KAPPA}",
        s.forces,
        "configurations",
        tuple(contenders),
        (
            f"Random links at a distance from the identity; conjugate gradients to {lattice.TOLERANCE:g}; Hasenbusch: "
            f"shifts {', '.join(f'{shift:g}' for shift in lattice.SHIFTS['Hasenbusch'][1:])}.",
            COMPILED,
            f"`python -m benchmarks.scaling` draws it; dense matrices up to dimension {LARGEST_DENSE}.",
        ),
        "complex128",
    )


def nir_proposals(s: _Size) -> Case:
    """Draws of the proposal of neural importance resampling."""
    size = (s.side, s.copies, s.proposals)
    return Case(
        f"Proposals of neural importance resampling: {s.side}×{s.side}, {s.copies} states, d = {proposals.WIDTH}, "
        f"{proposals.LAYERS} layers, {s.proposals} configurations",
        s.proposals,
        "configurations",
        (
            Contender("keys and values kept", "torch", partial(proposals.draw, *size, True)),
            Contender("a forward pass a spin", "torch", partial(proposals.draw, *size, False)),
        ),
        ("A forward pass sees the spins before alone: on average half of all of them.",),
    )


def steps_resnet(s: _Size) -> Case:
    """Steps of stochastic reconfiguration of the residual CNN of the NIR paper."""
    return _steps("resnet", "residual CNN, 4 blocks of 16 channels", s)


def steps_vit(s: _Size) -> Case:
    """The same of a Deep ViT."""
    return _steps("vit", "Deep ViT, 4 layers, d = 36", s)


def _steps(network: str, shown: str, s: _Size) -> Case:
    mine, theirs = partial(steps.step, network, s.extent, s.draws), partial(peer_steps.step, network, s.extent, s.draws)
    return Case(
        f"Steps of stochastic reconfiguration: J1-J2 model, {s.extent}×{s.extent}, J2 = {steps.J2}, {shown}, "
        f"{s.draws} samples",
        1,
        "steps",
        (
            Contender("ours, layer by layer", "torch", partial(mine, "layerwise")),
            Contender("ours, dense log-derivatives", "torch", partial(mine, "dense")),
            Contender("NetKet, kernel on the fly", "netket", partial(theirs, s.batch, True)),
            Contender("NetKet, kernel of the Jacobian", "netket", partial(theirs, s.batch, False)),
        ),
        (
            "The same network, layer by layer and with as many parameters, as many chains as samples, one exchange of "
            "neighbours a site between samples; parts in wall seconds, medians of the warm runs.",
            "Ours exchanges antiparallel neighbours, evaluates no vanishing matrix element and none twice, and takes "
            f"log ψ of the samples from the chains; NetKet evaluates all of a row's elements, {s.batch} "
            "configurations at a time.",
            "Ours keeps freed memory, as every run of ours does; NetKet's process is as it comes.",
        ),
    )


def local_energies_states(s: _Size) -> Case:
    """Local energies of a determinant of several states."""
    mine = partial(states.local_energies, s.extent, s.states, 4, s.hidden, s.tuples, s.field)
    return Case(
        f"Local energies of {s.states} states at once: Ising model in a field, {s.extent}×{s.extent}, determinant of "
        f"MLPs with 4 layers of {s.hidden}, {s.tuples} configurations of {s.states} copies",
        s.tuples * s.states * s.extent**2,
        "flips",
        (
            Contender("ours, row updates", "torch", partial(mine, True)),
            Contender("ours, whole determinants", "torch", partial(mine, False)),
        ),
        (
            "A flip changes one row of the determinant: row updates evaluate one configuration of one copy and take "
            "products with cofactors. Whole determinants evaluate all rows of each flipped configuration.",
        ),
    )


def steps_nir_small(s: _Size) -> Case:
    """Training steps of three states with resampling and with chains, on the smaller lattice of the NIR paper."""
    return _steps_nir(s.sides[0], s)


def steps_nir_large(s: _Size) -> Case:
    """The same on its largest."""
    return _steps_nir(s.sides[1], s)


def _steps_nir(side: int, s: _Size) -> Case:
    mine = partial(nir_steps.step, scale=s.recipe, length=side, field=s.field, warmup=s.warmup)
    return Case(
        f"Training steps of three states, NIR paper's settings: {side}×{side}, g = {s.field:g}",
        1,
        "steps",
        (
            Contender("Markov chains", "torch", partial(mine, None)),
            *(Contender(f"NIR, {count} proposals", "torch", partial(mine, count)) for count in s.batches),
        ),
        (
            "Network, batch, reconfiguration, thinning (10 proposals of each of 64 chains) and proposal network are "
            "the paper's (Table A1); parts in wall seconds, medians of the warm runs.",
            f"A round is worth α_ESS = 2 batches: {s.batches[0]} proposals if q were |Ψ|² itself, {s.batches[1]} at an "
            "efficiency of 1/2; their number is fixed here, and there is one round a step.",
            "Draws that are the same are evaluated once in local energies and reconfiguration, whose log-derivatives "
            "are taken layer by layer for all.",
            f"{s.warmup} steps before the first that is timed, burn-in included.",
        ),
    )


CASES: dict[str, Callable[[_Size], Case]] = {
    "direct_sampling": direct_sampling,
    "local_energies": local_energies,
    "metropolis_lattice": metropolis_lattice,
    "metropolis_ring": metropolis_ring,
    "dirac_u1": dirac_u1,
    "dirac_su3": dirac_su3,
    "forces_u1": forces_u1,
    "forces_su3": forces_su3,
    "nir_proposals": nir_proposals,
    "local_energies_states": local_energies_states,
    "steps_nir_small": steps_nir_small,
    "steps_nir_large": steps_nir_large,
    "steps_resnet": steps_resnet,
    "steps_vit": steps_vit,
}


def case(name: str, size: str) -> Case:
    """The case of that name.

    Raises:
        ConfigError: there is none, or no such size.
    """
    if name not in CASES:
        raise ConfigError("benchmark", name, "must be one of " + ", ".join(CASES))
    if size not in SIZES:
        raise ConfigError("--size", size, "must be one of " + ", ".join(SIZES))
    return CASES[name](SIZES[size])
