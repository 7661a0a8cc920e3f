"""Principal components against cases solved by hand, and against the eigenvectors of the covariance."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.analysis.pca import principal_components


def test_two_known_directions_with_known_shares() -> None:
    first, second = np.array([0.6, 0.8, 0.0]), np.array([0.8, -0.6, 0.0])
    centre = np.array([5.0, -1.0, 2.0])
    samples = centre + np.array([3 * first, -3 * first, second, -second])
    found = principal_components(samples)
    np.testing.assert_allclose(found.centre, centre)
    np.testing.assert_allclose(found.axes, [first, second], atol=1e-12)
    np.testing.assert_allclose(found.ratios, [0.9, 0.1])
    np.testing.assert_allclose(found.project(samples), [[3, 0], [-3, 0], [0, 1], [0, -1]], atol=1e-12)


def test_axes_are_the_leading_eigenvectors_of_the_covariance() -> None:
    samples = np.random.default_rng(0).normal(size=(200, 6)) @ np.random.default_rng(1).normal(size=(6, 6))
    found = principal_components(samples, 3)
    values, vectors = np.linalg.eigh(np.cov(samples.T))
    for k in range(3):
        assert abs(found.axes[k] @ vectors[:, -1 - k]) == pytest.approx(1.0)
        assert found.axes[k][np.abs(found.axes[k]).argmax()] > 0
    np.testing.assert_allclose(found.ratios, values[::-1][:3] / values.sum())


def test_signs_do_not_depend_on_those_of_the_samples() -> None:
    samples = np.random.default_rng(2).choice([-1, 1], size=(50, 9))
    np.testing.assert_allclose(principal_components(samples).axes, principal_components(-samples).axes, atol=1e-12)


def test_equal_samples_have_no_direction_and_too_few_are_refused() -> None:
    np.testing.assert_array_equal(principal_components(np.ones((4, 3))).ratios, [0.0, 0.0])
    with pytest.raises(ValueError, match="2 principal components need"):
        principal_components(np.ones((1, 3)))
