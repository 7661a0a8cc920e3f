"""Exact draws of pure U(1) gauge theory."""

import math

import numpy as np
import pytest
import torch

from pipeline.gauge import exact, pure_u1, u1


@pytest.mark.parametrize("length", [2, 3, 6])
def test_links_have_the_plaquettes_and_holonomies_that_were_drawn(length: int) -> None:
    theta_p = pure_u1.draw_plaquettes(7, length, 2.0, np.random.default_rng(1))
    links = pure_u1.draw_links(7, length, 2.0, np.random.default_rng(1))
    assert links.shape == (7, 2, length, length)
    difference = u1.wrap(u1.plaquette_angles(links) - torch.from_numpy(theta_p))
    assert difference.abs().max() < 1e-12
    # Loops around the torus at x_1 = 0 and at x_0 = 0.
    around = torch.stack([links[:, 0, :, 0].sum(dim=1), links[:, 1, 0, :].sum(dim=1)])
    assert len(around.unique()) == 14


def test_the_plaquettes_of_a_torus_add_up_to_a_multiple_of_2_pi() -> None:
    theta_p = pure_u1.draw_plaquettes(100, 4, 0.7, np.random.default_rng(2))
    turns = u1.wrap(torch.from_numpy(theta_p)).sum(dim=(1, 2)) / (2 * math.pi)
    assert (turns - turns.round()).abs().max() < 1e-12
    assert len(turns.round().unique()) >= 3


@pytest.mark.parametrize("beta", [0.0, 2.0, 4.0])
def test_means_are_the_exact_ones(beta: float) -> None:
    links = pure_u1.draw_links(20000, 3, beta, np.random.default_rng(3))
    cosines, charge = u1.plaquette_angles(links).cos(), u1.topological_charge(links)
    sigma = cosines.mean(dim=(1, 2)).std().item() / 20000**0.5
    assert abs(cosines.mean().item() - exact.u1_plaquette(3, beta)) < 4 * sigma
    # The last plaquette, the only one that was rejected for, is like the others.
    last = cosines[:, -1, -1]
    assert abs(last.mean().item() - exact.u1_plaquette(3, beta)) < 4 * last.std().item() / 20000**0.5
    squared = charge.square() / 9
    expected = exact.topological_susceptibility(3, beta)
    assert abs(squared.mean().item() - expected) <= 4 * squared.std().item() / 20000**0.5


def test_holonomies_are_uniform_and_independent_of_the_plaquettes() -> None:
    links = pure_u1.draw_links(20000, 3, 4.0, np.random.default_rng(4))
    loops = torch.stack([links[:, 0, :, 0].sum(dim=1), links[:, 1, 0, :].sum(dim=1)])
    for loop in (*loops, loops[0] + loops[1], loops[0] - loops[1], loops[0] + u1.plaquette_angles(links)[:, 1, 2]):
        assert torch.polar(torch.ones_like(loop), loop).mean().abs() < 4 / 20000**0.5
