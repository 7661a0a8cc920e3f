"""Log-derivatives that are never held: their Gram matrix is added up layer by layer (ViT paper, Section II)."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp

from pipeline.base.config.phases import holds_derivatives
from pipeline.base.run.ranks import ALONE, Ranks, able, share, shared
from pipeline.spin.chunks import Chunks
from pipeline.spin.sr.dense import DenseLogDerivatives
from pipeline.spin.sr.derivatives import LogAmplitude, log_derivatives
from pipeline.spin.sr.gram import add_product, blocks, mirror, reduced, transposed
from pipeline.spin.sr.layers import Affine, Call, Layer
from pipeline.spin.sr.operator import LogDerivatives, Scalable, centred, stacked
from pipeline.spin.sr.plan import Plan, columns_of, double_of, plan_of
from pipeline.spin.sr.signals import calls_of, sum_of_gradients
from pipeline.spin.wave_function import WaveFunction

CPU_SLAB = 2**29
"""Bytes of derivatives held at once on a CPU: a slab of columns, which costs a forward and a backward pass."""

GPU_FRACTION = 1 / 8
"""The same on a GPU, of its memory."""

ELEMENTWISE = 16
"""What one pass over a block of the Gram matrix costs, in multiply-adds of a product of matrices."""


@dataclass(frozen=True)
class Piece:
    """Some groups of parameters of a layer, or some of a tensor of the rest.

    Attributes:
        layer: None for the rest.
        first, last: groups of the layer, or elements of the tensor.
        name: of the tensor.
    """

    layer: Layer | None
    first: int
    last: int
    name: str = ""

    @property
    def columns(self) -> int:
        return (self.last - self.first) * (self.layer.width if self.layer is not None else 1)


class LayerwiseLogDerivatives:
    """See :class:`pipeline.spin.sr.operator.LogDerivatives`.

    XᵀX = Σ over layers of X_lᵀX_l. Derivatives X_l by the parameters of a layer, or by as many columns as fit the
    budget, are made from the inputs of the layer and the signals that come back to its output, multiplied, and dropped.
    Where a layer has few positions T, XᵀX is cheaper from inputs and signals themselves:
    (XᵀX)_mn = Σ_tu (a_mt·a_nu)(g_mt·g_nu).

    In single precision products move the eigenvalues of XᵀX by up to ε = 1.2e-7 times its trace, and what cancels in
    X t is lost. Where that is more than what is added to the eigenvalues, a step would be one of rounding: XᵀX, and X t
    and Xᵀd after it, then come from the matrix in double precision or, beyond 1 GiB, from a copy of the network.

    Args:
        ansatz: with real parameters; they must not change while the operator is used.
        spins: (M, N) ±1.
        weights: w, (M,), sum 1.
        chunks: how many configurations to evaluate at once.
        ranks: which share the configurations in all passes; in ``gram`` each multiplies a share of the columns, for
            which derivatives are exchanged, a slab at a time.
        budget: bytes of derivatives held at once; None: by the kind of device.
        shift: the least that is added to XᵀX.
    """

    def __init__(
        self,
        ansatz: WaveFunction,
        spins: Tensor,
        weights: Tensor,
        chunks: Chunks,
        ranks: Ranks = ALONE,
        budget: int | None = None,
        shift: float = math.inf,
    ) -> None:
        self._ansatz, self._spins, self._chunks = ansatz, spins, chunks
        self._shift = shift
        self._exact: LogDerivatives | None = None
        self._weights = weights.double()
        self.ranks = able(ranks, len(spins))
        self._mine = share(self.ranks, len(spins))
        self._plan: Plan = plan_of(ansatz, spins)
        self._parameters = [p for p in ansatz.parameters() if p.requires_grad]
        self._dtype = self._parameters[0].dtype
        self._budget = slab_bytes(spins.device) if budget is None else budget
        self._scale: Tensor | None = None
        self.is_complex = self._plan.is_complex
        self._parts = 2 if self.is_complex else 1
        self.shape = (sum(p.numel() for p in self._parameters), self._parts * len(spins))

    def scaled(self, scale: Tensor) -> LayerwiseLogDerivatives:
        """See :class:`pipeline.spin.sr.operator.Scalable`."""
        other = copy.copy(self)
        other._scale, other._exact = scale, None
        return other

    @torch.no_grad()
    def gram(self) -> Tensor:
        """XᵀX, (R, R)."""
        if self._exact is not None:
            return self._exact.gram()
        total = self._gram()
        # NaN is for others to find
        lost = self._dtype != torch.float64 and torch.finfo(self._dtype).eps * float(total.trace()) > self._shift
        if not self.ranks.agree(int(lost)):
            return total
        del total
        self._exact = self._in_double()
        return self._exact.gram()

    def _in_double(self) -> LogDerivatives:
        chunks = self._chunks.anew()
        held = holds_derivatives("auto", len(self._spins), self.shape[0])
        found: Scalable = (
            DenseLogDerivatives.of(self._ansatz, self._spins, self._weights, chunks, self.ranks)
            if held
            else LayerwiseLogDerivatives(
                double_of(self._ansatz), self._spins, self._weights, chunks, self.ranks, self._budget
            )
        )
        return found if self._scale is None else found.scaled(self._scale)

    def _gram(self) -> Tensor:
        rows = self.shape[1]
        total = torch.zeros((rows, rows), dtype=torch.float64, device=self._spins.device)
        paired = [] if self._scale is not None else self._paired()
        for layers in _packed(paired, self._pair_bytes, self._budget):
            self._add_pairs(total, layers)
        if paired:
            mirror(total)
            self._centre(total)
        for pieces in self._slabs(paired):
            for columns in transposed(self._slab(pieces), len(self._spins), self.ranks):
                add_product(total, columns)
                del columns  # before the next ones come
        mirror(total)
        return reduced(total, self.ranks)

    @torch.no_grad()
    def metric(self) -> Tensor:
        """S = X Xᵀ, (P, P), from derivatives of a few configurations at a time."""
        mine, weights = self._spins[self._mine], self._weights[self._mine]
        n = self.shape[0]
        total = torch.zeros((n, n), dtype=torch.float64, device=mine.device)
        factors = (1.0, 1.0j) if self.is_complex else (1.0,)
        means = [self._sum(factor * self._weights).to(torch.float64) for factor in factors]
        size = max(1, self._budget // (8 * self._parts * n))
        for begin in range(0, len(mine), size):
            rows = log_derivatives(self._ansatz, mine[begin : begin + size], self._chunks)
            roots = weights[begin : begin + size, None].sqrt()
            for part, mean in zip([rows.real, rows.imag] if self.is_complex else [rows], means, strict=True):
                x = self._times_scale((part.double() - mean) * roots)
                total.addmm_(x.T, x)
        return reduced(total, self.ranks)

    @torch.no_grad()
    def push(self, direction: Tensor) -> Tensor:
        """Xᵀd, by one Jacobian-vector product."""
        if self._exact is not None:
            return self._exact.push(direction)
        pieces = self._times_scale(direction).to(self._dtype).split([p.numel() for p in self._parameters])
        names = [f"ansatz.{name}" for name in self._plan.offsets]
        module = LogAmplitude(self._ansatz)
        here = {name: p.detach() for name, p in zip(names, self._parameters, strict=True)}
        there = {name: d.view_as(here[name]) for name, d in zip(names, pieces, strict=True)}

        def change(spins: Tensor) -> Tensor:
            found: Tensor = jvp(lambda given: functional_call(module, given, (spins,)), (here,), (there,))[1]
            return found

        def of_rows(spins: Tensor) -> Tensor:
            found: list[Tensor] = []

            def body(begin: int, size: int) -> int:
                found.append(change(spins[begin : begin + size]))
                return min(begin + size, len(spins))

            self._chunks.run("tangents", len(spins), body, lambda: change(spins[:1].expand(2, -1)), 2)
            return torch.cat(found)

        values = shared(self.ranks, of_rows, self._spins)
        values = values.to(torch.complex128 if self.is_complex else torch.float64)
        return stacked(centred(values, self._weights), self.is_complex)

    @torch.no_grad()
    def pull(self, coefficients: Tensor) -> Tensor:
        """X t, by one vector-Jacobian product."""
        if self._exact is not None:
            return self._exact.pull(coefficients)
        t = coefficients.view(self._parts, -1) * self._weights.sqrt()
        t = t - self._weights * t.sum(1, keepdim=True)
        return self._times_scale(self._sum(torch.complex(t[0], t[1]) if self.is_complex else t[0]))

    def _times_scale(self, values: Tensor) -> Tensor:
        return values if self._scale is None else values * self._scale

    def _sum(self, coefficients: Tensor) -> Tensor:
        """Σ_m Re[conj(c_m) O(x_m)], (M,) → (P,) float64."""
        total = [torch.zeros(p.shape, dtype=torch.float64, device=p.device) for p in self._parameters]
        spins, coefficients = self._spins[self._mine], coefficients[self._mine]

        def body(begin: int, size: int) -> int:
            end = min(begin + size, len(spins))
            gradients = sum_of_gradients(self._ansatz, spins[begin:end], coefficients[begin:end])
            # added up only when all are there: memory may run out half-way
            for so_far, gradient in zip(total, gradients, strict=True):
                if gradient is not None:
                    so_far += gradient
            return end

        self._chunks.run("gradients", len(spins), body, lambda: self._forward(spins), 2, gradients=True)
        flat = torch.cat([part.flatten() for part in total])
        return self.ranks.reduce(flat)

    def _forward(self, spins: Tensor) -> Tensor:
        return self._ansatz.log_amplitude(spins[:1].expand(2, -1))

    # the Gram matrix

    def _paired(self) -> list[Affine]:
        """Layers whose part of XᵀX is cheaper from inputs and signals than from derivatives, per pair of rows."""
        found = []
        for number, positions in self._plan.positions.items():
            layer = self._plan.layers[number]
            assert isinstance(layer, Affine)
            pairs = positions**2 * (layer.width / self._parts**2 + layer.cuts + ELEMENTWISE)
            if pairs < layer.width * layer.cuts and self._pair_bytes(layer) <= self._budget:
                found.append(layer)
        return found

    def _pair_bytes(self, layer: Affine) -> int:
        positions = self._plan.positions[self._plan.layers.index(layer)]
        return 8 * len(self._spins) * positions * (layer.width + self._parts * layer.cuts)

    def _slabs(self, paired: list[Affine]) -> list[list[Piece]]:
        """All other parameters, as columns of matrices within the budget."""
        whole = [Piece(layer, 0, layer.cuts) for layer in self._plan.layers if layer not in paired]
        whole += [Piece(None, 0, size, name) for name, size in self._plan.rest.items()]
        columns = sum(piece.columns for piece in whole)
        # of a share of the rows: the largest one, for all ranks cut alike
        rows = self._parts * -(-len(self._spins) // self.ranks.size)
        width = min(self._budget // (rows * self._dtype.itemsize), columns)
        slabs: list[list[Piece]] = [[]]
        room = width
        for piece in whole:
            first, unit = piece.first, piece.layer.width if piece.layer is not None else 1
            while first < piece.last:
                if room < unit and slabs[-1]:
                    slabs.append([])
                    room = width
                last = min(piece.last, first + max(1, room // unit))
                slabs[-1].append(Piece(piece.layer, first, last, piece.name))
                room -= (last - first) * unit
                first = last
        return [slab for slab in slabs if slab]

    def _slab(self, pieces: list[Piece]) -> Tensor:
        """Columns of Xᵀ for the configurations of this rank, (parts, m, their number)."""
        m, device = self._mine.stop - self._mine.start, self._spins.device
        slab = torch.empty((self._parts, m, sum(p.columns for p in pieces)), dtype=self._dtype, device=device)
        begins = torch.tensor([0] + [p.columns for p in pieces]).cumsum(0).tolist()
        rest = {piece.name: begin for piece, begin in zip(pieces, begins, strict=False) if piece.layer is None}
        if rest:
            self._fill_rest(slab, [piece for piece in pieces if piece.layer is None], rest)
        own = [(piece, begin) for piece, begin in zip(pieces, begins, strict=False) if piece.layer is not None]

        def fill(calls: dict[nn.Module, list[Call]], some: slice) -> None:
            count = some.stop - some.start
            for piece, begin in own:
                assert piece.layer is not None
                found = piece.layer.rows(calls[piece.layer.module], count, piece.first, piece.last)
                for part, rows in enumerate(found):
                    slab[part, some, begin : begin + piece.columns] = rows

        if own:
            self._each_chunk([piece.layer.module for piece, _ in own if piece.layer is not None], fill)
        weights = self._weights[self._mine].to(self._dtype)
        # differences before products: nothing large cancels in XᵀX
        slab -= self.ranks.reduce(weights @ slab)[:, None]
        slab *= weights.sqrt()[:, None]
        if self._scale is not None:
            places = torch.cat([self._places(piece) for piece in pieces]).to(device)
            slab *= self._scale[places].to(self._dtype)
        return slab

    def _places(self, piece: Piece) -> Tensor:
        offsets = self._plan.offsets
        if piece.layer is not None:
            return columns_of(piece.layer, piece.first, piece.last, offsets)
        return torch.arange(offsets[piece.name] + piece.first, offsets[piece.name] + piece.last)

    def _fill_rest(self, slab: Tensor, pieces: list[Piece], begins: dict[str, int]) -> None:
        """Derivatives that take a backward pass a configuration through the whole network."""
        names = [name for name in self._plan.rest if name in begins]
        step = max(1, self._budget // (4 * self._parts * slab.element_size() * sum(self._plan.rest[n] for n in names)))
        spins = self._spins[self._mine]
        for begin in range(0, len(spins), step):
            rows = log_derivatives(self._ansatz, spins[begin : begin + step], self._chunks, names)
            values = dict(zip(names, rows.split([self._plan.rest[name] for name in names], 1), strict=True))
            for piece in pieces:
                found = values[piece.name][:, piece.first : piece.last]
                for part, half in enumerate([found.real, found.imag] if self.is_complex else [found]):
                    slab[part, begin : begin + step, begins[piece.name] : begins[piece.name] + piece.columns] = half

    def _each_chunk(self, modules: list[nn.Module], use: Callable[[dict[nn.Module, list[Call]], slice], None]) -> None:
        """Forward and backward passes over the configurations of this rank, a chunk at a time."""
        spins = self._spins[self._mine]

        def body(begin: int, size: int) -> int:
            end = min(begin + size, len(spins))
            use(calls_of(self._ansatz.log_amplitude, spins[begin:end], modules, self.is_complex), slice(begin, end))
            return end

        # a backward pass frees about as much as it needs
        self._chunks.run("gradients", len(spins), body, lambda: self._forward(spins), 2, gradients=True)

    def _add_pairs(self, total: Tensor, layers: list[Affine]) -> None:
        """Add what layers with few positions contribute, neither centred nor weighted, below the diagonal blocks.

        Inputs and signals of all configurations are on every rank; the ranks share the blocks.
        """
        m = len(self._spins)
        held: dict[Affine, tuple[list[Tensor], list[list[Tensor]]]] = {
            layer: ([], [[] for _ in range(self._parts)]) for layer in layers
        }

        def keep(calls: dict[nn.Module, list[Call]], some: slice) -> None:
            count = some.stop - some.start
            for layer, (activations, signals) in held.items():
                own = calls[layer.module]
                new = [layer.signals(own, count, part) for part in range(self._parts)]
                activations.append(layer.activations(own, count))
                for part, values in zip(signals, new, strict=True):
                    part.append(values)

        self._each_chunk([layer.module for layer in layers], keep)
        for activations, signals in held.values():
            a = self.ranks.gather(torch.cat(activations)).double()
            g = torch.cat([self.ranks.gather(torch.cat(part)) for part in signals]).double()
            repeated = torch.cat([a] * self._parts) if self._parts > 1 else a
            for begin, end in blocks(len(g))[self.ranks.rank :: self.ranks.size]:
                for t in range(a.shape[1]):
                    for u in range(a.shape[1]):
                        inputs = repeated[begin:end, t] @ a[:, u].T
                        product = g[begin:end, t] @ g[:end, u].T
                        for first in range(0, end, m):
                            last = min(first + m, end)
                            product[:, first:last] *= inputs[:, : last - first]
                        total[begin:end, :end] += product

    def _centre(self, total: Tensor) -> None:
        """G → D C G Cᵀ D with C = 1 - 1wᵀ and D = diag(sqrt(w)), for each pair of parts of log ψ, in place."""
        m, w = len(self._spins), self._weights
        root = w.sqrt()
        for i in range(self._parts):
            for j in range(self._parts):
                block = total[i * m : (i + 1) * m, j * m : (j + 1) * m]
                block -= w @ block
                block -= (block @ w)[:, None]
                block *= root
                block *= root[:, None]


def slab_bytes(device: torch.device) -> int:
    """How much memory derivatives may take at once on a kind of device."""
    if device.type == "cuda":
        return int(GPU_FRACTION * torch.cuda.get_device_properties(device).total_memory)
    return CPU_SLAB


def _packed(layers: list[Affine], size: Callable[[Affine], int], budget: int) -> Iterator[list[Affine]]:
    """Layers one after the other, as many at once as fit the budget."""
    held: list[Affine] = []
    for layer in layers:
        if held and sum(map(size, held)) + size(layer) > budget:
            yield held
            held = []
        held.append(layer)
    if held:
        yield held
