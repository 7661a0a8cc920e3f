"""Neural importance resampling: proposals until they are worth enough, training until they are worth it (Fig. 1)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pipeline.base.descent import Adam
from pipeline.base.errors import UserError
from pipeline.base.numbers.rng import derive_seed, torch_generator
from pipeline.base.run.cuda_graph import GraphedRows
from pipeline.base.run.laps import part
from pipeline.base.run.ranks import ALONE, Ranks, shared
from pipeline.spin.bits import unique_spins
from pipeline.spin.chunks import Chunks, in_chunks
from pipeline.spin.sampler.contract import Batch, Errors
from pipeline.spin.sampler.nir.proposal import Proposal
from pipeline.spin.sampler.nir.resampling import Proposals
from pipeline.spin.sampler.nir.schema import NIRConfig
from pipeline.spin.sampler.nir.training import Transformations, backward_slopes, descend, forward_slopes, some_of
from pipeline.spin.space import Space
from pipeline.spin.symmetry.groups import symmetry_group
from pipeline.spin.wave_function import WaveFunction

LARGEST_BLOCK = 2**14
"""Proposals whose random numbers are drawn together."""

HEADROOM = 1.1
"""What is proposed beyond what the effective sample size of the proposals so far would ask for."""

SHOWN_ROUNDS = 12
"""Of the history in a complaint."""


class PoorProposal(UserError):
    """The proposal does not find |ψ|²: checkpoints are kept."""

    exit_code = 1


class NIRState:
    """Proposal network with its optimizer.

    Args:
        proposal: initialised.
        lr: of its Adam.

    Attributes:
        replayed: draws of |ψ|² of the rounds before, oldest first, (B, M) int8 each; none without ``replay``.
        settled: proposals a batch of an inference, once the proposal was trained for its ψ; None: not yet.
        draw: its draws as CUDA graphs, one launch for all the kernels of all spins; None: not on a GPU.
    """

    def __init__(self, proposal: Proposal, lr: float) -> None:
        self.proposal = proposal
        self.replayed: list[Tensor] = []
        self.settled: int | None = None
        self.optimizer = Adam(proposal.parameters(), lr=lr)
        on_gpu = proposal.token.device.type == "cuda"
        self.draw = GraphedRows(proposal.draw) if on_gpu else None

    def state_dict(self) -> dict[str, Any]:
        return {
            "proposal": self.proposal.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "settled": self.settled,
            "replayed": list(self.replayed),
        }

    def load_state_dict(self, tree: dict[str, Any]) -> None:
        own = {name: tuple(value.shape) for name, value in self.proposal.state_dict().items()}
        theirs = {name: tuple(value.shape) for name, value in tree["proposal"].items()}
        if own != theirs:
            names = sorted(name for name in own.keys() | theirs.keys() if own.get(name) != theirs.get(name))
            raise UserError(
                f"the proposal is of another network, or for another number of sites: {names[0]} has the shape "
                f"{theirs.get(names[0])} instead of {own.get(names[0])}; use infer.chains=fresh"
            )
        self.proposal.load_state_dict(tree["proposal"])
        self.optimizer.load_state_dict(tree["optimizer"])
        self.settled = tree["settled"]
        # checkpoints of before there was a replay have none
        self.replayed = [batch.to(self.proposal.token.device) for batch in tree.get("replayed", [])]


@dataclass(frozen=True)
class Call:
    """A batch that is asked for: of ψ, from a state, with the random numbers of (seed, purpose, k)."""

    ansatz: WaveFunction
    state: NIRState
    samples: int
    seed: int
    purpose: str
    k: int

    def generator(self, what: str, device: str) -> torch.Generator:
        """Of a part of it."""
        return torch_generator(self.seed, f"{self.purpose}: {what}", self.k, device)


@dataclass(frozen=True)
class Round:
    """Proposals of one q.

    Attributes:
        found: all of them; none in what is remembered of a round.
        proposed: how many there were.
        effective: their effective sample size.
        broken: those on which ψ is not a finite number, (n,) int64.
    """

    found: Proposals
    proposed: int
    effective: float
    broken: Tensor

    def numbers(self) -> Round:
        """The same without the proposals."""
        return replace(self, found=self.found.first(0))

    @property
    def efficiency(self) -> float:
        """Effective samples a proposal."""
        return self.effective / self.proposed


class NIRSampler:
    """Draws from |ψ|² by a proposal that learns it (see :class:`pipeline.spin.sampler.contract.Sampler`).

    The proposal is in single precision; log q of what it draws is that of the very numbers it was drawn by, in double.

    Args:
        config: network, thresholds and amounts.
        space: gives sites, copies, the extents of the lattice and symmetries.
        device: torch device name; random numbers are drawn there.
        chunks: keeps evaluations within memory.
        ranks: which share the work.
    """

    errors: Errors = "weighted"

    def __init__(self, config: NIRConfig, space: Space, device: str, chunks: Chunks, ranks: Ranks = ALONE) -> None:
        self.config, self._space, self._device, self._chunks, self._ranks = config, space, device, chunks, ranks
        group = []
        if config.symmetries:
            assert space.system is not None, "symmetries are those of a system"
            group = symmetry_group(space.system, config.symmetries)
        self._transformed = Transformations(space, config.permute, group, device)

    def start(self, seed: int, purpose: str) -> NIRState:
        """An untrained proposal, which is uniform; its parameters are the same on every device."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(seed, f"proposal of {purpose}"))
            proposal = Proposal(self.config, self._space)
        return NIRState(proposal.to(self._device), self.config.lr)

    def sample(
        self, ansatz: WaveFunction, state: NIRState, samples: int | None, seed: int, purpose: str, k: int
    ) -> Batch:
        """``samples`` draws, drawn again from weighted proposals; or these, with ``importance=weighting``.

        Trains the proposal every round, until a round is efficient enough. Where ψ of some proposals is not a finite
        number the batch is these, and the proposal learns nothing from them.

        Raises:
            PoorProposal: ``max_rounds`` rounds were not enough, or ψ vanishes on all proposals of one.
        """
        call = Call(ansatz, state, samples or self.config.samples, seed, purpose, k)
        last, chosen, metrics = self._adapt(call)
        if len(last.broken):
            return last.found.drawn(last.broken)
        batch = last.found.drawn(chosen) if self.config.importance == "resampling" else last.found.weighted()
        return replace(batch, metrics=metrics)

    def weighted(
        self, ansatz: WaveFunction, state: NIRState, samples: int | None, seed: int, purpose: str, k: int
    ) -> Batch:
        """Proposals with their weights, about as many as are worth ``samples`` draws from |ψ|².

        The proposal is trained first, on draws that are then forgotten and that say how many each batch has. From there
        on neither changes: batches that ended, or were left out, for what they are worth would be biased. Where their
        number is fixed nothing is trained, and it is in proportion to ``samples``.

        Raises:
            PoorProposal: as in :meth:`sample`.
        """
        call = Call(ansatz, state, samples or self.config.samples, seed, purpose, k)
        if state.settled is None:
            broken = self._settle(call)
            if broken is not None:
                return broken
        only = self._round(call, 0, math.inf, state.settled)
        if len(only.broken):
            return only.found.drawn(only.broken)
        return replace(only.found.weighted(), metrics=_metrics(only, call.samples, [only]))

    @torch.no_grad()
    def log_proposal(self, state: NIRState, spins: Tensor) -> Tensor:
        """log q of any configurations, (n, M) → (n,) float64."""
        network = state.proposal
        return shared(self._ranks, lambda rows: in_chunks(self._chunks, "log q", network.log_probability, rows), spins)

    def _settle(self, call: Call) -> Batch | None:
        """Train the proposal for an inference, and fix the number of proposals a batch; where ψ is no number, where."""
        c, state = self.config, call.state
        state.settled = c.fixed(call.samples)
        if state.settled is not None:
            return None
        last, _, _ = self._adapt(replace(call, purpose=f"{call.purpose}, settling"))
        if len(last.broken):
            return last.found.drawn(last.broken)
        state.settled = min(c.max_proposals, math.ceil(HEADROOM * call.samples / last.efficiency))
        return None

    def _adapt(self, call: Call) -> tuple[Round, Tensor, dict[str, float]]:
        """Rounds until one is worth ``ess * samples`` draws and efficient enough (Fig. 1); one round of fixed size.

        Returns:
            The last round; which of its proposals are drawn again, (samples,) int64; metrics.
        """
        c, wanted, rounds = self.config, self.config.wanted(call.samples), list[Round]()
        fixed = c.fixed(call.samples)
        for number in range(c.max_rounds if fixed is None else 1):
            last = self._round(call, number, wanted, fixed)
            rounds = [*map(Round.numbers, rounds), last]
            if len(last.broken):
                return last, last.broken, {}
            chosen = last.found.resampled(call.samples, call.generator(f"resampling of round {number}", self._device))
            metrics = _metrics(last, call.samples, rounds) | {"proposal_loss": last.found.divergence(c.divergence)}
            with part("proposal_training"):
                self._train(call, last.found, chosen, number)
            if fixed is not None or (last.effective >= wanted and last.efficiency >= c.efficiency):
                return last, chosen, metrics
        raise PoorProposal(_complaint(c, wanted, rounds))

    def _round(self, call: Call, number: int, wanted: float, fixed: int | None) -> Round:
        """Proposals until they are worth ``wanted`` draws, or there are ``max_proposals``; or a fixed number of them.

        Raises:
            PoorProposal: ψ vanishes on all of them.
        """
        blocks, n, limit = list[Proposals](), 0, self.config.max_proposals if fixed is None else fixed
        needed = math.ceil(wanted) if fixed is None else fixed
        while True:
            size = min(needed, limit - n, LARGEST_BLOCK)
            blocks.append(self._block(call, size, f"round {number}, block {len(blocks)}"))
            found = Proposals.joined(blocks)
            n, effective, broken = len(found.spins), found.effective(), found.broken()
            if len(broken) or n >= limit or (fixed is None and effective >= wanted):
                break
            if fixed is None:  # no more than there are: the first few say little of how many it will take
                needed = min(n, math.ceil(HEADROOM * n * wanted / effective) - n) if effective else n
        if not effective and not len(broken):
            raise PoorProposal(f"ψ vanishes on all {n} proposals: there is nothing that the proposal could learn from")
        return Round(found, n, effective, broken)

    def _block(self, call: Call, size: int, where: str) -> Proposals:
        """``size`` proposals of the network as it is."""
        network, graphed, m = call.state.proposal, call.state.draw, self._space.size
        # all numbers at once: what a generator returns depends on the size of the request, which memory must not change
        generator = call.generator(f"proposals of {where}", self._device)
        uniforms = torch.rand((size, m), generator=generator, dtype=torch.float64, device=self._device)
        # of the whole block: neither memory nor the number of ranks may decide which loop draws
        compiled = network.compiles(uniforms)
        name = "compiled draws of the proposal" if compiled else "draws of the proposal"

        def draw(rows: Tensor) -> Tensor:
            spins, log_q = network.draw(rows, compiled) if graphed is None else graphed(rows)
            return torch.cat([spins.double(), log_q[:, None]], 1)

        with part("proposal_draws"):
            drawn = shared(self._ranks, lambda rows: in_chunks(self._chunks, name, draw, rows), uniforms)
            spins = drawn[:, :m].to(torch.int8)
        with part("proposal_amplitudes"):
            return Proposals(spins, drawn[:, m], self._log_amplitude(call.ansatz, spins))

    def _log_amplitude(self, ansatz: WaveFunction, spins: Tensor) -> Tensor:
        """log ψ, (n, M) → (n,) float64 or complex128; equal configurations are evaluated once."""
        distinct, order, _ = unique_spins(spins)
        present = ansatz.present(distinct)
        there = distinct if present is None else distinct[present]
        if not len(there):
            return torch.full((len(spins),), -math.inf, dtype=torch.float64, device=self._device)
        found = shared(
            self._ranks, lambda rows: in_chunks(self._chunks, "proposals", ansatz.log_amplitude, rows), there
        )
        found = found.to(torch.complex128 if found.is_complex() else torch.float64)
        if present is not None:
            found = found.new_full((len(distinct),), -math.inf).index_put((present,), found)
        return found[order]

    def _train(self, call: Call, found: Proposals, chosen: Tensor, number: int) -> None:
        """One round's updates of the proposal."""
        c, state, newest = self.config, call.state, found.spins[chosen]
        kept = [*state.replayed, newest] if c.replay > 1 else [newest]
        for update in range(c.updates):
            if c.divergence == "forward":
                generator = call.generator(f"transformations of round {number}, update {update}", self._device)
                batch = newest if len(kept) == 1 else some_of(torch.cat(kept), len(newest), generator)
                spins, slopes = forward_slopes(self._transformed(batch, generator))
            else:
                spins, slopes = backward_slopes(found, call.samples)
            descend(state.proposal, state.optimizer, spins, slopes, self._chunks, self._ranks)
        state.replayed = kept[max(0, len(kept) - c.replay + 1) :]


def _metrics(last: Round, samples: int, rounds: Sequence[Round]) -> dict[str, float]:
    """``ess`` of the last round, ``ess_fraction`` in units of the batch; ``proposed`` of all ``rounds``."""
    return {
        "ess": last.effective,
        "ess_fraction": last.effective / samples,
        "efficiency": last.efficiency,
        "proposed": float(sum(one.proposed for one in rounds)),
        "rounds": float(len(rounds)),
    }


def _complaint(config: NIRConfig, wanted: float, rounds: Sequence[Round]) -> str:
    """What was asked for, what there was, and what may help."""
    half = SHOWN_ROUNDS // 2
    shown = [f"{one.effective:.3g} of {one.proposed}" for one in rounds]
    if len(shown) > SHOWN_ROUNDS:
        shown[half:-half] = ["..."]
    return (
        f"the proposal did not come close enough to |ψ|² in {len(rounds)} rounds: an effective sample size of "
        f"{wanted:g} was wanted (ess times samples) with an efficiency of {config.efficiency:g}, and there were "
        f"{', '.join(shown)} proposals. A smaller learning rate of ψ, which then changes less a step, a larger "
        "proposal (embedding, layers), another lr, more updates, a smaller efficiency, or more max_proposals or "
        "max_rounds may help"
    )
