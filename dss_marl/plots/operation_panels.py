"""What a picture of a day shows: panels of named lines, states and open points, read from a recording."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dss_marl.devices import EVChargers
from dss_marl.grid.load_priorities import CLASSES
from dss_marl.grid.state import Array
from dss_marl.plots.recorded_day import DayTables, plain_name

Lines = dict[str, Array]  # name to its (T,) values
Maker = Callable[[DayTables], Iterator["Panel"]]
Style = Literal["band", "lines", "counts", "states", "places"]
STILL = 1e-5  # in any unit drawn: smaller changes are rounding errors
_KINDS = {"inverter": "inverters", "battery": "batteries", "generator": "generators", "feeder_tie": "feeder ties"}


@dataclass(frozen=True)
class Panel:
    """One quantity of a day.

    Attributes:
        label: quantity and unit.
        style: band (lowest, median, highest), lines, counts (lines of whole numbers), states (a bar for each name,
            where it is 1) or places (a bar for each name, which says where its open point is).
        lines: name to (T,) values; of places the index in ``texts``.
        devices: the names are devices, of which those that matter are chosen.
        texts: what the values of places stand for.
        closed_at_once: names whose state has just become 1 at the start.
    """

    label: str
    style: Style
    lines: Lines
    devices: bool = False
    texts: tuple[str, ...] = ()
    closed_at_once: tuple[str, ...] = ()


def panels_of(day: DayTables) -> dict[str, Panel]:
    """All panels of a day, by label, from the system to single devices."""
    found: dict[str, Panel] = {}
    for make in _MAKERS:
        for panel in make(day):
            if panel.lines:
                found[panel.label] = panel
    return found


def worth_drawing(panels: Sequence[Panel]) -> bool:
    """Whether any line of a panel, of all controllers, varies over time or between controllers."""
    lines = [line for panel in panels for line in panel.lines.values()]
    if any(np.nanmax(line) - np.nanmin(line) > STILL for line in lines if np.isfinite(line).any()):
        return True
    first = panels[0].lines
    return any(_apart(panel.lines[name], line) > STILL for panel in panels for name, line in first.items()
               if name in panel.lines)  # fmt: skip


def activity(panels: Sequence[Panel]) -> dict[str, float]:
    """Device to how much its line varies, over time and between controllers, in the panel's unit."""
    found: dict[str, float] = {}
    for name in dict.fromkeys(name for panel in panels for name in panel.lines):
        values = np.concatenate([panel.lines[name] for panel in panels if name in panel.lines])
        values = values[np.isfinite(values)]
        found[name] = float(np.ptp(values)) if values.size else 0.0
    return found


def _apart(one: Array, other: Array) -> float:
    count = min(len(one), len(other))
    off = np.abs(one[:count] - other[:count])
    return float(np.nanmax(off)) if np.isfinite(off).any() else 0.0


# --- the feeder -----------------------------------------------------------------------------------------------------


def _voltage(day: DayTables) -> Iterator[Panel]:
    v = day.scored()
    band = np.full((len(v), 3), np.nan)
    some = np.isfinite(v).any(axis=1)
    band[some] = np.nanquantile(v[some], [0.0, 0.5, 1.0], axis=1).T
    names = ("lowest", "median", "highest")
    yield Panel("voltage [pu]", "band", dict(zip(names, band.T, strict=True)))


def _power(day: DayTables) -> Iterator[Panel]:
    """Totals; power drawn from the grid counts as positive for loads and chargers."""
    served = {"import": day.named("system", "source_kw")}
    names = {"load": "load", "inverter": "PV", "battery": "batteries", "ev_charger": "EV charging"}
    for kind in dict.fromkeys(column.kind for column in day.columns("kw_served")):
        total: Array = np.sum(list(day.of_kind("kw_served", kind).values()), axis=0)
        served[names.get(kind, _plural(kind))] = -total if kind in ("load", "ev_charger") else total
    limit = day.scenario.feeder.import_limit_kw
    if limit is not None and "import_excess" in day.scenario.rewards:
        served["import limit"] = np.full(len(served["import"]), float(limit))
    yield Panel("power [kW]", "lines", served)


def _classes(day: DayTables) -> Iterator[Panel]:
    """Served power by priority class, where loads have one or faults interrupt them."""
    priorities = day.task.priorities
    if priorities is None and not day.scenario.faults:
        return
    kinds = np.array([column.kind == "load" for column in day.columns("kw_served")])
    served, wanted = -day.values("kw_served"), -day.values("kw_available")
    of = np.zeros(len(kinds), int) if priorities is None else priorities.of
    lines: Lines = {}
    for number, name in enumerate(("all loads",) if priorities is None else CLASSES):
        own = kinds & (of == number)
        lines[name], lines[f"{name}, demand"] = served[:, own].sum(1), wanted[:, own].sum(1)
    yield Panel("served load [kW]", "lines", lines)


def _loading(day: DayTables) -> Iterator[Panel]:
    if "overload" in day.scenario.rewards and day.has("loadings"):
        highest = 100 * day.values("loadings").max(1)
        yield Panel("loading [%]", "lines", {"highest branch": highest, "rating": np.full(len(highest), 100.0)})


def _price(day: DayTables) -> Iterator[Panel]:
    if {"energy_cost", "excess_cost"} & set(day.scenario.rewards):
        yield Panel("price [1/kWh]", "lines", {"price": day.named("system", "price")})


def _estimates(day: DayTables) -> Iterator[Panel]:
    if day.has("estimate_errors"):
        off = np.abs(day.values("estimate_errors"))
        lines = {"worst node": off.max(1), "root mean square": np.sqrt((off**2).mean(1))}
        yield Panel("estimation error [pu]", "lines", lines)
        signed = {column.name: day.values("estimate_errors")[:, k]
                  for k, column in enumerate(day.columns("estimate_errors"))}  # fmt: skip
        yield Panel("error of a node [pu]", "lines", signed, devices=True)


# --- devices --------------------------------------------------------------------------------------------------------


def _units(day: DayTables) -> Iterator[Panel]:
    """Each injection that is no load: active and reactive power; of inverters the power curtailed."""
    kinds = dict.fromkeys(column.kind for column in day.columns("kw_served"))
    for kind in (kind for kind in kinds if kind not in ("load", "ev_charger")):
        name = _plural(kind)
        if kind == "inverter":
            free, lost = day.of_kind("kw_available", kind), day.of_kind("kw_converter", kind)
            cut = {
                unit: np.maximum(free[unit] - lost[unit] - kw, 0.0) for unit, kw in day.of_kind("kw_set", kind).items()
            }
            yield _devices("PV curtailed [kW]", kind, cut)
        else:
            yield _devices(f"{name} [kW]", kind, day.of_kind("kw_served", kind))
        yield _devices(f"{name} [kvar]", kind, day.of_kind("kvar_set", kind))


def _chargers(day: DayTables) -> Iterator[Panel]:
    drawn = np.array(list(day.of_kind("kw_served", "ev_charger").values()))
    if not drawn.size:
        return
    counts = {"charging": (drawn < -STILL).sum(0).astype(float)}
    if any(isinstance(group, EVChargers) and group.wears for group in day.task.device_groups):
        counts["lending"] = (drawn > STILL).sum(0).astype(float)
    present = list(day.of_kind("telemetry", "ev_charger").items())
    at_home = [values for name, values in present if name.endswith(": EV connected")]
    if at_home:
        counts = {"connected": np.sum(np.array(at_home) > 0, axis=0).astype(float), **counts}
    yield Panel("cars", "counts", counts)
    owed = day.of_kind("unmet_kwh", "ev_charger")
    if owed:
        yield Panel("undelivered [kWh]", "lines", {"all cars, so far": np.cumsum(np.sum(list(owed.values()), axis=0))})


def _told(ending: str, label: str, scale: float = 1.0, style: Style = "lines") -> Maker:
    """Panels of what devices report of themselves: the telemetry with this ending."""

    def make(day: DayTables) -> Iterator[Panel]:
        for kind in dict.fromkeys(column.kind for column in day.columns("telemetry")):
            every = day.of_kind("telemetry", kind)
            own = {name.removesuffix(ending): scale * one for name, one in every.items() if name.endswith(ending)}
            if own:
                yield _devices(label, kind, own, style)

    return make


def _taps(day: DayTables) -> Iterator[Panel]:
    yield Panel("tap position", "counts", day.of_kind("taps", "regulator"), devices=True)


def _open_points(day: DayTables) -> Iterator[Panel]:
    """Where the open point of each loop is; the telemetry says 1 for the open switch of a loop."""
    mark = ": open at "
    texts, loops = list[str](), dict[str, dict[str, Array]]()
    for k, column in enumerate(day.columns("telemetry")):
        loop, found, place = column.name.partition(mark)
        if found:
            loops.setdefault(loop, {})[place] = day.values("telemetry")[:, k]
    lines: Lines = {}
    for loop, places in loops.items():
        texts += [place for place in places if place not in texts]
        index = np.array([texts.index(place) for place in places], float)
        lines[f"loop of {loop}"] = index[np.nan_to_num(np.array(list(places.values()))).argmax(0)]
    yield Panel("open point", "places", lines, texts=tuple(texts))


def _states(day: DayTables) -> Iterator[Panel]:
    moved = any(": open at " in column.name for column in day.columns("telemetry"))
    names = {"capacitor": "capacitors", "switch": "switches", "grid_forming": "grid-\nforming"}
    for kind, label in names.items():
        if kind != "switch" or not moved:
            yield Panel(
                label, "states", day.of_kind("switches", kind), devices=True, closed_at_once=_closed_at_once(day)
            )


def _closed_at_once(day: DayTables) -> tuple[str, ...]:
    """Switches that are open at reset and closed in the first interval; protection only opens."""
    columns, values = day.columns("switches"), day.values("switches")
    start = day.task.start.closed
    return tuple(plain_name(c.name) for k, c in enumerate(columns) if len(values) and values[0, k] and not start[k])


_MAKERS: tuple[Maker, ...] = (
    _voltage,
    _power,
    _classes,
    _loading,
    _price,
    _units,
    _told(": state of charge", "state of charge [%]", 100.0),
    _told(": fuel left", "fuel left [%]", 100.0),
    _told(": share shed", "load shed [%]", 100.0),
    _chargers,
    _estimates,
    _taps,
    _open_points,
    _states,
    _told(": classes shed / 2", "load classes shed", 2.0, "counts"),
)


def _plural(kind: str) -> str:
    return _KINDS.get(kind, kind.replace("_", " ") + "s")


def _devices(label: str, kind: str, lines: Mapping[str, Array], style: Style = "lines") -> Panel:
    """A panel of devices, whose names say their kind no second time."""
    short = {name: name.removeprefix(f"{kind}_").removeprefix("section_") for name in lines}
    plain = len(set(short.values())) == len(short)
    return Panel(label, style, {short[name] if plain else name: line for name, line in lines.items()}, devices=True)
