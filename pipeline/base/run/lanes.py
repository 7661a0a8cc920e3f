"""Eight numbers as one value of compiled loops (numba): what a vector unit does at once.

Loops over arrays vectorise where the compiler finds out that they may, and pay for finding out; a loop over these is
what is written. LLVM cuts them to the registers of the machine. Indices are those of flat arrays, in numbers, and never
from the end. Numbers are in the precision of the arrays that they come from, which :func:`lanes`, :func:`turn` and
:func:`power_of_two` know in single precision alone.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

LANES = 8

_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_WHOLE = ir.VectorType(ir.IntType(32), LANES)


class _LanesType(types.Type):  # type: ignore[misc]
    def __init__(self, number: Any) -> None:
        super().__init__(name=f"Lanes({number})")
        self.number = number


_LANES, _DOUBLE_LANES = _LanesType(types.float32), _LanesType(types.float64)
_OF = {types.float32: _LANES, types.float64: _DOUBLE_LANES}


@register_model(_LanesType)
class _LanesModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Any) -> None:
        number = ir.FloatType() if kind.number == types.float32 else ir.DoubleType()
        super().__init__(manager, kind, ir.VectorType(number, LANES))


def _spread(builder: Any, number: Any) -> Any:
    nothing = ir.Constant(ir.VectorType(number.type, LANES), ir.Undefined)
    alone = builder.insert_element(nothing, number, ir.IntType(32)(0))
    return builder.shuffle_vector(alone, nothing, ir.Constant(_WHOLE, [0] * LANES))


def _constant(value: float) -> Any:
    return ir.Constant(_VECTOR, [value] * LANES)


def _place(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    """Where an element of a flat array is."""
    return builder.gep(context.make_array(kind)(context, builder, array).data, [index])


def _lanes_at(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> tuple[Any, int]:
    """The same for elements from there on, and the bytes of one."""
    place = _place(context, builder, kind, array, index)
    bytes_of_one: int = kind.dtype.bitwidth // 8
    return builder.bitcast(place, context.get_value_type(_OF[kind.dtype]).as_pointer()), bytes_of_one


def _call(builder: Any, name: str, *arguments: Any) -> Any:
    """An operation of LLVM on vectors."""
    vector = arguments[0].type
    bits = 32 if vector.element == ir.FloatType() else 64
    kind = ir.FunctionType(vector, [vector] * len(arguments))
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.v{LANES}f{bits}"), arguments)


@intrinsic  # type: ignore[misc]
def load(_: Any, array: Any, index: Any) -> Any:
    """Elements from ``index`` on."""

    def generate(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        place, align = _lanes_at(context, builder, sig.args[0], *arguments)
        return builder.load(place, align=align)

    return _OF[array.dtype](array, types.int64), generate


@intrinsic  # type: ignore[misc]
def store(_: Any, array: Any, index: Any, value: Any) -> Any:
    """Put them there."""

    def generate(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        place, align = _lanes_at(context, builder, sig.args[0], *arguments[:2])
        builder.store(arguments[2], place, align=align)
        return context.get_dummy_value()

    return types.void(array, types.int64, value), generate


@intrinsic  # type: ignore[misc]
def spread(_: Any, array: Any, index: Any) -> Any:
    """One element, in all lanes."""

    def generate(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        return _spread(builder, builder.load(_place(context, builder, sig.args[0], *arguments)))

    return _OF[array.dtype](array, types.int64), generate


@intrinsic  # type: ignore[misc]
def lanes(_: Any, number: Any) -> Any:
    """A number in all lanes."""

    def generate(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        return _spread(builder, arguments[0])

    return _LANES(types.float32), generate


@intrinsic  # type: ignore[misc]
def fma(_: Any, a: Any, b: Any, c: Any) -> Any:
    """a b + c, rounded once where the machine can."""

    def generate(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        return _call(builder, "fmuladd", *arguments)

    return a(a, b, c), generate


@intrinsic  # type: ignore[misc]
def larger(_: Any, a: Any, b: Any) -> Any:
    """The larger of both; b where one is no number."""

    def generate(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", *arguments), *arguments)

    return a(a, b), generate


@intrinsic  # type: ignore[misc]
def smaller(_: Any, a: Any, b: Any) -> Any:
    """The smaller of both; b where one is no number."""

    def generate(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        return builder.select(builder.fcmp_ordered("<", *arguments), *arguments)

    return a(a, b), generate


@intrinsic  # type: ignore[misc]
def where_positive(_: Any, sign: Any, a: Any, b: Any) -> Any:
    """a where ``sign`` is positive, else b."""

    def generate(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        return builder.select(
            builder.fcmp_ordered(">", arguments[0], ir.Constant(arguments[0].type, None)), *arguments[1:]
        )

    return a(sign, a, b), generate


@intrinsic  # type: ignore[misc]
def magnitude(_: Any, a: Any) -> Any:
    """|a|."""

    def generate(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        return _call(builder, "fabs", *arguments)

    return a(a), generate


@intrinsic  # type: ignore[misc]
def root(_: Any, a: Any) -> Any:
    """Square root."""

    def generate(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        return _call(builder, "sqrt", *arguments)

    return a(a), generate


@intrinsic  # type: ignore[misc]
def turn(_: Any, source: Any, index: Any, stride: Any, target: Any, at: Any, step: Any) -> Any:
    """A block of as many rows as lanes, at ``index`` and ``stride`` apart, as columns, at ``at`` and ``step`` apart."""

    def generate(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        origin, index, stride, goal, at, step = arguments
        rows = []
        for _ in range(LANES):
            place = _place(context, builder, sig.args[0], origin, index)
            rows.append(builder.load(builder.bitcast(place, _VECTOR.as_pointer()), align=4))
            index = builder.add(index, stride)
        away = 1
        while away < LANES:  # blocks of a matrix of blocks are exchanged, ever larger ones
            kept = [lane if not lane & away else LANES + lane - away for lane in range(LANES)]
            moved = [lane + away if not lane & away else LANES + lane for lane in range(LANES)]
            for row in range(LANES):
                if not row & away:
                    pair = rows[row], rows[row + away]
                    rows[row] = builder.shuffle_vector(*pair, ir.Constant(_WHOLE, kept))
                    rows[row + away] = builder.shuffle_vector(*pair, ir.Constant(_WHOLE, moved))
            away *= 2
        for row in rows:
            place = _place(context, builder, sig.args[3], goal, at)
            builder.store(row, builder.bitcast(place, _VECTOR.as_pointer()), align=4)
            at = builder.add(at, step)
        return context.get_dummy_value()

    return types.void(source, types.int64, types.int64, target, types.int64, types.int64), generate


LOWEST_POWER = -125.0
"""2 to this is the smallest of :func:`power_of_two`: smaller ones are no normal numbers."""

_POLYNOMIAL = (1.32647273e-3, 9.67151279e-3, 5.55073374e-2, 0.240222421, 0.693146978, 1.0)
"""Of 2^x between -1/2 and 1/2, highest power first: with a last one of 1 that of least relative error, 9e-8."""

_ROUNDER = 1.5 * 2.0**23
"""Plus this a small number is a whole one, which stands in the last bits."""


@intrinsic  # type: ignore[misc]
def power_of_two(_: Any, power: Any) -> Any:
    """2 to a power below 128; relative errors of 2e-7."""

    def generate(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        lowest = _constant(LOWEST_POWER)
        bounded = builder.select(builder.fcmp_ordered(">", arguments[0], lowest), arguments[0], lowest)
        rounded = builder.fadd(bounded, _constant(_ROUNDER))
        part = builder.fsub(bounded, builder.fsub(rounded, _constant(_ROUNDER)))
        total = _constant(_POLYNOMIAL[0])
        for factor in _POLYNOMIAL[1:]:
            total = _call(builder, "fmuladd", total, part, _constant(factor))
        bits = builder.shl(builder.bitcast(rounded, _WHOLE), ir.Constant(_WHOLE, [23] * LANES))
        # the exponent of a float is added to, in its bits
        return builder.bitcast(builder.add(builder.bitcast(total, _WHOLE), bits), _VECTOR)

    return _LANES(power), generate


def _operation(symbol: Any, name: str) -> None:
    """Let + and the like of Python stand for an operation lane by lane."""

    @infer_global(symbol)
    class Typed(ConcreteTemplate):  # type: ignore[misc]
        cases = tuple(signature(kind, kind, kind) for kind in _OF.values())

    def generate(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        made: Callable[..., Any] = getattr(builder, name)
        return made(*arguments)

    for kind in _OF.values():
        lower_builtin(symbol, kind, kind)(generate)


_OPERATIONS = (
    (operator.add, "fadd"),
    (operator.iadd, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.imul, "fmul"),
    (operator.truediv, "fdiv"),
)
for _symbol, _name in _OPERATIONS:
    _operation(_symbol, _name)
