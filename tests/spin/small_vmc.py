"""Small VMC configurations, dense amplitudes, and an autoregressive test double that the tests of VMC share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.base.config.nodes import TrainConfig
from pipeline.base.config.phases import AdamConfig
from pipeline.base.run.ranks import ALONE, Ranks
from pipeline.spin.ansatz.schema import AnsatzConfig, RBMConfig
from pipeline.spin.sampler.schema import DirectConfig, ExhaustiveConfig, MetropolisConfig
from pipeline.spin.systems import ChainTFIM, SpinSystem
from pipeline.spin.vmc.method import VariationalMonteCarlo
from pipeline.spin.vmc.schema import VMCConfig, VMCInferConfig
from pipeline.spin.wave_function import AutoregressiveWaveFunction, WaveFunction
from tests.spin import dense


@dataclass
class TinyConfig(AnsatzConfig):
    """Conditionals that are logistic in the spins before; ``phases`` makes log ψ complex."""

    log_domain: ClassVar[bool] = True
    direct: ClassVar[bool] = True

    implementation: ClassVar[str] = "tests.spin.small_vmc:TinyAutoregressive"

    name: str = "tiny"
    phases: bool = False
    deviation: float = 0.5


class TinyAutoregressive(AutoregressiveWaveFunction):
    """ψ_i(s_i | s_<i) ∝ exp(s_i (b_i + Σ_{j<i} W_ij s_j)), normalised site by site."""

    def __init__(self, config: TinyConfig, system: SpinSystem) -> None:
        super().__init__()
        n = system.size
        self.n_uniforms, self.order = n, tuple(range(n))
        self.weight = nn.Parameter(config.deviation * torch.randn(n, n))
        self.bias = nn.Parameter(config.deviation * torch.randn(n))
        self.phase = nn.Parameter(torch.randn(n, n)) if config.phases else None

    def conditionals(self, spins: Tensor) -> Tensor:
        x = spins.to(self.weight.dtype)
        field = x @ self.weight.tril(-1).T + self.bias
        values = torch.stack([field, -field], dim=-1)
        values = values - 0.5 * torch.logsumexp(2 * values, dim=-1, keepdim=True)
        if self.phase is None:
            return values
        angle = x @ self.phase.tril(-1).T
        return torch.complex(values, torch.stack([angle, -angle], dim=-1))

    def draw(self, uniforms: Tensor) -> Tensor:
        spins = torch.ones(uniforms.shape, dtype=torch.int8)
        for i in self.order:
            up = (2 * self.conditionals(spins)[:, i, 0].real).exp()
            spins[:, i] = torch.where(uniforms[:, i] < up, 1, -1)
        return spins


METHOD = VMCConfig(sign_rule="none", gradient_clip=None, max_rejected=3, memory_gib=0.01)
TRAIN = TrainConfig(
    method=METHOD,
    ansatz=RBMConfig(alpha=2, deviation=0.3, parameters="real"),
    sampler=ExhaustiveConfig(max_sites=12),
    optimizer=AdamConfig(lr=0.01, betas=(0.9, 0.999)),
    steps=10,
    seed=3,
    dtype="float64",
)
INFER = VMCInferConfig(units=1, seed=5, samples=None, chains="fresh", keep_samples=False)
COMPLEX_RBM = RBMConfig(alpha=2, deviation=0.3, parameters="complex")
DIRECT = DirectConfig(samples=500)
METROPOLIS = MetropolisConfig(
    samples=200,
    chains=20,
    rule="local",
    pairs="neighbours",
    global_flip=0.0,
    thinning=None,
    burn_in=10,
    start="random",
)
CHAIN = ChainTFIM(n_sites=5, range=2, coupling=0.7, field=1.3)
CHAIN_MATRIX = dense.ring(5, 2, 0.7, 1.3)


def build(
    system: SpinSystem = CHAIN,
    train: TrainConfig = TRAIN,
    infer: VMCInferConfig = INFER,
    ranks: Ranks = ALONE,
    **changes: Any,
) -> VariationalMonteCarlo:
    """VMC with ``changes`` to the train node; keys of the method node are given as ``method_key``."""
    method = {key.removeprefix("method_"): changes.pop(key) for key in list(changes) if key.startswith("method_")}
    train = replace(train, method=replace(train.method, **method), **changes)
    return VariationalMonteCarlo(system, train, infer, "cpu", ranks)


@torch.no_grad()
def amplitudes(ansatz: WaveFunction, n_sites: int) -> np.ndarray:
    """ψ on the rows of the dense matrices, from log ψ."""
    return np.asarray(np.exp(ansatz.log_amplitude(torch.from_numpy(dense.basis(n_sites))).numpy()))


def rayleigh(ansatz: WaveFunction, matrix: np.ndarray) -> float:
    """⟨ψ|H|ψ⟩/⟨ψ|ψ⟩."""
    psi = amplitudes(ansatz, int(np.log2(len(matrix))))
    return float((psi.conj() @ matrix @ psi).real / (psi.conj() @ psi).real)
