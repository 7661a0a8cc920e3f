"""Targets, losses and the exact quality of small models, each against dense algebra or averages over draws."""

import math

import pytest
import torch

from pipeline.gauge import su3, u1
from pipeline.gauge.fermions.determinants import log_det, normal_eigenvalues
from pipeline.gauge.group import Group
from pipeline.gauge.pseudofermion.loss import Gradient, reverse_kl
from pipeline.gauge.pseudofermion.spectrum import conditional_kl, dense_map, relative_spectrum, weight_variance
from pipeline.gauge.pseudofermion.target import PseudofermionTarget, pseudofermion_target
from pipeline.gauge.systems import Schwinger, SU3TwoD
from tests.gauge.pseudofermion.small_flows import config, flows, generator, preconditioning

EVEN_ODD = [pytest.param(False, id="D"), pytest.param(True, id="schur")]


def target(
    group: Group = u1,
    even_odd: bool = True,
    hasenbusch: list[float] | None = None,
    kappa: float = 0.265,
    solver: str = "dense",
    regulator: float = 0.0,
) -> PseudofermionTarget:
    system = Schwinger(length=4, beta=2.0, kappa=kappa) if group is u1 else SU3TwoD(length=4, beta=6.0, kappa=kappa)
    settings = preconditioning(even_odd, hasenbusch, regulator, solver)
    return pseudofermion_target(system, settings, regulated=True)


def smooth(group: Group, batch: int = 2, spread: float = 0.5) -> torch.Tensor:
    cold = group.identity(batch, 4)
    return group.drift(cold, group.random_momenta(cold, generator("test.links")), spread)


def forms(aim: PseudofermionTarget, links: torch.Tensor) -> list[torch.Tensor]:
    """Λ of each monomial as a dense, differentiable matrix."""
    dense = aim.fermions.matrix(links).dense()
    normal, unit = dense @ dense.mH, torch.eye(dense.shape[-1], dtype=dense.dtype)
    found = []
    for each in aim.monomials:
        inverse = torch.linalg.inv(normal + each.shift * unit)
        found.append(inverse if each.next_shift is None else (normal + each.next_shift * unit) @ inverse)
    return found


@pytest.mark.parametrize("group", [u1, su3])
@pytest.mark.parametrize("even_odd", EVEN_ODD)
def test_normalisers(group: Group, even_odd: bool) -> None:
    """Their sum is the determinant, and each the Gaussian integral with the measure of real and imaginary parts."""
    links = smooth(group)
    for shifts in ([], [0.3], [0.01, 0.3]):
        aim = target(group, even_odd, shifts)
        found = aim.log_normalisers(links)
        dimension = aim.fermions.matrix(links).dimension
        expected = [dimension * math.log(math.pi) - torch.linalg.slogdet(form)[1] for form in forms(aim, links)]
        torch.testing.assert_close(found, torch.stack(expected), atol=1e-9, rtol=0)
        total = 2.0 * log_det(aim.fermions.matrix(links))[1] + (len(shifts) + 1) * dimension * math.log(math.pi)
        torch.testing.assert_close(found.sum(dim=0), total, atol=1e-9, rtol=0)
    regulated = target(group, even_odd, [0.3], regulator=0.01)
    shifted = normal_eigenvalues(regulated.fermions.matrix(links)) + 0.01
    logs = regulated.log_normalisers(links).sum(dim=0) - 2 * dimension * math.log(math.pi)
    torch.testing.assert_close(logs, shifted.log().sum(dim=1), atol=1e-9, rtol=0)


@pytest.mark.parametrize("solver", ["dense", "conjugate_gradient"])
def test_gradients_reach_parameters_links_and_fields(solver: str) -> None:
    """Of the whole loss, against torch's differentiation of dense forms, and in one parameter against differences."""
    aim, model = target(hasenbusch=[0.3], solver=solver), flows(u1, 4, True, config(layers=2), monomials=2)
    angles = smooth(u1).requires_grad_()
    parameters = list(model.parameters())
    loss, log_ratios = reverse_kl(model, aim, angles, 2, generator("test.chi"))
    ours = torch.autograd.grad(loss, [angles, *parameters])
    drawn = generator("test.chi")
    dense_loss = torch.zeros((), dtype=torch.float64)
    for flow, form in zip(model(angles), forms(aim, angles), strict=True):
        fields, log_q = flow.sample(2, drawn)
        phi = fields.flatten(2)
        dense_loss = dense_loss + (torch.einsum("bki,bij,bkj->bk", phi.conj(), form, phi).real + log_q).mean()
    dense = torch.autograd.grad(dense_loss, [angles, *parameters])
    assert loss.item() == pytest.approx(dense_loss.item(), abs=1e-8)
    assert -log_ratios.mean(dim=(1, 2)).sum().item() == pytest.approx(loss.item(), abs=1e-12)
    for one, other in zip(ours, dense, strict=True):
        torch.testing.assert_close(one, other, atol=1e-8, rtol=1e-8)
    weight, values = parameters[-2], []
    for step in (1e-5, -1e-5):
        with torch.no_grad():
            weight[0, 0] += step
            values.append(reverse_kl(model, aim, angles, 2, generator("test.chi"))[0].item())
            weight[0, 0] -= step
    assert (values[0] - values[1]) / 2e-5 == pytest.approx(ours[-2][0, 0].item(), rel=1e-5)


@pytest.mark.parametrize("live", [False, True])
def test_path_gradients_lack_the_score(live: bool) -> None:
    """Path gradient = reparametrised gradient - ∂ log q at fixed fields; nothing is lacking in the links."""
    aim, model = target(), flows(u1, 4, True, config(layers=2))
    links = smooth(u1).requires_grad_(live)
    parameters = list(model.parameters()) + ([links] if live else [])
    found = {}
    kinds: tuple[Gradient, ...] = ("reparametrised", "path")
    for kind in kinds:
        loss, _ = reverse_kl(model, aim, links, 2, generator("test.chi"), kind)
        found[kind] = loss.item(), torch.autograd.grad(loss, parameters)
    (flow,) = model(links)
    fields, _ = flow.sample(2, generator("test.chi"))
    score = torch.autograd.grad(flow.log_prob(fields.detach()).mean(), parameters, allow_unused=True)
    assert found["path"][0] == pytest.approx(found["reparametrised"][0], abs=1e-9)
    pairs = list(zip(*(found[kind][1] for kind in kinds), score, strict=True))
    for full, path, lacking in pairs[: len(pairs) - live]:
        assert lacking is not None
        torch.testing.assert_close(path, full - lacking, atol=1e-9, rtol=1e-8)
    assert max(lacking.abs().max().item() for *_, lacking in pairs if lacking is not None) > 0.1
    if live:
        full, path, _ = pairs[-1]
        torch.testing.assert_close(path, full, atol=1e-9, rtol=1e-8)


def test_path_gradients_have_no_noise_at_the_optimum() -> None:
    """At κ -> 0 the target is the base, and so is the model without weights."""
    aim, model = target(kappa=1e-12), flows(u1, 4, True, config(layers=2))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    size = {}
    kinds: tuple[Gradient, ...] = ("reparametrised", "path")
    for kind in kinds:
        loss, _ = reverse_kl(model, aim, smooth(u1), 1, generator("test.chi"), kind)
        found = torch.autograd.grad(loss, list(model.parameters()))
        size[kind] = max(each.abs().max().item() for each in found)
    assert size["path"] < 1e-10
    assert size["reparametrised"] > 0.1


@pytest.mark.parametrize("even_odd", EVEN_ODD)
@pytest.mark.parametrize("index", [0, 1])
def test_spectrum_and_divergence(even_odd: bool, index: int) -> None:
    links, aim = smooth(u1), target(even_odd=even_odd, hasenbusch=[0.3])
    flow = flows(u1, 4, even_odd, config(layers=2, gain=0.3), monomials=2)(links)[index]
    found = relative_spectrum(flow, aim.fermions.matrix(links), aim.monomials[index])
    dense, form = dense_map(flow), forms(aim, links)[index]
    covariance = dense @ dense.mH
    expected = torch.linalg.eigvals(form @ covariance).real.sort(dim=1, descending=True)[0]
    torch.testing.assert_close(found, expected, atol=1e-8, rtol=1e-8)
    # D_KL of two complex Gaussians, and the same as the mean of the loss.
    trace = torch.einsum("bij,bji->b", form, covariance).real
    divergence = trace - found.shape[1] - torch.linalg.slogdet(form @ covariance)[1]
    torch.testing.assert_close(conditional_kl(found), divergence, atol=1e-8, rtol=0)
    with torch.no_grad():
        fields, log_q = flow.sample(2000, generator("test.chi"))
        action = aim.monomials[index].action(aim.fermions.matrix(links), fields, aim.solver)
    sampled = (log_q + action).mean(dim=1) + aim.log_normalisers(links)[index]
    # Σ (s - 1)|χ|² over independent χ has the variance Σ (s - 1)².
    sigma = ((found - 1.0).square().sum(dim=1) / 2000).sqrt()
    assert ((sampled - divergence).abs() < 4 * sigma).all()
    assert (sigma < 0.05 * divergence).all()


def test_weights_average_to_one() -> None:
    """E_q[p/q] = 1 with the normaliser π^n, and their variance is Π s²/(2s - 1) - 1."""
    links, aim = smooth(u1, spread=0.3), target(even_odd=True, kappa=0.1)
    (flow,) = flows(u1, 4, True, config(layers=2, gain=0.02), biases=0.02)(links)
    draws = 6000
    with torch.no_grad():
        fields, log_q = flow.sample(draws, generator("test.chi"))
        action = aim.monomials[0].action(aim.fermions.matrix(links), fields, aim.solver)
        weight = (-action - log_q - aim.log_normalisers(links)[0][:, None]).exp()
        spectrum = relative_spectrum(flow, aim.fermions.matrix(links), aim.monomials[0])
    variance = weight_variance(spectrum)
    # E_q[w^k] = Π s^k/(k s - k + 1), finite for k = 4 as all s > 3/4: what the errors of mean and variance are.
    assert spectrum.min() > 0.75
    m_2, m_3, m_4 = ((spectrum**k / (k * spectrum - k + 1)).prod(dim=1) for k in (2, 3, 4))
    fourth = m_4 - 4.0 * m_3 + 6.0 * m_2 - 3.0
    sigma = (variance / draws).sqrt()
    assert ((weight.mean(dim=1) - 1.0).abs() < 4 * sigma).all()
    assert (sigma < 0.01).all()
    error = ((fourth - variance**2) / draws).sqrt()
    assert ((weight.var(dim=1) - variance).abs() < 4 * error).all()
    assert (error < 0.2 * variance).all()


def test_variance_of_weights() -> None:
    spectrum = torch.tensor([[1.0, 1.0], [2.0, 1.0], [0.75, 3.0], [0.5, 1.0], [0.1, 9.0]], dtype=torch.float64)
    expected = [0.0, 1.0 / 3.0, 0.5625 / 0.5 * 1.8 - 1.0, math.inf, math.inf]
    torch.testing.assert_close(weight_variance(spectrum), torch.tensor(expected, dtype=torch.float64))
    # One complex dimension, radially: E_q[w²] = ∫ p²/q with p = e^{-r}/1 and q = e^{-r/s}/s in r = |φ|² λ.
    for s in (0.6, 1.7):
        r = torch.linspace(0.0, 400.0, 2_000_001, dtype=torch.float64)
        moment = torch.trapezoid((-2.0 * r + r / s).exp() * s, r).item()
        found = weight_variance(torch.tensor([s], dtype=torch.float64)).item()
        assert found == pytest.approx(moment - 1.0, rel=1e-6)
    assert conditional_kl(torch.ones(2, 3)).tolist() == [0.0, 0.0]
