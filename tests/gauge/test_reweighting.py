"""Reweighted pure gauge fields: the error of their effective sample size."""

from __future__ import annotations

import numpy as np

from pipeline.gauge.reweighting import Reweighting
from pipeline.gauge.systems import Schwinger


def test_the_error_of_the_effective_sample_size_is_that_of_repetitions() -> None:
    system = Schwinger(length=4, beta=2.0, kappa=0.2)
    values, errors = [], []
    for seed in range(30):
        method = Reweighting(measurements=2, configurations=400, max_length=4, seed=seed)
        result = method.summarise([method.measure(method.init(system), k) for k in range(2)])
        found = result.estimate("ess")
        assert found.sigma is not None
        values.append(found.value)
        errors.append(found.sigma)
    assert 0.0 < np.mean(values) < 1.0
    assert 0.6 < np.std(values, ddof=1) / np.sqrt(np.mean(np.square(errors))) < 1.6
