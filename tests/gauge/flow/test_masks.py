"""Masks of coupling layers, against lists of the links in each loop."""

import pytest
import torch
from torch import Tensor

from pipeline.gauge.flow.masks import CYCLE, check_length, mask

Link = tuple[int, int, int]


def boundary(x: tuple[int, int], extents: tuple[int, int], length: int) -> set[Link]:
    """Links (μ, x_0, x_1) of the rectangle with corner x."""
    found = set()
    for step in range(extents[0]):
        found |= {(0, (x[0] + step) % length, (x[1] + far) % length) for far in (0, extents[1])}
    for step in range(extents[1]):
        found |= {(1, (x[0] + far) % length, (x[1] + step) % length) for far in (0, extents[0])}
    return found


def active_links(length: int, layer: int) -> set[Link]:
    found = mask(length, layer)
    return {(found.direction, int(site) // length, int(site) % length) for site in found.sites}


def by_site(length: int, values: Tensor) -> dict[tuple[int, int], bool]:
    return {(x_0, x_1): bool(values[x_0, x_1]) for x_0 in range(length) for x_1 in range(length)}


@pytest.mark.parametrize("length", [4, 8])
@pytest.mark.parametrize("layer", range(CYCLE))
def test_frozen_loops_are_those_without_an_active_link(length: int, layer: int) -> None:
    found, active = mask(length, layer), active_links(length, layer)
    assert len(active) == length**2 // 4
    across = (1, 2) if found.direction == 0 else (2, 1)
    for x, frozen in by_site(length, found.frozen_plaquettes).items():
        assert len(boundary(x, (1, 1), length) & active) == (0 if frozen else 1)
    for x, frozen in by_site(length, found.frozen_loops).items():
        assert frozen == (not boundary(x, across, length) & active)
        assert boundary(x, across[::-1], length) & active
    assert 2 * found.frozen_plaquettes.sum() == length**2
    assert 4 * found.frozen_loops.sum() == 3 * length**2
    assert not found.frozen_plaquettes.flatten()[found.sites].any()


@pytest.mark.parametrize("length", [4, 8, 12])
def test_a_cycle_changes_every_link_once(length: int) -> None:
    cycle = [active_links(length, layer) for layer in range(CYCLE)]
    assert sum(map(len, cycle)) == len(set().union(*cycle)) == 2 * length**2
    assert active_links(length, CYCLE) == cycle[0]


@pytest.mark.parametrize(("length", "near"), [(0, "4"), (2, "4"), (3, "4"), (6, "4 or 8"), (9, "8 or 12")])
def test_lattices_that_are_not_tiled(length: int, near: str) -> None:
    with pytest.raises(ValueError, match=rf"multiple of 4, not {length}: {near}$"):
        check_length(length)


def test_a_mask_stays_where_it_is() -> None:
    found = mask(4, 3)
    assert found.to(torch.device("cpu")) is found
