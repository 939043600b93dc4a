"""Contents of zones and quality of partitions, as table rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import networkx as nx

from dss_marl.grid.feeder import Feeder
from dss_marl.zones.neighbours import zone_graph
from dss_marl.zones.quality import QUALITY
from dss_marl.zones.zone import Zone

Rows = list[tuple[str, ...]]
WHOLE = ("zones", "boundary_branches")  # figures that are counts


def zone_rows(feeder: Feeder, graph: nx.Graph, zones: Sequence[Zone]) -> tuple[tuple[str, ...], Rows]:
    """Headings, and a row for each zone.

    Buses, load, units and their rating, tapped windings, capacitor banks, switches, closed branches to other zones
    (border), and adjacent zones, without their prefix "zone_".
    """
    heads = ("zone", "buses", "load\n[kW]", "units", "taps", "caps", "switch")
    touching = zone_graph(graph, zones)
    rows: Rows = []
    for zone in zones:
        own = set(zone.buses)
        switches = [row for row in feeder.switches if row.bus in own]
        banks = {row.element for row in switches if row.kind == "capacitor"}
        borders = [touching.edges[zone.name, other] for other in touching[zone.name]]
        crossing = sum(len(border["branches"]) - len(border["open_branches"]) for border in borders)
        near = [other for other in touching[zone.name] if touching.edges[zone.name, other]["closed"]]
        rows.append(
            (
                zone.name,
                f"{len(zone.buses):,}",
                f"{touching.nodes[zone.name]['load_kw']:,.0f}",
                f"{len(zone.units)}, {zone.unit_kw.sum():,.0f} kW" if len(zone.units) else "0",
                str(len(zone.taps)),
                str(len(banks)),
                str(sum(row.kind == "switch" for row in switches)),
                str(crossing),
                ", ".join(name.removeprefix("zone_") for name in near[:8]) + (", ..." if len(near) > 8 else ""),
            )
        )
    return (*heads, "border", "next to"), rows


def quality_rows(found: Mapping[str, Mapping[str, float]]) -> tuple[tuple[str, ...], Rows]:
    """Headings, and a row of quality figures for each partition, by name."""
    heads = ("partition", "zones", *(heading.replace(" ", "\n") for heading, _, _ in QUALITY.values()))
    rows = [
        (name, *(_number(figures[figure], figure in WHOLE) for figure in ("zones", *QUALITY)))
        for name, figures in found.items()
    ]
    return heads, rows


def quality_meanings(figures: Mapping[str, float]) -> Rows:
    """A row for each quality figure of one partition: heading, value, meaning."""
    return [
        (heading, _number(figures[figure], figure in WHOLE), meaning)
        for figure, (heading, meaning, _) in QUALITY.items()
    ]


def _number(value: float, whole: bool) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.0f}" if whole else f"{value:.3f}".replace("-0.000", "0.000")
