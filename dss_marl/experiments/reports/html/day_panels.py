"""What a day's picture shows: one panel for each quantity that occurs, devices by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dss_marl.envs.task import Task
from dss_marl.experiments.recording import Column, Recording
from dss_marl.experiments.reports.html.plays import scored_columns
from dss_marl.grid.state import Array

MOST_ROWS = 30  # devices in one panel: the ones that move most
_STILL = 1e-6  # in any unit shown; smaller is rounding
Rows = dict[str, Array]  # name to (T) values


@dataclass(frozen=True)
class Panel:
    """One quantity of a day under several controllers.

    Attributes:
        title: with unit and sign.
        unit: of the values.
        look: lines, or a row of colours for each device: diverging around 0, rising from 0, or open and closed.
        values: controller to row name to (T) values; NaN where unknown.
        names: of the rows, in order.
        note: of what is left out.
    """

    title: str
    unit: str
    look: str
    values: Mapping[str, Rows]
    names: tuple[str, ...]
    note: str = ""


def band(task: Task, recording: Recording) -> dict[str, Array]:
    """Lowest, mean and highest voltage of the energised scored nodes in each interval (T) [pu]."""
    v = recording["voltages"].values[:, scored_columns(task)]
    v = np.where(v > 0, v, np.nan)
    alive = np.isfinite(v).any(1)
    result = {}
    for name, function in (("lowest", np.nanmin), ("mean", np.nanmean), ("highest", np.nanmax)):
        line = np.full(len(v), np.nan)
        line[alive] = function(v[alive], axis=1)
        result[name] = line
    return result


def panels(task: Task, day: Mapping[str, Recording]) -> list[Panel]:
    """The panels of a day below the voltage band: only what differs from zero, or moves.

    Args:
        task: of the policy.
        day: controller to its recording of the same day.
    """
    found = [_powers(day)]
    for title, unit, look, rows in _QUANTITIES:
        values = {name: rows(task, recording) for name, recording in day.items()}
        panel = _chosen(title, unit, look, values)
        if panel is not None:
            found.append(panel)
    return found


def _powers(day: Mapping[str, Recording]) -> Panel:
    values: dict[str, Rows] = {}
    for name, one in day.items():
        served, wanted = one["kw_served"], one["kw_available"].values
        kinds = np.array([column.kind for column in served.columns])
        rows = {"import from the source": one["system"]["source_kw"]}
        for kind in dict.fromkeys(kinds.tolist()):
            own = served.values[:, kinds == kind].sum(1)
            rows["load" if kind == "load" else _POWER.get(kind, kind)] = -own if kind == "load" else own
        load = -wanted[:, kinds == "load"].sum(1)
        if np.nanmax(np.abs(load - rows.get("load", load)), initial=0.0) > 0.05 * np.nanmax(load, initial=1.0):
            rows["load demanded"] = load
        values[name] = {key: row for key, row in rows.items() if np.nanmax(np.abs(row), initial=0.0) > _STILL}
    names = tuple(dict.fromkeys(key for rows in values.values() for key in rows))
    return Panel("Power of the feeder [kW]", "kW", "lines", values, names)


_POWER = {"inverter": "PV", "battery": "batteries, discharging +", "generator": "generators", "ev_charger": "charging"}


def _chosen(title: str, unit: str, look: str, values: Mapping[str, Rows]) -> Panel | None:
    """A panel of the rows that do anything; None if none does."""
    every = tuple(dict.fromkeys(name for rows in values.values() for name in rows))
    size = {name: _movement(name, look, values) for name in every}
    names = [name for name in every if size[name] > _STILL]
    if not names:
        return None
    note = ""
    if len(names) > MOST_ROWS:
        note = f"the {MOST_ROWS} of {len(names)} that move most"
        largest = set(sorted(names, key=lambda name: -size[name])[:MOST_ROWS])
        names = [name for name in names if name in largest]
    elif len(names) < len(every) and look == "binary":
        note = f"the {len(names)} of {len(every)} that move or differ"
    return Panel(title, unit, look, values, tuple(names), note)


def _movement(name: str, look: str, values: Mapping[str, Rows]) -> float:
    """How much a row does under all controllers: its size, of positions and states its changes."""
    rows = [own[name] for own in values.values() if name in own]
    joined = np.concatenate([row[np.isfinite(row)] for row in rows])
    if not joined.size:
        return 0.0
    return float(np.ptp(joined)) if look == "binary" else float(np.abs(joined).max())


# --- rows of devices ------------------------------------------------------------------------------------------------


def _rows(
    recording: Recording, table: str, kinds: Sequence[str] = (), change: Callable[[Array], Array] = lambda x: x
) -> Rows:
    """Columns of a table, of some kinds, by name."""
    if table not in recording.tables:
        return {}
    own = recording[table]
    return {
        _plain(column, table in _OPENDSS): change(own.values[:, k].astype(float))
        for k, column in enumerate(own.columns)
        if not kinds or column.kind in kinds
    }


_OPENDSS = ("kvar_set", "kw_served", "taps", "switches")  # tables whose columns have OpenDSS's class in their names


def _plain(column: Column, with_class: bool = False) -> str:
    """Name and zone of an element, without its class."""
    name = column.name.split(".", 1)[-1] if with_class else column.name
    return f"{name} ({column.zone})" if column.zone and column.zone not in name else name


def _kvar(task: Task, recording: Recording) -> Rows:
    kinds = {column.kind for column in recording["kvar_set"].columns} - {"load", "profiles"}
    return _rows(recording, "kvar_set", sorted(kinds))


def _curtailed(task: Task, recording: Recording) -> Rows:
    wanted, given, lost = (recording[name] for name in ("kw_available", "kw_set", "kw_converter"))
    return {
        _plain(column, True): np.maximum(wanted.values[:, k] - given.values[:, k] - lost.values[:, k], 0.0)
        for k, column in enumerate(wanted.columns)
        if column.kind == "inverter"
    }


def _kw(task: Task, recording: Recording) -> Rows:
    kinds = {column.kind for column in recording["kw_served"].columns} - {"load", "profiles", "inverter"}
    return _rows(recording, "kw_served", sorted(kinds)) if kinds else {}


def _stored(task: Task, recording: Recording) -> Rows:
    return _rows(recording, "stored_kwh")


def _unserved(task: Task, recording: Recording) -> Rows:
    """Demand of loads without voltage, by zone [kW]."""
    served, wanted = recording["kw_served"], recording["kw_available"]
    rows: Rows = {}
    for k, column in enumerate(served.columns):
        if column.kind == "load":
            off = (served.values[:, k] == 0) & (wanted.values[:, k] < 0)
            lost = np.where(np.isfinite(served.values[:, k]), np.where(off, -wanted.values[:, k], 0.0), np.nan)
            rows[column.zone or "outside zones"] = rows.get(column.zone or "outside zones", 0.0) + lost
    return rows


def _estimates(task: Task, recording: Recording) -> Rows:
    return _rows(recording, "estimate_errors")


def _actions(task: Task, recording: Recording) -> Rows:
    """Entries by their devices' labels: agents have other names where the circuit's controls have some devices."""
    table = recording["actions_operated"]
    labels = [name.split("/", 1)[-1] for name in table.names]
    names = labels if len(set(labels)) == len(labels) else list(table.names)
    return {name: table.values[:, k] for k, name in enumerate(names)}


_QUANTITIES: tuple[tuple[str, str, str, Callable[[Task, Recording], Rows]], ...] = (
    ("Tap positions, 0 = neutral", "", "diverging", lambda _, one: _rows(one, "taps")),
    ("Switches and ties", "", "binary", lambda _, one: _rows(one, "switches", ["switch", "grid_forming"])),
    ("Capacitor steps", "", "binary", lambda _, one: _rows(one, "switches", ["capacitor"])),
    ("Reactive power [kvar], + into the grid", "kvar", "diverging", _kvar),
    ("PV curtailed [kW]", "kW", "rising", _curtailed),
    ("Power of other units [kW], + into the grid", "kW", "diverging", _kw),
    ("Energy stored [kWh]", "kWh", "diverging", _stored),
    ("Load without supply by zone [kW]", "kW", "rising", _unserved),
    ("Estimate minus voltage [pu]", "pu", "diverging", _estimates),
    (
        "Actions as operated, \N{MINUS SIGN}1 to 1; none where the circuit's own controls act",
        "1",
        "diverging",
        _actions,
    ),
)
