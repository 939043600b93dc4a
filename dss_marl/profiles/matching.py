"""Matches the columns of a table with the loads and units of a feeder, and checks what they hold."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import Array
from dss_marl.profiles.measured import Measured, check_minutes
from dss_marl.profiles.own_power import feeds_in
from dss_marl.profiles.synthetic import Synthetic
from dss_marl.profiles.time_series import TimeSeries

# Column, unit, and the possible: from the coldest to the hottest air measured on earth; and a price that leaves room
# for every currency [per kWh].
_EXTRA = {"price": ("per kWh", -1e5, 1e5), "temperature_c": ("degree C", -90.0, 60.0)}
_MOST_OF_RATING = 2.0  # of a unit, in its own column
_CLOSE = 0.7  # similarity of names that one may have meant


class Place(NamedTuple):
    """What a column is: kW or kvar (``reactive``) of an injection."""

    row: int
    reactive: bool


def matched(
    table: TimeSeries, feeder: Feeder, columns: Mapping[str, str], weather: Synthetic, kw: float, total: str = ""
) -> Measured:
    """The days of a table for a feeder, with columns matched by the names of loads and units.

    Args:
        table: the data; loads positive.
        feeder: whose injections the columns represent.
        columns: injection name to column name; empty: columns are named after the injections. ``name.kvar`` is the
            reactive power of the injection ``name``.
        weather: generates what was not measured.
        kw: the data's unit in kW, and of reactive power in kvar.
        total: name of the column of the consumption of all loads, which loads without a column share; "" for none.

    Raises:
        ValueError: a load without a column, an unknown column, negative consumption, impossible values, or the wrong
            unit.
    """
    check_minutes(table.where, table.minutes, weather.minutes)
    powers = {reactive: np.full((len(table.values), len(feeder.injections)), np.nan) for reactive in (False, True)}
    for place, column in _places(table, feeder, columns, total).items():
        sign = -1.0 if feeder.injections[place.row].kind == "load" else 1.0
        powers[place.reactive][:, place.row] = sign * kw * table.values[:, column]
    if total:
        _share_out(table, feeder, powers[False], kw, total)
    _check_powers(table, feeder, powers[False])
    _check_units(table, feeder, powers)
    named = {name.lower(): k for k, name in enumerate(table.names)}
    price, temperature_c = (
        _checked(table, name, table.values[:, named[name]]) if name in named else np.zeros(0) for name in _EXTRA
    )
    kvar = powers[True] if np.isfinite(powers[True]).any() else np.zeros(0)
    return Measured(powers[False], table.minutes, weather, price, temperature_c, kvar)


def _rows(feeder: Feeder) -> dict[str, Place]:
    """Every name that a column may have."""
    found: dict[str, Place] = {}
    for j, row in enumerate(feeder.injections):
        for name in (row.name, row.name.split(".", 1)[-1]):
            for end in (".kvar", "_kvar"):
                found.setdefault(name + end, Place(j, True))
    for j, row in enumerate(feeder.injections):  # a load that is itself called so comes first
        found |= {row.name: Place(j, False), row.name.split(".", 1)[-1]: Place(j, False)}
    return found


def _places(table: TimeSeries, feeder: Feeder, columns: Mapping[str, str], total: str) -> dict[Place, int]:
    """What each column is."""
    rows = _rows(feeder)
    named: dict[str, int] = {name.lower(): k for k, name in enumerate(table.names)}
    if total and total.lower() not in named:
        raise ValueError(f"{table.where} has no column {total!r} for 'total'; it has {_few(table.names)}")
    if not columns:
        named.pop(total.lower(), None)
    _refuse_near_names(table, rows)
    if columns:
        for name, wanted in columns.items():
            if wanted.lower() not in named:
                raise ValueError(f"{table.where} has no column {wanted!r} for {name!r}; it has {_few(table.names)}")
        named = {name.lower(): named[column.lower()] for name, column in columns.items()}
    places: dict[Place, int] = {}
    for name, column in named.items():
        if name in _EXTRA:
            continue
        if name not in rows:
            close = difflib.get_close_matches(name, rows, 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise ValueError(
                f"{table.where}: column {name!r} is not a load or unit of feeder {feeder.name!r}{hint} "
                f"known: {_few(row.name for row in feeder.injections)}; or list the columns to use under 'columns'"
            )
        if rows[name] in places:
            raise ValueError(f"{table.where}: two columns are {feeder.injections[rows[name].row].name!r}; keep one")
        places[rows[name]] = column
    needed = [int(j) for j in feeder.loads if not feeds_in(feeder.injections[j])]  # else the sun moves it
    missing = [feeder.injections[j].name for j in needed if Place(j, False) not in places]
    if missing and not total:
        raise ValueError(
            f"{table.where} has no column for {len(missing)} of {len(feeder.loads)} loads: {_few(missing)}; add them, "
            "or name the column of the feeder's whole consumption under 'total', for these loads to share"
        )
    return places


def _share_out(table: TimeSeries, feeder: Feeder, kw: Array, unit_kw: float, total: str) -> None:
    """Fill the loads without a column: what the other loads leave of the total, in proportion to nominal power."""
    loads = np.array([int(j) for j in feeder.loads if not feeds_in(feeder.injections[j])], int)
    measured = np.isfinite(kw[:, loads]).any(axis=0)
    own, rest = loads[measured], loads[~measured]
    nominal_kw = feeder.nominal_kw[rest]
    if not nominal_kw.sum() < 0:
        raise ValueError(f"{table.where}: no load is left to share column {total!r}; remove 'total'")
    column = [name.lower() for name in table.names].index(total.lower())
    left = unit_kw * table.values[:, column] + kw[:, own].sum(axis=1)
    wrong = np.flatnonzero(left < -1e-9)
    if len(wrong):
        raise ValueError(
            f"{table.where}: column {total!r} is {-left[wrong[0]]:g} kW less than the loads that have a column, in row "
            f"{wrong[0] + 1} after midnight; it must be consumption: add to a meter's power what PV fed in"
        )
    kw[:, rest] = -left[:, None] * nominal_kw / nominal_kw.sum()


def _refuse_near_names(table: TimeSeries, rows: Mapping[str, Place]) -> None:
    """ValueError for ``prices`` or ``temperature``: ignored, they would be generated without a word."""
    for name in table.names:
        if name.lower() in _EXTRA or name.lower() in rows:
            continue
        close = difflib.get_close_matches(name.lower(), _EXTRA, 1, _CLOSE)
        if close:
            raise ValueError(f"{table.where}: column {name!r}: did you mean {close[0]!r}? rename or delete it")


def _checked(table: TimeSeries, name: str, values: Array) -> Array:
    """The values of a column that is no injection's; ValueError where they cannot be."""
    unit, least, most = _EXTRA[name]
    wrong = np.flatnonzero(~((values >= least) & (values <= most)))
    if len(wrong):
        raise ValueError(
            f"{table.where}: column {name!r} is {values[wrong[0]]:g} in row {wrong[0] + 1} after midnight; possible "
            f"are {least:g} to {most:g} {unit}; correct the value or its unit"
        )
    return values


def _check_powers(table: TimeSeries, feeder: Feeder, kw: Array) -> None:
    """ValueError where consumption is negative, or the unit is evidently wrong, such as W for kW."""
    loads = feeder.loads[feeder.nominal_kw[feeder.loads] <= 0]  # a negative load feeds in
    wrong = np.argwhere(kw[:, loads] > 1e-9)
    if len(wrong):
        row, k = wrong[0]
        raise ValueError(
            f"{table.where}: load {feeder.injections[loads[k]].name!r} is negative ({-kw[row, loads[k]]:g} kW) in row "
            f"{row + 1} after midnight; consumption must be positive; feed-in belongs in a unit's own column"
        )
    nominal, highest = -feeder.nominal_kw[loads].sum(), -kw[:, loads].sum(1).min() if len(loads) else 0.0
    if nominal > 0 and not nominal / 100 < highest < 30 * nominal:
        raise ValueError(
            f"{table.where}: the total load reaches {highest:g} kW, nominal is {nominal:g} kW; "
            "give the unit of the values: unit: W, kW or MW"
        )


def _check_units(table: TimeSeries, feeder: Feeder, powers: Mapping[bool, Array]) -> None:
    """ValueError where a unit is far above its rating, or a load's kvar far above the power of all loads."""
    most = 30 * max(np.hypot(feeder.nominal_kw, feeder.nominal_kvar)[feeder.loads].sum(), 1.0)
    for reactive, values in powers.items():
        for j, row in enumerate(feeder.injections):
            rated = abs(row.kw) if row.kind != "load" or row.kw > 0 else 0.0
            limit = _MOST_OF_RATING * rated if rated else most
            wrong = np.flatnonzero(np.abs(values[:, j]) > limit)
            if len(wrong):
                unit = "kvar" if reactive else "kW"
                raise ValueError(
                    f"{table.where}: {row.name!r} reaches {values[wrong[0], j]:g} {unit} in row {wrong[0] + 1} after "
                    f"midnight, more than {limit:g} {unit} can be; correct the value, or give the unit: W, kW or MW"
                )


def _few(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:8]) + (", ..." if len(listed) > 8 else "")
