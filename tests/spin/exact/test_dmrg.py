"""DMRG against exact energies, its extrapolation and its determinism."""

import logging

import numpy as np
import pytest

from pipeline.base.errors import ConfigError
from pipeline.spin.exact.collective_spin import CollectiveSpin
from pipeline.spin.exact.dmrg import DMRG, build_model, extrapolate, initial_states
from pipeline.spin.exact.dmrg_states import Point
from pipeline.spin.exact.free_fermions import FreeFermions
from pipeline.spin.systems import ChainTFIM, SpinSystem, SquareHeisenberg, SquareTFIM
from pipeline.spin.terms import PauliTerm
from tests.spin.dense import heisenberg, ising, lowest, ring, square, square_heisenberg


def dmrg(*bond_dimensions: int, tolerance: float = 1e-9, max_sweeps: int = 10) -> DMRG:
    return DMRG(list(bond_dimensions) or [8, 16], tolerance, max_sweeps, svd_min=1e-11, max_sites=64, states=None)


def chain(n_sites: int, interaction_range: int = 1, coupling: float = 1.0, field: float = 1.0) -> ChainTFIM:
    return ChainTFIM(n_sites=n_sites, range=interaction_range, coupling=coupling, field=field)


def test_critical_chain_of_ten() -> None:
    result = dmrg(8, 16, 32, tolerance=1e-11).run(chain(10))
    energy, variational = result.estimate("energy"), result.estimate("variational_energy")
    assert energy.value == pytest.approx(-12.784906442999, abs=1e-11)
    assert (energy.bound, energy.sigma_kind, energy.unit) == ("extrapolated", "truncation", "total")
    assert variational.bound == "variational"
    assert variational.value >= -12.784906442999324 - 1e-12
    curve = result.curves[0]
    assert curve.x == (8.0, 16.0, 32.0)
    assert curve.y[0] > curve.y[1] > curve.y[2] == variational.value
    assert result.curves[1].name == "truncation_error"


SMALL: list[tuple[SpinSystem, np.ndarray]] = [
    (chain(3), ring(3, 1, 1.0, 1.0)),
    (chain(9, 2, 0.7, 1.3), ring(9, 2, 0.7, 1.3)),
    (chain(8, 3, 1.0, 0.5), ring(8, 3, 1.0, 0.5)),
    (chain(9, 3, -1.0, 0.5), ring(9, 3, -1.0, 0.5)),
    (chain(7, 1, 0.9, -0.8), ring(7, 1, 0.9, -0.8)),
    (chain(8, 2, -0.9, -0.6), ring(8, 2, -0.9, -0.6)),
    (chain(6, 2, 1.0, 0.0), ring(6, 2, 1.0, 0.0)),
    (SquareTFIM(length_x=2, length_y=3, periodic=False, coupling=1.0, field=2.0), square(2, 3, False, 1.0, 2.0)),
    (SquareTFIM(length_x=3, length_y=3, periodic=True, coupling=1.0, field=2.5), square(3, 3, True, 1.0, 2.5)),
]


@pytest.mark.parametrize(("system", "matrix"), SMALL, ids=[f"{type(s).__name__}-{s.size}" for s, _ in SMALL])
def test_small_systems_agree_with_dense(system: SpinSystem, matrix: np.ndarray) -> None:
    result = dmrg().run(system)
    assert result.estimate("energy").value == pytest.approx(lowest(matrix), abs=1e-9)
    assert result.estimate("variational_energy").value >= lowest(matrix) - 1e-10


def test_operator_on_product_states_has_the_dense_diagonal() -> None:
    """Site-dependent terms on 2 × 3: ⟨s|H|s⟩ of every σx product state fixes signs, order and the rotation."""
    from tenpy.networks.mps import MPS

    couplings = {(0, 1): 0.3, (1, 2): -1.1, (3, 4): 0.7, (4, 5): 1.9, (0, 3): -0.4, (1, 4): 1.3, (2, 5): 0.55}
    fields = [0.2, 1.4, -0.6, 0.9, 0.35, 1.15]
    terms = [PauliTerm(-v, "zz", bond) for bond, v in couplings.items()]
    terms += [PauliTerm(-h, "x", (site,)) for site, h in enumerate(fields)]
    model = build_model(terms, 6)
    rotation = np.eye(1)
    for _ in range(6):
        rotation = np.kron(rotation, np.array([[1, 1], [1, -1]]) / np.sqrt(2))
    dense = rotation @ ising(6, couplings, fields) @ rotation
    for index in (0, 1, 13, 38, 63):
        bits = [(index >> (5 - site)) & 1 for site in range(6)]
        state = ["down" if bit else "up" for bit in bits]
        psi = MPS.from_product_state(model.lat.mps_sites(), state, bc="finite", unit_cell_width=6)
        assert float(model.H_MPO.expectation_value(psi)) == pytest.approx(dense[index, index], abs=1e-12)
        assert float(model.H_MPO.variance(psi)) == pytest.approx(
            (dense @ dense)[index, index] - dense[index, index] ** 2, abs=1e-10
        )


def test_disordered_terms_agree_with_dense() -> None:
    """No symmetry but parity, signs mixed: both sectors are searched."""
    couplings = {(0, 1): 0.3, (1, 2): -1.1, (3, 4): 0.7, (4, 5): 1.9, (0, 3): -0.4, (1, 4): 1.3, (2, 5): 0.55}
    fields = [0.2, 1.4, -0.6, 0.9, 0.35, 1.15]
    terms = [PauliTerm(-v, "zz", bond) for bond, v in couplings.items()]
    terms += [PauliTerm(-h, "x", (site,)) for site, h in enumerate(fields)]
    states = initial_states(terms, 6)
    assert len(states) == 2
    assert {state.count("down") % 2 for state in states} == {0, 1}
    energies = [dmrg()._series(terms, 6, state)[-1].energy for state in states]
    assert min(energies) == pytest.approx(lowest(ising(6, couplings, fields)), abs=1e-9)


def test_heisenberg_ring_and_longitudinal_field() -> None:
    """σy and a broken parity: the antiferromagnetic ring of 4 (E = -8), then in a field along z (free spins: -N h)."""
    ring_bonds = [(0, 1), (1, 2), (2, 3), (0, 3)]
    terms = [PauliTerm(1.0, pauli, bond) for bond in ring_bonds for pauli in ("xx", "yy", "zz")]
    energies = [dmrg()._series(terms, 4, state)[-1].energy for state in initial_states(terms, 4)]
    assert min(energies) == pytest.approx(-8.0, abs=1e-9)
    (start,) = initial_states(terms, 4)
    assert start in (["up", "down"] * 2, ["down", "up"] * 2)
    field = [PauliTerm(-0.5, "z", (site,)) for site in range(4)]
    energies = [dmrg()._series(field, 4, state)[-1].energy for state in initial_states(field, 4)]
    assert min(energies) == pytest.approx(-2.0, abs=1e-9)


def test_total_spin_starts_in_a_sector_of_every_multiplet() -> None:
    """A star of antiferromagnetic bonds has one spin against many; its start still has Σ σz = 0 or 1."""
    for size in (4, 5, 6):
        star = [PauliTerm(1.0, pauli, (0, site)) for site in range(1, size) for pauli in ("xx", "yy", "zz")]
        (start,) = initial_states(star, size)
        assert start.count("up") - start.count("down") == size % 2
        bonds = [(0, site) for site in range(1, size)]
        assert dmrg()._series(star, size, start)[-1].energy == pytest.approx(
            lowest(heisenberg(size, dict.fromkeys(bonds, 1.0))), abs=1e-9
        )


@pytest.mark.parametrize("couplings", [(1.0, 0.0), (1.0, 0.5), (-1.0, 0.0), (0.3, 1.0)])
def test_open_lattice_with_total_spin_agrees_with_dense(couplings: tuple[float, float]) -> None:
    """2 × 4 with both couplings: antiferromagnets, frustrated or not, and a ferromagnet."""
    system = SquareHeisenberg(length_x=4, length_y=2, periodic=False, j1=couplings[0], j2=couplings[1])
    matrix = square_heisenberg(4, 2, False, *couplings)
    assert dmrg().run(system).estimate("energy").value == pytest.approx(lowest(matrix), abs=1e-9)


def test_all_to_all_thirty_leaves_the_product_state() -> None:
    system = chain(30, 15)
    energy = dmrg(8, 16, tolerance=1e-8).run(system).estimate("energy")
    exact = CollectiveSpin().run(system).estimate("energy").value
    assert energy.value == pytest.approx(exact, rel=1e-10)
    assert energy.value < -435.5


def test_critical_chain_of_twenty_is_covered_by_sigma() -> None:
    system = chain(20)
    energy = dmrg(6, 12, tolerance=1e-8, max_sweeps=4).run(system).estimate("energy")
    exact = FreeFermions().run(system).estimate("energy").value
    assert energy.sigma is not None
    assert abs(energy.value - exact) <= energy.sigma < 1e-2


def test_repeats_bit_for_bit() -> None:
    system = chain(6, 2, 0.3, -1.1)
    assert dmrg(4, 8, max_sweeps=4).run(system).to_json() == dmrg(4, 8, max_sweeps=4).run(system).to_json()


def test_is_silent(capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder) -> None:
    level = logging.getLogger("tenpy").level
    dmrg(2, 4, max_sweeps=4).run(chain(8, 2, 0.4))
    assert capfd.readouterr() == ("", "")
    assert len(recwarn) == 0
    assert logging.getLogger("tenpy").level == level


def test_extrapolation() -> None:
    """Linear in the truncation error where that is informative, else the last energy with the last change."""
    energy, sigma = extrapolate([Point(8, -9.9, 4e-4), Point(16, -9.99, 1e-4)])
    assert energy == pytest.approx(-10.02)
    assert sigma == pytest.approx(0.09)
    assert extrapolate([Point(8, -9.9, 1e-9), Point(16, -9.99, 2e-9)])[0] == -9.99
    assert extrapolate([Point(8, -9.9, 1e-9), Point(16, -9.99, 0.0)])[0] == -9.99
    energy, sigma = extrapolate([Point(8, -10.0, 0.0), Point(16, -10.0, 0.0)])
    assert (energy, sigma) == (-10.0, 1e-12)


def test_unconverged_series_says_so() -> None:
    result = dmrg(2, 4, max_sweeps=4).run(chain(10))
    assert "still changes" in result.notes[0]


def test_refuses() -> None:
    baseline = DMRG([8, 16], 1e-8, 10, 1e-10, max_sites=16, states=None)
    assert "max_sites=16" in (baseline.supports(chain(40, 3)) or "")
    assert "at least 3 sites" in (baseline.supports(chain(2)) or "")
    assert baseline.supports(chain(16, 3)) is None
    with pytest.raises(ConfigError, match=r"^bond_dimensions"):
        DMRG([16, 8], 1e-8, 10, 1e-10, 16, states=None)
    with pytest.raises(ConfigError, match=r"^energy_tolerance"):
        DMRG([8, 16], 0.0, 10, 1e-10, 16, states=None)


def test_cost_grows() -> None:
    costs = [dmrg().cost(chain(n, n // 4)).seconds for n in (8, 16, 32)]
    assert costs == sorted(costs)
    assert dmrg(16, 64).cost(chain(8)).seconds > dmrg(16, 32).cost(chain(8)).seconds
