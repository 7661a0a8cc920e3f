"""Joint flows: weights against the oracle, gradients, skipped updates, resumption."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.base.config.phases import PhaseConfig
from pipeline.base.errors import NonFiniteError
from pipeline.base.numbers.rng import torch_generator
from pipeline.base.store.files import load_tree, save_tree
from pipeline.gauge.fermions.solver import ConjugateGradient, NotConverged
from pipeline.gauge.joint.conditional import solved_applications
from pipeline.gauge.joint.draws import SPECTRA
from pipeline.gauge.joint.method import JointFlowTraining
from pipeline.gauge.joint.model import joint_kl, weighted_sample
from pipeline.gauge.joint.state import JointFlowState
from pipeline.gauge.pseudofermion.estimators import conditional_divergence
from pipeline.gauge.pseudofermion.loss import Gradient
from pipeline.gauge.pseudofermion.schema import SOLVERS
from pipeline.gauge.reweighting import Reweighting
from pipeline.gauge.systems import SU3TwoD
from tests.gauge.joint.small_joint import SYSTEM, small


def loss_of(
    method: JointFlowTraining, state: JointFlowState, k: int, gradient: Gradient, batch: int = 8
) -> torch.Tensor:
    generator = torch_generator(3, "test.loss", k)
    return joint_kl(state.flow, method.regulated, SYSTEM, batch, 1, generator, gradient)


def parameters(state: JointFlowState) -> torch.Tensor:
    return torch.cat([p.detach().flatten().clone() for p in state.flow.parameters()])


def test_weights_of_a_trained_model_give_the_observables_of_the_oracle() -> None:
    method = small(
        target={"hasenbusch": [0.3]}, infer={"configurations": 2000, "draws": 2, "metropolis": True}, batch=48
    )
    state = method.init(0)
    before = method.evaluate(state, 0)
    for k in range(16):
        assert method.step(state, k)["skipped_steps"] == 0
    after = method.evaluate(state, 0)
    assert after["joint_kl"] < 0.7 * before["joint_kl"]
    assert after["marginal_kl"] < before["marginal_kl"]
    assert after["conditional_kl"] < before["conditional_kl"]
    found = method.summarise([method.measure(state, k) for k in range(2)])
    oracle = Reweighting(measurements=4, configurations=1000, max_length=4, seed=0)
    expected = oracle.summarise([oracle.measure(oracle.init(SYSTEM), k) for k in range(4)])
    for name in ("plaquette", "topological_susceptibility", "plaquette_exact_weights", "plaquette_metropolis"):
        ours = found.estimate(name)
        theirs = expected.estimate(ours.against or name)
        assert ours.sigma is not None
        assert theirs.sigma is not None
        error = np.hypot(ours.sigma, theirs.sigma)
        assert error < 0.1
        assert abs(ours.value - theirs.value) < 3.0 * error, name
    joint, marginal = found.estimate("joint_ess").value, found.estimate("marginal_ess").value
    assert joint < found.estimate("ess_all_draws").value < marginal


def test_weights_without_regulator_average_to_the_determinant() -> None:
    """⟨Π_i e^{-S_i}/q⟩ over draws is det D D† up to π^n: joint and exact weights differ by that constant alone."""
    method = small(infer={"configurations": 2, "draws": 3000})
    state = method.init(1)
    record = method.measure(state, 0)
    normaliser = 16 * np.log(np.pi)
    ratios = record["log_ratios"].sum(axis=0) - (record["log_marginal"] - record["log_gauge"])[:, None] - normaliser
    w = np.exp(ratios)
    error = w.std(axis=1) / np.sqrt(w.shape[1])
    assert (error < 0.2).all()
    assert (abs(w.mean(axis=1) - 1.0) < 4.0 * error).all()


def test_exact_spectra_of_the_conditional_models() -> None:
    """Divergences as draws find them, normalisers that multiply to the determinant, weights with the mean one."""
    infer = {"configurations": 4, "draws": 600, "spectra": 3}
    method = small(target={"hasenbusch": [0.3]}, infer=infer)
    record = method.measure(method.init(1), 0)
    assert {record[name].shape for name in SPECTRA} == {(2, 3)}
    log_det = record["log_marginal"] - record["log_gauge"]
    np.testing.assert_allclose(record["log_normalisers"].sum(axis=0), (log_det + record["log_volume"])[:3], rtol=1e-10)
    log_w = record["log_ratios"][:, :3] - record["log_normalisers"][..., None]
    error = log_w.std(axis=2) / np.sqrt(600)
    assert (error < 0.2).all()
    assert (abs(log_w.mean(axis=2) + record["divergences"]) < 4.5 * error).all()
    each = conditional_divergence(log_det, record["log_ratios"], record["log_volume"])
    np.testing.assert_allclose(each[:3], -log_w.mean(axis=2).sum(axis=0), rtol=1e-9)
    assert (record["smallest_eigenvalues"] > 0.0).all()
    broken = record["smallest_eigenvalues"] <= 0.5
    np.testing.assert_array_equal(np.isinf(record["weight_variances"]), broken)
    found = method.summarise([method.measure(method.init(1), k) for k in (0, 1)])
    assert found.estimate("conditional_kl").value == pytest.approx(
        found.estimate("conditional_kl_exact").value, rel=0.2
    )


def test_the_number_of_draws_does_not_change_the_links() -> None:
    method = small()
    state = method.init(0)

    def weights(draws: int) -> torch.Tensor:
        generator = torch_generator(0, "test.links")
        return weighted_sample(state.flow, method.target, SYSTEM, 2, draws, generator, exact=False).log_gauge

    assert torch.equal(weights(1), weights(17))


@pytest.mark.parametrize("solver", SOLVERS)
def test_gradient_is_that_of_the_loss(solver: str) -> None:
    """Central differences along the gradient itself, for the same random numbers."""
    method = small(target={"solver": solver, "hasenbusch": [0.3]})
    state = method.init(0)
    loss_of(method, state, 0, "reparametrised").backward()
    gradients = [p.grad for p in state.flow.parameters() if p.grad is not None]
    assert len(gradients) == len(list(state.flow.parameters()))
    norm = float(torch.cat([g.flatten() for g in gradients]).norm())
    step, values = 1e-6, []
    for sign in (1.0, -2.0):
        with torch.no_grad():
            for p in state.flow.parameters():
                assert p.grad is not None
                p.add_(p.grad, alpha=sign * step / norm)
        values.append(loss_of(method, state, 0, "reparametrised").item())
    assert (values[0] - values[1]) / (2 * step) == pytest.approx(norm, rel=1e-4)


def test_path_gradient_has_the_value_and_the_mean_of_the_other() -> None:
    method = small()
    state = method.init(0)
    (bias,) = [p for name, p in state.flow.named_parameters() if name == "conditional.shared.convolution.bias"]
    weight = next(state.flow.marginal.parameters())
    found: dict[Gradient, list[torch.Tensor]] = {"reparametrised": [], "path": []}
    for k in range(14):
        values = []
        for kind, slopes in found.items():
            loss = loss_of(method, state, k, kind)
            slopes.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, (bias, weight))]))
            values.append(loss.item())
        assert values[0] == pytest.approx(values[1], abs=1e-8)
    difference = torch.stack(found["path"]) - torch.stack(found["reparametrised"])
    error = difference.std(dim=0) / len(difference) ** 0.5
    assert error.max() > 1e-6
    assert (difference.mean(dim=0).abs() < 5.0 * error + 1e-9).all()


def test_chunks_add_up_to_the_mean_over_the_batch() -> None:
    method = small(chunk=6, gradient_clip=None, marginal={"layers": 2})
    state = method.init(0)
    before = [p.detach().clone() for p in state.flow.parameters()]
    found = method._backward(state, 0, 16)
    gradients = [p.grad.clone() for p in state.flow.parameters() if p.grad is not None]
    state.flow.zero_grad()
    generator = torch_generator(0, "joint flow training", 0)
    parts = [joint_kl(state.flow, method.regulated, SYSTEM, n, 1, generator, "reparametrised") * n for n in (6, 6, 4)]
    mean = torch.stack(parts).sum() / 16
    mean.backward()
    assert found == pytest.approx(mean.item(), rel=1e-12)
    for p, old, gradient in zip(state.flow.parameters(), before, gradients, strict=True):
        assert p.grad is not None
        assert torch.equal(p, old)
        torch.testing.assert_close(p.grad, gradient)


def test_updates_whose_solves_fail_are_skipped_counted_and_end_the_run() -> None:
    method = small(target={"solver": "conjugate_gradient"}, evaluate_every=1)
    state = method.init(0)
    assert method.step(state, 0)["skipped_steps"] == 0
    good = (method.regulated, method.target)
    failing = small(target={"solver": "conjugate_gradient"})
    for target in (failing.regulated, failing.target):
        object.__setattr__(target.solver, "max_iterations", 1)
    method.regulated, method.target = failing.regulated, failing.target
    before = parameters(state)
    metrics = method.step(state, 1)
    assert metrics == {"lr": 0.01, "skipped_steps": 1.0}
    assert torch.equal(parameters(state), before)
    again = method.init(0)
    again.load_state_dict(state.state_dict())
    with pytest.raises(NonFiniteError, match=r"2 updates skipped in a row, the last one step 2: conjugate gradients"):
        method.step(again, 2)
    with pytest.raises(NotConverged):
        method.measure(state, 0)
    method.regulated, method.target = good
    assert method.step(state, 2)["skipped_steps"] == 1
    assert not torch.equal(parameters(state), before)
    assert state.skipped_in_a_row == 0


@pytest.mark.parametrize("solver", SOLVERS)
def test_parameters_that_are_not_finite_skip_the_update(solver: str) -> None:
    method = small(target={"solver": solver})
    state = method.init(0)
    with torch.no_grad():
        next(state.flow.conditional.parameters()).fill_(torch.nan)
    assert method.step(state, 0) == {"lr": 0.01, "skipped_steps": 1.0}
    with pytest.raises((NonFiniteError, NotConverged)):
        method.measure(state, 0)


def test_a_training_all_of_whose_updates_are_skipped_is_none() -> None:
    """Fewer than ``max_skipped`` would pass as a training otherwise; one that made a step is one, and says the rest."""
    method = small(steps=2, max_skipped=5, infer={"configurations": 4})
    state = method.init(0)
    good = [p.detach().clone() for p in state.flow.parameters()]
    with torch.no_grad():
        next(state.flow.conditional.parameters()).fill_(torch.nan)
    assert method.step(state, 0)["skipped_steps"] == 1
    again = method.init(0)
    again.load_state_dict(state.state_dict())
    with pytest.raises(NonFiniteError, match=r"all 2 updates were skipped: nothing is trained; try a smaller"):
        method.step(state, 1)
    with torch.no_grad():
        for p, value in zip(again.flow.parameters(), good, strict=True):
            p.copy_(value)
    assert method.step(again, 1)["skipped_steps"] == 1
    result = method.summarise([method.measure(again, 0)])
    assert "1 update(s) of the training were skipped: solves or gradients failed." in result.notes
    fresh = small(infer={"configurations": 4})
    assert "skipped" not in " ".join(fresh.summarise([fresh.measure(fresh.init(0), 0)]).notes)


def test_a_collapse_late_in_a_training_is_said(caplog: pytest.LogCaptureFixture) -> None:
    method = small(steps=10, evaluate_configurations=200)
    state = method.init(0)
    assert method.evaluate(state, 9)["joint_ess"] * 200 > 2.0
    assert not caplog.records
    with torch.no_grad():
        for p in state.flow.parameters():
            p.mul_(6.0)
    assert method.evaluate(state, 4)["joint_ess"] * 200 < 2.0
    assert not caplog.records, "early in a training that is as it must be"
    method.evaluate(state, 5)
    assert "before step 5 200 configurations are worth 1." in caplog.text
    assert "has collapsed; try longer training" in caplog.text


@torch.no_grad()
@pytest.mark.parametrize("hasenbusch", [[], [0.3]])
def test_applications_are_those_of_plain_conjugate_gradients(hasenbusch: list[float]) -> None:
    """On each system by itself, with the dense matrix."""
    method = small(target={"hasenbusch": hasenbusch})
    flow, target = method.init(0).flow, method.target
    links, _ = flow.marginal.sample_with_log_prob(3, torch_generator(1, "test.links"))
    solver = ConjugateGradient(1e-6, 500)
    found = solved_applications(flow, target, links, solver, torch_generator(2, "test.draw"))
    generator = torch_generator(2, "test.draw")
    fields = [model.sample(1, generator)[0] for model in flow.conditional(links)]
    dense = target.fermions.matrix(links).dense()
    expected = np.zeros(3)
    for monomial, field in zip(target.monomials, fields, strict=True):
        for i in range(3):
            normal = (dense[i] @ dense[i].mH + monomial.shift * torch.eye(len(dense[i]))).numpy()
            expected[i] += 2 * _iterations(normal, field[i].flatten().numpy(), 1e-6)
    assert found == pytest.approx(expected, abs=2.0), "rounding may decide the last iteration"
    assert len(set(expected)) > 1


def _iterations(matrix: np.ndarray, b: np.ndarray, tolerance: float) -> int:
    r, p, k = b.copy(), b.copy(), 0
    norm = start = np.vdot(r, r).real
    while norm > tolerance**2 * start:
        image = matrix @ p
        r = r - norm / np.vdot(p, image).real * image
        norm, old = np.vdot(r, r).real, norm
        p, k = r + norm / old * p, k + 1
    return k


def test_applications_are_left_out_where_solves_fail(caplog: pytest.LogCaptureFixture) -> None:
    method = small(target={"max_iterations": 1}, infer={"configurations": 4, "spectra": 4})
    record = method.measure(method.init(0), 0)
    assert "dirac_applications" not in record
    assert set(SPECTRA) <= set(record)
    assert "applications of the Dirac operator are not counted: conjugate gradients" in caplog.text
    method = small(infer={"configurations": 4, "spectra": 3})
    records = [method.measure(method.init(0), k) for k in range(2)]
    found = method.summarise(records).estimate("dirac_applications")
    assert found.n == 6
    assert found.value == pytest.approx(np.mean([r["dirac_applications"] for r in records]))


def test_learning_rate_and_batch_follow_the_phases(monkeypatch: pytest.MonkeyPatch) -> None:
    method = small(phases=[PhaseConfig(steps=1, samples=4), PhaseConfig(steps=1, lr=0.003)])
    state, sizes = method.init(0), []
    base = state.flow.marginal.forward

    def forward(links: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        sizes.append(len(links))
        return base(links)

    monkeypatch.setattr(state.flow.marginal, "forward", forward)
    assert [method.step(state, k)["lr"] for k in range(2)] == [0.01, 0.003]
    assert sizes == [4, 4]


def test_a_training_goes_on_from_the_disk_as_if_nothing_had_happened(tmp_path: Path) -> None:
    method = small(evaluate_every=2, gradient="path", target={"hasenbusch": [0.3]})
    state = method.init(0)
    method.step(state, 0)
    save_tree(tmp_path / "state", state.state_dict())
    expected = [method.step(state, k) for k in (1, 2)]
    again = small(evaluate_every=2, gradient="path", target={"hasenbusch": [0.3]}).init(0)
    again.load_state_dict(load_tree(tmp_path / "state"))
    assert [method.step(again, k) for k in (1, 2)] == expected
    assert torch.equal(parameters(again), parameters(state))
    for name, value in method.measure(state, 3).items():
        np.testing.assert_array_equal(method.measure(again, 3)[name], value)


def test_coloured_fields() -> None:
    """SU(3) at no coupling and a small κ, links as they are drawn: weights and estimates, and no charge."""
    system = SU3TwoD(length=4, beta=0.0, kappa=0.05)
    method = small(
        system,
        batch=2,
        evaluate_every=1,
        evaluate_configurations=2,
        marginal={"layers": 0},
        infer={"configurations": 3},
    )
    state = method.init(0)
    assert {"loss", "joint_ess", "marginal_kl"} <= method.step(state, 0).keys()
    record = method.measure(method.init(0), 0)
    assert not record["log_gauge"].any()
    assert record["log_marginal"].std() < 1.0
    assert "topological_charge" not in record
    assert "topological_charge" not in [e.name for e in method.summarise([record]).estimates]
