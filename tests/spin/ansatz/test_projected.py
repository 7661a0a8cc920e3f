"""Quantum-number projection: sums over groups written out, invariance, characters, phases of training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline.base.config.phases import PhaseConfig, SRConfig
from pipeline.base.errors import ConfigError
from pipeline.base.store.keys import plain
from pipeline.spin.ansatz.build import build_ansatz, build_unprojected
from pipeline.spin.ansatz.projected import Projected, ProjectedDirect
from pipeline.spin.ansatz.schema import PixelCNNConfig, RBMConfig
from pipeline.spin.ansatz.vit.config import ViTConfig
from pipeline.spin.bits import pack, unpack
from pipeline.spin.representatives import Representatives
from pipeline.spin.symmetry.characters import compose
from pipeline.spin.symmetry.groups import Characters, character_group, representatives, symmetry_group
from pipeline.spin.systems import ChainHeisenberg, ChainTFIM, OpenChainTFIM, SpinSystem, SquareHeisenberg, SquareTFIM
from pipeline.spin.vmc.state import VMCState
from pipeline.spin.wave_function import WaveFunction
from pipeline.stages.compose import compose_run
from tests.spin import dense
from tests.spin.ansatz import common
from tests.spin.small_vmc import COMPLEX_RBM, METROPOLIS, TRAIN, build, rayleigh

SQUARE = SquareHeisenberg(length_x=4, length_y=4, periodic=True, j1=1.0, j2=0.5)
RING = ChainHeisenberg(n_sites=6, periodic=True, j1=1.0, j2=0.3)
ALL = ["translations", "rotations", "reflections", "spin_flip"]
VIT = ViTConfig(
    patch=2, depth=1, width=4, heads=2, activation="relu", output_scale=1.0, magnetisation=None, projection=ALL
)
PIXELCNN = PixelCNNConfig(
    depth=1, width=4, phase=True, spread=1.0, output_scale=1.0, symmetries=[], magnetisation=None, projection=ALL
)
ANSATZE = {"vit": VIT, "rbm": replace(COMPLEX_RBM, projection=ALL), "pixelcnn": PIXELCNN}


def representative(state: WaveFunction, spins: Tensor) -> Tensor:
    """The one configuration that stands for all images, (B, N) → (B, N)."""
    invariance = state.invariance()
    assert invariance is not None
    return unpack(Representatives(invariance)(pack(spins))[0], spins.shape[1]).to(spins.dtype)


def some_spins(n_sites: int, count: int = 20) -> Tensor:
    draw = torch.Generator().manual_seed(7)
    return torch.where(torch.rand((count, n_sites), generator=draw) < 0.5, 1, -1).to(torch.int8)


def image(spins: Tensor, move: tuple[int, ...], sign: int = 1) -> Tensor:
    return spins[:, list(move)] * sign


@pytest.mark.parametrize(
    ("system", "names", "order"),
    [
        (SQUARE, ["rotations"], 4),
        (SQUARE, ["reflections"], 4),
        (SQUARE, ["rotations", "reflections"], 8),
        (SQUARE, ALL, 256),
        (replace(SQUARE, length_y=6), ["rotations"], 2),
        (replace(SQUARE, length_y=6), ["rotations", "reflections"], 4),
        (replace(SQUARE, length_y=3), ["translations", "rotations", "reflections"], 48),
        (replace(SQUARE, periodic=False), ["rotations", "spin_flip"], 8),
        (RING, ["reflections", "translations"], 12),
    ],
)
def test_groups_and_their_cosets(system: SpinSystem, names: list[str], order: int) -> None:
    group = character_group(system, names)
    assert next(iter(group)) == (tuple(range(system.size)), 1)
    assert len(group) == order
    assert set(group.values()) == {1}
    assert {(compose(p, q), s * t) for p, s in group for q, t in group if len(group) < 100} <= set(group)
    if {"rotations", "reflections"} <= set(names):
        others = [name for name in names if name not in ("rotations", "reflections")]
        assert set(symmetry_group(system, ["point_group", *others])) == set(group)
    assert representatives(group, []) == group
    assert len(representatives(group, [move for move, _ in group])) == len({sign for _, sign in group})


@pytest.mark.parametrize("patch", [1, 2, 4])
def test_patches_leave_their_own_translations(patch: int) -> None:
    """b² translations and the point group, not L² (text below Eq. 11)."""
    state: Any = build_ansatz(replace(VIT, patch=patch), SQUARE, 1)
    assert state.images == patch**2 * 8 * 2
    assert build_ansatz(replace(VIT, patch=patch, projection=["rotations"]), SQUARE, 1).images == 4


@pytest.mark.parametrize("name", ANSATZE)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_sums_over_the_whole_group(name: str, dtype: torch.dtype, tolerance: float) -> None:
    """ψ̃ is the mean of ψ over all |G| images, does not change under any of them, and its projection is itself."""
    config: Any = ANSATZE[name]
    state: Any = common.random_network(config, SQUARE, dtype)
    assert type(state) is (ProjectedDirect if name == "pixelcnn" else Projected)
    spins, group = some_spins(16, 2), symmetry_group(SQUARE, ALL)
    found = state.log_amplitude(spins).detach().to(torch.complex128)
    images = torch.stack([image(spins, *element) for element in group], 1)
    logs = state.base.log_amplitude(images.flatten(0, 1)).detach().to(torch.complex128).view(len(spins), -1)
    top = logs.real.amax(1, keepdim=True)
    psi = (logs - top).exp().mean(1)
    # what cancels loses as many digits as it is smaller than its terms
    scale = (logs - top).real.exp().mean(1)
    assert (((found - top[:, 0]).exp() - psi).abs() / scale).max() < tolerance
    some = images[:, 1::17]
    everywhere = state.log_amplitude(some.flatten(0, 1)).detach().to(torch.complex128).view(len(spins), -1)
    assert (((everywhere - top).exp() - psi[:, None]).abs() / scale[:, None]).max() < tolerance
    again = Projected(state, character_group(SQUARE, ["rotations"])).log_amplitude(spins).detach()
    assert (((again.to(torch.complex128) - top[:, 0]).exp() - psi).abs() / scale).max() < tolerance


@pytest.mark.parametrize("name", ["vit", "rbm"])
def test_images_of_each_other_are_evaluated_once(name: str) -> None:
    config: Any = ANSATZE[name]
    state: Any = common.random_network(config, SQUARE)
    few = some_spins(16, 3)
    spins = torch.cat([image(few, *element) for element in symmetry_group(SQUARE, ALL)[::5]])
    rows: list[int] = []
    evaluate = state.base.log_amplitude

    def counted(inputs: Tensor) -> Any:
        rows.append(len(inputs))
        return evaluate(inputs)

    state.base.log_amplitude = counted
    expected = state.log_amplitude(spins)
    with torch.no_grad():
        found = state.log_amplitude(spins)
    assert rows == [len(spins) * state.images, 3 * state.images]
    assert ((found - expected).exp() - 1).abs().max() < 1e-10
    assert len(torch.unique(pack(representative(state, spins)), dim=0)) == 3


def test_connected_amplitudes() -> None:
    small = SquareTFIM(length_x=3, length_y=2, periodic=False, coupling=1.0, field=1.0)
    cases: list[tuple[Any, SpinSystem, list[str]]] = [
        (VIT, RING, ["translations", "spin_flip"]),
        (PIXELCNN, small, ["reflections", "spin_flip"]),
    ]
    for config, system, names in cases:
        state = common.random_network(replace(config, projection=names), system)
        common.check_connected(state, some_spins(6, 3), common.some_masks(6))


@pytest.mark.parametrize(
    ("names", "move", "sign", "character"),
    [
        (["-spin_flip"], range(6), -1, -1),
        (["-translations"], [1, 2, 3, 4, 5, 0], 1, -1),
        (["translations", "-reflections"], [5, 4, 3, 2, 1, 0], 1, -1),
        (["-translations", "-spin_flip"], [1, 2, 3, 4, 5, 0], -1, 1),
        (["-translations", "-reflections"], [4, 3, 2, 1, 0, 5], 1, 1),
    ],
)
def test_odd_states(names: list[str], move: Any, sign: int, character: int) -> None:
    state: Any = common.random_network(replace(COMPLEX_RBM, projection=names), RING)
    spins = common.configurations(6)
    psi = state.log_amplitude(spins).exp().detach()
    assert psi.abs().max() > 1e-3
    there = state.log_amplitude(image(spins, tuple(move), sign)).exp().detach()
    assert (there - character * psi).abs().max() < 1e-12 * psi.abs().max()
    with torch.no_grad():
        assert (state.log_amplitude(spins).exp() - psi).abs().max() < 1e-12 * psi.abs().max()


def test_what_is_not_there() -> None:
    with pytest.raises(ConfigError, match=r"^projection=rotations: .*has none: rotation by 180° maps zz of bond 0-1"):
        character_group(Slope(), ["rotations"])
    with pytest.raises(ConfigError, match=r"^projection=translations: .* translation maps zz of bond 3-4"):
        character_group(OpenChainTFIM(n_sites=5, range=1, coupling=1.0, field=1.0), ["translations"])
    with pytest.raises(ConfigError, match=r"^projection=rotations: chain_heisenberg as it is set up has none"):
        character_group(RING, ["rotations"])
    with pytest.raises(ConfigError, match="no state that is odd under these"):
        character_group(replace(RING, n_sites=5), ["-translations"])
    with pytest.raises(ConfigError, match="is odd under what leaves every state"):
        representatives(character_group(RING, ["-translations"]), [(1, 2, 3, 4, 5, 0)])


class Slope(SquareTFIM):
    """A lattice of 2 × 3 sites whose fields and couplings grow along y."""

    def __init__(self) -> None:
        super().__init__(length_x=2, length_y=3, periodic=False, coupling=1.0, field=1.0)

    def strings(self) -> Any:
        return [replace(term, coefficient=term.coefficient * (1 + min(term.sites))) for term in super().strings()]


class Table(WaveFunction):
    """log ψ from a table."""

    def __init__(self, logs: list[complex] | list[float]) -> None:
        super().__init__()
        self.logs = nn.Parameter(torch.tensor(logs))

    def log_amplitude(self, spins: Tensor) -> Tensor:
        return self.logs[((spins < 0).long() << torch.arange(spins.shape[1])).sum(1)]


SWAP: Characters = {((0, 1), 1): 1, ((1, 0), 1): 1}


def test_what_cancels_or_vanishes_or_is_large() -> None:
    infinite = float("inf")
    state = Projected(Table([0.0, 800.0, 800.0 + 1j * np.pi, -infinite]), SWAP)
    spins = common.configurations(2)
    found = state.log_amplitude(spins).detach()
    assert found[0] == 0
    assert found[1].real < 800 - 14  # e^{iπ} in single precision
    assert found[3].real == -infinite
    assert not found.isnan().any()
    exact = Projected(Table([0.0, 1e4, 1e4, 0.0]), {**SWAP, ((1, 0), 1): -1}).log_amplitude(spins).detach()
    assert exact.real[1] == exact.real[0] == -infinite
    real = Projected(Table([-infinite, 1e4, 1e4 - 1.0, 2.0]), SWAP).log_amplitude(spins).detach()
    assert not real.is_complex()
    assert real.tolist() == pytest.approx([-infinite, *[1e4 + np.log((1 + np.exp(-1)) / 2)] * 2, 2.0])


@pytest.mark.parametrize("n_sites", [1, 2, 3, 53, 110])
def test_any_number_of_sites(n_sites: int) -> None:
    """Words of several parts too: representatives are images, the same for all images."""
    system: SpinSystem = (
        SquareTFIM(length_x=n_sites, length_y=1, periodic=False, coupling=1.0, field=1.0)
        if n_sites < 3
        else ChainTFIM(n_sites=n_sites, range=1, coupling=1.0, field=1.0)
    )
    names = ["spin_flip"] if n_sites < 3 else ["translations", "spin_flip"]
    config = RBMConfig(alpha=1, deviation=0.1, parameters="real", projection=names)
    state: Any = common.random_network(config, system)
    spins = some_spins(n_sites, 12)
    smallest = representative(state, spins)
    for move, sign in symmetry_group(system, names)[:: max(1, n_sites // 5)]:
        assert torch.equal(representative(state, image(spins, move, sign)), smallest)
    images = torch.stack([image(spins, *element) for element in symmetry_group(system, names)], 1)
    assert (images == smallest[:, None]).all(-1).any(1).all()
    with torch.no_grad():
        fast = state.log_amplitude(spins)
    torch.testing.assert_close(fast, state.log_amplitude(spins), rtol=1e-12, atol=1e-12)


PHASES = [PhaseConfig(steps=2), PhaseConfig(steps=2, projection=["translations"]), PhaseConfig(steps=1, samples=100),
          PhaseConfig(steps=1, projection=[])]  # fmt: skip


def test_phases_restore_symmetries_of_the_same_parameters() -> None:
    method = build(RING, ansatz=COMPLEX_RBM, sampler=METROPOLIS, phases=PHASES)
    state = method.init(1)
    parameters, moments = list(state.ansatz.parameters()), state.optimizer
    expected, names = [0, 0, 1, 1, 1, 2], ["translations"]
    matrix = dense.chain_heisenberg(6, True, 1.0, 0.3)
    saved: list[Any] = []
    for k, number in enumerate(expected):
        method.step(state, k)
        saved.append((state.state_dict(), [p.detach().clone() for p in parameters]))
        assert state.projection_number == number
    assert all(a is b for a, b in zip(parameters, state.ansatz.parameters(), strict=True))
    assert state.optimizer is moments
    # inference is of the state with the projection of its last step
    exact: Any = build(RING, ansatz=COMPLEX_RBM, phases=PHASES)
    for symmetric in (False, True):
        there = exact.init(1)
        there.projection_number = int(symmetric)
        base = build_unprojected(COMPLEX_RBM, RING, 0).double()
        base.load_state_dict(there.ansatz.state_dict())
        assert isinstance(base, WaveFunction)
        state_there = Projected(base, character_group(RING, names)) if symmetric else base
        assert exact.measure(there, 0)["energy"] == pytest.approx(rayleigh(state_there, matrix), abs=1e-9)


def test_a_resumed_training_projects_as_before() -> None:
    method = build(RING, ansatz=COMPLEX_RBM, sampler=METROPOLIS, phases=PHASES)
    state = method.init(1)
    for k in range(3):
        method.step(state, k)
    tree = {**state.state_dict(), "ansatz": {n: v.clone() for n, v in state.state_dict()["ansatz"].items()}}
    again: VMCState = method.init(1)
    again.load_state_dict(tree)
    assert again.projection_number == 1
    assert build(RING, ansatz=COMPLEX_RBM, sampler=METROPOLIS, phases=PHASES).step(again, 3) == method.step(state, 3)
    del tree["projection_number"]  # a state from before there were projections
    again.load_state_dict(tree)
    assert again.projection_number == 0


def test_a_projection_of_the_ansatz_is_there_from_the_first_step() -> None:
    """J1-J2 ring of 8 without a sign rule: a small ViT is in the right sector from the start, and soon converged."""
    system = ChainHeisenberg(n_sites=8, periodic=True, j1=1.0, j2=0.3)
    exact = dense.lowest(dense.chain_heisenberg(8, True, 1.0, 0.3))
    sr = SRConfig(lr=0.03, shift=1e-3, momentum=0.0, max_distance=0.2)
    config = replace(VIT, width=12, projection=["translations", "reflections", "spin_flip"])
    chains = replace(METROPOLIS, rule="exchange", samples=800, chains=800, thinning=4, burn_in=2)
    method = build(system, ansatz=config, sampler=chains, optimizer=sr, method_memory_gib=0.1)
    state = method.init(2)
    metrics = [method.step(state, k) for k in range(25)]
    assert abs(np.mean([m["energy"] for m in metrics[-5:]]) / exact - 1) < 1e-3
    assert metrics[-1]["variance"] < 0.1
    assert type(state.ansatz).__name__ == "ViT"


def test_neither_keys_nor_batches_of_others_change() -> None:
    assert "projection" not in plain(COMPLEX_RBM)
    assert "projection" not in plain(PhaseConfig(steps=1))
    assert plain(replace(COMPLEX_RBM, projection=["spin_flip"]))["projection"] == ["spin_flip"]
    assert plain(PhaseConfig(steps=1, projection=[]))["projection"] == []
    assert TRAIN.ansatz.projection == []


VMC = ["method=vmc", "system=square_heisenberg", "baseline=none"]
CHAINS = [*VMC, "sampler=metropolis", "ansatz=rbm"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            [*CHAINS, "system.periodic=false", "train.ansatz.projection=[translations]"],
            r"^train\.ansatz\.projection=translations: .* translation_x maps xx of bond 2-3",
        ),
        (
            [*CHAINS, "system.periodic=false", "train.phases=[{steps:2},{steps:2,projection:[translations]}]"],
            r"^train\.phases\[1\]\.projection=translations: .* translation_x maps",
        ),
        (
            [*CHAINS, "train.phases=[{steps:2,projection:[mirror]}]"],
            r"^train\.phases\[0\]\.projection=mirror: must be one of",
        ),
        (
            ["method=subspace_flow", "ansatz=mlp", "train.ansatz.projection=[spin_flip]"],
            r"^train\.ansatz\.projection=.*which ansatz=mlp does not give",
        ),
    ],
)
def test_refusals_name_the_key(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compose_run(overrides)
