"""Lanes: vectors of W numbers, one for each of W copies side by side, as values that numba's functions compute with.

numba vectorises loops by itself, but stores every intermediate result and checks at run time whether arrays overlap,
which costs several times the arithmetic. Here a row of W numbers is one value of LLVM's vector type, which stays in
registers; LLVM splits it where the processor's are shorter. Lanes never mix: what a lane computes is the same bits
whatever the others hold. Indices are not checked, so that a wrong one reads or writes memory of something else.

A complex row is two rows in an array (..., rows, 2, W): real parts, imaginary parts.
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
    """Hash of all compiled functions of this package."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


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


def _vector(dtype: Any) -> Any:
    return ir.VectorType(ir.FloatType() if dtype == types.float32 else ir.DoubleType(), W)


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _vector(kind.dtype))


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
        single, kind = _vector(types.float32), args[0].type
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
        return builder.fptrunc(args[0], _vector(kind.dtype)) if narrow else builder.fpext(args[0], _vector(kind.dtype))

    return kind(x, pattern), emit


# --- memory --------------------------------------------------------------------------------------------------------


def address(context: Any, builder: Any, kind: Any, array: Any, index: Any, index_type: Any, scale: int) -> Any:
    """Address of entry ``index * scale`` of a contiguous array."""
    data = context.make_array(kind)(context, builder, array).data
    word = context.get_value_type(types.intp)
    if index.type != word:
        index = builder.sext(index, word) if index_type.signed else builder.zext(index, word)
    return builder.gep(data, [builder.mul(index, ir.Constant(word, scale)) if scale != 1 else index])


def _load(builder: Any, address: Any, dtype: Any, offset: int = 0) -> Any:
    size = 4 if dtype == types.float32 else 8
    if offset:
        address = builder.gep(address, [ir.Constant(ir.IntType(64), offset)])
    return builder.load(builder.bitcast(address, _vector(dtype).as_pointer()), align=size)


def _store(builder: Any, address: Any, dtype: Any, value: Any, offset: int = 0) -> None:
    size = 4 if dtype == types.float32 else 8
    if offset:
        address = builder.gep(address, [ir.Constant(ir.IntType(64), offset)])
    builder.store(value, builder.bitcast(address, _vector(dtype).as_pointer()), align=size)


def _without_owner(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    if isinstance(kind, types.Array):
        array = context.make_array(kind)(context, builder, value)
        array.meminfo = cgutils.get_null_value(array.meminfo.type)
        array.parent = cgutils.get_null_value(array.parent.type)
        return array._getvalue()  # noqa: SLF001
    if isinstance(kind, types.BaseTuple):
        for i, part in enumerate(kind.types):
            member = _without_owner(context, builder, part, builder.extract_value(value, i))
            value = builder.insert_value(value, member, i)
    return value


@intrinsic
def borrowed(typing: Any, arrays: Any) -> Any:
    """An array, or a tuple of such, without its owner, whose references numba would count in the innermost loops."""
    return arrays(arrays), lambda context, builder, sig, args: _without_owner(context, builder, sig.args[0], args[0])


@intrinsic
def item(typing: Any, array: Any, index: Any) -> Any:
    """Entry of a contiguous array (n), by an index that is not checked."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        at = address(context, builder, sig.args[0], args[0], args[1], sig.args[1], 1)
        return context.unpack_value(builder, sig.args[0].dtype, at)

    return array.dtype(array, index), emit


@intrinsic
def row(typing: Any, array: Any, index: Any) -> Any:
    """Row of a contiguous array (rows, W)."""
    kind = Lanes(array.dtype)

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _load(builder, address(context, builder, sig.args[0], args[0], args[1], sig.args[1], W), kind.dtype)

    return kind(array, index), emit


@intrinsic
def put(typing: Any, array: Any, index: Any, value: Any) -> Any:
    """Write a row of a contiguous array (rows, W)."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        at = address(context, builder, sig.args[0], args[0], args[1], sig.args[1], W)
        _store(builder, at, sig.args[0].dtype, args[2])
        return context.get_dummy_value()

    return types.void(array, index, value), emit


@intrinsic
def pair(typing: Any, array: Any, index: Any) -> Any:
    """(real parts, imaginary parts) of a row of a contiguous array (rows, 2, W)."""
    kind = types.UniTuple(Lanes(array.dtype), 2)

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        at = address(context, builder, sig.args[0], args[0], args[1], sig.args[1], 2 * W)
        dtype = sig.args[0].dtype
        parts = [_load(builder, at, dtype), _load(builder, at, dtype, W)]
        return context.make_tuple(builder, sig.return_type, parts)

    return kind(array, index), emit


@intrinsic
def put_pair(typing: Any, array: Any, index: Any, re: Any, im: Any) -> Any:
    """Write a row of a contiguous array (rows, 2, W)."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        at = address(context, builder, sig.args[0], args[0], args[1], sig.args[1], 2 * W)
        _store(builder, at, sig.args[0].dtype, args[2])
        _store(builder, at, sig.args[0].dtype, args[3], W)
        return context.get_dummy_value()

    return types.void(array, index, re, im), emit


@intrinsic
def scalar_pair(typing: Any, array: Any, index: Any) -> Any:
    """(real part, imaginary part) of an entry of a contiguous array (n, 2), each in every lane."""
    kind = types.UniTuple(Lanes(array.dtype), 2)

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        at = address(context, builder, sig.args[0], args[0], args[1], sig.args[1], 2)
        second = builder.gep(at, [ir.Constant(ir.IntType(64), 1)])
        parts = [splat(builder, builder.load(at)), splat(builder, builder.load(second))]
        return context.make_tuple(builder, sig.return_type, parts)

    return kind(array, index), emit


@intrinsic
def gathered(typing: Any, table: Any, base: Any, picks: Any, index: Any) -> Any:
    """(real, imaginary parts) of entries base + picks[index] of a table (n, 2), lane by lane; picks are (rows, W)."""
    kind = types.UniTuple(Lanes(table.dtype), 2)

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        word = context.get_value_type(types.intp)
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        first = address(context, builder, sig.args[2], args[2], args[3], sig.args[3], W)
        offset = context.cast(builder, args[1], sig.args[1], types.intp)
        parts = [ir.Constant(_vector(table.dtype), ir.Undefined)] * 2
        for lane in range(W):
            place = ir.Constant(ir.IntType(32), lane)
            pick = builder.load(builder.gep(first, [ir.Constant(word, lane)]))
            pick = builder.add(context.cast(builder, pick, sig.args[2].dtype, types.intp), offset)
            entry = builder.mul(pick, ir.Constant(word, 2))
            for k in range(2):
                value = builder.load(builder.gep(data, [builder.add(entry, ir.Constant(word, k))]))
                parts[k] = builder.insert_element(parts[k], value, place)
        return context.make_tuple(builder, sig.return_type, parts)

    return kind(table, base, picks, index), emit


@intrinsic
def turned(typing: Any, source: Any, first: Any, stride: Any, target: Any, to: Any, to_stride: Any) -> Any:
    """Transpose a block of W by W numbers between contiguous arrays, into the target's precision.

    Entry c of row r, at ``first + r * stride + c`` of the source, goes to ``to + c * to_stride + r`` of the target.
    """

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        word = context.get_value_type(types.intp)
        integers = [context.cast(builder, args[i], sig.args[i], types.intp) for i in (1, 2, 4, 5)]
        begin, step, begin_to, step_to = integers

        def block_row(array: int, start: Any, by: Any, r: int) -> Any:
            data = context.make_array(sig.args[array])(context, builder, args[array]).data
            return builder.gep(data, [builder.add(start, builder.mul(by, ir.Constant(word, r)))])

        rows = [_load(builder, block_row(0, begin, step, r), source.dtype) for r in range(W)]
        if source.dtype != target.dtype:
            cast = builder.fptrunc if target.dtype == types.float32 else builder.fpext
            rows = [cast(value, _vector(target.dtype)) for value in rows]
        for r, value in enumerate(_transposed(builder, rows)):
            _store(builder, block_row(3, begin_to, step_to, r), target.dtype, value)
        return context.get_dummy_value()

    return types.void(source, first, stride, target, to, to_stride), emit


def _transposed(builder: Any, rows: list[Any]) -> list[Any]:
    """The columns of W vectors of W numbers: blocks of half the size change places, until they are single numbers."""
    half = W // 2
    while half:
        low = ir.Constant(ir.VectorType(ir.IntType(32), W), [k if not k & half else W + k - half for k in range(W)])
        high = ir.Constant(ir.VectorType(ir.IntType(32), W), [k + half if not k & half else W + k for k in range(W)])
        rows = [
            builder.shuffle_vector(rows[r], rows[r + half], low)
            if not r & half
            else builder.shuffle_vector(rows[r - half], rows[r], high)
            for r in range(W)
        ]
        half //= 2
    return rows


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
