"""Quadratic program of a whole day for all storage and flexible devices."""

from __future__ import annotations

from typing import Any

import numpy as np

from dss_marl.controllers.optimization.sparse_qp import SparseQP
from dss_marl.controllers.planning.energy.grid_sensitivities import LinearisedInterval
from dss_marl.controllers.planning.energy.island_limits import IslandLimits
from dss_marl.controllers.planning.energy.storage_fleet import StorageFleet
from dss_marl.grid.state import Array, BoolArray, IntArray

_ROUNDS = 4  # maximum number of solves with added violated rows; few rows are ever active
_WORST = 6  # rows added at a time
_MISSED = 1e-4  # violation tolerance


def solve_day_qp(
    stores: StorageFleet,
    now: Array,
    answers: list[LinearisedInterval],
    slopes: list[Any],
    radius: float,
    islands: IslandLimits,
    peak: tuple[float, float] = (0.0, 0.0),
) -> Array | None:
    """(T, n) optimal entries of a program of the whole day; None if the solver fails.

    Args:
        stores: the devices.
        now: (T, n) entries at the expansion point.
        answers: linearised intervals.
        slopes: sensitivities of the columns to the entries, per device model.
        radius: trust region of an entry.
        islands: grid-forming units with their limits and fuel.
        peak: demand billed in any case [kW], and the price of each kW of the day's highest import above it.
    """
    for part in stores.parts:
        part.lift_bans()
    active = [[np.zeros(len(rows.value), bool) for rows in answer.rows] for answer in answers]
    for answer, on in zip(answers, active, strict=True):
        _activate_rows(answer, on, 0.0 * answer.reach)
    wanted = None
    for _ in range(_ROUNDS):
        program, entry, moves = _quadratic_program(stores, now, answers, slopes, radius, active)
        _add_fuel(program, moves, answers, islands)
        _balance(program, entry, moves, answers, stores)
        if peak[1] > 0:
            _bill_peak(program, moves, answers, *peak)
        solution = program.solve()
        if solution is None:
            return None
        wanted = np.asarray(solution[entry])
        impossible = [part.is_impossible(solution) for part in stores.parts]
        missed = [_activate_rows(*row) for row in zip(answers, active, solution[moves], strict=True)]
        if not any(impossible) and not any(missed):
            break
    return wanted


def _quadratic_program(
    stores: StorageFleet,
    now: Array,
    answers: list[LinearisedInterval],
    slopes: list[Any],
    radius: float,
    active: list[list[BoolArray]],
) -> tuple[SparseQP, IntArray, IntArray]:
    """The program with the active rows, and its variables of entries (T, n) and of column changes (T, m)."""
    program, low, high = SparseQP(), stores.low, stores.high
    inside = np.clip(now, low, high)
    lowest, highest = np.maximum(low, inside - radius), np.minimum(high, inside + radius)
    formed = stores.formed
    entry = program.add_variables(np.where(formed, low, lowest), np.where(formed, high, highest))
    steps, moves = len(now), []
    for part, own, slope in zip(stores.parts, stores.slices, slopes, strict=True):
        mine, here = entry[:, own], now[:, own]
        m = len(part.columns.injection)
        move = program.add_variables(np.full((steps, m), -np.inf), np.full((steps, m), np.inf))
        entries, at = slope.tocoo(), np.arange(move.size)
        ends = -(slope @ here.ravel())
        program.add_rows(
            np.r_[at, entries.row],
            np.r_[move.ravel(), mine.ravel()[entries.col]],
            np.r_[np.ones(move.size), -entries.data],
            ends,
            ends,
        )
        part.add_coupling(program, mine, here)
        moves.append(move)
    together = np.hstack(moves)
    for move, answer, rows in zip(together, answers, active, strict=True):
        _add_interval(program, move, answer, rows)
    return program, entry, together


def _activate_rows(answer: LinearisedInterval, active: list[BoolArray], move: Array) -> bool:
    """Activate the worst violated rows for column changes (m); returns whether there are any."""
    found = False
    for rows, on in zip(answer.rows, active, strict=True):
        paid = np.where(on, 0.0, rows.price * np.maximum(rows.value + rows.slopes @ move, 0.0))
        worst = np.argsort(-paid)[:_WORST]
        worst = worst[paid[worst] > _MISSED * rows.price[worst]]
        on[worst] = True
        found |= bool(len(worst))
    return found


def _add_interval(program: SparseQP, move: IntArray, answer: LinearisedInterval, active: list[BoolArray]) -> None:
    """Add an interval's cost as a function of its column changes (m)."""
    program.add_cost(move, answer.gradient)
    free = np.flatnonzero(answer.curvature.any(1))
    program.add_quadratic(move[free], answer.curvature[np.ix_(free, free)])
    for rows, on in zip(answer.rows, active, strict=True):
        value, slopes, count = rows.value[on], rows.slopes[on], int(on.sum())
        if not count:
            continue
        paid = 1 if rows.highest else count
        beyond = program.add_variables(np.zeros(paid), np.full(paid, np.inf), rows.price[on][:paid])
        row, column = np.nonzero(slopes)
        program.add_rows(
            np.r_[row, np.arange(count)],
            np.r_[move[column], np.broadcast_to(beyond, count)],
            np.r_[slopes[row, column], -np.ones(count)],
            np.full(count, -np.inf),
            -value,
        )


def _bill_peak(
    program: SparseQP, moves: IntArray, answers: list[LinearisedInterval], floor_kw: float, per_kw: float
) -> None:
    """Bill the highest import of all intervals above a floor; one variable, which no import exceeds."""
    above = program.add_variables(np.zeros(1), np.full(1, np.inf), per_kw)
    by = np.array([answer.drawn_by for answer in answers])  # (T, m)
    step, column = np.nonzero(by)
    every = np.arange(len(answers))
    program.add_rows(
        np.r_[step, every],
        np.r_[moves[step, column], np.broadcast_to(above, len(every))],
        np.r_[by[step, column], -np.ones(len(every))],
        np.full(len(every), -np.inf),
        floor_kw - np.array([answer.drawn_kw for answer in answers]),
    )


def _add_fuel(program: SparseQP, moves: IntArray, answers: list[LinearisedInterval], islands: IslandLimits) -> None:
    """Add the fuel of running generators and the limit of their tanks; a penalised excess ensures feasibility.

    A variable per interval is the load of the engine, at least the minimum load and at least what the island draws.
    """
    dt_h = islands.dt_h
    for unit in range(islands.generators):
        steps = np.flatnonzero([answer.on[unit] for answer in answers])
        slope, least = islands.slope[unit] * dt_h, islands.kw_min[unit]
        burns = program.add_variables(np.full(len(steps), least), np.inf, islands.per_l * slope)
        given = np.array([answers[t].given[unit] for t in steps])
        by = np.array([answers[t].by[unit] for t in steps]).reshape(len(steps), -1)
        row, column = np.nonzero(by)
        program.add_rows(
            np.r_[row, np.arange(len(steps))],
            np.r_[moves[steps[row], column], burns],
            np.r_[by[row, column], -np.ones(len(steps))],
            np.full(len(steps), -np.inf),
            -given,
        )
        if not np.isfinite(islands.tanks[unit]):
            continue
        lacking = program.add_variables(np.zeros(1), np.inf, islands.beyond_kwh / islands.slope[unit])
        fixed = sum(float(answer.fuel_l[unit]) for answer in answers) - slope * np.maximum(given, least).sum()
        program.add_rows(
            np.zeros(len(steps) + 1),
            np.append(burns, lacking),
            np.append(np.full(len(steps), slope), -1.0),
            np.full(1, -np.inf),
            np.full(1, islands.tanks[unit] - fixed),
        )


def _balance(
    program: SparseQP, entry: IntArray, moves: IntArray, answers: list[LinearisedInterval], stores: StorageFleet
) -> None:
    """A battery that forms an island delivers what the island draws: its entry follows from the column changes."""
    for step, place in zip(*np.nonzero(stores.formed), strict=True):
        unit, kw = stores.former[place], stores.former_kw[place]
        by = answers[step].by[unit]
        column = np.flatnonzero(by)
        program.add_rows(
            np.zeros(len(column) + 1),
            np.append(moves[step, column], entry[step, place]),
            np.append(-by[column], kw),
            answers[step].given[unit : unit + 1],
            answers[step].given[unit : unit + 1],
        )
