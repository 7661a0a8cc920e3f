"""Spin models whose worldlines all have positive weights, as the quantum Monte Carlo kernels see them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.base.later import NDArray, np
from pipeline.spin.exact.recognise import IsingModel, ising_model, isotropic_couplings
from pipeline.spin.lattice import Bond, sublattices
from pipeline.spin.symmetry.stoquastic import stoquastic_form
from pipeline.spin.systems import SpinSystem
from pipeline.spin.terms import pauli_terms

if TYPE_CHECKING:
    from pipeline.spin.exact.worldlines import Worldlines

Means = dict[str, Any]
"""Averages over sweeps: floats, and ``controls``, an array of quantities whose exact mean is zero."""


@dataclass(frozen=True)
class Model(ABC):
    """What is simulated, independent of temperature.

    Attributes:
        size: number of spins N.
        bonds: interacting pairs.
        length: linear extent in units of the range of the interaction.
        coupling: |V| or J1, Pauli units.
    """

    size: int
    bonds: tuple[Bond, ...]
    length: float
    coupling: float

    @property
    @abstractmethod
    def scale(self) -> float:
        """The energy that sets the unit of temperature, Pauli units."""

    @abstractmethod
    def operators(self, beta: float) -> float:
        """A bound on the mean number of operators that a sweep keeps."""

    @abstractmethod
    def seconds(self, beta: float) -> float:
        """Of one sweep on one core."""

    @abstractmethod
    def advance(
        self, lines: Worldlines, seed: NDArray[np.uint64], beta: float, sweeps: int
    ) -> tuple[Worldlines, Means]:
        """``sweeps`` sweeps at inverse temperature ``beta`` with random numbers from ``seed``, four words."""

    @abstractmethod
    def flipped(self, places: NDArray[np.int32]) -> NDArray[np.int32]:
        """The sites that kinks at ``places`` (kinks,) flip, (kinks, 1 or 2)."""

    def gauge(self) -> NDArray[np.int8]:
        """σz over the spins of the worldlines, (N,) ±1."""
        return np.ones(self.size, np.int8)

    def beta(self, per_length: float) -> float:
        """Inverse temperature per_length · length / scale."""
        return per_length * self.length / self.scale


@dataclass(frozen=True)
class Heisenberg(Model):
    """J Σ σ_i·σ_j, J > 0, on a bipartite lattice."""

    @property
    def scale(self) -> float:
        return self.coupling

    def operators(self, beta: float) -> float:
        return 4 * beta * self.coupling * len(self.bonds)

    def seconds(self, beta: float) -> float:
        # A singlet projector has a mean of 0.6 on the square lattice; the price of an operator was measured.
        return 5e-8 * 0.6 * self.operators(beta)

    def flipped(self, places: NDArray[np.int32]) -> NDArray[np.int32]:
        return np.array(self.bonds, np.int32).reshape(-1, 2)[places]

    def advance(
        self, lines: Worldlines, seed: NDArray[np.uint64], beta: float, sweeps: int
    ) -> tuple[Worldlines, Means]:
        """``energy`` is that of bonds within one loop, -3J each; others are antiparallel or parallel alike.

        Two other estimators, of n operators, m of them between two loops, give the controls: J N_b - n/β, and, half of
        the m being kinks, each worth 2J of σxσx + σyσy in H, that is two thirds of the energy, -3m/4β.
        """
        from pipeline.spin.exact import loops

        first, second = _ends(self.bonds)
        starts, neighbours = _adjacency(self.size, self.bonds)
        rate = 2 * beta * self.coupling * len(self.bonds)
        model = loops.HeisenbergModel(first, second, starts, neighbours, rate)
        lines, sums = _run(loops.sweep_loops, model, lines, seed, self.operators(beta), sweeps, 4)
        energy = -3 * self.coupling * sums[loops.SAME]
        by_operators = self.coupling * len(self.bonds) - sums[loops.OPERATORS] / beta
        by_loops = -0.75 * sums[loops.BETWEEN] / beta
        means: Means = {
            "energy": energy,
            "absolute_magnetisation": sums[loops.MAGNETISATION] / self.size,
            # By rotational symmetry a third of the energy, shared by all bonds.
            "nearest_correlation": -sums[loops.SAME] / len(self.bonds),
            "controls": np.array([by_operators - energy, by_loops - energy]),
        }
        return lines, means


@dataclass(frozen=True)
class Ising(Model):
    """-V Σ σz_i σz_j - h Σ σx_i; with ``signs`` (N,) times σz a model with coupling |V|.

    Attributes:
        nearest: number of bonds, from the first on, that join nearest neighbours.
        field: |h|; its sign is a rotation by π about z.
    """

    field: float
    nearest: int
    signs: tuple[int, ...]

    @property
    def scale(self) -> float:
        return max(self.coupling, self.field * self.size / max(2 * len(self.bonds), 1))

    def operators(self, beta: float) -> float:
        return 2 * beta * self.field * self.size

    def seconds(self, beta: float) -> float:
        # Operators on bonds and on sites, and the comparison with all neighbours at each of the latter.
        bonds, sites = 2 * beta * self.coupling * len(self.bonds), self.operators(beta)
        return 2.5e-8 * (bonds + sites) + 2e-9 * sites * 2 * len(self.bonds) / self.size

    def flipped(self, places: NDArray[np.int32]) -> NDArray[np.int32]:
        return places[:, None]

    def gauge(self) -> NDArray[np.int8]:
        return np.array(self.signs, np.int8)

    def advance(
        self, lines: Worldlines, seed: NDArray[np.uint64], beta: float, sweeps: int
    ) -> tuple[Worldlines, Means]:
        """``energy`` is -V for each bond within one cluster, and -h N + r/β with r cuts that separate nothing.

        Kinks and cuts are told apart by the flips of the clusters below and above. The m between two clusters are kinks
        with probability 1/2, so that h Σ ⟨σx⟩ = ⟨kinks⟩/β = ⟨m⟩/2β, and ⟨cuts⟩ = β h N, which gives the second term
        from r = cuts + kinks - m. What is wrong in each of these equations on one configuration is a control.
        """
        from pipeline.spin.exact import clusters

        first, second = _ends(self.bonds)
        near, far = self.bonds[: self.nearest], self.bonds[self.nearest :]
        starts, neighbours = _adjacency(self.size, near, far)
        middles = starts[:-1] + np.bincount(np.array(near, dtype=int).ravel(), minlength=self.size).astype(np.int32)
        bond_rate, cut_rate = 2 * beta * self.coupling * len(self.bonds), beta * self.field * self.size
        signs = np.array(self.signs, np.int8)
        model = clusters.IsingModel(
            first, second, starts, middles, neighbours, self.nearest, signs, bond_rate, cut_rate
        )
        lines, sums = _run(clusters.sweep_clusters, model, lines, seed, self.operators(beta), sweeps, 6)
        cuts, kinks, between = sums[clusters.CUTS], sums[clusters.KINKS], sums[clusters.BETWEEN]
        needless = (cuts + kinks - between) / beta
        means: Means = {
            "energy": -self.coupling * sums[clusters.SAME] - self.field * self.size + needless,
            "absolute_magnetisation": sums[clusters.MAGNETISATION] / self.size,
            "controls": np.array([(cuts - cut_rate) / beta, (kinks - between / 2) / beta]),
        }
        if near:
            orientation = self.signs[near[0][0]] * self.signs[near[0][1]]
            means["nearest_correlation"] = orientation * sums[clusters.SAME_NEAREST] / len(near)
        return lines, means


def model_of(system: Any) -> Model | str:
    """The model, or the reason why there is none."""
    try:
        terms = pauli_terms(system)
    except TypeError:
        terms = []
    ising = ising_model(terms, system.size) if terms else None
    if ising is not None:
        return _ising(system, ising)
    couplings = isotropic_couplings(terms)
    if couplings is not None:
        return _heisenberg(system, couplings)
    return (
        f"loop and cluster updates exist for Heisenberg and transverse-field Ising models, not {type(system).__name__}"
    )


def _heisenberg(system: SpinSystem, couplings: Mapping[Bond, float]) -> Model | str:
    bonds, strengths = tuple(couplings), list(dict.fromkeys(couplings.values()))
    instead = "weights of both signs; use baseline=quspin or dmrg"
    if len(strengths) > 1:
        (i, j), other = next((bond, value) for bond, value in couplings.items() if value != strengths[0])
        if stoquastic_form(pauli_terms(system)) is None:
            return f"J={other:g} of sites {i} and {j} beside J={strengths[0]:g} frustrates: {instead}"
        return f"J={other:g} of sites {i} and {j} beside J={strengths[0]:g}: loop updates exist for one J only"
    if strengths[0] <= 0:
        return f"J={strengths[0]:g} is no antiferromagnet: its ground state is fully polarised, E = J * bonds exactly"
    if set(bonds) != set(system.nearest_bonds()):
        return "loop updates are for couplings of all nearest neighbours and of no others"
    if sublattices(system.size, bonds) is None:
        return f"a ring of odd length frustrates the antiferromagnet: {instead}"
    return Heisenberg(system.size, bonds, _length(system, bonds), strengths[0])


def _ising(system: SpinSystem, model: IsingModel) -> Model | str:
    near = system.nearest_bonds()
    if not set(near) <= set(model.bonds):
        return "cluster updates need all nearest neighbours to interact"
    bonds = (*near, *sorted(set(model.bonds) - set(near)))
    if model.field == 0 and (model.coupling == 0 or not bonds):
        return "H = 0"
    signs = (1,) * system.size if model.coupling >= 0 else sublattices(system.size, bonds)
    if signs is None:
        return f"the coupling V={model.coupling:g} frustrates rings of odd length; use baseline=quspin or dmrg"
    return Ising(
        system.size,
        bonds,
        _length(system, bonds),
        abs(model.coupling),
        field=abs(model.field),
        nearest=len(near),
        signs=signs,
    )


def _length(system: SpinSystem, bonds: Sequence[Bond]) -> float:
    if system.lattice is None:
        return float(system.size)
    return max(system.lattice.extents) / max((system.lattice.distance(bond) for bond in bonds), default=1)


def _ends(bonds: Sequence[Bond]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    pairs = np.array(bonds, dtype=np.int32).reshape(-1, 2)
    return np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1])


def _adjacency(size: int, *groups: Sequence[Bond]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Where the neighbours of each site start, and the neighbours, those of the first group first."""
    lists: list[list[int]] = [[] for _ in range(size)]
    for bonds in groups:
        for i, j in bonds:
            lists[i].append(j)
            lists[j].append(i)
    starts = np.cumsum([0, *map(len, lists)]).astype(np.int32)
    return starts, np.array([site for each in lists for site in each], dtype=np.int32)


def _run(
    kernel: Any,
    model: Any,
    lines: Worldlines,
    seed: NDArray[np.uint64],
    operators: float,
    sweeps: int,
    observables: int,
) -> tuple[Worldlines, NDArray[np.float64]]:
    """Call a kernel; the configuration it leaves and its observables, averaged over sweeps."""
    from pipeline.spin.exact.worldlines import memory, worldlines

    room, sums = memory(lines, seed, operators), np.zeros(observables)
    kinks = kernel(model, room, len(lines.times), sweeps, sums)
    if kinks < 0:
        raise RuntimeError(f"more than {len(room.times) - 1} operators in a sweep, which equilibrium does not allow")
    return worldlines(room, kinks), sums / sweeps
