"""Derivatives by the parameters of one layer, from what went into it and the signals that came back to its output.

A layer sees rows: of each configuration one, or several where a network evaluates its images under symmetries, those
of a configuration side by side. Every row may have several positions (tokens, sites).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.func import functional_call, vjp, vmap
from torch.nn import functional


@runtime_checkable
class PerSampleGradient(Protocol):
    """A layer that knows the derivatives by its own parameters; others are differentiated anew, row by row."""

    def per_sample_gradient(self, inputs: Tensor, signals: Tensor) -> dict[str, Tensor]:
        """∂L_r/∂(parameters) of every row, where L is a sum of L_r and each depends on its own row alone.

        Args:
            inputs: what ``forward`` was given, (B, ...).
            signals: ∂L/∂(what it returned), (B, ...).

        Returns:
            By name of the parameter within the layer, (B, *its shape).
        """
        ...


@dataclass(frozen=True)
class Call:
    """One use of a layer in a forward pass.

    Attributes:
        inputs: (B, ...), the rows of M configurations: B is M or a multiple of it.
        signals: ∂ log ψ/∂(output), (B, ...) each: of Re log ψ, and of Im log ψ where it has one.
    """

    inputs: Tensor
    signals: tuple[Tensor, ...]


Calls = Sequence[Call]


class Layer(Protocol):
    """Parameters whose derivatives can be had from the calls of a module, all at once or cut into groups.

    Attributes:
        module: whose calls count.
        cuts: how many groups of ``width`` parameters there are.
        width: parameters of a group.
        sizes: number of parameters of each tensor, by name in the ansatz.
    """

    module: nn.Module
    cuts: int
    width: int
    sizes: dict[str, int]

    def rows(self, calls: Calls, count: int, first: int, last: int) -> tuple[Tensor, ...]:
        """∂ log ψ/∂(parameters of the groups first..last-1) of configurations, a matrix for each part of log ψ.

        Args:
            calls: of the module.
            count: M, of configurations.
            first, last: 0 <= first < last <= cuts.

        Returns:
            (M, (last - first) * width) each.
        """
        ...

    def places(self, first: int, last: int) -> list[tuple[str, slice]]:
        """Which parameters the columns of :meth:`rows` are: names in the ansatz, and parts of the flat tensors."""
        ...


class Affine:
    """A trained weight that is multiplied with every position, and perhaps a bias: y_t = W a_t + b.

    Its groups are the features of the output. A bias is a further feature 1 of a.

    Attributes:
        inputs: features of a, with the one of the bias.
    """

    def __init__(self, name: str, module: nn.Module) -> None:
        self.module = module
        self.sizes = _sizes(name, module)
        weight = module.weight
        assert isinstance(weight, Tensor)
        self._fan_in = weight[0].numel()
        self._bias = len(self.sizes) == 2
        self.cuts, self.width = len(weight), self._fan_in + int(self._bias)

    def activations(self, calls: Calls, count: int) -> Tensor:
        """a with the positions of all calls side by side, (M, T, I)."""
        found = torch.cat([_positions(self.module, call.inputs).reshape(count, -1, self._fan_in) for call in calls], 1)
        return functional.pad(found, (0, 1), value=1.0) if self._bias else found

    def signals(self, calls: Calls, count: int, part: int) -> Tensor:
        """∂ log ψ/∂y, (M, T, O)."""
        return torch.cat([_outputs(self.module, call.signals[part]).reshape(count, -1, self.cuts) for call in calls], 1)

    def rows(self, calls: Calls, count: int, first: int, last: int) -> tuple[Tensor, ...]:
        """See :class:`Layer`."""
        a = self.activations(calls, count)
        parts = range(len(calls[0].signals))
        # a product of matrices a configuration
        return tuple(torch.bmm(self.signals(calls, count, part)[:, :, first:last].mT, a).flatten(1) for part in parts)

    def places(self, first: int, last: int) -> list[tuple[str, slice]]:
        """See :class:`Layer`: group by group, the bias after its weights."""
        weight, *bias = self.sizes
        found = []
        for group in range(first, last):
            found.append((weight, slice(group * self._fan_in, (group + 1) * self._fan_in)))
            found += [(name, slice(group, group + 1)) for name in bias]
        return found


class Direct:
    """A layer whose derivatives a function gives, row by row.

    Args:
        name: of the module in the ansatz, "" for the ansatz itself.
        module: with parameters of its own.
        gradient: see :meth:`PerSampleGradient.per_sample_gradient`.
    """

    width = 1

    def __init__(self, name: str, module: nn.Module, gradient: Callable[[Tensor, Tensor], dict[str, Tensor]]) -> None:
        self.module, self._gradient = module, gradient
        self._names, self.sizes = list(_trainable(module)), _sizes(name, module)
        self.cuts = sum(self.sizes.values())

    def rows(self, calls: Calls, count: int, first: int, last: int) -> tuple[Tensor, ...]:
        """See :class:`Layer`."""

        def of(call: Call, part: int) -> Tensor:
            by_name = self._gradient(call.inputs, call.signals[part])
            flat = torch.cat([by_name[name].flatten(1) for name in self._names], 1)[:, first:last]
            # the rows of a configuration lie side by side
            return flat.unflatten(0, (count, -1)).sum(1)

        return _summed(of, calls)

    def places(self, first: int, last: int) -> list[tuple[str, slice]]:
        """See :class:`Layer`."""
        return _cut(self.sizes, first, last)


class Differentiated:
    """A layer of which nothing is known: one vectorised backward pass through it alone."""

    width = 1

    def __init__(self, name: str, module: nn.Module) -> None:
        self.module = module
        self._own, self.sizes = _trainable(module), _sizes(name, module)
        self.cuts = sum(self.sizes.values())

    def rows(self, calls: Calls, count: int, first: int, last: int) -> tuple[Tensor, ...]:
        """See :class:`Layer`."""
        values = {name: p.detach() for name, p in self._own.items()}

        def of_one(inputs: Tensor, signals: Tensor) -> dict[str, Tensor]:
            back: dict[str, Tensor] = vjp(lambda given: functional_call(self.module, given, (inputs,)), values)[1](
                signals
            )[0]
            return back

        def of(call: Call, part: int) -> Tensor:
            by_name = vmap(of_one)(*(t.unflatten(0, (count, -1)) for t in (call.inputs, call.signals[part])))
            return torch.cat([by_name[name].flatten(1) for name in self._own], 1)[:, first:last]

        return _summed(of, calls)

    def places(self, first: int, last: int) -> list[tuple[str, slice]]:
        """See :class:`Layer`."""
        return _cut(self.sizes, first, last)


def _summed(of: Callable[[Call, int], Tensor], calls: Calls) -> tuple[Tensor, ...]:
    """Of each part of log ψ, over all calls."""
    found = []
    for part in range(len(calls[0].signals)):
        total = of(calls[0], part)
        for call in calls[1:]:
            total = total + of(call, part)
        found.append(total)
    return tuple(found)


def _cut(sizes: dict[str, int], first: int, last: int) -> list[tuple[str, slice]]:
    """The elements first..last-1 of flat tensors one after the other."""
    found, begin = [], 0
    for name, size in sizes.items():
        low, high = max(first - begin, 0), min(last - begin, size)
        if low < high:
            found.append((name, slice(low, high)))
        begin += size
    return found


def layer_of(name: str, module: nn.Module) -> Layer:
    """The cheapest rule for the parameters that ``module`` itself has, called ``name`` in the ansatz."""
    if isinstance(module, PerSampleGradient):
        return Direct(name, module, module.per_sample_gradient)
    trainable = _trainable(module)
    convolution = (_is(module, nn.Conv1d) or _is(module, nn.Conv2d)) and getattr(module, "groups", 0) == 1
    if (convolution or _is(module, nn.Linear)) and "weight" in trainable:
        return Affine(name, module)
    if _is(module, nn.LayerNorm):
        assert isinstance(module, nn.LayerNorm)
        return Direct(name, module, _of_norm(module))
    return Differentiated(name, module)


def _is(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether a module is of a kind, and subclasses do not compute something else, or say that they do not."""
    same = type(module).forward is kind.forward or getattr(module, "computes", None) is kind
    return isinstance(module, kind) and same


def _trainable(module: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in module.named_parameters(recurse=False) if p.requires_grad}


def _sizes(name: str, module: nn.Module) -> dict[str, int]:
    return {f"{name}.{own}" if name else own: p.numel() for own, p in _trainable(module).items()}


def _positions(module: nn.Module, inputs: Tensor) -> Tensor:
    """What the weight of a linear layer or a convolution is multiplied with, (B, T, I)."""
    if isinstance(module, nn.Linear):
        return inputs.reshape(len(inputs), -1, inputs.shape[-1])
    assert isinstance(module, nn.Conv1d | nn.Conv2d)
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    padded = functional.pad(inputs, module._reversed_padding_repeated_twice, mode=mode)
    sizes = [module.kernel_size, module.dilation, module.stride]
    if isinstance(module, nn.Conv1d):
        padded, sizes = padded[:, :, None], [(1, *size) for size in sizes]
    kernel, dilation, stride = sizes
    return functional.unfold(padded, kernel, dilation=dilation, stride=stride).mT


def _outputs(module: nn.Module, signals: Tensor) -> Tensor:
    """Signals of a linear layer or a convolution position by position, (B, T, O)."""
    if isinstance(module, nn.Linear):
        return signals.reshape(len(signals), -1, signals.shape[-1])
    return signals.flatten(2).mT


def _of_norm(module: nn.LayerNorm) -> Callable[[Tensor, Tensor], dict[str, Tensor]]:
    def gradient(inputs: Tensor, signals: Tensor) -> dict[str, Tensor]:
        normalised = functional.layer_norm(inputs, module.normalized_shape, None, None, module.eps)
        shape = (len(inputs), -1, *module.normalized_shape)
        return {
            "weight": (signals * normalised).reshape(shape).sum(1),
            "bias": signals.reshape(shape).sum(1),
        }

    return gradient
