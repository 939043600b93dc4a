"""States of several copies of a feeder as one, with a leading axis B: taken apart, and put together row by row."""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from typing import Any, TypeVar

import numpy as np

from dss_marl.grid.state import Array, BoolArray, GridState, IntArray, Setpoints, Solution

Rows = int | IntArray | BoolArray
T = TypeVar("T", Setpoints, Solution, GridState)


def rows_of(state: T, rows: Rows) -> T:
    """Some copies of a batch, by number or mask; of a single number without the leading axis.

    Args:
        state: (B, ...); numbers that it holds instead of arrays are those of every copy.
        rows: an integer, (b) integers or (B) booleans.
    """
    changes = {f.name: _taken(getattr(state, f.name), rows) for f in fields(state) if f.name != "currents"}
    if isinstance(state, Solution):
        changes["currents"] = partial(_currents_of, state, rows)
    return type(state)(**changes)


def with_rows(state: T, other: T, rows: BoolArray) -> T:
    """The batch with some copies, (B) True, taken from another one; new arrays, unless all or none are taken."""
    if rows.all() or not rows.any():
        return other if rows.any() else state
    changes = {
        f.name: _put(getattr(state, f.name), getattr(other, f.name), rows)
        for f in fields(state)
        if f.name != "currents"
    }
    if isinstance(state, Solution) and isinstance(other, Solution):
        changes["currents"] = partial(_mixed_currents, state, other, rows)
    return type(state)(**changes)


def put_rows(target: np.ndarray, values: np.ndarray | float, rows: BoolArray) -> np.ndarray:
    """(B, ...) target with some rows, (B) True, taken from the values; a new array."""
    return np.where(rows.reshape(-1, *(1 for _ in target.shape[1:])), values, target)


def _taken(value: Any, rows: Rows) -> Any:
    if isinstance(value, Setpoints):
        return rows_of(value, rows)
    if isinstance(value, Solution):
        return rows_of(value, rows)
    return value[rows] if isinstance(value, np.ndarray) and value.ndim else value


def _put(value: Any, other: Any, rows: BoolArray) -> Any:
    if isinstance(value, Setpoints | Solution):
        return with_rows(value, other, rows)
    if value is None and other is not None:  # no fault in any copy of the one, some in the other
        value = np.zeros_like(other)
    if other is None and value is not None:
        other = np.zeros_like(value)
    return put_rows(value, other, rows) if isinstance(value, np.ndarray) and value.ndim else value


def _currents_of(solution: Solution, rows: Rows, by_conductor: bool = False) -> Array:
    return (solution.currents(by_conductor=True) if by_conductor else solution.loading)[rows]


def _mixed_currents(solution: Solution, other: Solution, rows: BoolArray, by_conductor: bool = False) -> Array:
    one, two = (_currents_of(x, slice(None), by_conductor) for x in (solution, other))  # type: ignore[arg-type]
    return put_rows(one, two, rows)
