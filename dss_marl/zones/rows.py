"""Contents of a zone by kind: indices into the arrays of the feeder, the devices or the state.

Every kind is declared in ``ROW_KINDS``, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import Array, IntArray

Found = Iterable[tuple[int, str]]  # rows, each with its bus


@dataclass(frozen=True)
class ZoneRows:
    """A zone's rows of one kind.

    For one zone, arrays are (n, ...). Stacked they are (Z, n, ...) and padded: ``index`` with 0, ``weight`` with 0, a
    column as its RowKind says.

    Attributes:
        index: (n) positions of the rows in the arrays of their kind, see RowKind.of.
        weight: (n) 1, or 0 where padded.
        columns: further values of each row, by name: (n) or (n, ...).
    """

    index: IntArray
    weight: Array
    columns: Mapping[str, Array | IntArray] = field(default_factory=dict)

    @classmethod
    def of(cls, index: IntArray, **columns: Array | IntArray) -> ZoneRows:
        """Rows of weight 1."""
        return cls(index, np.ones(len(index)), columns)

    def with_columns(self, **columns: Array | IntArray) -> ZoneRows:
        """The same rows with some columns added or changed."""
        return replace(self, columns={**self.columns, **columns})

    def take(self, which: Sequence[int] | IntArray) -> ZoneRows:
        """Some of the rows, or all of them in another order."""
        chosen = np.asarray(which, np.int64)
        columns = {name: column[chosen] for name, column in self.columns.items()}
        return ZoneRows(self.index[chosen], self.weight[chosen], columns)


def _not_on_a_feeder(feeder: Feeder, zone_of: Mapping[str, int]) -> Found:
    return ()


def _no_columns(feeder: Feeder, index: IntArray) -> dict[str, Array | IntArray]:
    return {}


@dataclass(frozen=True)
class RowKind:
    """A kind of element that zones contain.

    Attributes:
        of: what ``ZoneRows.index`` counts: nodes, buses, branches, injections, taps or switches of the Feeder; devices;
            the members of the market; or entries of the state's action, telemetry or device state.
        found: (feeder, zone of each bus) -> the rows on a feeder; rows of devices are added with the agents.
        columns: (feeder, index) -> further values of these rows.
        padding: of the columns that are not padded with 0.
    """

    of: str
    found: Callable[[Feeder, Mapping[str, int]], Found] = _not_on_a_feeder
    columns: Callable[[Feeder, IntArray], dict[str, Array | IntArray]] = _no_columns
    padding: Mapping[str, float] = field(default_factory=dict)


def _loads(feeder: Feeder, zone_of: Mapping[str, int]) -> Found:
    return ((int(j), feeder.injections[j].bus) for j in feeder.loads)


def _units(feeder: Feeder, zone_of: Mapping[str, int]) -> Found:
    return ((j, row.bus) for j, row in enumerate(feeder.injections) if row.kind != "load")


def _pv_units(feeder: Feeder, zone_of: Mapping[str, int]) -> Found:
    return ((j, row.bus) for j, row in enumerate(feeder.injections) if row.kind == "inverter")


def _unworn_units(feeder: Feeder, zone_of: Mapping[str, int]) -> Found:
    """Units whose throughput wears no battery, or, of an EV, only where it is lent."""
    return ((j, row.bus) for j, row in enumerate(feeder.injections) if row.kind in ("inverter", "ev_charger"))


def _buses(feeder: Feeder, zone_of: Mapping[str, int]) -> Found:
    return ((b, row.name) for b, row in enumerate(feeder.buses))


def _bus_contents(feeder: Feeder, index: IntArray) -> dict[str, Array | IntArray]:
    """Nodes of each bus, whose weights sum to 1, and its loads, of weight 1."""
    nodes: dict[int, list[int]] = {}
    for node, bus in enumerate(feeder.node_bus.tolist()):
        nodes.setdefault(bus, []).append(node)
    loads: dict[int, list[int]] = {}
    for j in feeder.loads.tolist():
        loads.setdefault(feeder.bus_index[feeder.injections[j].bus], []).append(j)
    wide = max((len(own) for own in nodes.values()), default=1)
    most = max((len(own) for own in loads.values()), default=1)
    node_of, node_weight = np.zeros((len(index), wide), np.int64), np.zeros((len(index), wide))
    load_of, load_weight = np.zeros((len(index), most), np.int64), np.zeros((len(index), most))
    for row, bus in enumerate(index.tolist()):
        own, drawn = nodes.get(bus, []), loads.get(bus, [])
        node_of[row, : len(own)], node_weight[row, : len(own)] = own, 1 / max(len(own), 1)
        load_of[row, : len(drawn)], load_weight[row, : len(drawn)] = drawn, 1
    return {"nodes": node_of, "node_weight": node_weight, "loads": load_of, "load_weight": load_weight}


def _taps(feeder: Feeder, zone_of: Mapping[str, int]) -> Found:
    """Each at the bus that it regulates."""
    return ((r, row.bus2) for r, row in enumerate(feeder.taps))


def _capacitors(feeder: Feeder, zone_of: Mapping[str, int]) -> Found:
    return ((s, row.bus) for s, row in enumerate(feeder.switches) if row.kind == "capacitor")


def _switches(feeder: Feeder, zone_of: Mapping[str, int]) -> Found:
    """Switchable lines, each at its first bus."""
    return ((s, row.bus) for s, row in enumerate(feeder.switches) if row.kind == "switch")


def _nodes(feeder: Feeder, zone_of: Mapping[str, int]) -> Found:
    return ((n, feeder.buses[bus].name) for n, bus in enumerate(feeder.node_bus))


def _borders(feeder: Feeder, zone_of: Mapping[str, int]) -> Found:
    """Branches between two zones, at either end."""
    crossing = (m for m, row in enumerate(feeder.branches) if zone_of[row.bus1] != zone_of[row.bus2])
    return ((m, bus) for m in crossing for bus in (feeder.branches[m].bus1, feeder.branches[m].bus2))


def _own_rating(feeder: Feeder, index: IntArray) -> dict[str, Array | IntArray]:
    """Peak power, and position among all PV units."""
    every = np.array([j for j, row in enumerate(feeder.injections) if row.kind == "inverter"], np.int64)
    return {**_rating(feeder, index), "places": np.searchsorted(every, index)}


def _rating(feeder: Feeder, index: IntArray) -> dict[str, Array | IntArray]:
    return {"kw": np.array([feeder.injections[j].kw for j in index])}


def _connections(feeder: Feeder, index: IntArray) -> dict[str, Array | IntArray]:
    nodes, weight = np.zeros((len(index), 3), np.int64), np.zeros((len(index), 3))
    for u, unit in enumerate(index):
        at = feeder.injections[unit].nodes
        nodes[u, : len(at)] = at
        weight[u, : len(at)] = 1 / len(at)
    return {"nodes": nodes, "node_weight": weight, **_rating(feeder, index)}


def _regulated_nodes(feeder: Feeder, index: IntArray) -> dict[str, Array | IntArray]:
    rows = [feeder.taps[r] for r in index]
    nodes = [feeder.node_index[f"{row.bus2}.{row.phases[0]}"] for row in rows]
    return {"nodes": np.array(nodes, dtype=np.int64)}


def _equal_priority(feeder: Feeder, index: IntArray) -> dict[str, Array | IntArray]:
    return {"priority": np.ones(len(index))}


# Ratings and priorities are padded with 1, because features divide by them.
ROW_KINDS: dict[str, RowKind] = {
    "loads": RowKind("injections", _loads, _equal_priority, {"priority": 1.0}),
    "units": RowKind("injections", _units, _connections, {"kw": 1.0}),
    "pv_units": RowKind("injections", _pv_units, _own_rating, {"kw": 1.0}),
    "unworn_units": RowKind("injections", _unworn_units),
    "bus_rows": RowKind("buses", _buses, _bus_contents),
    "own_units": RowKind("injections", columns=_rating, padding={"kw": 1.0}),
    "taps": RowKind("taps", _taps, _regulated_nodes),
    "capacitors": RowKind("switches", _capacitors),
    "switches": RowKind("switches", _switches),
    "borders": RowKind("branches", _borders),
    "node_rows": RowKind("nodes", _nodes),
    "devices": RowKind("devices"),
    "actions": RowKind("action"),
    "telemetry": RowKind("telemetry"),
    "demand_meters": RowKind("device state"),  # of the feeder; the same in every zone
    "crew_costs": RowKind("device state"),  # of its own crews
    # Of the feeder; the first entry of the request, where the device state has what was missed, and settings.
    "requests": RowKind(
        "telemetry",
        columns=lambda feeder, index: {
            "missed": np.zeros(len(index), np.int64),
            "loss_share": np.zeros(len(index)),
            "kvar_weight": np.zeros(len(index)),
        },
    ),
    "meters": RowKind("nodes"),
    "members": RowKind("members"),
    "estimated": RowKind(
        "nodes",
        columns=lambda feeder, index: {"places": np.zeros(len(index), np.int64)},  # in the devices' state
    ),
}


def find_rows(feeder: Feeder, zone_of: Mapping[str, int], count: int) -> list[dict[str, ZoneRows]]:
    """Contents of each of ``count`` zones; ``zone_of`` is the zone of every bus."""
    zones: list[dict[str, ZoneRows]] = [{} for _ in range(count)]
    for name, kind in ROW_KINDS.items():
        own: list[list[int]] = [[] for _ in range(count)]
        for i, bus in kind.found(feeder, zone_of):
            own[zone_of[bus]].append(i)
        for zone, rows in zip(zones, own, strict=True):
            index = np.array(rows, dtype=np.int64)
            zone[name] = ZoneRows.of(index, **kind.columns(feeder, index))
    return zones


def stack_rows(name: str, zones: Sequence[ZoneRows]) -> ZoneRows:
    """The zones' rows of one kind with a leading axis, padded to the longest; see ZoneRows."""
    padding = ROW_KINDS[name].padding
    return ZoneRows(
        _padded([rows.index for rows in zones], 0),
        _padded([rows.weight for rows in zones], 0),
        {
            column: _padded([rows.columns[column] for rows in zones], padding.get(column, 0))
            for column in zones[0].columns
        },
    )


def _padded(rows: Sequence[np.ndarray], value: float) -> np.ndarray:
    """(Z, n, ...)"""
    width = max(map(len, rows))
    result = np.full((len(rows), width, *rows[0].shape[1:]), value, rows[0].dtype)
    for z, own in enumerate(rows):
        result[z, : len(own)] = own
    return result
