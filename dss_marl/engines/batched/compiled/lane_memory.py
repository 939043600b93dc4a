"""Rows of lanes in contiguous arrays (rows, W), and of complex ones in (rows, 2, W): real parts, imaginary parts.

Indices are not checked, so that a wrong one reads or writes memory of something else.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

from dss_marl.engines.batched.compiled.lanes import Lanes, W, splat, types, vector_type


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
    return builder.load(builder.bitcast(address, vector_type(dtype).as_pointer()), align=size)


def _store(builder: Any, address: Any, dtype: Any, value: Any, offset: int = 0) -> None:
    size = 4 if dtype == types.float32 else 8
    if offset:
        address = builder.gep(address, [ir.Constant(ir.IntType(64), offset)])
    builder.store(value, builder.bitcast(address, vector_type(dtype).as_pointer()), align=size)


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
        parts = [ir.Constant(vector_type(table.dtype), ir.Undefined)] * 2
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
            rows = [cast(value, vector_type(target.dtype)) for value in rows]
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
