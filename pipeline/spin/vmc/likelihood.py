"""Maximum likelihood of configurations drawn from the ground state by quantum Monte Carlo: a start for a training.

An autoregressive |ψ|² is a normalised distribution, and the ground state of a Hamiltonian without a sign problem is,
after the rotation that takes its signs away, determined by |⟨s|ψ0⟩|², from which quantum Monte Carlo draws
(data-enhanced variational Monte Carlo: Czischek et al., Phys. Rev. B 105, 205108 (2022); Moss et al., Phys. Rev. A 109,
032410 (2024)). An update costs one evaluation a configuration, where an energy costs one for each configuration that H
connects with it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pipeline.base.config.phases import LikelihoodConfig, StepSettings
from pipeline.base.errors import UserError
from pipeline.base.numbers.rng import torch_generator
from pipeline.base.run.ranks import Ranks
from pipeline.spin.chunks import Chunks
from pipeline.spin.exact.snapshots import snapshots
from pipeline.spin.exact.unfrustrated import model_of
from pipeline.spin.moved import moved
from pipeline.spin.optimizers import Optimizer
from pipeline.spin.sr.optimizer import StochasticReconfiguration
from pipeline.spin.symmetry.groups import symmetry_group
from pipeline.spin.systems import SpinSystem
from pipeline.spin.vmc.update import set_gradients
from pipeline.spin.wave_function import WaveFunction

PURPOSE = "configurations of the ground state"


@dataclass(frozen=True)
class _Chain:
    """Configurations of a chain in random order, and how each is transformed.

    Attributes:
        spins: (n, N) int8.
        permutations, signs: (G, N) int64 and (G,) int8, the elements of the group.
        chosen: (n,), the number of the element of each.
    """

    spins: Tensor
    permutations: Tensor
    signs: Tensor
    chosen: Tensor


@dataclass
class Source:
    """Batches of configurations of the ground state of a system.

    A batch is a pure function of seed and step: the chain of every ``updates`` steps begins with random spins.

    Args:
        system: one whose worldlines all have positive weights.
        device: torch device name of the batches.
    """

    system: SpinSystem
    device: str
    _kept: tuple[object, _Chain] | None = field(default=None, init=False)

    def batch(self, settings: StepSettings, samples: int, seed: int, k: int) -> Tensor:
        """(samples, N) int8 ±1, of update ``k``.

        Chains are numbered from where their phase began, so that different phases have random numbers of their own.

        Args:
            settings: of this update, with ``likelihood``.
            samples: where ``settings`` says none.
            seed: of the training.
        """
        config, samples = settings.likelihood, settings.samples or samples
        assert config is not None
        chain, place = divmod(k - settings.first, config.updates)
        number = settings.first + chain
        which = (repr(config), samples, seed, number)
        if self._kept is None or self._kept[0] != which:
            self._kept = which, self._chain(config, config.updates * samples, seed, number)
        rows = slice(place * samples, (place + 1) * samples)
        kept, chosen = self._kept[1], self._kept[1].chosen[rows]
        return moved(kept.spins[rows, None], kept.permutations[chosen], kept.signs[chosen])[:, 0].to(self.device)

    def _chain(self, config: LikelihoodConfig, count: int, seed: int, number: int) -> _Chain:
        model = model_of(self.system)
        assert not isinstance(model, str), "the configuration was checked"
        drawn = snapshots(model, config.beta_per_length, count, config.times, config.warmup, seed, number)
        generator = torch_generator(seed, PURPOSE, number)
        spins = torch.from_numpy(drawn)[torch.randperm(count, generator=generator)]
        group = symmetry_group(self.system, config.symmetries)
        permutations = torch.tensor([permutation for permutation, _ in group])
        signs = torch.tensor([sign for _, sign in group], dtype=torch.int8)
        return _Chain(spins, permutations, signs, torch.randint(len(group), (count,), generator=generator))


def learn(
    optimizer: Optimizer, ansatz: WaveFunction, spins: Tensor, chunks: Chunks, clip: float | None, ranks: Ranks
) -> dict[str, float]:
    """One step of ``optimizer`` down -⟨log |ψ|²⟩ of draws from the ground state; none where it is not finite.

    Args:
        optimizer: one that takes gradients, of the parameters of ``ansatz``.
        ansatz: normalised.
        spins: (B, N); those on which ψ vanishes always, of another Σ σz, are left out.
        chunks, clip, ranks: as :func:`pipeline.spin.vmc.update.update` has them.

    Returns:
        ``cross_entropy`` in nats, whose mean is not below the entropy of what is drawn; ``gradient_norm``;
        ``configurations``, how many were learnt from.

    Raises:
        UserError: ψ vanishes on all of them.
    """
    present = ansatz.present(spins)
    if present is not None:
        spins = spins[present]
    if not len(spins):
        raise UserError("likelihood: the ansatz vanishes on every configuration of a batch: it has another Σ σz")
    assert not isinstance(optimizer, StochasticReconfiguration), "the configuration was checked"
    slope = torch.full((len(spins),), -2.0 / len(spins), dtype=torch.float64, device=spins.device)
    norm, value = set_gradients(ansatz, spins, slope, chunks, clip, ranks)
    entropy = float(value)
    if norm.isfinite() and math.isfinite(entropy):
        optimizer.step()
    return {"cross_entropy": entropy, "gradient_norm": float(norm), "configurations": float(len(spins))}
