"""Masks and settings: what cannot be is one clear error."""

import pytest
import torch

from pipeline.base.errors import ConfigError
from pipeline.gauge import u1
from pipeline.gauge.pseudofermion.masks import Mask, check_tiling, field_sites, mask_cycle
from pipeline.gauge.pseudofermion.target import pseudofermion_target
from pipeline.gauge.systems import Schwinger
from tests.gauge.pseudofermion.small_flows import config, flows, preconditioning


@pytest.mark.parametrize("even_odd", [False, True])
@pytest.mark.parametrize("name", ["spatial", "rows", "columns", "spin"])
@pytest.mark.parametrize("length", [2, 4, 6])
def test_masks_tile_the_field(even_odd: bool, name: str, length: int) -> None:
    masks = mask_cycle((name,), length, even_odd)
    counts = torch.stack([mask.components(length) for mask in masks]).long().sum(dim=0)
    expected = torch.zeros(length**2, 2, dtype=torch.long)
    expected[field_sites(length, even_odd)] = 1
    torch.testing.assert_close(counts, expected, atol=0, rtol=0)
    assert masks[0].components(length).sum() == masks[1].components(length).sum()


def test_spatial_partitioning_is_what_the_paper_says() -> None:
    """A checkerboard on all sites (Eq. 29), even sites of every other row with even/odd (Section III D 1)."""
    board = mask_cycle(("spatial",), 4, False)[0]
    assert board.sites.tolist() == [0, 2, 5, 7, 8, 10, 13, 15]
    rows = mask_cycle(("spatial",), 4, True)
    assert [mask.sites.tolist() for mask in rows] == [[0, 2, 8, 10], [5, 7, 13, 15]]


def test_spatial_and_spin_partitioning_alternate() -> None:
    masks = mask_cycle(("spatial", "spin"), 4, True)
    assert [mask.spin for mask in masks] == [None, 0, None, 1]
    assert [mask.spins for mask in masks] == [2, 1, 2, 1]


@pytest.mark.parametrize(
    "masks",
    [
        (Mask(torch.arange(8), None), Mask(torch.arange(7, 16), None)),
        (Mask(torch.arange(8), None), Mask(torch.arange(8, 15), None)),
        (Mask(torch.arange(16), 0), Mask(torch.arange(16), 0)),
    ],
)
def test_masks_that_do_not_tile(masks: tuple[Mask, ...]) -> None:
    with pytest.raises(ConfigError, match="partition=mine: does not tile the lattice"):
        check_tiling("mine", masks, torch.arange(16), 4)


def test_masks_that_do_not_split() -> None:
    with pytest.raises(ConfigError, match="partition=checkerboard: does not split a field on 8 even sites"):
        mask_cycle(("checkerboard",), 4, True)
    with pytest.raises(ConfigError, match="does not split a field on 1 sites"):
        mask_cycle(("rows",), 1, False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": 3}, r"layers=3: masks tile the lattice in cycles of 2 \(partition=\['spatial'\]\)"),
        ({"layers": 6, "partition": ["spatial", "spin"]}, "layers=6: .* cycles of 4"),
        ({"layers": 0}, "layers=0: must be at least 1"),
        ({"transports": 0}, "transports=0: must be at least 1"),
        ({"features": 0}, "features=0"),
        ({"partition": ["rowz"]}, r"partition=\['rowz'\]: must be a list of spatial, .*did you mean 'rows'"),
    ],
)
def test_bad_architectures(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config(**change)  # type: ignore[arg-type]


@pytest.mark.parametrize("hasenbusch", [[0.1, 0.01], [0.1, 0.1], [0.0], [float("nan")], [float("inf")], [-0.1]])
def test_shifts_that_do_not_rise(hasenbusch: list[float]) -> None:
    with pytest.raises(ConfigError, match=r"hasenbusch=.*: must be numbers in increasing order, above the regulator 0"):
        preconditioning(hasenbusch=hasenbusch)


def test_other_bad_preconditioning() -> None:
    with pytest.raises(ConfigError, match=r"hasenbusch=\[0.001\]: .* above the regulator 0.01"):
        preconditioning(hasenbusch=[0.001], regulator=0.01)
    with pytest.raises(ConfigError, match="regulator=-1"):
        preconditioning(regulator=-1.0)
    with pytest.raises(ConfigError, match=r"solver=densely: must be one of .*did you mean 'dense'"):
        preconditioning(solver="densely")


def test_even_sites_need_two_transports_and_rows() -> None:
    with pytest.raises(ConfigError, match="transports=1: must be at least 2"):
        flows(u1, 4, True, config(transports=1))
    flows(u1, 4, False, config(transports=1))
    with pytest.raises(ConfigError, match=r"partition=\['checkerboard'\]: leaves nothing frozen"):
        flows(u1, 4, True, config(partition=["checkerboard"]))
    with pytest.raises(ConfigError, match="even_odd=True: needs an even lattice length, not 3"):
        pseudofermion_target(Schwinger(length=3, beta=1.0, kappa=0.2), preconditioning(), regulated=False)
