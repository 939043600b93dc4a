"""Lanes: vectors of W numbers, one for each of W copies side by side, as values that numba's functions compute with.

numba vectorises loops by itself, but stores every intermediate result and checks at run time whether arrays overlap,
which costs several times the arithmetic. Here a row of W numbers is one value of LLVM's vector type, which stays in
registers; LLVM splits it where the processor's are shorter. Lanes never mix: what a lane computes is the same bits
whatever the others hold. See ``lane_memory`` for their rows in arrays.
"""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numba as nb
from llvmlite import ir
from numba import types as numba_types
from numba.core import cgutils
from numba.core.caching import FunctionCache
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

W = 16  # copies side by side: one register of AVX-512 in float32

# Without "nnan" and "ninf": comparisons with what has diverged are defined.
_FLAGS = {"contract", "nsz", "arcp", "afn"}


types: Any = numba_types

_OPTIONS = {"fastmath": _FLAGS, "error_model": "numpy", "nogil": True}


def compiled(function: Callable[..., Any]) -> Any:
    """A function that only compiled ones call."""
    return nb.njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **_OPTIONS)(function)


def entry_point(function: Callable[..., Any]) -> Any:
    """A function that Python calls, compiled on its first call and kept on disk where numba finds a place to write."""
    dispatcher = nb.njit(**_OPTIONS)(function)
    with suppress(RuntimeError):  # neither the package's folder nor the user's cache can be written
        vars(dispatcher)["_cache"] = _Cache(function)
    return dispatcher


class _Cache(FunctionCache):
    """numba's, which looks at the file of the function alone, and not at those of the functions that it calls."""

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        return (*super()._index_key(sig, codegen), _sources())


@cache
def _sources() -> str:
    """Hash of all modules with compiled functions: of this one and of what imports it."""
    texts = [file.read_bytes() for file in sorted(Path(__file__).parent.glob("*.py"))]
    return hashlib.sha256(b"".join(texts)).hexdigest()


class Lanes(numba_types.Type):
    """Type of W floats."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(name=f"Lanes({dtype})")


class Mask(numba_types.Type):
    """Type of W truth values."""

    def __init__(self) -> None:
        super().__init__(name="Mask")


_mask = Mask()


def vector_type(dtype: Any) -> Any:
    """LLVM's, of W floats."""
    return ir.VectorType(ir.FloatType() if dtype == types.float32 else ir.DoubleType(), W)


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, vector_type(kind.dtype))


@register_model(Mask)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, ir.VectorType(ir.IntType(1), W))


# --- arithmetic and comparisons ------------------------------------------------------------------------------------


def _binary(function: Any, result: Any, emit: Callable[[Any, Any, Any], Any]) -> None:
    """Define an operator of two Lanes."""

    class Template(AbstractTemplate):
        def generic(self, args: Any, kws: Any) -> Any:
            if len(args) == 2 and isinstance(args[0], Lanes) and args[0] == args[1]:
                return signature(result or args[0], *args)
            return None

    infer_global(function)(Template)
    lower_builtin(function, Lanes, Lanes)(lambda context, builder, sig, args: emit(builder, *args))


def _mask_binary(function: Any, emit: Callable[[Any, Any, Any], Any]) -> None:
    class Template(AbstractTemplate):
        def generic(self, args: Any, kws: Any) -> Any:
            return signature(_mask, *args) if args == (_mask, _mask) else None

    infer_global(function)(Template)
    lower_builtin(function, Mask, Mask)(lambda context, builder, sig, args: emit(builder, *args))


_binary(operator.add, None, lambda builder, a, b: builder.fadd(a, b))
_binary(operator.sub, None, lambda builder, a, b: builder.fsub(a, b))
_binary(operator.mul, None, lambda builder, a, b: builder.fmul(a, b))
_binary(operator.truediv, None, lambda builder, a, b: builder.fdiv(a, b))
_binary(operator.lt, _mask, lambda builder, a, b: builder.fcmp_ordered("<", a, b))
_binary(operator.le, _mask, lambda builder, a, b: builder.fcmp_ordered("<=", a, b))
_binary(operator.gt, _mask, lambda builder, a, b: builder.fcmp_ordered(">", a, b))
_binary(operator.ge, _mask, lambda builder, a, b: builder.fcmp_ordered(">=", a, b))
_mask_binary(operator.and_, lambda builder, a, b: builder.and_(a, b))
_mask_binary(operator.or_, lambda builder, a, b: builder.or_(a, b))


@intrinsic
def select(typing: Any, mask: Any, yes: Any, no: Any) -> Any:
    """``yes`` where the mask is true, else ``no``."""
    return yes(mask, yes, no), lambda context, builder, sig, args: builder.select(*args)


@intrinsic
def outside(typing: Any, mask: Any) -> Any:
    """The mask that is true where this one is not."""
    return mask(mask), lambda context, builder, sig, args: builder.not_(args[0])


@intrinsic
def larger(typing: Any, a: Any, b: Any) -> Any:
    """The larger of two; the second where either is no number."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", *args), *args)

    return a(a, b), emit


def _reduction(comparison: str, bits: int, about: str) -> Any:
    @intrinsic
    def function(typing: Any, mask: Any) -> Any:
        def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            word = ir.IntType(W)
            return builder.icmp_unsigned(comparison, builder.bitcast(args[0], word), ir.Constant(word, bits))

        return types.boolean(mask), emit

    function.__doc__ = about
    return function


any_lane = _reduction("!=", 0, "True if any lane of a mask is.")
every_lane = _reduction("==", 2**W - 1, "True if every lane of a mask is.")


def _unary(name: str) -> Any:
    @intrinsic
    def function(typing: Any, x: Any) -> Any:
        def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            kind = args[0].type
            suffix = f"v{W}f{32 if sig.args[0].dtype == types.float32 else 64}"
            callee = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(kind, [kind]), f"llvm.{name}.{suffix}"
            )
            return builder.call(callee, args)

        return x(x), emit

    return function


root = _unary("sqrt")
floor = _unary("floor")


@intrinsic
def reciprocal_root(typing: Any, x: Any) -> Any:
    """1 / sqrt(x); in float64 from float32's by two of Newton's steps, a third of what the processor takes for it."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        single, kind = vector_type(types.float32), args[0].type
        double = sig.args[0].dtype != types.float32
        value = builder.fptrunc(args[0], single) if double else args[0]
        callee = cgutils.get_or_insert_function(builder.module, ir.FunctionType(single, [single]), f"llvm.sqrt.v{W}f32")
        fast = ("arcp", "afn", "contract", "nsz", "ninf", "nnan", "reassoc")
        one = splat(builder, ir.Constant(ir.FloatType(), 1.0))
        r = builder.fdiv(one, builder.call(callee, [value], fastmath=fast), flags=fast)
        if not double:
            return r
        r, half = builder.fpext(r, kind), splat(builder, ir.Constant(ir.DoubleType(), 0.5))
        for _ in range(2):
            error = builder.fsub(half, builder.fmul(builder.fmul(half, args[0]), builder.fmul(r, r)))
            r = builder.fadd(r, builder.fmul(r, error))
        return r

    return x(x), emit


# --- conversions ---------------------------------------------------------------------------------------------------


def splat(builder: Any, value: Any) -> Any:
    """For intrinsics: a number in every lane."""
    kind = ir.VectorType(value.type, W)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), W), [0] * W)
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), zeros)


@intrinsic
def like(typing: Any, pattern: Any, value: Any) -> Any:
    """The number ``value`` in every lane, in the precision of ``pattern``, an array or Lanes."""
    kind = Lanes(pattern.dtype)

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return splat(builder, context.cast(builder, args[1], sig.args[1], kind.dtype))

    return kind(pattern, value), emit


@intrinsic
def converted(typing: Any, x: Any, pattern: Any) -> Any:
    """Lanes in the precision of an array or of other Lanes."""
    kind = Lanes(pattern.dtype)
    same, narrow = x.dtype == pattern.dtype, pattern.dtype == types.float32

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        if same:
            return args[0]
        return (
            builder.fptrunc(args[0], vector_type(kind.dtype))
            if narrow
            else builder.fpext(args[0], vector_type(kind.dtype))
        )

    return kind(x, pattern), emit


# --- powers --------------------------------------------------------------------------------------------------------


def _bits(dtype: Any) -> tuple[Any, int, int]:
    """Integer vector of a float's size, its number of bits of mantissa, and its bias."""
    size, mantissa, bias = (32, 23, 127) if dtype == types.float32 else (64, 52, 1023)
    return ir.VectorType(ir.IntType(size), W), mantissa, bias


@intrinsic
def split(typing: Any, x: Any) -> Any:
    """(mantissa in [1, 2), exponent of two) of positive numbers."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        whole, mantissa, bias = _bits(sig.args[0].dtype)
        bits = builder.bitcast(args[0], whole)
        power = builder.sub(builder.lshr(bits, whole([mantissa] * W)), whole([bias] * W))
        part = builder.or_(builder.and_(bits, whole([2**mantissa - 1] * W)), whole([bias << mantissa] * W))
        values = [builder.bitcast(part, args[0].type), builder.sitofp(power, args[0].type)]
        return context.make_tuple(builder, sig.return_type, values)

    return types.UniTuple(x, 2)(x), emit


@intrinsic
def power_of_two(typing: Any, x: Any) -> Any:
    """Two to the power of whole numbers within the floats' range."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        whole, mantissa, bias = _bits(sig.args[0].dtype)
        power = builder.add(builder.fptosi(args[0], whole), whole([bias] * W))
        return builder.bitcast(builder.shl(power, whole([mantissa] * W)), args[0].type)

    return x(x), emit
