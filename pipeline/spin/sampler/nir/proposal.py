"""The proposal: an autoregressive transformer over the spins of all copies (NIR paper, Section 3.2)."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.spin.sampler.nir.schema import NIRConfig
from pipeline.spin.space import Space

COMPILED_FROM = 2**12
"""Spins of a batch from which on compiled loops, where there are some, treat them: fewer are not worth loading them."""

COMPILED_UP_TO = 128
"""Largest embedding that they take: matrices of larger ones are for a library."""


class Block(nn.Module):
    """x + attention(norm x), then x + MLP(norm x), d → 4d → d; norms have no parameters of their own.

    Args:
        width: d.
        heads: which share the features.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.width, self.heads = width, heads
        self.projections = nn.Linear(width, 3 * width)
        self.mixed = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor, compiled: bool = False) -> Tensor:
        """Every place sees itself and those before it, (B, M, d) → (B, M, d); by the compiled loop or by torch."""
        rows, places, d = x.shape
        projections = self._normed(x, self.projections)
        if compiled:
            from pipeline.spin.sampler.nir.attention import attend, gelu

            return self._finish(x, attend(projections, self.heads), gelu)
        heads = projections.view(rows, places, 3, self.heads, d // self.heads)
        queries, keys, values = heads.permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        return self._finish(x, attended.transpose(1, 2).reshape(rows, places, d))

    def step(self, x: Tensor, keys: Tensor, values: Tensor, place: int) -> Tensor:
        """What :meth:`forward` gives for one place, (B, d) → (B, d), from those before it.

        Args:
            x: features of the place.
            keys, values: (B, heads, M, d/heads), of the places before it; those of this one are put there.
            place: which one.
        """
        rows, d = x.shape
        query, key, value = self._normed(x, self.projections).view(rows, 3, self.heads, d // self.heads).unbind(1)
        keys[:, :, place], values[:, :, place] = key, value
        scores = query[:, :, None] @ keys[:, :, : place + 1].mT * (d // self.heads) ** -0.5
        attended = scores.softmax(-1) @ values[:, :, : place + 1]
        return self._finish(x, attended.reshape(rows, d))

    def _normed(self, x: Tensor, layer: nn.Module) -> Tensor:
        y: Tensor = layer(functional.layer_norm(x, (self.width,)))
        return y

    def _finish(self, x: Tensor, attended: Tensor, gelu: Callable[[Tensor], Tensor] = functional.gelu) -> Tensor:
        x = x + self.mixed(attended)
        y: Tensor = x + self.down(gelu(self._normed(x, self.up)))
        return y


class Proposal(nn.Module):
    """q(s) = Π_j q(s_j | s_<j) > 0 over M = K N spins, copies one after the other, sites row by row.

    The features of a spin are those of its value, of its row and column and, where there are several copies, of its
    copy; a learnable token stands in front of them and the last spin is left out, so that place j sees s_<j alone. A
    final norm, an MLP d → 2d → d and a linear layer make two logits, which begin at zero: q is uniform at first. Each
    value has the probability p_floor + (1 - 2 p_floor) softmax, so that q sums to 1 exactly.

    Args:
        config: embedding, heads, layers, p_floor.
        space: sites, copies and extents of the lattice.
    """

    def __init__(self, config: NIRConfig, space: Space) -> None:
        super().__init__()
        d = config.embedding
        self.size, self.p_floor, self.heads = space.size, config.p_floor, config.heads
        self.token, self.of_value = _features(1, d), _features(2, d)
        self.of_place = nn.ParameterList(_features(extent, d) for extent in space.extents)
        self.of_copy = _features(space.copies, d) if space.copies > 1 else None
        self.register_buffer("_places", _places(space.extents), persistent=False)
        self._places: Tensor
        self.blocks = nn.ModuleList(Block(d, config.heads) for _ in range(config.layers))
        self.norm = nn.LayerNorm(d)
        self.head = nn.Sequential(nn.Linear(d, 2 * d), nn.GELU(), nn.Linear(2 * d, d))
        self.logits = nn.Linear(d, 2)
        nn.init.zeros_(self.logits.weight)
        nn.init.zeros_(self.logits.bias)

    def log_probability(self, spins: Tensor, compiled: bool = False) -> Tensor:
        """log q, (B, M) spins ±1 → (B,) float64, differentiable in the parameters.

        Args:
            spins: on the device of the parameters.
            compiled: whether by a compiled loop where there is one (:meth:`compiles`), whose last bits are others.
        """
        down = (spins < 0).long()
        features = self._table()[torch.arange(self.size - 1, device=spins.device), down[:, :-1]]
        start = self.token.expand(len(spins), 1, -1)
        return self._log_chosen(self._fields(torch.cat([start, features], 1), compiled), down).sum(1)

    @torch.no_grad()
    def draw(self, uniforms: Tensor, compiled: bool | None = None) -> tuple[Tensor, Tensor]:
        """Independent configurations and their log q; keys and values of the spins before are kept.

        Args:
            uniforms: in [0, 1), (B, M) float64.
            compiled: whether by the compiled loop, whose last bits are others; None: as :meth:`compiles` has it.

        Returns:
            Spins ±1, (B, M) int8, and log q of what was drawn, (B,) float64.
        """
        if self.compiles(uniforms) if compiled is None else compiled:
            return self.draw_compiled(uniforms)
        rows, table = len(uniforms), self._table()
        shape = (len(self.blocks), rows, self.heads, self.size, table.shape[-1] // self.heads)
        keys, values = table.new_empty(shape), table.new_empty(shape)
        down = torch.zeros(uniforms.shape, dtype=torch.int64, device=uniforms.device)
        log_q = uniforms.new_zeros(rows)
        x = self.token.expand(rows, -1)
        for place in range(self.size):
            for block, some_keys, some_values in zip(self.blocks, keys, values, strict=True):
                assert isinstance(block, Block)
                x = block.step(x, some_keys, some_values, place)
            x = self._choose(self._last(x), uniforms, down, log_q, place, table)
        return (1 - 2 * down).to(torch.int8), log_q

    def compiles(self, batch: Tensor) -> bool:
        """Whether there are compiled loops for parameters of this kind, and a batch, (B, M), is worth loading them."""
        plain = batch.device.type == "cpu" and self.token.dtype == torch.float32
        plain = plain and self.token.shape[1] <= COMPILED_UP_TO
        return plain and batch.numel() >= COMPILED_FROM and importlib.util.find_spec("numba") is not None

    @torch.no_grad()
    def draw_compiled(self, uniforms: Tensor) -> tuple[Tensor, Tensor]:
        """The same by the loop of :mod:`pipeline.spin.sampler.nir.draw_loop`, on a CPU in single precision."""
        from pipeline.base.run.compiled import in_threads
        from pipeline.base.run.lanes import LANES
        from pipeline.spin.sampler.nir import draw_loop

        linear = [layer for layer in self.modules() if isinstance(layer, nn.Linear)]
        weights, biases = (torch.cat([p.flatten() for p in parts]) for parts in _packed(linear))
        shapes = torch.tensor([[layer.in_features, layer.out_features] for layer in linear])
        norm, token = torch.cat([self.norm.weight, self.norm.bias]), self.token[0].contiguous()
        down, fields = torch.zeros(uniforms.shape, dtype=torch.int64), torch.empty_like(uniforms)
        arrays = [part.numpy() for part in (weights, biases, shapes, norm, token, self._table().flatten())]
        numbers = [part.numpy() for part in (uniforms.contiguous(), down, fields)]

        def draw(begin: int, end: int) -> None:
            draw_loop.draw(*arrays, self.heads, float(self.p_floor), *(part[begin:end] for part in numbers))

        in_threads(draw, len(uniforms), LANES, torch.get_num_threads())
        return (1 - 2 * down).to(torch.int8), self._log_chosen(fields, down).sum(1)

    @torch.no_grad()
    def draw_uncached(self, uniforms: Tensor) -> tuple[Tensor, Tensor]:
        """The same, with a whole forward pass over the spins before for every spin."""
        rows, table = len(uniforms), self._table()
        down = torch.zeros(uniforms.shape, dtype=torch.int64, device=uniforms.device)
        log_q = uniforms.new_zeros(rows)
        x = self.token.expand(rows, 1, -1)
        for place in range(self.size):
            following = self._choose(self._fields(x)[:, -1], uniforms, down, log_q, place, table)
            x = torch.cat([x, following[:, None]], 1)
        return (1 - 2 * down).to(torch.int8), log_q

    def _choose(
        self, fields: Tensor, uniforms: Tensor, down: Tensor, log_q: Tensor, place: int, table: Tensor
    ) -> Tensor:
        """Draw one spin from its fields (B,), into ``down`` and ``log_q``; returns its features, (B, d)."""
        up = self.p_floor + (1.0 - 2.0 * self.p_floor) * torch.sigmoid(fields)
        drawn = (uniforms[:, place] >= up).long()
        down[:, place] = drawn
        log_q += self._log_chosen(fields, drawn)
        return table[min(place, len(table) - 1), drawn]

    def _log_chosen(self, fields: Tensor, down: Tensor) -> Tensor:
        """log of the probability of what was chosen."""
        chosen = torch.where(down == 0, fields, -fields)
        if not self.p_floor:
            return functional.logsigmoid(chosen)
        return torch.log(self.p_floor + (1.0 - 2.0 * self.p_floor) * torch.sigmoid(chosen))

    def _fields(self, x: Tensor, compiled: bool = False) -> Tensor:
        """Difference of both logits of every place given those before, from features (B, n, d), (B, n) float64."""
        for block in self.blocks:
            x = block(x, compiled)
        return self._last(x)

    def _last(self, x: Tensor) -> Tensor:
        """The same from the features of the last block, (..., d) → (...)."""
        up, down = self.logits(self.head(self.norm(x))).double().unbind(-1)
        return up - down

    def _table(self) -> Tensor:
        """Features of both values of every spin, (M, 2, d)."""
        place = sum(features[index] for features, index in zip(self.of_place, self._places, strict=True))
        assert isinstance(place, Tensor)
        if self.of_copy is not None:
            place = (self.of_copy[:, None] + place).flatten(0, 1)
        return place[:, None] + self.of_value


def _packed(layers: Sequence[nn.Linear]) -> tuple[list[Tensor], list[Tensor]]:
    """Weights, (inputs, outputs), and biases."""
    return [layer.weight.T for layer in layers], [layer.bias for layer in layers]


def _features(count: int, width: int) -> nn.Parameter:
    """Learnable vectors (count, d), of variance 1/d so that sums of a few of them are small."""
    return nn.Parameter(torch.randn(count, width) * width**-0.5)


def _places(extents: Sequence[int]) -> Tensor:
    """Column, and row, of every site, (1 or 2, N) int64."""
    steps = torch.cumprod(torch.tensor([1, *extents[:-1]]), 0)
    sites = torch.arange(int(torch.tensor(list(extents)).prod()))
    return torch.stack([sites // step % extent for step, extent in zip(steps, extents, strict=True)])
