"""A pretend accelerator: tensors that claim ``cuda:0``, compute on the CPU and refuse to mix with its tensors.

A forgotten ``device=`` or ``.cpu()`` fails as on a GPU, where there is none::

    with pretend.accelerator():
        torch.zeros(3, device="cuda") + torch.zeros(3)   # RuntimeError: Expected all tensors to be on the same device

What operations see is a :class:`Pretend` around the CPU tensor that holds the numbers, which come out as on the CPU,
bit for bit. Autograd and torch.func stand above and work as ever. To torch's own C++ code the wrapper is on the device
type ``lazy``: the only one for which a build without accelerators runs backward passes; Python is told ``cuda:0``.

Random numbers of a generator of this device are a stream of their own, as on a GPU: not those of a CPU generator
with the same seed.
"""

from __future__ import annotations

import functools
import hashlib
import os
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

CLAIMED = torch.device("cuda", 0)
"""The device as Python code sees it."""

INNER = torch.device("lazy", 0)
"""The device as the C++ code of torch sees it."""

MEMORY = 2**30
"""Bytes that the device claims to have."""

CROSSING = {"aten::copy_", "aten::_to_copy"}
"""Operations whose purpose is to go from one device to another."""

INDEXING = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_", "aten::_unsafe_index"}
"""Take indices of the CPU for tensors of an accelerator, never the other way round."""

SCALARS = {"aten::fill_", "aten::fill", "aten::masked_fill", "aten::masked_fill_", "aten::where"}
"""Besides pointwise operations, those that take a zero-dimensional tensor of the CPU as a number."""


class Pretend(Tensor):
    """Claims the device ``cuda:0``; ``held`` is the tensor on the CPU with its numbers, or its sparse matrix."""

    held: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, held: Tensor) -> Pretend:
        """Around ``held``, without copying it."""
        kept: dict[str, Any] = {"dispatch_layout": True}
        if held.layout == torch.strided:
            kept = {"strides": held.stride(), "storage_offset": held.storage_offset()}
        tensor: Pretend = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, held.size(), dtype=held.dtype, layout=held.layout, device=INNER, **kept
        )
        # conjugation and sign that torch leaves to the next operation
        torch._C._set_conj(tensor, held.is_conj())
        torch._C._set_neg(tensor, held.is_neg())
        tensor.held = held
        return tensor

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """For tensors that outlive :func:`accelerator`."""
        return compute(func, args, kwargs or {}, None)

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"{self.held!r} on {CLAIMED}"

    def numpy(self, **_: Any) -> Any:
        """Raises TypeError, like numpy.asarray."""
        raise TypeError(
            f"can't convert {CLAIMED} device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory "
            "first."
        )

    def tolist(self) -> Any:
        return self.cpu().tolist()


_GENERATORS: weakref.WeakValueDictionary[int, PretendGenerator] = weakref.WeakValueDictionary()
"""Those of the pretend device by their address in C++: an operation is given another Python object."""


class PretendGenerator(torch.Generator):
    """A generator of any device; on the pretend one, with a stream of its own."""

    def __new__(cls, device: Any = "cpu") -> PretendGenerator:
        generator = super().__new__(cls, "cpu" if claims(device) else device)  # type: ignore[call-arg]
        generator.pretends = claims(device)
        if generator.pretends:
            _GENERATORS[generator._cdata] = generator  # type: ignore[attr-defined]
        return generator

    pretends: bool

    def __init__(self, device: Any = "cpu") -> None:
        if self.pretends:
            self.manual_seed(0)

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return CLAIMED if self.pretends else super().device

    def manual_seed(self, seed: int) -> PretendGenerator:
        """Seed the stream; that of the CPU's generator where this one is of the CPU."""
        if self.pretends:
            digest = hashlib.sha256(f"pretend {seed}".encode()).digest()
            seed = int.from_bytes(digest[:8], "little") >> 1
        super().manual_seed(seed)
        return self


class Mode(TorchDispatchMode):
    """Sees every operation, also those that make tensors from none."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = PretendGenerator(CLAIMED)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: guarding this mode from torch.compile, which is not used, would import it."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return compute(func, args, kwargs or {}, self.generator)


def _to(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """``Tensor.to``, which would ask for the current device of a build without CUDA before any operation."""
    args, kwargs = _each((args, kwargs), (str, torch.device), lambda d: INNER if claims(d) else d)
    return torch._C.TensorBase.to(tensor, *args, **kwargs)


def _device(tensor: Tensor) -> torch.device:
    """``Tensor.device``, also of the tensors that vmap and grad make of ours."""
    device: torch.device = torch._C.TensorBase.device.__get__(tensor)  # type: ignore[attr-defined]
    return CLAIMED if device.type == INNER.type else device


def _from_data(name: str) -> Callable[..., Tensor]:
    """``torch.tensor`` and the like, which copy to a device as ``Tensor.to`` does."""
    original: Callable[..., Tensor] = getattr(torch, name)

    def function(*args: Any, device: Any = None, **kwargs: Any) -> Tensor:
        if not claims(device):
            return original(*args, device=device, **kwargs)
        tensor = original(*args, device="cpu", **kwargs)
        return _to(tensor.detach(), INNER).requires_grad_(tensor.requires_grad)

    return function


def thread() -> AbstractContextManager[object]:
    """What a thread enters that begins while :func:`accelerator` lasts: modes belong to threads."""
    return nullcontext() if os.environ.get("NQS_ACCELERATOR") == "real" else Mode()


@contextmanager
def accelerator() -> Iterator[torch.device]:
    """While it lasts, there is one GPU: ``cuda:0``, which is what it yields.

    With NQS_ACCELERATOR=real in the environment the machine's own GPU is taken, so that the same tests run on it.
    """
    if os.environ.get("NQS_ACCELERATOR") == "real":
        yield CLAIMED
        return
    properties = SimpleNamespace(name="pretend accelerator", total_memory=MEMORY, major=0, minor=0)
    cuda: Any = {
        "_lazy_init": lambda: None,
        "is_available": lambda: True,
        "is_current_stream_capturing": lambda: False,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "get_device_properties": lambda device=None: properties,
        "get_device_name": lambda device=None: properties.name,
        "empty_cache": lambda: None,
        "synchronize": lambda device=None: None,
    }
    tensor: Any = {
        "to": _to,
        "cuda": lambda self, *_, **__: _to(self, INNER),
        "device": property(_device),
        "is_cuda": property(lambda self: _device(self).type == CLAIMED.type),
    }
    from_data: Any = {name: _from_data(name) for name in ("tensor", "as_tensor", "asarray")}
    with (
        mock.patch.multiple(torch.cuda, **cuda),
        mock.patch.multiple(Tensor, **tensor),
        mock.patch.multiple(torch, Generator=PretendGenerator, **from_data),
        mock.patch("pipeline.base.run.device.cuda_driver_sees_a_gpu", return_value=True),
        _lists_stay_on_the_cpu(),
        Mode(),
    ):
        yield CLAIMED


@contextmanager
def _lists_stay_on_the_cpu() -> Iterator[None]:
    """Indices given as lists go to the device by an operation that :class:`Mode` sees, or not at all."""
    before = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)
    try:
        yield
    finally:
        torch._C._set_only_lift_cpu_tensors(before)


def claims(device: Any) -> bool:
    """Whether a device, or a string that may be the name of one, is the pretend one."""
    if isinstance(device, str):
        return device.split(":")[0] in (CLAIMED.type, INNER.type)
    return isinstance(device, torch.device) and device.type in (CLAIMED.type, INNER.type)


@dataclass(frozen=True)
class Rules:
    """What the rules of devices need to know of an operation.

    Attributes:
        name: without the overload.
        scalars: takes zero-dimensional tensors of the CPU as numbers.
        view: returns what shares memory with an argument.
        reshapes: changes the shape of its first argument in place.
        random: takes a generator.
        names: of the arguments.
        written: names of those that are written to.
    """

    name: str
    scalars: bool
    view: bool
    reshapes: bool
    random: bool
    names: tuple[str, ...]
    written: tuple[str, ...]


@functools.cache
def rules(func: Any) -> Rules:
    """Of an overload, from its schema; looking there every time would take longer than most operations."""
    schema, tags = func._schema, func.tags
    return Rules(
        name=schema.name,
        scalars=torch.Tag.pointwise in tags or schema.name in SCALARS,
        view=any(value.alias_info is not None for value in schema.returns),
        reshapes=torch.Tag.inplace_view in tags,
        random=any(a.name == "generator" for a in schema.arguments),
        names=tuple(a.name for a in schema.arguments),
        written=tuple(a.name for a in schema.arguments if a.alias_info is not None and a.alias_info.is_write),
    )


def compute(func: Any, args: Any, kwargs: Any, generator: torch.Generator | None) -> Any:
    """One operation of torch, by the rules of devices.

    Args:
        func: overload of an operation.
        args: its arguments by position, tensors of both devices.
        kwargs: its arguments by name.
        generator: of the pretend device, for random numbers where none is given.

    Raises:
        RuntimeError: tensors of two devices, or a generator of another one.
    """
    if func is torch.ops.prim.layout.default:
        return args[0].held.layout
    rule = rules(func)
    tensors = list(_tensors((args, kwargs)))
    ours = [x for x in tensors if isinstance(x, Pretend)]
    if ours and len(ours) < len(tensors):
        _refuse_mixtures(func, args, kwargs, [x for x in tensors if not isinstance(x, Pretend)])
    asked = kwargs.get("device")
    if asked is not None:
        here = claims(asked)
    elif rule.name in CROSSING or rule.name in INDEXING:
        here = isinstance(args[0], Pretend)
    else:
        here = bool(ours)
    kwargs = _with_generator(rule, kwargs, here, generator)
    if not ours and not here:
        return func(*args, **kwargs)
    if claims(asked):
        kwargs = {**kwargs, "device": torch.device("cpu")}
    if func is torch.ops.aten._efficientzerotensor.default:  # a mark of the CPU's tensor that the wrapper would hide
        func = torch.ops.aten.zeros.default
    result = func(*_each(args, Pretend, lambda x: x.held), **_each(kwargs, Pretend, lambda x: x.held))
    if rule.reshapes and ours:
        _follow(args[0])
    if not here:
        return result
    wrappers = {id(x.held): x for x in ours}

    def wrap(x: Tensor) -> Tensor:
        return wrappers[id(x)] if id(x) in wrappers else Pretend(x)

    if not (rule.view and ours):
        return _each(result, Tensor, wrap)
    # in inference mode views of tensors from outside are none of its own
    with torch.inference_mode(ours[0].is_inference()):
        return _each(result, Tensor, wrap)


def _tensors(tree: Any) -> Iterator[Tensor]:
    """All tensors in nested arguments."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, list | tuple | dict):
        for item in tree.values() if isinstance(tree, dict) else tree:
            yield from _tensors(item)


def _each(tree: Any, kind: Any, change: Callable[[Any], Any]) -> Any:
    """Nested arguments or results with every leaf of a kind changed; torch's own pytrees take most of the time."""
    if isinstance(tree, kind):
        return change(tree)
    if isinstance(tree, list | tuple):
        items = [_each(item, kind, change) for item in tree]
        return items if isinstance(tree, list) else tuple(items)
    return {k: _each(v, kind, change) for k, v in tree.items()} if isinstance(tree, dict) else tree


def _follow(wrapper: Pretend) -> None:
    """Give a wrapper the shape that an operation in place gave to what it holds."""
    with torch.inference_mode(wrapper.is_inference()):
        shaped = Pretend(wrapper.held)
    wrapper.data = shaped


def _refuse_mixtures(func: Any, args: Any, kwargs: Any, strangers: list[Tensor]) -> None:
    """Raise RuntimeError where tensors of the CPU meet ours, but for the exceptions that a GPU makes."""
    rule = rules(func)
    if rule.name in CROSSING:
        return
    if rule.name in INDEXING:
        # without values, or with a number, only the indices matter
        values = [x for x in args[2:3] if x.ndim]
        if all(isinstance(x, Pretend) for x in (args[0], *values)):
            return
        if not any(isinstance(x, Pretend) for x in (args[0], *values, *_tensors(args[1]))):
            return
    elif rule.scalars and all(x.ndim == 0 for x in strangers):
        given = {**dict(zip(rule.names, args, strict=False)), **kwargs}
        if all(isinstance(given[name], Pretend) for name in rule.written):
            return
    raise RuntimeError(
        f"Expected all tensors to be on the same device, but found at least two devices, {CLAIMED} and cpu! ({func})"
    )


def _with_generator(rule: Rules, kwargs: Any, here: bool, default: torch.Generator | None) -> dict[str, Any]:
    """Arguments by name with the generator of the device where the numbers are wanted."""
    given = kwargs.get("generator")
    if given is None:
        return {**kwargs, "generator": default} if rule.random and here and default is not None else kwargs
    if (given._cdata in _GENERATORS) != here:
        wanted, found = (CLAIMED.type, "cpu") if here else ("cpu", CLAIMED.type)
        raise RuntimeError(f"Expected a '{wanted}' device type for generator but found '{found}'")
    return kwargs
