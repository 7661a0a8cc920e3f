"""Kept samples come back as they were drawn."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.analysis.samples import kept_samples
from pipeline.spin.sampler.contract import Batch
from pipeline.spin.vmc.inference import record


@pytest.mark.parametrize("size", [1, 11, 62, 63, 144])
def test_records_of_several_batches_unpack_to_the_draws_in_their_order(size: int) -> None:
    draws = torch.from_numpy(np.random.default_rng(0).choice([-1, 1], size=(2, 3, 7, size)).astype(np.int8))
    records = []
    for batch_draws in draws:
        batch = Batch.of_draws(batch_draws)
        local = torch.zeros(len(batch.spins), dtype=torch.complex128)
        records.append(record(batch, local, {}, "chains", keep_samples=True))
    np.testing.assert_array_equal(kept_samples(records, size), torch.cat([draws[0], draws[1]], dim=1).numpy())
