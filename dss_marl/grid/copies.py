"""States of several copies of a feeder as one, with a leading axis B: taken apart, and put together row by row."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np

from dss_marl.grid.deferred_state import DeferredState
from dss_marl.grid.state import Array, BoolArray, GridState, IntArray, Setpoints, Solution, assembled

Rows = int | IntArray | BoolArray
T = TypeVar("T", Setpoints, Solution, GridState)


def rows_of(state: T, rows: Rows) -> T:
    """Some copies of a batch, by number or mask; of a single number without the leading axis.

    Args:
        state: (B, ...); numbers that it holds instead of arrays are those of every copy.
        rows: an integer, (b) integers or (B) booleans.
    """
    changes = {name: _taken(value, rows) for name, value in _held(state).items()}
    if isinstance(state, Solution):
        changes["currents"] = _SomeCurrents(state, rows)
    made: Any = assembled(type(state), **changes)
    single = isinstance(state, DeferredState) and isinstance(rows, int)
    return made.complete() if single else made


def repeat_state(state: GridState, copies: int) -> GridState:
    """(B, ...) the state of one copy for B copies; read-only views."""
    return assembled(GridState, **{name: _repeated(value, copies) for name, value in state.__dict__.items()})


def repeat_setpoints(points: Setpoints, copies: int) -> Setpoints:
    """(B, ...) the set points of one copy for B copies; new arrays."""
    repeated: Setpoints = _repeated(points, copies)
    return repeated.copy()


def with_rows(state: T, other: T, rows: BoolArray) -> T:
    """The batch with some copies, (B) True, taken from another one; new arrays, unless all or none are taken."""
    if rows.all() or not rows.any():
        return other if rows.any() else state
    one, two = _held(state), _held(other)
    changes = {name: _put(value, two[name], rows) for name, value in one.items() if name in two}
    if isinstance(state, Solution) and isinstance(other, Solution):
        changes["currents"] = _MixedCurrents(state, other, rows)
    return assembled(type(state), **changes)


def _held(state: Setpoints | Solution | GridState) -> dict[str, Any]:
    """The fields that are there, without what a solution computes or a DeferredState looks up."""
    there = state.__dict__
    return {f.name: there[f.name] for f in fields(state) if f.name in there and f.name != "currents"}


def put_rows(target: np.ndarray, values: np.ndarray | float, rows: BoolArray) -> np.ndarray:
    """(B, ...) target with some rows, (B) True, taken from the values; a new array."""
    return np.where(rows.reshape(-1, *(1 for _ in target.shape[1:])), values, target)


def _taken(value: Any, rows: Rows) -> Any:
    if isinstance(value, Setpoints):
        return rows_of(value, rows)
    if isinstance(value, Solution):
        return rows_of(value, rows)
    if hasattr(value, "taken"):
        return value.taken(rows)
    return value[rows] if isinstance(value, np.ndarray) and value.ndim else value


def _repeated(value: Any, copies: int) -> Any:
    if isinstance(value, Setpoints):
        return Setpoints(**{name: _repeated(own, copies) for name, own in value.__dict__.items()})
    if isinstance(value, Solution):
        changes = {name: _repeated(own, copies) for name, own in _held(value).items()}
        return assembled(Solution, **changes, currents=_RepeatedCurrents(value, copies))
    return np.broadcast_to(value, (copies, *value.shape)) if isinstance(value, np.ndarray | np.generic) else value


def _put(value: Any, other: Any, rows: BoolArray) -> Any:
    if isinstance(value, Setpoints | Solution):
        return with_rows(value, other, rows)
    if hasattr(value, "merged"):
        return value.merged(other, rows)
    if value is None and other is not None:  # no fault in any copy of the one, some in the other
        value = np.zeros_like(other)
    if other is None and value is not None:
        other = np.zeros_like(value)
    return put_rows(value, other, rows) if isinstance(value, np.ndarray) and value.ndim else value


def _loading(solution: Solution, by_conductor: bool) -> Array:
    return solution.currents(by_conductor=True) if by_conductor else solution.loading


@dataclass(frozen=True)
class _SomeCurrents:
    """See Solution.currents, of some copies."""

    solution: Solution
    rows: Rows

    def __call__(self, by_conductor: bool = False) -> Array:
        return _loading(self.solution, by_conductor)[self.rows]

    def angle_rad(self) -> Array:
        return self.solution.angle_rad[self.rows]


@dataclass(frozen=True)
class _RepeatedCurrents:
    """See Solution.currents, of one copy for all."""

    solution: Solution
    copies: int

    def __call__(self, by_conductor: bool = False) -> Array:
        return np.repeat(_loading(self.solution, by_conductor)[None], self.copies, 0)

    def angle_rad(self) -> Array:
        return np.repeat(self.solution.angle_rad[None], self.copies, 0)


@dataclass(frozen=True)
class _MixedCurrents:
    """See Solution.currents, of a batch with some copies of another one."""

    solution: Solution
    other: Solution
    rows: BoolArray

    def __call__(self, by_conductor: bool = False) -> Array:
        return put_rows(_loading(self.solution, by_conductor), _loading(self.other, by_conductor), self.rows)

    def angle_rad(self) -> Array:
        return put_rows(self.solution.angle_rad, self.other.angle_rad, self.rows)
