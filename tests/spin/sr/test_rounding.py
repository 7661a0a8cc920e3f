"""Networks in single precision whose log-derivatives are large: steps must not be made of rounding."""

import copy

import pytest
import torch
from torch import Tensor, nn

from pipeline.base.run.ranks import Ranks
from pipeline.spin.chunks import Chunks
from pipeline.spin.sr import layerwise
from pipeline.spin.sr.choice import derivatives_of
from pipeline.spin.sr.layerwise import LayerwiseLogDerivatives
from pipeline.spin.sr.operator import LogDerivatives, Scalable
from pipeline.spin.sr.solve import solve
from pipeline.spin.wave_function import WaveFunction
from tests.threads import in_threads

SITES, ROWS, SHIFT = 10, 96, 1e-2


class Steep(WaveFunction):
    """log ψ of two layers, and of a third one that adds nothing but large derivatives.

    Of few directions eigenvalues are large then, of many small.
    """

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.first, self.last, self.steep = nn.Linear(SITES, 40), nn.Linear(40, 1), nn.Linear(SITES, 1)

    def log_amplitude(self, spins: Tensor) -> Tensor:
        x = spins.to(self.last.weight.dtype)
        steep = self.steep(self.scale * (x + 0.3)) / self.scale
        found: Tensor = (self.last(self.first(x).tanh()) + (steep - steep.detach()) * self.scale)[:, 0]
        return found


def made(scale: float, shift: float) -> tuple[LayerwiseLogDerivatives, LogDerivatives, Tensor]:
    """The operator of a network in single precision, the same held of a copy in double, and local energies."""
    generator = torch.Generator().manual_seed(1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        ansatz = Steep(scale)
    spins = 1 - 2 * torch.randint(2, (ROWS, SITES), generator=generator, dtype=torch.int8)
    weights = torch.full((ROWS,), 1.0 / ROWS, dtype=torch.float64)
    target = torch.randn(ROWS, generator=generator, dtype=torch.float64)
    target -= target.mean()
    single = derivatives_of("layerwise", ansatz, spins, weights, Chunks(None), shift=shift)
    double = derivatives_of("dense", copy.deepcopy(ansatz).double(), spins, weights, Chunks(None), shift=shift)
    assert isinstance(single, LayerwiseLogDerivatives)
    return single, double, target / ROWS**0.5


def off(single: LogDerivatives, double: LogDerivatives, target: Tensor) -> float:
    """Relative distance of the two steps, as the batch sees them."""
    expected = double.push(solve(double, target, SHIFT))
    return float((double.push(solve(single, target, SHIFT)) - expected).norm() / expected.norm())


@pytest.fixture(params=[True, False], ids=["held", "twin"])
def held(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether what is exact is a matrix, or too large for one."""
    monkeypatch.setattr(layerwise, "holds_derivatives", lambda *_: request.param)
    return bool(request.param)


@pytest.mark.parametrize("scale", [1.0, 30.0, 80.0, 95.0, 3e3])
@pytest.mark.usefixtures("held")
def test_a_step_is_that_of_double_precision(scale: float) -> None:
    """Whatever the scale of the log-derivatives; just below the bound rounding is a tenth of the step at most."""
    single, double, target = made(scale, SHIFT)
    assert off(single, double, target) < (1e-3 if single._exact is not None or scale == 1.0 else 0.1)


def test_single_precision_would_not_do() -> None:
    """So that the test above has something to find."""
    assert off(*made(3e3, float("inf"))) > 0.1


def test_single_precision_is_kept_where_it_does() -> None:
    """No second pass."""
    single, _, _ = made(1.0, SHIFT)
    single.gram()
    assert single._exact is None
    steep, _, _ = made(3e3, SHIFT)
    steep.gram()
    assert steep._exact is not None


@pytest.mark.usefixtures("held")
def test_parameters_are_those_of_now() -> None:
    """A copy in double precision is kept from step to step, the parameters are not; parameters' units count, too."""
    steep, _, target = made(3e3, SHIFT)
    solve(steep, target, SHIFT)
    with torch.no_grad():
        for parameter in steep._parameters:
            parameter.mul_(1.5)
    spins, weights = steep._spins, steep._weights
    single = derivatives_of("layerwise", steep._ansatz, spins, weights, Chunks(None), shift=SHIFT)
    double = derivatives_of("dense", copy.deepcopy(steep._ansatz).double(), spins, weights, Chunks(None), shift=SHIFT)
    assert off(single, double, target) < 1e-3
    assert isinstance(single, Scalable)
    assert isinstance(double, Scalable)
    units = 0.5 + torch.rand(double.shape[0], generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    assert off(single.scaled(units), double.scaled(units), target) < 1e-3


def test_the_matrix_is_exact_whenever_it_is_asked_for() -> None:
    """Also again, as where Cholesky fails."""
    steep, _, _ = made(3e3, SHIFT)
    first = steep.gram()
    assert torch.equal(steep.gram(), first)


@pytest.mark.usefixtures("held")
def test_ranks_change_to_double_precision_together() -> None:
    """And have the same step, that of one."""
    steep, _, target = made(3e3, SHIFT)
    spins, weights = steep._spins, steep._weights
    expected = solve(steep, target, SHIFT)

    def body(ranks: Ranks) -> Tensor:
        own = copy.deepcopy(steep._ansatz)
        operator = derivatives_of("layerwise", own, spins, weights, Chunks(None), ranks, SHIFT)
        found = solve(operator, target, SHIFT)
        assert isinstance(operator, LayerwiseLogDerivatives)
        assert operator._exact is not None
        return found

    for found in in_threads(3, body):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)
