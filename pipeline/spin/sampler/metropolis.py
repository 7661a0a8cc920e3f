"""Metropolis chains of single flips or exchanges, side by side, with global flips mixed in.

One proposal in N + 1, on average, is to stay. Without, chains of moves that are always accepted alternate between two
halves of the space (an even and an odd number of spins up; on bipartite lattices the same holds for exchanges of
neighbours), and an even number of proposals between samples never shows the other half. With single flips the
eigenvalues of the chain in a uniform state become 1 - 2k/(N + 1), k = 0, ..., N: symmetric about zero, and never -1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pipeline.base.numbers.rng import torch_generator
from pipeline.base.run.ranks import ALONE, Ranks, share
from pipeline.spin.chunks import Chunks, in_chunks
from pipeline.spin.sampler.contract import Batch, Errors
from pipeline.spin.sampler.schema import MetropolisConfig
from pipeline.spin.space import Space
from pipeline.spin.wave_function import WaveFunction

BLOCK = 256
"""Proposals whose random numbers are drawn together, and after which a walk by single flips starts afresh."""


class ChainState:
    """Where the chains are.

    Args:
        spins: (chains, N) int8.

    Attributes:
        burned_in: whether they have made the proposals before their first sample.
    """

    def __init__(self, spins: Tensor) -> None:
        self.spins, self.burned_in = spins, False

    def state_dict(self) -> dict[str, Any]:
        return {"spins": self.spins, "burned_in": self.burned_in}

    def load_state_dict(self, tree: dict[str, Any]) -> None:
        self.spins, self.burned_in = tree["spins"].to(self.spins.device), tree["burned_in"]


class MetropolisSampler:
    """Markov chains with stationary distribution |ψ|² (see :class:`pipeline.spin.sampler.contract.Sampler`).

    Chains go on from batch to batch: after an update of
    the parameters they start from where the old ones had brought them.

    Args:
        config: chains, rule and amounts.
        space: gives the sites, the sector where exchanges begin and the neighbours that may be exchanged.
        device: torch device name; random numbers are drawn there.
        chunks: keeps evaluations within memory.
        ranks: which share the work.
    """

    errors: Errors = "chains"

    def __init__(
        self, config: MetropolisConfig, space: Space, device: str, chunks: Chunks, ranks: Ranks = ALONE
    ) -> None:
        self.config, self._space, self._device, self._chunks = config, space, device, chunks
        # fewer chains than ranks: everybody moves all of them
        self._ranks = ranks if config.chains >= ranks.size else ALONE
        if config.rule == "local":
            self._rule: Rule = _LocalFlip(space.size)
        else:
            kinds: dict[str, Callable[[Space, str], Rule]] = {
                "neighbours": _NeighbourExchange,
                "any": _AnyExchange,
                "mixed": _MixedExchange,
            }
            self._rule = kinds[config.pairs](space, device)

    def start(self, seed: int, purpose: str) -> ChainState:
        """Chains that have not moved yet."""
        c, space, shape = self.config, self._space, (self.config.chains, self._space.size)
        if c.start != "random":
            return ChainState(torch.full(shape, 1 if c.start == "up" else -1, dtype=torch.int8, device=self._device))
        generator = torch_generator(seed, f"start of {purpose}", 0, self._device)
        uniforms = torch.rand(shape, generator=generator, dtype=torch.float64, device=self._device)
        up = uniforms < 0.5
        if c.rule == "exchange":
            assert space.magnetisation is not None, "the configuration was checked"
            ranks = uniforms.view(c.chains, space.copies, space.sites).argsort(2).argsort(2)
            up = (ranks < (space.sites + space.magnetisation) // 2).view(shape)
        return ChainState(torch.where(up, 1, -1).to(torch.int8))

    def sample(
        self, ansatz: WaveFunction, state: ChainState, samples: int | None, seed: int, purpose: str, k: int
    ) -> Batch:
        """``samples`` draws from all chains together, ``thinning`` proposals apart, equal ones merged."""
        c = self.config
        generator = torch_generator(seed, purpose, k, self._device)
        mine = share(self._ranks, c.chains)
        chains = _Chains(self, ansatz, state.spins, mine, generator)
        if not state.burned_in:
            chains.advance(c.burn_in * self._space.size)
        chains.counts.zero_()
        draws, logs, thinning = [], [], c.thinning or self._space.size
        for _ in range((samples or c.samples) // c.chains):
            chains.advance(thinning)
            draws.append(chains.spins)
            logs.append(chains.log_amplitudes)
        state.spins, state.burned_in = self._ranks.gather(chains.spins), True
        accepted, moves = self._ranks.reduce(chains.counts).tolist()
        # all of few proposals may have been to stay
        acceptance = accepted / moves if moves else 0.0
        known = [log for log in logs if log is not None]
        return Batch.of_draws(
            self._ranks.gather(torch.stack(draws, dim=1)),
            {"acceptance": acceptance},
            self._ranks.gather(torch.stack(known, dim=1)) if known else None,
        )

    def log_amplitude(self, ansatz: WaveFunction, spins: Tensor) -> Tensor:
        """log ψ, (C, N) → (C,) float64 or complex128."""
        logs = in_chunks(self._chunks, "proposals", ansatz.evaluate, spins)
        return logs.to(torch.complex128 if logs.is_complex() else torch.float64)

    def propose(self, spins: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
        """Other configurations (C, N), and log of the ratio of proposal probabilities q(x|x')/q(x'|x), (C,).

        Args:
            spins: (C, N).
            uniforms: (C, 3): whether to flip all spins, and two for the rule.
        """
        proposed, log_ratio = self._rule(spins, uniforms[:, 1], uniforms[:, 2])
        if not self.config.global_flip:
            return proposed, log_ratio
        globally = uniforms[:, 0] < self.config.global_flip
        return torch.where(globally[:, None], -spins, proposed), torch.where(globally, 0.0, log_ratio)


class _Chains:
    """Chains in motion under a fixed ψ: those of this rank, with their part of the random numbers of all.

    Attributes:
        spins: where they are, (C, N) int8.
        log_amplitudes: log ψ there, (C,) float64 or complex128; None before it is evaluated, and where an ansatz walks.
        counts: accepted moves, and all proposals but those to stay.
    """

    def __init__(
        self,
        sampler: MetropolisSampler,
        ansatz: WaveFunction,
        spins: Tensor,
        mine: slice,
        generator: torch.Generator,
    ) -> None:
        self._sampler, self._ansatz, self._generator = sampler, ansatz, generator
        self._all, self._mine = len(spins), mine
        self.spins = spins[mine]
        self.log_amplitudes: Tensor | None = None
        self.counts = torch.zeros(2, dtype=torch.float64, device=spins.device)

    def advance(self, proposals: int) -> None:
        """As many Metropolis steps of every chain, of which one in N + 1 stays; what is NaN is never accepted."""
        c = self._sampler.config
        for begin in range(0, proposals, BLOCK):
            steps = min(BLOCK, proposals - begin)
            if c.rule == "local" and not c.global_flip and self._ansatz.walks:
                self._walk(steps)
            else:
                self._step(steps)

    def _walk(self, steps: int) -> None:
        """Single flips, left to the ansatz; to stay is a flip of any site that nothing is large enough for."""
        shape = (2, steps, self._all)
        uniforms = torch.rand(shape, generator=self._generator, dtype=torch.float64, device=self.spins.device)
        uniforms = uniforms[..., self._mine]
        n_sites = self.spins.shape[1]
        places = _site(uniforms[0], n_sites + 1)
        stay = places == n_sites
        thresholds = torch.where(stay, torch.inf, 0.5 * uniforms[1].log())
        spins, accepted = self._ansatz.walk(self.spins, places.clamp(max=n_sites - 1), thresholds)
        self.spins = spins.clone()  # a tensor of inference mode could not be used for training
        self.counts += torch.stack([accepted.sum(), (~stay).sum()])

    def _step(self, steps: int) -> None:
        """Proposals of any rule, each evaluated as a whole."""
        if self.log_amplitudes is None:
            self.log_amplitudes = self._sampler.log_amplitude(self._ansatz, self.spins)
        for _ in range(steps):
            shape = (self._all, 5)
            uniforms = torch.rand(shape, generator=self._generator, dtype=torch.float64, device=self.spins.device)
            uniforms = uniforms[self._mine]
            move = uniforms[:, 4] * (self.spins.shape[1] + 1) >= 1.0
            proposed, log_ratio = self._sampler.propose(self.spins, uniforms)
            log_there = self._sampler.log_amplitude(self._ansatz, proposed)
            here, there = 2.0 * self.log_amplitudes.real, 2.0 * log_there.real
            # a chain that starts where ψ vanishes leaves by its first move
            accept = (uniforms[:, 3].log() < there - here + log_ratio) | (here == -torch.inf)
            accept &= move & ~there.isnan()
            self.spins = torch.where(accept[:, None], proposed, self.spins)
            self.log_amplitudes = torch.where(accept, log_there, self.log_amplitudes)
            self.counts += torch.stack([accept.sum(), move.sum()])


Rule = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""Proposals, and the logarithm of q(x|x')/q(x'|x), from configurations (M, N) and two uniform numbers of each, (M,)."""


class _LocalFlip:
    """Flips one spin, any with the same probability."""

    def __init__(self, n_sites: int) -> None:
        self._n_sites = n_sites

    def __call__(self, spins: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        del second
        site = _site(first, self._n_sites)[:, None]
        return spins.scatter(1, site, -spins.gather(1, site)), torch.zeros_like(first)


class _NeighbourExchange:
    """Swaps an antiparallel pair of neighbours, any of the n(x) there are with the same probability.

    q(x|x')/q(x'|x) = n(x)/n(x'): choosing among antiparallel pairs alone wastes no evaluation on parallel ones.
    """

    def __init__(self, space: Space, device: str) -> None:
        self._bonds = torch.tensor(space.exchange_pairs, device=device)
        self._ends = self._bonds.T.contiguous()

    def __call__(self, spins: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        del second
        before = self._antiparallel(spins)
        pair = self._bonds[_choose(before.T.contiguous(), first)]
        proposed = spins.scatter(1, pair, -spins.gather(1, pair))
        return proposed, _log_count(before) - _log_count(self._antiparallel(proposed))

    def _antiparallel(self, spins: Tensor) -> Tensor:
        """Which bonds are, (M, C): sites are taken as rows of all chains, several times faster than as columns."""
        sites = spins.T.contiguous()
        return sites[self._ends[0]] != sites[self._ends[1]]


class _AnyExchange:
    """Swaps an up spin and a down spin of the same copy, any two with the same probability."""

    def __init__(self, space: Space, device: str) -> None:
        self._copy = torch.arange(space.size, device=device) // space.sites

    def __call__(self, spins: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        up = _choose(spins > 0, first)
        together = self._copy == self._copy[up][:, None]
        pair = torch.stack([up, _choose((spins < 0) & together, second)], dim=1)
        return spins.scatter(1, pair, -spins.gather(1, pair)), torch.zeros_like(first)


class _MixedExchange:
    """Either with equal probability: neighbours relax what is near, distant pairs carry spins across the lattice."""

    def __init__(self, space: Space, device: str) -> None:
        self._near, self._any = _NeighbourExchange(space, device), _AnyExchange(space, device)

    def __call__(self, spins: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        near = first < 0.5
        first = torch.where(near, 2.0 * first, 2.0 * first - 1.0)
        to_near, ratio = self._near(spins, first, second)
        to_any, no_ratio = self._any(spins, first, second)
        return torch.where(near[:, None], to_near, to_any), torch.where(near, ratio, no_ratio)


def _site(uniforms: Tensor, n_sites: int) -> Tensor:
    """Any site with the same probability, int64."""
    return (uniforms * n_sites).long().clamp(max=n_sites - 1)


def _log_count(allowed: Tensor) -> Tensor:
    """log of the number of True in every column, (M, C) bool → (C,) float64."""
    return allowed.sum(0, dtype=torch.int32).double().log()


def _choose(allowed: Tensor, uniforms: Tensor) -> Tensor:
    """One True column of each row, (C, M) bool and (C,) → (C,), each with the same probability."""
    count = allowed.cumsum(1)
    wanted = ((uniforms * count[:, -1]).long() + 1).minimum(count[:, -1])
    return torch.searchsorted(count, wanted[:, None])[:, 0]
