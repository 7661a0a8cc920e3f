"""Numbers with errors, as they are shown."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipeline.base.numbers.formatting import with_error
from pipeline.base.numbers.result import Estimate


@dataclass(frozen=True)
class Expectation:
    """A mean with an honest error.

    Attributes:
        mean: the estimate.
        error: standard error, autocorrelation included; 0 for an exact sum, NaN where it is not known.
        doubt: why the error is not known, or cannot be relied upon; empty where it can.
        samples: how many draws (of an exact sum, batches).
        tau: integrated autocorrelation time of chains in draws; None where draws are independent.
    """

    mean: float
    error: float
    doubt: str = ""
    samples: int = 1
    tau: float | None = None

    @staticmethod
    def of(estimate: Estimate) -> Expectation:
        """What the pipeline calls an estimate."""
        sigma = math.nan if estimate.sigma is None else estimate.sigma
        return Expectation(estimate.value, sigma, estimate.doubt, estimate.n, estimate.tau)

    def __float__(self) -> float:
        return self.mean

    def __str__(self) -> str:
        shown = with_error(self.mean, self.error)
        return f"{shown} (no error to rely upon: {self.doubt})" if self.doubt else shown
