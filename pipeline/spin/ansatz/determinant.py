"""Several states at once: a determinant of single-state wave functions on copies of a system (NIR paper, Eq. 2)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pipeline.spin.bits import distinct, pack
from pipeline.spin.representatives import Invariance
from pipeline.spin.wave_function import WaveFunction

FEW = 8
"""Configurations of one copy among which none are looked for that are the same."""

MOST_PERMUTED = 4
"""Copies whose permutations, K!, are all gone through for configurations that these map onto each other."""


class Determinant(WaveFunction):
    """Ψ(s¹, ..., s^K) = det ψ_j(s^k) on K copies of N sites, one copy after the other (NIR paper, Eq. 2).

    Its |Ψ|² is the distribution of K fermions in the space that the ψ_j span: any K independent combinations of them
    give the same state. Energies of K copies of H are traces over this space (Pfau et al., Science 385, eadn0137).

    Entries are scaled by the largest of their row and of their column before they leave the logarithm; determinants are
    in double precision whatever that of the networks, for they are what remains of a cancellation. Where they vanish,
    as they do when two copies have the same configuration, log Ψ is -∞, without derivatives.

    Args:
        networks: ψ_1, ..., ψ_K with log ψ, all of one kind.
        n_sites: N.

    Attributes:
        states: K.
        n_sites: N.
        signed: the ψ_j are real, and so is Ψ.
    """

    log_rounding = math.log(1e-12)
    walks = True

    def __init__(self, networks: Sequence[WaveFunction], n_sites: int) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.states, self.n_sites = len(networks), n_sites
        device = next(self.networks.parameters()).device
        with torch.no_grad():
            found = networks[0].log_amplitude(torch.ones(1, n_sites, dtype=torch.int8, device=device))
        self.signed = networks[0].signed or not found.is_complex()
        self._whole = all(type(n).connected_log_amplitudes is WaveFunction.connected_log_amplitudes for n in networks)

    def single_log_amplitudes(self, rows: Tensor) -> Tensor:
        """log ψ_j(s) of configurations of one copy, (R, N) → (R, K).

        Without gradients equal configurations are evaluated once.
        """
        return self._evaluate(rows) if torch.is_grad_enabled() else self._once(rows)

    def single_connected(self, rows: Tensor, masks: Tensor, wanted: Tensor) -> Tensor:
        """log ψ_j with the sites of masks flipped: (R, N), (M, N) and (R, M) bool → (R, M, K), where it is wanted."""
        if not self._whole:
            found = [network.connected_log_amplitudes(rows, masks, wanted) for network in self._states()]
            return torch.stack(found, -1)
        row, group = wanted.nonzero(as_tuple=True)
        values = self.single_log_amplitudes(torch.where(masks[group], -rows[row], rows[row]))
        return values.new_zeros((*wanted.shape, self.states)).index_put((row, group), values)

    def plain(self, logs: Tensor, magnitudes: Tensor) -> Tensor:
        """ψ of phase or sign as in ``logs`` and of these log|ψ|: float64 where ψ is real, else complex128."""
        if not logs.is_complex():
            return magnitudes.exp()
        if self.signed:
            return magnitudes.exp() * torch.where(logs.imag.detach().cos() < 0, -1.0, 1.0)
        return torch.complex(magnitudes, logs.imag.double()).exp()

    def log_amplitude(self, spins: Tensor) -> Tensor:
        """log Ψ, (B, K N) spins ±1 → (B,) complex128; where Ψ is real, 0 or iπ is the imaginary part.

        With gradients the networks see (B K, N), copies of a configuration side by side.
        """
        return self._log_determinant(spins, self.single_log_amplitudes(spins.reshape(-1, self.n_sites)))

    def batch_log_amplitude(self, spins: Tensor) -> Tensor:
        """The same, each configuration of one copy evaluated once, with gradients too."""
        return self._log_determinant(spins, self._once(spins.reshape(-1, self.n_sites)))

    def connected_log_amplitudes(self, spins: Tensor, masks: Tensor, wanted: Tensor | None = None) -> Tensor:
        """log Ψ with the sites of every mask flipped: (B, K N), (M, K N) bool → (B, M) complex128.

        A mask within one copy changes one row of the determinant, Ψ(s') = Σ_j ψ_j(s'^k) C_kj with the cofactors C of
        that row: K products, and one configuration of one copy to evaluate. Cofactors and not Ψ⁻¹ Ψ(s), for they exist
        where Ψ(s) vanishes.
        """
        touched = masks.view(-1, self.states, self.n_sites).any(-1)
        if bool((touched.sum(1) != 1).any()):
            return super().connected_log_amplitudes(spins, masks, wanted)
        logs = self.single_log_amplitudes(spins.reshape(-1, self.n_sites)).view(-1, self.states, self.states)
        entries, rows, columns = self._scaled(logs)
        minors = cofactors(entries)
        copy = touched.int().argmax(1)
        shape = (len(spins), len(masks))
        some = torch.ones(shape, dtype=torch.bool, device=spins.device) if wanted is None else wanted
        row, group = some.nonzero(as_tuple=True)
        new = self._flipped(spins, masks, copy, row, group)
        place = copy[group]
        magnitudes = new.real.double() - columns[row]
        largest = _finite(magnitudes.amax(1))
        sums = (self.plain(new, magnitudes - largest[:, None]) * minors[row, place]).sum(1)
        rest = (rows.sum(1) + columns.sum(1))[row] - rows[row, place] + largest
        values = _log(sums) + rest
        return values.new_zeros(shape).index_put((row, group), values)

    @torch.no_grad()
    def walk(self, spins: Tensor, sites: Tensor, thresholds: Tensor) -> tuple[Tensor, Tensor]:
        """Metropolis proposals of single flips (see :class:`pipeline.spin.wave_function.WaveFunction`).

        Each evaluates the networks on the one copy that it changes.
        """
        chains = torch.arange(len(spins), device=spins.device)
        logs = self.single_log_amplitudes(spins.reshape(-1, self.n_sites)).view(-1, self.states, self.states)
        here = self._log_determinant(spins, logs).real
        moves = []
        for site, threshold in zip(sites, thresholds, strict=True):
            copy = site // self.n_sites
            proposed = spins.scatter(1, site[:, None], -spins.gather(1, site[:, None]))
            row = self._evaluate(proposed.view(-1, self.states, self.n_sites)[chains, copy])
            moved = logs.index_put((chains, copy), row)
            there = self._log_determinant(proposed, moved).real
            # a chain that starts where Ψ vanishes leaves by its first move
            accept = ((there - here > threshold) | (here == -torch.inf)) & (threshold < torch.inf) & ~there.isnan()
            spins = torch.where(accept[:, None], proposed, spins)
            logs = torch.where(accept[:, None, None], moved, logs)
            here = torch.where(accept, there, here)
            moves.append(accept)
        return spins, torch.stack(moves)

    def present(self, spins: Tensor) -> Tensor:
        """Where all copies differ, and the networks are defined on each; (B, K N) → (B,) bool."""
        rows = spins.reshape(-1, self.n_sites)
        found = ~_repeated(spins.view(-1, self.states, self.n_sites))
        for network in self.networks:
            assert isinstance(network, WaveFunction)
            if (defined := network.present(rows)) is not None:
                found &= defined.view(-1, self.states).all(1)
        return found

    def invariance(self) -> Invariance | None:
        """Permutations of the copies, under which Ψ is odd or even; None for very many copies."""
        if self.states > MOST_PERMUTED:
            return None
        device = next(self.networks.parameters()).device
        sites = torch.arange(self.states * self.n_sites, device=device).view(self.states, self.n_sites)
        orders = list(itertools.permutations(range(self.states)))
        moves = torch.stack([sites[list(order)].flatten() for order in orders])
        odd = torch.tensor([_is_odd(order) for order in orders], device=device)
        angles = math.pi * odd.double()
        factors = torch.complex(torch.zeros_like(angles), angles)
        return Invariance(moves, torch.ones(len(orders), dtype=torch.int8, device=device), factors)

    def _evaluate(self, rows: Tensor) -> Tensor:
        return torch.stack([network.log_amplitude(rows) for network in self._states()], -1)

    def _once(self, rows: Tensor) -> Tensor:
        if len(rows) <= FEW:
            return self._evaluate(rows)
        _, first, inverse = distinct(pack(rows))
        return self._evaluate(rows[first])[inverse]

    def _states(self) -> list[WaveFunction]:
        return [network for network in self.networks if isinstance(network, WaveFunction)]

    def _scaled(self, logs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """ψ_j(s^k) e^{-r_k - c_j} from (B, K, K) logarithms, and r, c, both (B, K): no entry is larger than 1."""
        magnitudes = logs.real.double()
        rows = _finite(magnitudes.detach().amax(2))
        columns = _finite((magnitudes.detach() - rows[:, :, None]).amax(1))
        return self.plain(logs, magnitudes - rows[:, :, None] - columns[:, None, :]), rows, columns

    def _log_determinant(self, spins: Tensor, logs: Tensor) -> Tensor:
        """log Ψ, (B,), of (B, K N) spins from log ψ_j of their copies, (B K, K)."""
        entries, rows, columns = self._scaled(logs.view(-1, self.states, self.states))
        vanishes = _repeated(spins.reshape(-1, self.states, self.n_sites))
        vanishes = vanishes | (torch.linalg.slogdet(entries.detach()).logabsdet == -torch.inf)
        # the derivative of a determinant that vanishes is not that of its logarithm
        identity = torch.eye(self.states, dtype=entries.dtype, device=entries.device)
        sign, magnitude = torch.linalg.slogdet(torch.where(vanishes[:, None, None], identity, entries))
        magnitude = torch.where(vanishes, -torch.inf, magnitude + rows.sum(1) + columns.sum(1))
        angle = sign.angle() if sign.is_complex() else math.pi * (sign < 0).double()
        return torch.complex(magnitude, angle)

    def _flipped(self, spins: Tensor, masks: Tensor, copy: Tensor, row: Tensor, group: Tensor) -> Tensor:
        """log ψ_j of the copy that a mask changes, (P, K), for pairs of a row of ``spins`` and a mask."""
        copies = spins.view(-1, self.states, self.n_sites)
        within = masks.view(-1, self.states, self.n_sites)[torch.arange(len(masks), device=masks.device), copy]
        if self._whole:
            there = copies[row, copy[group]]
            return self.single_log_amplitudes(torch.where(within[group], -there, there))
        found = None
        for k in range(self.states):
            mine, ours = (copy == k).nonzero()[:, 0], copy[group] == k
            if not len(mine):
                continue
            some = torch.zeros((len(spins), len(masks)), dtype=torch.bool, device=spins.device)
            some[row[ours], group[ours]] = True
            logs = self.single_connected(copies[:, k], within[mine], some[:, mine])
            if found is None:
                found = logs.new_zeros((len(row), self.states))
            found[ours] = logs[row[ours], torch.searchsorted(mine, group[ours])]
        assert found is not None, "there are masks"
        return found


def cofactors(matrices: Tensor) -> Tensor:
    """C_kj = (-1)^{k+j} det(A without row k and column j), (B, K, K) → (B, K, K): det A = Σ_j A_kj C_kj for any k."""
    size = matrices.shape[-1]
    if size == 1:
        return torch.ones_like(matrices)
    others = torch.tensor([[i for i in range(size) if i != k] for k in range(size)], device=matrices.device)
    minors = matrices[:, others[:, None, :, None], others[None, :, None, :]]
    if size == 2:
        values = minors[..., 0, 0]
    elif size == 3:
        values = minors[..., 0, 0] * minors[..., 1, 1] - minors[..., 0, 1] * minors[..., 1, 0]
    else:
        values = torch.linalg.det(minors)
    places = torch.arange(size, device=matrices.device)
    return values * (1 - 2 * ((places[:, None] + places) % 2))


def _repeated(copies: Tensor) -> Tensor:
    """Where two copies have the same configuration, (B, K, N) → (B,) bool."""
    found = torch.zeros_like(copies[:, 0, 0], dtype=torch.bool)
    for one, other in itertools.combinations(range(copies.shape[1]), 2):
        found = found | (copies[:, one] == copies[:, other]).all(-1)
    return found


def _finite(logs: Tensor) -> Tensor:
    """Scales: 0 in place of -∞, where there is nothing to scale."""
    return torch.where(logs == -torch.inf, 0.0, logs)


def _log(values: Tensor) -> Tensor:
    """Complex logarithm of real or complex numbers; -∞ of 0."""
    if values.is_complex():
        return values.log()
    return torch.complex(values.abs().log(), math.pi * (values < 0).double())


def _is_odd(order: Sequence[int]) -> bool:
    """Whether a permutation is odd: by its inversions."""
    return sum(a > b for a, b in itertools.combinations(order, 2)) % 2 == 1
