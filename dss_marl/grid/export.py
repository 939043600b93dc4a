"""Export of graphs to GraphML and GeoJSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np

__all__ = ["write_geojson", "write_graphml"]


def write_graphml(graph: nx.Graph, path: str | Path) -> Path:
    """Write a feeder graph or a zone graph as GraphML, for Gephi, yEd, igraph and networkx; returns the path.

    GraphML has no tuples, so they are written as names joined by spaces; None values are omitted. Creates the folders.
    """
    path = _ready(path)
    plain = nx.MultiGraph() if graph.is_multigraph() else nx.Graph()
    plain.graph.update(_plain(graph.graph))
    plain.add_nodes_from((node, _plain(facts)) for node, facts in graph.nodes(data=True))
    plain.add_edges_from((a, b, _plain(facts)) for a, b, facts in graph.edges(data=True))
    nx.write_graphml_xml(plain, path)
    return path


def write_geojson(graph: nx.Graph, path: str | Path) -> Path:
    """Write a feeder's graph as GeoJSON, buses as points and branches as lines, for QGIS and the like.

    Coordinates are the circuit's own: they fit a world map only if the circuit has longitudes and latitudes. Buses
    without coordinates, and branches that connect to them, have a null geometry. Creates the folders; returns the path.

    Source: RFC 7946, except for the coordinate system.
    """
    path = _ready(path)
    places = {node: _place(facts) for node, facts in graph.nodes(data=True)}
    features = []
    for node, facts in graph.nodes(data=True):
        about = {key: value for key, value in facts.items() if key not in ("x", "y")}
        features.append(_feature("Point", places[node], {"bus": node, **_plain(about)}))
    for a, b, facts in graph.edges(data=True):
        ends = None if places[a] is None or places[b] is None else [places[a], places[b]]
        features.append(_feature("LineString", ends, {"bus1": a, "bus2": b, **_plain(facts)}))
    name = {"name": str(graph.name)} if graph.name else {}
    path.write_text(json.dumps({"type": "FeatureCollection", **name, "features": features}), encoding="utf-8")
    return path


def _ready(path: str | Path) -> Path:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _place(facts: Mapping[str, Any]) -> list[float] | None:
    place = [float(value) for value in (facts.get("x"), facts.get("y")) if value is not None]
    return place if len(place) == 2 and np.isfinite(place).all() else None


def _feature(kind: str, coordinates: Any, about: dict[str, Any]) -> dict[str, Any]:
    geometry = None if coordinates is None else {"type": kind, "coordinates": coordinates}
    return {"type": "Feature", "geometry": geometry, "properties": about}


def _plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes as strings, numbers and booleans; None values are omitted."""
    return {str(key): _scalar(value) for key, value in facts.items() if value is not None}


def _scalar(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list | set | frozenset):
        parts = sorted(value) if isinstance(value, set | frozenset) else value
        return " ".join("-".join(map(str, part)) if isinstance(part, tuple) else str(part) for part in parts)
    return str(value)
