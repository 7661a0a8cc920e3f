"""Figure 7: plaquette and pseudoscalar correlator of SU(3), reweighted flow against hybrid Monte Carlo."""

from __future__ import annotations

from reproduce.artefact import Artefact, Cell, Rendering
from reproduce.pseudofermion import distributions
from reproduce.pseudofermion.agreement import flow_and_hmc, page
from reproduce.pseudofermion.distributions import FLOW, Observable
from reproduce.tables import Table

ROW = "su3"
SETTINGS = "pseudofermion/su3_joint"
QUANTITIES = ("plaquette",)
QUALITIES = ("joint_ess", "marginal_ess", "acceptance")


def cells() -> list[Cell]:
    """The training and the inference of Fig. 5, and hybrid Monte Carlo."""
    return flow_and_hmc(ROW, SETTINGS, QUANTITIES, QUALITIES)


def render(table: Table) -> Rendering:
    """Histograms of both observables."""
    time = table.finished[0].task.run.infer.correlator_time
    observables = (
        Observable("plaquette", "average plaquette $P$"),
        Observable("correlator", f"pseudoscalar correlator $C({time})$"),
    )
    notes = (
        f"C(x₀) of Eq. C3 of each configuration, its source at time 0, at x₀ = {time}: the paper does not say which x₀ "
        "it shows.",
        "The caption of Fig. 7 names the flow of Fig. 2, which is one of the Schwinger model; as the text of "
        "Appendix C says, the flow here is that of Fig. 5.",
        "The caption says: 41k configurations, a single pseudofermion draw each, an ESS of about 3 %, and 3200 "
        "configurations of hybrid Monte Carlo thinned by 10.",
    )
    return page(table, ROW, distributions.panels(table, observables), [], notes)


ARTEFACT = Artefact(
    "pseudofermion",
    "fig7",
    "Figure 7: histograms of two-dimensional SU(3), reweighted flow and hybrid Monte Carlo",
    cells,
    render,
    own={FLOW: "joint flow"},
    checks=("hmc",),
    labels={ROW: "SU(3), N_f = 2"},
)
