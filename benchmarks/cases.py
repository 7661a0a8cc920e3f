"""The cases by name, and those of spin systems."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from benchmarks import gauge_cases, nir_steps, ours, peer, peer_steps, proposals, states, steps
from benchmarks.contract import Case, Contender
from benchmarks.sizes import SIZES, Size
from pipeline.base.errors import ConfigError
from pipeline.spin.systems import ChainTFIM, SquareTFIM

BRANCHES = (
    "Depth and features are the same, the networks are not: our PixelCNN has two branches (no blind spot), NetKet's "
    "FastARNNConv2D one, which costs it fewer operations a pass; the row with the same number of parameters has "
    "about the same number of operations, too. One branch of ours (`train.ansatz.branches=1`, kernels of 2×5, residual "
    "connections) stands beside NetKet's with the same features."
)


def direct_sampling(s: Size) -> Case:
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


def local_energies(s: Size) -> Case:
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


def metropolis_lattice(s: Size) -> Case:
    """Chains on a lattice, where evaluating the RBM counts."""
    system, n_sites = ours.square(s.length, s.field), s.length**2
    return _metropolis(f"{s.length}×{s.length}", system, n_sites, s.lattice_draws, s)


def metropolis_ring(s: Size) -> Case:
    """Chains on a ring, where the overhead of a step counts."""
    system = ChainTFIM(n_sites=s.ring, range=1, coupling=1.0, field=1.0)
    return _metropolis(f"ring of {s.ring}", system, s.ring, s.ring_draws, s)


def _metropolis(where: str, system: SquareTFIM | ChainTFIM, n_sites: int, draws: int, s: Size) -> Case:
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


def nir_proposals(s: Size) -> Case:
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


def steps_resnet(s: Size) -> Case:
    """Steps of stochastic reconfiguration of the residual CNN of the NIR paper."""
    return _steps("resnet", "residual CNN, 4 blocks of 16 channels", s)


def steps_vit(s: Size) -> Case:
    """The same of a Deep ViT."""
    return _steps("vit", "Deep ViT, 4 layers, d = 36", s)


def _steps(network: str, shown: str, s: Size) -> Case:
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


def local_energies_states(s: Size) -> Case:
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


def steps_nir_small(s: Size) -> Case:
    """Training steps of three states with resampling and with chains, on the smaller lattice of the NIR paper."""
    return _steps_nir(s.sides[0], s)


def steps_nir_large(s: Size) -> Case:
    """The same on its largest."""
    return _steps_nir(s.sides[1], s)


def _steps_nir(side: int, s: Size) -> Case:
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


CASES: dict[str, Callable[[Size], Case]] = {
    "direct_sampling": direct_sampling,
    "local_energies": local_energies,
    "metropolis_lattice": metropolis_lattice,
    "metropolis_ring": metropolis_ring,
    "dirac_u1": gauge_cases.dirac_u1,
    "dirac_su3": gauge_cases.dirac_su3,
    "forces_u1": gauge_cases.forces_u1,
    "forces_su3": gauge_cases.forces_su3,
    "joint_step": gauge_cases.joint_step,
    "trajectories_u1": gauge_cases.trajectories_u1,
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
