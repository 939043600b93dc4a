"""User-defined partitions, in a scenario or in a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import networkx as nx
import yaml

from dss_marl._assets import read_text, read_yaml
from dss_marl.zones.partition import Partition, Parts, zone_names


def mapping(
    graph: nx.Graph,
    zones: Mapping[str, Iterable[Any]] | None = None,
    file: str | Path | None = None,
    connected: bool = True,
) -> Partition:
    """User-defined zones, in the given order; their names become the agents' names.

    Args:
        graph: the feeder's.
        zones: name to buses.
        file: a YAML file with the same mapping, at top level or under ``zones:``, as written by
            ``dss-marl zones --save``.
        connected: False allows a zone in several pieces; a file may set it too.

    Raises:
        ValueError: neither or both are given, the file cannot be read, or a named bus does not exist.
    """
    if (zones is None) == (file is None):
        raise ValueError("zones: method mapping needs either zones: {name: [buses]} or file: a YAML file of it")
    where = "zones" if file is None else f"zones file {str(file)!r}"
    if file is not None:
        data = _read(Path(file), where)
        connected = bool(data.get("connected", connected)) if isinstance(data.get("zones"), Mapping) else connected
        zones = data["zones"] if isinstance(data.get("zones"), Mapping) else data
    assert zones is not None
    if not isinstance(zones, Mapping) or not zones:
        raise ValueError(f"{where}: zones must map each name to its list of buses; got {zones!r}")
    known = {str(bus).lower(): bus for bus in graph}
    parts = []
    for name, buses in zones.items():
        if isinstance(buses, str | Mapping) or not isinstance(buses, Iterable):
            raise ValueError(f"{where}: zone {name!r} must be a list of buses; got {buses!r}")
        wanted = [str(bus).lower() for bus in buses]
        unknown = [bus for bus in wanted if bus not in known]
        if unknown:
            raise ValueError(f"{where}: zone {name!r}: bus {unknown[0]!r} does not exist on {graph.name!r}")
        parts.append({known[bus] for bus in wanted})
    return Parts(parts, [str(name) for name in zones], connected)


def _read(path: Path, where: str) -> dict[str, Any]:
    try:
        data = read_yaml(read_text(path.expanduser(), where))
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"{where} is not YAML: {error}") from None
    if not isinstance(data, dict):
        raise ValueError(f"{where} must map each zone name to its list of buses")
    return data


def write_mapping(parts: Partition, path: str | Path, order: Iterable[str] = (), note: str = "") -> Path:
    """Write a partition as a YAML file for ``mapping``; creates the folders; returns the path.

    Args:
        parts: sets of buses, or ``Parts`` with names.
        path: of the file.
        order: all buses in listing order; default is by name.
        note: a comment for the first line.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    rank = {bus: i for i, bus in enumerate(order)}
    named = zip(zone_names(parts), parts, strict=True)
    data: dict[str, Any] = {
        "zones": {name: sorted(part, key=lambda bus: (rank.get(bus, len(rank)), bus)) for name, part in named}
    }
    if not getattr(parts, "connected", True):
        data["connected"] = False
    lines = [f"# {line}" for line in (note, f"in a scenario: zones: {{method: mapping, file: {path.name}}}") if line]
    body = yaml.safe_dump(data, sort_keys=False, width=118, default_flow_style=None, allow_unicode=True)
    path.write_text("\n".join(lines) + "\n" + body, encoding="utf-8")
    return path
