"""Figures 5 to 7 of the pseudofermion paper: histograms from ensembles that are made up, and what is said of them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import pytest
from matplotlib.figure import Figure

from pipeline.base.config.compose import compose_config
from pipeline.base.numbers import rng
from pipeline.base.numbers.result import Estimate, Result
from pipeline.base.store.entry import Entry
from pipeline.stages.compose import compose_run
from pipeline.stages.keys import Keys
from reproduce.artefact import FOLDER, load_artefact
from reproduce.plan import Found, make_tasks
from reproduce.pseudofermion import agreement, distributions, fig5, fig6, fig7
from reproduce.pseudofermion.distributions import EXACT, FLOW, HMC, ORACLE, PLAIN, Panel
from reproduce.tables import Finished, Table

SHIFT = 0.4


@dataclass(frozen=True)
class Made:
    """As much of an entry as histograms look at."""

    arrays: dict[str, Any]
    batches: list[dict[str, Any]] = field(default_factory=list)
    estimates: tuple[Estimate, ...] = ()
    name: str = "made/0"
    seconds: float = 1.0
    device: str = "cpu"
    status: dict[str, Any] = field(default_factory=lambda: {"kind": "made up"})

    def ensemble(self) -> dict[str, Any]:
        return dict(self.arrays)

    def records(self) -> list[dict[str, Any]]:
        return self.batches

    def result(self) -> Result:
        return Result(self.estimates)


def normal(purpose: str, *shape: int) -> Any:
    return rng.numpy_generator(1, f"test.{purpose}").standard_normal(shape)


def table_of(name: str, shift: float = SHIFT, only: tuple[str, ...] = (HMC, FLOW, ORACLE)) -> Table:
    """Flows that draw N(0, 1) with the weights of N(SHIFT, 1), and chains of N(shift, 1)."""
    artefact = load_artefact(f"pseudofermion-{name}")
    drawn, pure = normal("flow", 500, 4), normal("pure", 1500)
    chains = shift + normal("chains", 40, 50)
    flow = {"plaquette": drawn, "topological_charge": np.round(drawn), "correlator": drawn}
    of_chains = {"plaquette": chains, "topological_charge": np.round(chains)}
    of_chains["correlator_from_zero"] = np.stack([chains + 7.0, chains + 9.0, chains, chains - 5.0], axis=2)
    batches = [
        {"plaquette": x, "topological_charge": np.round(x), "log_weight": SHIFT * x - 5.0} for x in np.split(pure, 3)
    ]
    entries = {
        FLOW: Made(flow | {"log_weight": SHIFT * drawn, "log_marginal": SHIFT * drawn + 3.0}),
        HMC: Made(of_chains),
        ORACLE: Made({}, batches),
    }
    finished = []
    for task in make_tasks(artefact, "smoke", ()):
        method = task.cell.method
        known = {column.estimate for column in task.cell.columns}
        entry = replace(
            entries[method], estimates=tuple(Estimate(n, 0.5, 0.1, "standard-error") for n in sorted(known))
        )
        made = cast(Entry, entry) if method in only else None
        found = Found(made, made, None, 3, ()) if method == FLOW else Found(None, None, made, None, ())
        finished.append(Finished(task, found, None if made else "not done", ()))
    return Table(artefact, "smoke", finished)


@pytest.fixture(scope="module")
def panels() -> list[Panel]:
    return distributions.panels(table_of("fig6"), fig6.OBSERVABLES)


def test_equal_densities_agree_and_weights_matter(panels: list[Panel]) -> None:
    assert [panel.observable for panel in panels] == ["plaquette", "topological_charge"]
    for panel in panels:
        assert [one.sampler for one in panel.histograms] == [HMC, FLOW, EXACT, PLAIN, ORACLE]
        for one in panel.histograms:
            assert sum(one.fractions) == pytest.approx(1.0)
            assert len(one.fractions) == len(panel.edges) - 1
        p = {one.sampler: one.p for one in panel.histograms}
        assert p[HMC] is None
        assert all((value := p[s]) is not None and value > 0.01 for s in (FLOW, EXACT, ORACLE))
        plain = p[PLAIN]
        assert plain is not None
        assert plain < 1e-6
    trusted, flow = (panels[0].of(s) for s in (HMC, FLOW))
    assert trusted is not None
    assert flow is not None
    assert (trusted.configurations, trusted.effective, flow.configurations) == (2000, 2000.0, 2000)
    assert flow.effective == pytest.approx(2000 * np.exp(-(SHIFT**2)), rel=0.05)
    for one in (trusted, flow):
        assert abs(one.mean - SHIFT) < 4.0 * one.sigma
        assert 0.02 < one.sigma < 0.04
    assert panels[1].edges[0] % 1.0 == 0.5


def test_claims_follow_the_probabilities(panels: list[Panel]) -> None:
    assert [claim.seen for claim in agreement.claims(panels)] == ["yes", "yes", "yes", "yes"]
    other = distributions.panels(table_of("fig6", shift=SHIFT + 0.5), fig6.OBSERVABLES)
    assert [claim.seen for claim in agreement.claims(other)] == ["no", "no", "no", "yes"]
    assert [claim.seen for claim in agreement.claims([])] == ["not run"]
    unknown = [replace(panels[0], histograms=tuple(replace(one, p=None) for one in panels[0].histograms))]
    assert {claim.seen for claim in agreement.claims(unknown)} == {"undecided"}
    mixed = [panels[0], other[1]]
    assert agreement.claims(mixed)[0].seen == "in 1 of 2"
    assert agreement.claims([panels[0], unknown[0]])[0].seen == "undecided"
    assert agreement.claims([other[1], unknown[0]])[0].seen == "no"


def test_few_effective_samples_would_not_notice_missing_weights(panels: list[Panel]) -> None:
    def worth(panel: Panel, sigma: float) -> Panel:
        made = [replace(one, sigma=sigma) if one.sampler == FLOW else one for one in panel.histograms]
        return replace(panel, histograms=tuple(made))

    *_, power = agreement.claims([worth(panel, 10.0) for panel in panels])
    assert power.seen == "no"
    assert "combined errors: average plaquette P 0." in power.evidence


def test_pages_and_what_they_keep(panels: list[Panel]) -> None:
    table = table_of("fig6")
    rendering = fig6.render(table)
    assert len(rendering.body) == 10
    assert "agree with those of hybrid Monte Carlo" in rendering.verdict[0]
    assert rendering.draw is not None
    figure = Figure()
    rendering.draw(figure)
    assert len(figure.axes) == 4
    table.kept = json.loads(json.dumps(dict(rendering.kept)))
    assert distributions.panels(table, fig6.OBSERVABLES) == panels
    curve = next(one.curve for one in rendering.curves if one.curve.name == "density_plaquette_exact_weights")
    assert np.dot(curve.y, curve.x_width) == pytest.approx(1.0)
    nothing = fig6.render(table_of("fig6", only=(FLOW,)))
    assert (nothing.body, nothing.draw, nothing.verdict) == ([], None, [])


def test_correlator_is_that_of_the_configured_time_and_plaquettes_are_traces() -> None:
    rendering = fig7.render(table_of("fig7"))
    means = {(line[0], line[1]): float(line[4].split("(")[0]) for line in rendering.body}
    correlator = "pseudoscalar correlator C(2)"
    for sampler in (HMC, FLOW):
        words = distributions.SAMPLERS[sampler]
        assert means[correlator, words] == pytest.approx(SHIFT, abs=0.15)
        assert means["average plaquette P", words] == pytest.approx(3.0 * SHIFT, abs=0.45)
    assert rendering.claims[0].seen == "yes"


def test_ensemble_of_an_older_inference_is_made_of_its_records() -> None:
    record = {"log_gauge": normal("gauge", 5), "log_ratios": normal("ratios", 2, 5, 1), "plaquette": normal("p", 5)}
    found = distributions.of_flow(cast(Entry, Made({}, [record, record, record])))
    assert {name: array.shape for name, array in found.items()} == {"log_weight": (5, 3), "plaquette": (5, 3)}
    expected = record["log_gauge"] + record["log_ratios"][..., 0].sum(axis=0)
    np.testing.assert_allclose(found["log_weight"][:, 1], expected)


@pytest.mark.parametrize("scale", ["smoke", "laptop"])
def test_figure_6_has_the_training_of_the_joint_recipe(scale: str) -> None:
    fig, joint = (Keys(compose_run([f"paper=pseudofermion/{name}", f"scale={scale}"])) for name in ("fig6", "joint"))
    assert fig.train == joint.train
    assert fig.infer(3) == joint.infer(3)


def test_figure_6_at_full_scale_has_the_ensemble_that_comes_with_the_repository() -> None:
    key = Keys(compose_run(["paper=pseudofermion/fig6", "scale=paper"])).baseline
    assert (FOLDER.parent / "results" / "references" / f"{key}.safetensors").is_file()


def test_printed_values_of_the_su3_flow() -> None:
    run = compose_config(["paper=pseudofermion/su3_joint", "scale=paper"])
    method = run.train.method
    assert (run.system.length, run.system.beta, run.system.kappa) == (16, 6.0, 0.265)
    assert (method.marginal.layers, method.conditional.layers, method.batch) == (48, 48, 576)
    assert (method.conditional.transports, method.conditional.features, method.conditional.hidden) == (6, 4, 16)
    assert list(method.conditional.partition) == ["spatial", "spin"]
    assert list(method.preconditioning.hasenbusch) == [0.3]
    assert (run.train.optimizer.lr, run.train.optimizer.eps) == (5e-4, 0.01)
    assert [(p.steps, p.lr) for p in run.train.phases[:2]] == [(10000, 5e-4), (10000, 2.5e-4)]
    assert run.infer.units * run.infer.configurations == 41000
    hmc = run.baseline.hmc
    assert hmc.chains * hmc.measurements * hmc.trajectories_per_measurement == 3200


@pytest.mark.parametrize("scale", ["laptop", "long", "gpu", "paper"])
def test_correlators_are_at_the_farthest_time_of_small_lattices(scale: str) -> None:
    """As the reason of that deviation says; L/4 at full scale."""
    run = compose_config(["paper=pseudofermion/su3_joint", f"scale={scale}"])
    assert run.infer.correlator_time == run.system.length // (4 if scale == "paper" else 2)


def test_figure_5_compares_at_the_end_beyond_errors() -> None:
    table = table_of("fig5")

    def seen(joint: Estimate, marginal: Estimate) -> str:
        last = dict.fromkeys(fig5.QUANTITIES) | {"joint_ess": joint, "marginal_ess": marginal}
        found = [fig5.Course("joint_ess", (0.0, 2.0), (0.1, 0.2)), fig5.Course("marginal_ess", (0.0,), (0.05,))]
        claims = fig5.claims(table, found, last)
        assert [claim.seen for claim in claims[:2]] == ["not-comparable", "not run"]
        assert "in 0 of 1 estimates" in claims[2].evidence
        return claims[2].seen

    low, high = (Estimate("ess", value, 0.01, "standard-error") for value in (0.1, 0.2))
    assert [seen(low, high), seen(high, low), seen(low, low)] == ["by construction", "no", "undecided"]
    assert seen(low, replace(high, doubt="few")) == "undecided"
    assert fig5.render(table_of("fig5", only=())).body == []


@pytest.mark.parametrize("name", ["su3_joint", "fig6"])
def test_spectra_are_not_taken_where_nothing_shows_them(name: str) -> None:
    """What is inherited from Fig. 4, on 16 × 16 sites: dense matrices of every configuration."""
    assert compose_config([f"paper=pseudofermion/{name}", "scale=paper"]).infer.spectra == 0
