"""Figure 6: plaquette and topological charge of the Schwinger model, reweighted flow against hybrid Monte Carlo."""

from __future__ import annotations

from reproduce.artefact import Artefact, Cell, Column, Rendering
from reproduce.pseudofermion import distributions
from reproduce.pseudofermion.agreement import flow_and_hmc, page
from reproduce.pseudofermion.distributions import FLOW, ORACLE, Observable
from reproduce.tables import Table

ROW = "schwinger"
SETTINGS = "pseudofermion/fig6"
SMALL = "pseudofermion/joint"
"""Its lattices are small enough for independent draws, at the scales of the paper too; below that they are the same."""
QUANTITIES = ("plaquette", "topological_susceptibility")
QUALITIES = ("joint_ess", "ess_all_draws", "acceptance")
OBSERVABLES = (
    Observable("plaquette", "average plaquette $P$"),
    Observable("topological_charge", "topological charge $Q$", integer=True),
)


def cells() -> list[Cell]:
    """Flow and hybrid Monte Carlo; where the lattice is small enough, exact draws of gauge fields, reweighted."""
    columns = tuple(Column("reweighting", name, name) for name in QUANTITIES)
    overrides, small = ("baseline=reweighting",), ("smoke", "laptop")
    oracle = Cell(ROW, ORACLE, overrides, columns, stages=("baseline",), settings=SMALL, scales=small)
    return [*flow_and_hmc(ROW, SETTINGS, QUANTITIES, QUALITIES), oracle]


def render(table: Table) -> Rendering:
    """Histograms of both observables."""
    return page(table, ROW, distributions.panels(table, OBSERVABLES), [], NOTES)


NOTES = (
    "The flow is that of Fig. 2 at the scale of the paper, of which the caption says: 52k configurations, 64 "
    "pseudofermion draws each, an ESS of about 30 %, and 130k configurations of hybrid Monte Carlo thinned by 10.",
)

ARTEFACT = Artefact(
    "pseudofermion",
    "fig6",
    "Figure 6: histograms of the Schwinger model, reweighted flow and hybrid Monte Carlo",
    cells,
    render,
    own={FLOW: "joint flow"},
    checks=("hmc",),
    labels={ROW: "Schwinger model"},
)
