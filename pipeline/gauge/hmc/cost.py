"""What hybrid Monte Carlo is expected to need: orders of magnitude, measured on one core."""

from __future__ import annotations

from pipeline.gauge.hmc.schema import FermionSettings, HMCSettings
from pipeline.gauge.systems import GaugeSystem, TwoFlavours

COLORS = {"u1": 1, "su3": 3}
FORCES = {"omelyan": 2, "leapfrog": 1}
SECONDS_PER_CALL = 1e-4
"""For launching tensor operations, whatever their size."""

SECONDS_PER_LINK = {"u1": 1.4e-8, "su3": 8e-7}
"""Of a gauge force."""


def trajectory_seconds(hmc: HMCSettings, system: GaugeSystem) -> float:
    """One trajectory of all chains, with the number of steps as configured."""
    force = SECONDS_PER_LINK[system.group] * 2.0 * system.size
    if isinstance(system, TwoFlavours):
        force += fermion_force_seconds(hmc.fermions, system)
    # Both actions of the Metropolis test and the first force cost about as much as three forces.
    forces = FORCES[hmc.integrator] * hmc.integrator_steps + 3
    return forces * (SECONDS_PER_CALL + hmc.chains * force)


def fermion_force_seconds(settings: FermionSettings, system: GaugeSystem) -> float:
    """One configuration: an inverse of a dense matrix, or conjugate gradients for each monomial at κ = 0.265."""
    if settings.determinant == "exact":
        return 8e-10 * dimension(settings, system) ** 3
    monomials = len(settings.hasenbusch) + 1
    return 2e-6 * system.size * COLORS[system.group] ** 1.6 * monomials * (1.0 if settings.even_odd else 2.5)


def dimension(settings: FermionSettings, system: GaugeSystem) -> int:
    """Complex components of a fermion field, on all sites or on the even ones."""
    return COLORS[system.group] * system.size * (1 if settings.even_odd else 2)


def memory_bytes(hmc: HMCSettings, system: GaugeSystem) -> float:
    """Links, momenta, forces and plaquettes; six dense matrices a configuration for exact determinants, else the fields
    of conjugate gradients."""
    links = 2.0 * system.size * (8 if system.group == "u1" else 16 * 9)
    total = 8.0 * links
    if isinstance(system, TwoFlavours):
        n = dimension(hmc.fermions, system)
        exact = hmc.fermions.determinant == "exact"
        total += 16.0 * (6.0 * n**2 if exact else 10.0 * n * (len(hmc.fermions.hasenbusch) + 1))
    return hmc.chains * total
