"""Observation features: functions of (zone, state), each with labels, unit and range."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dss_marl._plugins import imported_function
from dss_marl.grid.state import Array, GridState, IntArray
from dss_marl.mdp.linear_features import (
    EXOGENOUS,
    Function,
    Rows,
    array_of,
    each,
    linear,
    total,
)
from dss_marl.mdp.market.terms import market_of, mean_of_members, member_load_kw, needs_market
from dss_marl.mdp.pv_sharing import remembers_pv, shares_of
from dss_marl.zones import Zone, zone_batched


@dataclass(frozen=True)
class Feature:
    """A feature function with its labels, unit and range.

    Attributes:
        function: (zone, state) -> (..., n).
        labels: of the entries; for a feature with one entry per unit, tap or switch, the single label of each.
        unit: of the numbers as given, scale included.
        low, high: range that the numbers are clipped to.
        per: "", or what has one entry each: a kind of zones.ROW_KINDS, kinds (of device), names (of the
            agents) or hours (of the forecast).
        constant: True if the numbers depend on the zone alone; they are then computed once.
        exogenous: True if they depend on the zone, the day and the step alone; many copies then look them up. Linear
            features of such arrays are so without it.
    """

    function: Function
    labels: tuple[str, ...]
    unit: str
    low: float
    high: float
    per: str = ""
    constant: bool = False
    exogenous: bool = False

    @property
    def is_exogenous(self) -> bool:
        """Whether the numbers follow from the zone, the day and the step."""
        return self.constant or self.exogenous or array_of(self.function) in EXOGENOUS


KNOWN: dict[str, Feature] = {}
_OF_FUNCTION: dict[Function, Feature] = {}  # those of two modules may have one name


def feature(
    labels: Sequence[str],
    unit: str,
    low: float,
    high: float,
    per: str = "",
    constant: bool = False,
    exogenous: bool = False,
) -> Callable[[Function], Function]:
    """Register a function as a feature under its name; see Feature. Also for user code, imported before use."""

    def register(function: Function) -> Function:
        KNOWN[function.__name__] = made = Feature(function, tuple(labels), unit, low, high, per, constant, exogenous)
        _OF_FUNCTION[function] = made
        return function

    return register


@feature(["lowest voltage", "mean voltage", "highest voltage"], "(v_pu - 1) * 20", -5, 5)
@zone_batched
def zone_voltage(zone: Zone, state: GridState) -> Array:
    """(..., 3) lowest, mean and highest voltage of the zone's scored nodes; a de-energised one counts as 1 pu."""
    return zone.voltage_spread(state.solution)


@feature(["voltage at"], "(v_pu - 1) * 20", -5, 5, per="units")
@linear("v_scaled")
def unit_voltage(zone: Zone, state: GridState) -> Rows:
    """(..., u) mean voltage of the phases that each unit connects to; a de-energised one counts as 1 pu."""
    return Rows(zone.unit_nodes, zone.unit_node_weight)


@feature(["voltage at bus"], "(v_pu - 1) * 20", -5, 5, per="bus_rows")
@linear("v_scaled")
def bus_voltage(zone: Zone, state: GridState) -> Rows:
    """(..., b) mean voltage of the phases of each bus of the zone; a de-energised one counts as 1 pu."""
    return Rows(zone.bus_nodes, zone.bus_node_weight)


@feature(["angle at bus"], "20 rad", -10, 10, per="bus_rows")
@linear("angle_rad")
def bus_angle(zone: Zone, state: GridState) -> Rows:
    """(..., b) mean angle of the voltages of each bus of the zone, relative to the source; 0 if de-energised."""
    return Rows(zone.bus_nodes, 20 * zone.bus_node_weight)


@feature(["load at bus"], "kW / 100", 0, 100, per="bus_rows")
@linear("available")
def bus_load(zone: Zone, state: GridState) -> Rows:
    """(..., b) uncontrolled load of each bus of the zone."""
    return Rows(zone.bus_loads, -zone.bus_load_weight / 100)


@feature(["reactive load at bus"], "kvar / 100", -100, 100, per="bus_rows")
@linear("kvar")
def bus_load_kvar(zone: Zone, state: GridState) -> Rows:
    """(..., b) reactive power drawn by the loads of each bus of the zone."""
    return Rows(zone.bus_loads, -zone.bus_load_weight / 100)


@feature(["available power of own"], "kW / kW rated", 0, 1.2, per="own_units")
@linear("available")
def own_available(zone: Zone, state: GridState) -> Rows:
    """(..., o) available power of each unit that the agent controls, over its rating."""
    return each(zone.own_units, zone.own_unit_weight / zone.own_unit_kw)


@feature(["reactive power of own"], "kvar / kW rated", -2, 2, per="own_units")
@linear("kvar")
def own_kvar(zone: Zone, state: GridState) -> Rows:
    """(..., o) reactive power injected by each unit that the agent controls, over its rated active power."""
    return each(zone.own_units, zone.own_unit_weight / zone.own_unit_kw)


@feature(["metered voltage at"], "(v_pu - 1) * 20", -5, 5, per="meters")
@linear("v_scaled")
def meters(zone: Zone, state: GridState) -> Rows:
    """(..., v) voltage of the zone's metered nodes (see device kind estimator); 1 pu if de-energised."""
    return each(zone.meters, zone.meter_weight)


@feature(["voltage of node"], "(v_pu - 1) * 20", -5, 5, per="node_rows")
@linear("v_scaled")
def node_voltage(zone: Zone, state: GridState) -> Rows:
    """(..., n) voltage of every node of the zone, 0 where de-energised."""
    return each(zone.node_rows, zone.node_row_weight)


@feature(["available PV power at"], "kW available / kW rated", 0, 1.2, per="pv_units")
@linear("available")
def pv_available(zone: Zone, state: GridState) -> Rows:
    """(..., p) available power of each PV unit over its rating."""
    return each(zone.pv_units, zone.pv_unit_weight / zone.pv_unit_kw)


@feature(["power of"], "kW / kW rated", -1.5, 1.5, per="units")
@linear("kw")
def unit_power(zone: Zone, state: GridState) -> Rows:
    """(..., u) active power injected by each unit over its rating."""
    return each(zone.units, zone.unit_weight / zone.unit_kw)


@feature(["reactive power of"], "kvar / kW rated", -2, 2, per="units")
@linear("kvar")
def unit_kvar(zone: Zone, state: GridState) -> Rows:
    """(..., u) reactive power injected by each unit over its rated active power."""
    return each(zone.units, zone.unit_weight / zone.unit_kw)


@feature(["load of the zone"], "kW / 100", 0, 50)
@linear("available")
def load(zone: Zone, state: GridState) -> Rows:
    """(..., 1) uncontrolled load of the zone."""
    return total(zone.loads, -zone.load_weight / 100)


@feature(["net power of the zone"], "kW / 100", -50, 50)
@linear("served_kw")
def zone_power(zone: Zone, state: GridState) -> Rows:
    """(..., 1) net injection of the zone's loads and units, as delivered; negative when drawing."""
    injections = np.concatenate([zone.loads, zone.units], axis=-1)
    return total(injections, np.concatenate([zone.load_weight, zone.unit_weight], axis=-1) / 100)


@feature(["loading of"], "current / rated", 0, 5, per="borders")
@linear("loading")
def border_loading(zone: Zone, state: GridState) -> Rows:
    """(..., b) loading of the branches to other zones; 0 if a branch has no rating."""
    return each(zone.borders, zone.border_weight)


@feature(["load forecast of the zone"], "kW / 100", 0, 50, per="hours")
@linear("forecast")
def load_forecast(zone: Zone, state: GridState) -> Rows:
    """(..., H) forecast of the uncontrolled load of the zone, starting with this interval."""
    return _hourly(zone.loads, -zone.load_weight / 100, state)


@feature(["PV forecast of the zone"], "kW available / kW rated", 0, 1.2, per="hours")
@linear("forecast")
def pv_forecast(zone: Zone, state: GridState) -> Rows:
    """(..., H) forecast of the zone's available PV power over its PV rating, starting with this interval."""
    rated = (zone.pv_unit_weight * zone.pv_unit_kw).sum(-1, keepdims=True)
    return _hourly(zone.pv_units, zone.pv_unit_weight / np.maximum(rated, 1e-9), state)


@feature(["price forecast"], "10 / kWh", 0, 20, per="hours")
@linear("price")
def price_forecast(zone: Zone, state: GridState) -> Rows:
    """(..., H) price of energy in the coming intervals, starting with this one; equal for all zones."""
    hours = np.arange(state.price.shape[-1])
    return each(np.broadcast_to(hours, (*zone.index.shape, len(hours))), np.array(10.0))


@feature(["sin of the time of day", "cos of the time of day"], "1", -1, 1, exogenous=True)
@zone_batched
def time_of_day(zone: Zone, state: GridState) -> Array:
    """(..., 2) time of day on the unit circle, equal for all zones."""
    if not isinstance(state.hour, np.ndarray):
        angle = 2 * math.pi * state.hour / 24
        return np.array([math.sin(angle), math.cos(angle)])
    angles = (2 * math.pi * state.hour / 24).ravel().tolist()  # numpy's own sine may differ in the last bit
    rows = np.array([[math.sin(angle), math.cos(angle)] for angle in angles])
    return _for_each(zone, rows.reshape(*state.hour.shape, 2))


@feature(["tap of"], "positions / 8", -4, 4, per="taps")
@linear("tap")
def tap_position(zone: Zone, state: GridState) -> Rows:
    """(..., r) tap positions."""
    return each(zone.taps, zone.tap_weight / 8)


@feature(["voltage regulated by"], "(v_pu - 1) * 20", -5, 5, per="taps")
@linear("v_scaled")
def tap_voltage(zone: Zone, state: GridState) -> Rows:
    """(..., r) regulated voltage of each regulator, at its first phase."""
    return each(zone.tap_nodes, zone.tap_weight)


@feature(["in service:"], "0 or 1", 0, 1, per="capacitors")
@linear("closed")
def capacitor_closed(zone: Zone, state: GridState) -> Rows:
    """(..., c) which capacitor steps are in service."""
    return each(zone.capacitors, zone.capacitor_weight)


@feature(["closed:"], "0 or 1", 0, 1, per="switches")
@linear("closed")
def switch_closed(zone: Zone, state: GridState) -> Rows:
    """(..., s) which of the zone's switches are closed."""
    return each(zone.switches, zone.switch_weight)


@feature(["share of nodes energised"], "1", 0, 1)
@zone_batched
def energised_share(zone: Zone, state: GridState) -> Array:
    """(..., 1) share of the zone's scored nodes that have a path to a source."""
    return zone.mean(state.solution.energised.astype(float))[..., None]


@feature(["share of nodes faulted"], "1", 0, 1)
@zone_batched
def faulted_share(zone: Zone, state: GridState) -> Array:
    """(..., 1) share of the zone's scored nodes at a fault that is not repaired, which must stay de-energised."""
    v_pu, faulted = state.solution.v_pu, state.faulted
    at = np.zeros(v_pu.shape) if faulted is None else np.broadcast_to(faulted, v_pu.shape).astype(float)
    return zone.mean(at)[..., None]


@feature(["lowest voltage of the feeder", "highest voltage of the feeder"], "(v_pu - 1) * 20", -5, 5)
@zone_batched
def feeder_voltage(zone: Zone, state: GridState) -> Array:
    """(..., 2) lowest and highest energised voltage of the whole feeder; requires communication."""
    v = state.solution.v_scaled
    return _for_each(zone, np.stack([v.min(-1), v.max(-1)], axis=-1))


@feature(["feeder import / limit"], "1", -3, 3)
@zone_batched
def feeder_import(zone: Zone, state: GridState) -> Array:
    """(..., 1) import from the source over the feeder's limit, 0 without a limit; requires communication."""
    return _for_each(zone, np.asarray(state.solution.source_kw / state.import_limit_kw)[..., None])


@feature(["billed peak / limit of import"], "1", -3, 3)
@zone_batched
def billed_peak(zone: Zone, state: GridState) -> Array:
    """(..., 1) highest import so far as billed, over the feeder's limit; 0 without a limit; requires communication."""
    peak = state.device_state.take(zone.demand_meters, axis=-1) * zone.demand_meter_weight
    return np.add.reduce(peak, axis=-1)[..., None] / state.import_limit_kw


@feature(["import missing to the request", "reactive import missing to the request"], "MW, Mvar", -3, 3)
@zone_batched
def request_gap(zone: Zone, state: GridState) -> Array:
    """(..., 2) how far the import with all devices held is below the transmission operator's request; 0 without one.

    See the device ``flexibility_request``; requires communication.
    """
    rows = zone.rows["requests"]
    if not rows.index.shape[-1]:
        return np.zeros((*state.telemetry.shape[:-1], *rows.index.shape[:-1], 2))
    active, kw, kvar = (
        1000**at * state.telemetry.take(rows.index[..., 0] + k, axis=-1) for k, at in enumerate((0, 1, 1))
    )
    baseline = -_for_all(zone, np.add.reduce(state.available, axis=-1)) * (1 + rows.columns["loss_share"][..., 0])
    gaps = baseline + kw - _for_all(zone, state.solution.source_kw), kvar - _for_all(zone, state.solution.source_kvar)
    return np.stack([active * gap / 1000 for gap in gaps], axis=-1)


@feature(["telemetry of"], "as the device reports it", -2, 2, per="telemetry")
@linear("telemetry")
def telemetry(zone: Zone, state: GridState) -> Rows:
    """(..., m) telemetry of the agent's devices, for example state of charge or time until departure."""
    return each(zone.telemetry, zone.telemetry_weight)


@feature(["last action of"], "1", -1, 1, per="actions")
@linear("action")
def last_action(zone: Zone, state: GridState) -> Rows:
    """(..., w) the agent's action in the previous interval."""
    return each(zone.actions, zone.action_weight)


@feature(["has action"], "0 or 1", 0, 1, per="actions", constant=True)
@zone_batched
def has_action(zone: Zone, state: GridState) -> Array:
    """(..., w) 1 for action entries that control a device, 0 for padding."""
    return zone.action_weight


@feature(["has kind"], "0 or 1", 0, 1, per="kinds", constant=True)
@zone_batched
def device_kind(zone: Zone, state: GridState) -> Array:
    """(..., k) which kinds of device the agent has: one, or several for the agent of a whole zone."""
    return zone.kinds


@feature(["is"], "0 or 1", 0, 1, per="names", constant=True)
@zone_batched
def identity(zone: Zone, state: GridState) -> Array:
    """(..., A) one-hot agent identity, which lets a shared policy distinguish agents."""
    return np.eye(zone.count)[zone.index]


@feature(["share of PV energy fed in", "mean share of all PV units", "lowest share"], "1", 0, 1)
@remembers_pv
@zone_batched
def pv_shares(zone: Zone, state: GridState) -> Array:
    """(..., 3) share of its available energy that the zone's PV fed in since the episode began, and those of all."""
    return shares_of(zone, state)


@feature(["load of the members"], "kW / 10", 0, 5, exogenous=True)
@needs_market
@zone_batched
def member_load(zone: Zone, state: GridState) -> Array:
    """(..., 1) uncontrolled load of the zone's members of the community market, without their neighbours'."""
    return member_load_kw(zone, state.available)[..., None] / 10


@feature(["load forecast of the members"], "kW / 10", 0, 5, per="hours", exogenous=True)
@needs_market
@zone_batched
def member_load_forecast(zone: Zone, state: GridState) -> Array:
    """(..., H) forecast of the same, starting with this interval."""
    kw = member_load_kw(zone, state.forecast)  # (..., H) or (..., H, Z)
    return (np.moveaxis(kw, -1, -2) if zone.index.ndim else kw) / 10


@feature(["buying price", "selling price"], "10 / kWh", -5, 20)
@needs_market
@zone_batched
def market_prices(zone: Zone, state: GridState) -> Array:
    """(..., 2) mean prices at which members buy and sell in the coming interval with all devices held."""
    cleared = market_of(zone).settled(state)
    return np.stack([mean_of_members(zone, cleared.buying), mean_of_members(zone, cleared.selling)], axis=-1) * 10


@feature(["power drawn by all members"], "kW / 10", -20, 20)
@needs_market
@zone_batched
def community_power(zone: Zone, state: GridState) -> Array:
    """(..., 1) power that all members of the market draw together, with all devices held; negative if they feed in."""
    return _for_each(zone, market_of(zone).net_kw(state).sum(axis=-1, keepdims=True) / 10)


def _for_all(zone: Zone, x: Any) -> Any:
    """A value of the whole feeder, with a zone axis to broadcast along for all zones as one."""
    return np.asarray(x)[..., None] if zone.index.ndim else np.asarray(x)


def _for_each(zone: Zone, x: Array) -> Array:
    """Entries (..., n) of the whole feeder, with a zone axis to broadcast along for all zones as one."""
    return x[..., None, :] if zone.index.ndim else x


def _hourly(index: IntArray, weight: Array, state: GridState) -> Rows:
    """Sums over rows (..., n) of the injections, in each interval of the forecast; see ARRAYS."""
    hours, width = state.forecast.shape[-2:]
    return Rows(index[..., None, :] + width * np.arange(hours)[:, None], weight[..., None, :])


def named_feature(name: str) -> Feature:
    """The feature called ``name``, or your own as ``package.module:function`` (range -10 to 10 unless registered).

    Raises:
        ValueError: unknown; the message lists the known ones.
    """
    if name in KNOWN:
        return KNOWN[name]
    function = imported_function(name, "observation", KNOWN, ("zone", "state"))
    if function in _OF_FUNCTION:
        return _OF_FUNCTION[function]
    return Feature(function, (), "as given", -10.0, 10.0)
