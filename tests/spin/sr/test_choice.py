"""Which operator reconfiguration makes where that is left open."""

import pytest
import torch
from torch import Tensor, nn

from pipeline.spin.chunks import Chunks
from pipeline.spin.sr.choice import cheaper_held, derivatives_of
from pipeline.spin.sr.dense import DenseLogDerivatives
from pipeline.spin.sr.layerwise import LayerwiseLogDerivatives
from pipeline.spin.wave_function import WaveFunction

SITES = 6


class Wide(WaveFunction):
    """log ψ = a sum of tanh over hidden units, of a linear layer or of parameters of which nothing is known."""

    def __init__(self, width: int, known: bool) -> None:
        super().__init__()
        self.layer = nn.Linear(SITES, width) if known else nn.Identity()
        self.weight = nn.Parameter(torch.ones(1 if known else SITES * width))

    def log_amplitude(self, spins: Tensor) -> Tensor:
        x = spins.to(self.weight.dtype)
        if isinstance(self.layer, nn.Linear):
            return self.layer(x).tanh().sum(1) * self.weight
        return (x @ self.weight.view(SITES, -1)).tanh().sum(1)


@pytest.mark.parametrize(
    ("rows", "width", "known", "held"),
    [
        (8, 40, True, True),  # a few configurations
        (256, 400, True, False),
        (256, 40, True, True),  # the system has the size of the parameters
        (256, 400, False, True),  # passes through all of the network for what no rule gives
        (1024, 400, False, False),
    ],
)
def test_the_choice_goes_by_cost(rows: int, width: int, known: bool, held: bool) -> None:
    """On a CPU; a small shift wants double precision, a GPU has it."""
    ansatz, weights = Wide(width, known), torch.full((rows,), 1.0 / rows, dtype=torch.float64)
    spins = 1 - 2 * torch.randint(2, (rows, SITES), generator=torch.Generator().manual_seed(0), dtype=torch.int8)

    def made(kind: str, shift: float) -> type:
        return type(derivatives_of(kind, ansatz, spins, weights, Chunks(None), shift=shift))

    assert made("auto", 1e-3) is (DenseLogDerivatives if held else LayerwiseLogDerivatives)
    assert made("auto", 1e-7) is DenseLogDerivatives
    assert made("layerwise", 1e-3) is LayerwiseLogDerivatives
    assert cheaper_held(ansatz, spins.to("meta"))
