"""Solvers, Hasenbusch monomials, fermion actions and their forces."""

import dataclasses
import math

import pytest
import torch

from pipeline.base.errors import UserError
from pipeline.base.numbers import rng
from pipeline.gauge import su3, u1
from pipeline.gauge.action import Action, RefreshedAction, SumOfActions, wilson_action
from pipeline.gauge.fermions.actions import ExactDeterminantAction, PseudofermionAction, WilsonFermions
from pipeline.gauge.fermions.determinants import log_det, normal_eigenvalues
from pipeline.gauge.fermions.dirac import FermionMatrix, WilsonDirac
from pipeline.gauge.fermions.monomials import Monomial, condition_numbers, hasenbusch
from pipeline.gauge.fermions.solver import (
    Applications,
    ConjugateGradient,
    DenseSolver,
    NotConverged,
    Solver,
    solve_dirac,
)
from pipeline.gauge.group import Group

GROUPS = [pytest.param(u1, id="u1"), pytest.param(su3, id="su3")]
EVEN_ODD = [pytest.param(False, id="D"), pytest.param(True, id="schur")]
KAPPA = 0.265
CG = ConjugateGradient(tolerance=1e-14, max_iterations=2000)
SHIFTS = (0.0, 0.02, 0.3)


@dataclasses.dataclass(frozen=True)
class PlainConjugateGradient(ConjugateGradient):
    """As on devices other than the CPU."""

    def _compiled(
        self, matrix: FermionMatrix, shift: float, field: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return self._plain(matrix, shift, field)


PLAIN = PlainConjugateGradient(CG.tolerance, CG.max_iterations)
SOLVERS = [
    pytest.param(CG, id="cg"),
    pytest.param(PLAIN, id="plain"),
    pytest.param(DenseSolver(), id="dense"),
]
KINDS = pytest.mark.parametrize("kind", [ConjugateGradient, PlainConjugateGradient])


def generator(purpose: str) -> torch.Generator:
    return rng.torch_generator(23, purpose)


def smooth(group: Group, length: int, batch: int = 2) -> torch.Tensor:
    """Links at a distance from the identity typical of equilibrium, so that D is well-conditioned but not trivial."""
    cold = group.identity(batch, length)
    return group.drift(cold, group.random_momenta(cold, generator("test.links")), 0.6)


def matrix_on(group: Group, length: int, even_odd: bool, batch: int = 2) -> FermionMatrix:
    return WilsonFermions(group, KAPPA, even_odd).matrix(smooth(group, length, batch))


def normal(matrix: FermionMatrix) -> torch.Tensor:
    dense = matrix.dense()
    return dense @ dense.mH


def form(matrix: FermionMatrix, monomial: Monomial) -> torch.Tensor:
    """Λ as a dense matrix, from its definition in Eq. 37."""
    m, unit = normal(matrix), torch.eye(matrix.dimension, dtype=torch.complex128)
    inverse = torch.linalg.inv(m + monomial.shift * unit)
    return inverse if monomial.next_shift is None else (m + monomial.next_shift * unit) @ inverse


def quadratic(dense: torch.Tensor, fields: torch.Tensor) -> torch.Tensor:
    phi = fields.flatten(2)
    return torch.einsum("bki,bij,bkj->bk", phi.conj(), dense, phi).real


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("even_odd", EVEN_ODD)
@pytest.mark.parametrize("solver", SOLVERS)
def test_solutions(group: Group, even_odd: bool, solver: Solver) -> None:
    matrix = matrix_on(group, 4, even_odd)
    b = matrix.noise(3, generator("test.b"))
    for shift in (0.0, 0.1):
        x = solver.solve(matrix, shift, b)
        m = normal(matrix) + shift * torch.eye(matrix.dimension, dtype=torch.float64)
        expected = torch.linalg.solve(m, b.flatten(2).mT).mT.reshape(b.shape)
        torch.testing.assert_close(x, expected, atol=1e-10, rtol=0)
    propagator = solve_dirac(matrix, solver, b)
    torch.testing.assert_close(matrix.apply(propagator), b, atol=1e-10, rtol=0)


@KINDS
def test_conjugate_gradients_stop_at_the_relative_residual(kind: type[ConjugateGradient]) -> None:
    matrix = matrix_on(u1, 8, False)
    # Systems whose right-hand sides differ by many orders have to meet the same relative condition.
    b = matrix.noise(3, generator("test.b")) * torch.tensor([1.0, 1e-6, 1e9]).view(3, 1, 1, 1)
    for tolerance in (1e-3, 1e-9):
        residual = matrix.normal(kind(tolerance, 500).solve(matrix, 0.0, b)) - b
        relative = torch.linalg.vector_norm(residual.flatten(2), dim=2) / torch.linalg.vector_norm(b.flatten(2), dim=2)
        assert (relative <= 1.01 * tolerance).all()
        assert (relative > 1e-3 * tolerance).all()


@KINDS
def test_converged_systems_are_frozen(kind: type[ConjugateGradient]) -> None:
    """A system gives the same solution alone and beside one that takes far longer."""
    alone = WilsonFermions(u1, 0.1, False).matrix_of(u1.matrices(smooth(u1, 8, 1)))
    b = alone.noise(1, generator("test.b"))
    zero = torch.zeros_like(b)
    solver = kind(1e-4, 500)
    expected = solver.solve(alone, 0.0, b)
    constant = torch.ones_like(b)
    together = solver.solve(alone, 0.0, torch.cat([b, constant, zero], dim=1))
    torch.testing.assert_close(together[:, :1], expected, atol=1e-15, rtol=0)
    assert not together[:, 2].any()


@KINDS
def test_not_converging_says_what_may_be_wrong(kind: type[ConjugateGradient]) -> None:
    matrix = matrix_on(u1, 8, False)
    with pytest.raises(
        NotConverged, match=r"2 of 2 systems .* after 5 iterations .* κ=0.265 may be beyond its critical"
    ):
        kind(1e-10, 5).solve(matrix, 0.0, matrix.noise(1, generator("test.b")))
    assert issubclass(NotConverged, UserError)


@pytest.mark.parametrize("even_odd", EVEN_ODD)
def test_fields_of_a_wrong_shape_are_refused(even_odd: bool) -> None:
    matrix = matrix_on(su3, 4, even_odd)
    good = matrix.noise(1, generator("test.b"))
    for bad in (good[:1], good[:, :, 1:], good[..., :2], good[:, 0], good[:, :, :, :1]):
        for act in (matrix.apply, matrix.dagger, lambda field: CG.solve(matrix, 0.0, field)):
            with pytest.raises(ValueError, match=r"must have shape \(2, k, (16|8), 2, 3\)"):
                act(bad)


@pytest.mark.parametrize("solver", SOLVERS)
def test_nan_fails_in_its_configuration_only(solver: Solver) -> None:
    links = smooth(u1, 4)
    links[1, 0, 2, 2] = math.nan
    matrix = WilsonFermions(u1, KAPPA, True).matrix(links)
    x = solver.solve(matrix, 0.0, matrix.noise(1, generator("test.b")))
    assert x[0].isfinite().all()
    assert x[1].isnan().all()


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("even_odd", EVEN_ODD)
def test_monomials_multiply_to_the_determinant(group: Group, even_odd: bool) -> None:
    matrix = matrix_on(group, 4, even_odd)
    eigenvalues = normal_eigenvalues(matrix)
    for shifts in [(0.0,), (0.0, 0.1), (0.0, 0.001, 0.01, 0.05)]:
        monomials = hasenbusch(shifts)
        assert len(monomials) == len(shifts)
        dense = sum(-torch.linalg.slogdet(form(matrix, each)).logabsdet for each in monomials)
        spectral = sum(each.spectrum(eigenvalues).log().sum(dim=1) for each in monomials)
        torch.testing.assert_close(dense, 2.0 * log_det(matrix)[1], atol=1e-10, rtol=0)
        torch.testing.assert_close(spectral, 2.0 * log_det(matrix)[1], atol=1e-10, rtol=0)
    regulated = sum(each.spectrum(eigenvalues).log().sum(dim=1) for each in hasenbusch((0.01, 0.1)))
    torch.testing.assert_close(regulated, (eigenvalues + 0.01).log().sum(dim=1), atol=1e-10, rtol=0)


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("even_odd", EVEN_ODD)
@pytest.mark.parametrize("monomial", [*hasenbusch(SHIFTS), Monomial(0.05, None)], ids=str)
def test_pseudofermions_have_the_covariance_of_their_form(
    group: Group, even_odd: bool, monomial: Monomial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The map from noise to fields is linear: on unit vectors it gives T, and T T† must be Λ^{-1}, exactly."""
    matrix, dense = matrix_on(group, 4, even_odd), form(matrix_on(group, 4, even_odd), monomial)
    unit = torch.eye(matrix.dimension, dtype=torch.complex128)
    columns = unit.reshape(1, -1, matrix.sites, 2, group.n_colors).repeat(2, 1, 1, 1, 1)
    with monkeypatch.context() as patch:
        patch.setattr(FermionMatrix, "noise", lambda *_: columns)
        drawn = monomial.draw(matrix, 1, generator("test.phi"), CG).flatten(2)
    covariance = drawn.mT @ drawn.conj()
    torch.testing.assert_close(covariance @ dense, unit.expand_as(dense), atol=1e-9, rtol=0)

    phi = monomial.draw(matrix, 3, generator("test.phi"), CG)
    eta = matrix.noise(3, generator("test.phi"))
    action = monomial.action(matrix, phi, CG)
    torch.testing.assert_close(action, quadratic(dense, phi), atol=1e-9, rtol=0)
    torch.testing.assert_close(action, eta.abs().square().flatten(2).sum(dim=2), atol=1e-9, rtol=0)


def test_noise_has_unit_variance() -> None:
    eta = matrix_on(su3, 4, False).noise(500, generator("test.eta"))
    assert eta.abs().square().mean().item() == pytest.approx(1.0, abs=5 / math.sqrt(eta.numel()))
    assert eta.real.var().item() == pytest.approx(0.5, abs=5 / math.sqrt(eta.numel()))


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("monomial", hasenbusch(SHIFTS), ids=str)
def test_gradients_of_the_action_pass_through_no_solver(monomial: Monomial, solver: Solver) -> None:
    """With respect to links and fields, against torch's differentiation of the dense quadratic form."""
    angles = smooth(u1, 4).requires_grad_()
    fermions = WilsonFermions(u1, KAPPA, True)
    phi = fermions.matrix(angles).noise(2, generator("test.phi")).requires_grad_()
    matrix = fermions.matrix(angles)
    ours = torch.autograd.grad(monomial.action(matrix, phi, solver).sum(), (angles, phi))
    dense = torch.autograd.grad(quadratic(form(fermions.matrix(angles), monomial), phi).sum(), (angles, phi))
    for a, b in zip(ours, dense, strict=True):
        assert b.abs().max() > 0.1
        torch.testing.assert_close(a, b, atol=1e-9, rtol=0)


def actions(group: Group, even_odd: bool) -> dict[str, Action]:
    fermions = WilsonFermions(group, KAPPA, even_odd)
    return {
        "exact": ExactDeterminantAction(fermions),
        "pseudofermion": PseudofermionAction(fermions, hasenbusch((0.0,)), CG),
        "hasenbusch": PseudofermionAction(fermions, hasenbusch(SHIFTS), CG),
        "with gauge": SumOfActions(
            (wilson_action(group, 2.0), PseudofermionAction(fermions, hasenbusch((0.0,)), DenseSolver()))
        ),
    }


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("even_odd", EVEN_ODD)
@pytest.mark.parametrize("name", actions(u1, False))
@pytest.mark.parametrize("length", [2, 4])
def test_forces_against_finite_differences(group: Group, even_odd: bool, name: str, length: int) -> None:
    """Each component on the smallest lattice, random directions on a larger one; central differences of order 4."""
    action = actions(group, even_odd)[name]
    links = smooth(group, length)
    if isinstance(action, RefreshedAction):
        action.refresh(links, generator("test.phi"))
    force = action.force(links)
    assert force.abs().max() > 0.05
    size = force[0].numel()
    directions = torch.eye(size, dtype=torch.float64)[:: max(1, size // 16)]
    if length > 2:
        directions = torch.randn(4, size, dtype=torch.float64, generator=generator("test.directions"))
    for direction in directions:
        momenta, step = direction.view_as(force[0]).expand_as(force), 1e-3
        at = {n: action.value(group.drift(links, momenta, n * step)) for n in (-2, -1, 1, 2)}
        slope = (8.0 * (at[1] - at[-1]) - (at[2] - at[-2])) / (12.0 * step)
        torch.testing.assert_close((force * momenta).flatten(1).sum(dim=1), -slope, atol=1e-7, rtol=1e-7)


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("even_odd", EVEN_ODD)
def test_mean_pseudofermion_force_is_the_exact_one(
    group: Group, even_odd: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """⟨∂(φ†Λφ)⟩ = Tr(Λ^{-1} ∂Λ): the mean over Gaussian noise is the sum over unit vectors, without statistics."""
    links = smooth(group, 4)
    action = actions(group, even_odd)["hasenbusch"]
    assert isinstance(action, PseudofermionAction)
    matrix = action.fermions.matrix(links)
    unit = torch.eye(matrix.dimension, dtype=torch.complex128).reshape(1, -1, matrix.sites, 2, group.n_colors)
    monkeypatch.setattr(FermionMatrix, "noise", lambda *_: unit.repeat(2, 1, 1, 1, 1))
    action.refresh(links, generator("test.phi"))
    exact = actions(group, even_odd)["exact"].force(links)
    assert exact.abs().max() > 0.05
    torch.testing.assert_close(action.force(links), exact, atol=1e-9, rtol=0)


@pytest.mark.parametrize("group", GROUPS)
def test_exact_action_with_and_without_even_odd(group: Group) -> None:
    links = smooth(group, 4)
    plain, preconditioned = (actions(group, even_odd)["exact"] for even_odd in (False, True))
    torch.testing.assert_close(plain.value(links), preconditioned.value(links), atol=1e-10, rtol=0)
    torch.testing.assert_close(plain.force(links), preconditioned.force(links), atol=1e-10, rtol=0)
    moved = group.gauge_transform(links, group.random_gauge(2, 4, generator("test.gauge")))
    torch.testing.assert_close(plain.value(moved), plain.value(links), atol=1e-10, rtol=0)


def test_condition_numbers() -> None:
    matrix, monomials = matrix_on(u1, 4, True), hasenbusch(SHIFTS)
    found = condition_numbers(matrix, monomials)
    expected = torch.stack([torch.linalg.cond(form(matrix, each)) for each in monomials])
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)
    plain = condition_numbers(matrix, hasenbusch((0.0,)))[0]
    torch.testing.assert_close(plain, torch.linalg.cond(matrix.dense()) ** 2, rtol=1e-10, atol=0)
    assert (found.amax(dim=0) < plain).all()


@pytest.mark.parametrize("shifts", [(), (-0.1,), (0.0, 0.0), (0.1, 0.01), (math.nan,), (0.0, math.nan)])
def test_bad_shifts_are_refused(shifts: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="must rise from zero"):
        hasenbusch(shifts)


def test_pseudofermions_have_to_be_drawn_first() -> None:
    links = smooth(u1, 4)
    action = actions(u1, True)["hasenbusch"]
    for each in (action.value, action.force):
        with pytest.raises(RuntimeError, match="refreshed before"):
            each(links)


def test_refreshing_a_sum_refreshes_its_pseudofermions() -> None:
    links, action = smooth(u1, 4), actions(u1, True)["with gauge"]
    assert isinstance(action, SumOfActions)
    action.refresh(links, generator("test.phi"))
    first = action.value(links)
    action.refresh(links, generator("test.other"))
    assert (action.value(links) - first).abs().min() > 1e-3
    action.refresh(links, generator("test.phi"))
    torch.testing.assert_close(action.value(links), first)


def test_nan_links_give_a_nan_action_in_their_configuration() -> None:
    links = smooth(u1, 4)
    for name, action in actions(u1, True).items():
        if isinstance(action, RefreshedAction):
            action.refresh(links, generator("test.phi"))
        broken = links.clone()
        broken[1, 0, 2, 2] = math.nan
        value, force = action.value(broken), action.force(broken)
        assert value[0].isfinite(), name
        assert value[1].isnan(), name
        assert force[0].isfinite().all(), name


@KINDS
def test_applications_are_counted(kind: type[ConjugateGradient]) -> None:
    """At κ = 0 all is solved at once, a field that vanishes without a step, and solutions add up."""
    counted = Applications()
    links = u1.random_links(2, 2, generator("counted links"))
    matrix = WilsonDirac(u1.matrices(links), 0.0)
    field = matrix.noise(3, generator("counted fields"))
    field[1, 2] = 0.0
    for shift, expected in ((0.5, [6, 4]), (0.0, [12, 8])):
        kind(1e-10, 10, counted).solve(matrix, shift, field)
        assert counted.counts is not None
        assert counted.counts.tolist() == expected


@pytest.mark.parametrize("even_odd", EVEN_ODD)
def test_dense_solutions_of_indefinite_matrices_are_no_numbers(even_odd: bool) -> None:
    """Only of those: a factorisation that stops half-way leaves finite numbers behind."""
    links = smooth(u1, 4)
    matrix = WilsonFermions(u1, KAPPA, even_odd).matrix(links)
    field = matrix.noise(2, generator("test.indefinite"))
    between = float(normal_eigenvalues(matrix).flatten().quantile(0.5))
    assert DenseSolver().solve(matrix, -between, field).isnan().all()
    assert DenseSolver().solve(matrix, 1e-3, field).isfinite().all()
