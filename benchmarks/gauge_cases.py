"""The cases of lattice gauge theory: operators, forces, trajectories, flows."""

from __future__ import annotations

from functools import partial

from benchmarks import joint_steps, lattice, trajectories, trajectory_start
from benchmarks.contract import Case, Contender
from benchmarks.sizes import Size

LARGEST_DENSE = 1024
"""Of the matrices whose determinant is exact: 16 MiB a copy."""

COMPILED = "What numba compiles is compiled before the first run."


def dirac_u1(s: Size) -> Case:
    """Wilson-Dirac operator over U(1) gauge fields."""
    return _dirac("u1", "U(1)", s)


def dirac_su3(s: Size) -> Case:
    """Wilson-Dirac operator over SU(3) gauge fields."""
    return _dirac("su3", "SU(3)", s)


def _dirac(group: str, shown: str, s: Size) -> Case:
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


def forces_u1(s: Size) -> Case:
    """Fermion forces of the Schwinger model at all lattice sizes."""
    return _forces("u1", "U(1)", 1, s)


def forces_su3(s: Size) -> Case:
    """Fermion forces of SU(3) at all lattice sizes."""
    return _forces("su3", "SU(3)", 3, s)


def _forces(group: str, shown: str, colors: int, s: Size) -> Case:
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


def joint_step(s: Size) -> Case:
    """An update of a joint flow of the Schwinger model."""
    size = (s.joint_length, s.joint_batch, s.joint_layers, s.joint_layers)
    return Case(
        f"Update of a joint flow: Schwinger model, {s.joint_length}×{s.joint_length}, {s.joint_batch} configurations, "
        f"{s.joint_layers} gauge and {s.joint_layers} pseudofermion layers, even/odd, one monomial",
        s.joint_batch,
        "configurations",
        (
            Contender("ours", "torch", partial(joint_steps.step, "ours", *size)),
            Contender("eager complex tensors", "torch", partial(joint_steps.step, "eager", *size)),
        ),
        (
            "The same network with the same weights from the same random numbers: losses and gradients agree to "
            "rounding. Eager: whole lattices, complex fields, rolls, masks, a differentiated dense solution.",
            "Parts hold the forward and the backward pass; gauge layers with the gauge action, context with the "
            "transporters and the Jacobian of the pseudofermion layers.",
            COMPILED,
        ),
    )


def trajectories_u1(s: Size) -> Case:
    """Trajectories of hybrid Monte Carlo with pseudofermions."""
    size = (s.trajectory, s.chains_of_links)
    return Case(
        f"Trajectory of hybrid Monte Carlo: Schwinger model, {s.trajectory}×{s.trajectory}, {s.chains_of_links} "
        "configurations, even/odd, one Hasenbusch shift",
        s.chains_of_links,
        "configurations",
        (
            Contender("ours", "torch", partial(trajectories.run, "ours", *size)),
            Contender("ours, plain torch", "torch", partial(trajectories.run, "plain", *size)),
            Contender("rolled complex fields", "torch", partial(trajectories.run, "rolled", *size)),
            Contender("compiled loop", "torch", partial(trajectories.run, "looped", *size)),
        ),
        (
            f"{trajectory_start.STEPS} steps of the Omelyan integrator of length 1 in all, κ = {lattice.KAPPA}, "
            f"β = {trajectory_start.BETA}, shifts {trajectory_start.SHIFTS}, conjugate gradients to "
            f"{trajectory_start.TOLERANCE:g}; from the same links, momenta and pseudofermions to the same ΔH.",
            "Plain torch is what runs elsewhere than on a CPU. Rolled complex fields: D on all sites by rolls, all "
            "configurations iterated until the last one has converged, the force by autograd. Compiled loop: one "
            "configuration at a time, the force written out, nothing but loops (numba).",
            COMPILED,
        ),
        "complex128",
    )
