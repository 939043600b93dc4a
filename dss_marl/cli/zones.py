"""``dss-marl zones``: tables, pictures and files of a feeder's zones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import networkx as nx
from rich import box
from rich.console import Console
from rich.table import Table

from dss_marl.cli.zone_tables import Rows, quality_rows, zone_rows
from dss_marl.engines import read_feeder
from dss_marl.grid.export import write_geojson, write_graphml
from dss_marl.zones.builder import build_zones
from dss_marl.zones.mapping_file import write_mapping
from dss_marl.zones.method_comparison import survey
from dss_marl.zones.partition import feeder_graph, zone_names
from dss_marl.zones.quality import QUALITY, partition_quality
from dss_marl.zones.registry import partition

COUNT = 6  # zones where a method needs a number and none is given
KINDS = ("line", "switch", "transformer", "regulator", "reactor")


def show_zones(
    console: Console,
    name: str,
    method: str,
    count: int | None = None,
    cut_at: Sequence[str] | None = None,
    file: Path | None = None,
    out: Path | None = None,
    save: Path | None = None,
    export: Path | None = None,
) -> None:
    """Print a feeder's zones and their quality, and write what is asked for.

    Raises:
        ValueError: no such feeder or method, or options that do not fit.
    """
    feeder = read_feeder(name)
    graph = feeder_graph(feeder)
    options = _options(method, count, cut_at, file)
    parts = partition(graph, method, **options)
    zones = build_zones(feeder, parts)
    said = ", ".join([method, *(f"{key} {value}" for key, value in options.items())])
    _print(console, f"{feeder.name}: {said}", *zone_rows(feeder, graph, zones))
    figures = partition_quality(graph, parts)
    for figure, (heading, meaning, _) in QUALITY.items():
        console.print(f"{heading:18s} {figures[figure]:7.3f}   {meaning}", highlight=False, soft_wrap=True)
    idle = [zone.name for zone in zones if not len(zone.units) + len(zone.taps) + len(zone.switches)]
    if idle:
        more = ", ..." if len(idle) > 8 else ""
        console.print(
            f"nothing to control yet in {', '.join(idle[:8])}{more}: an agent there needs a device",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
    if save is not None:
        note = f"{feeder.name}: {said}"
        _saved(console, write_mapping(parts, save, graph, note))
    if export is not None:
        _saved(console, _exported(graph, parts, export))
    if out is not None:
        from dss_marl import plots

        _saved(
            console, plots.save(plots.zones_figure(feeder, zones, f"{feeder.name}: {len(zones)} zones, {method}"), out)
        )


def compare_methods(
    console: Console, name: str, count: int = COUNT, cut_at: Sequence[str] | None = None, out: Path | None = None
) -> None:
    """Print the quality of every method's zones side by side, and draw them.

    Raises:
        ValueError: no such feeder.
    """
    feeder = read_feeder(name)
    graph = feeder_graph(feeder)
    found, refused = survey(graph, count, _cut_options(cut_at))
    figures = {method: partition_quality(graph, parts) for method, parts in found.items()}
    heads, rows = quality_rows(figures)
    best = {
        f: (max if more else min)(row[f] for row in figures.values() if row["zones"] > 1 and row[f] == row[f])
        for f, (_, _, more) in QUALITY.items()
        if any(row["zones"] > 1 and row[f] == row[f] for row in figures.values())
    }
    marked = []
    for row, (method, own) in zip(rows, figures.items(), strict=True):
        bold = [f in best and own["zones"] > 1 and own[f] == best[f] for f in QUALITY]
        cells = [f"[bold]{cell}[/bold]" if b else cell for cell, b in zip(row[2:], bold, strict=True)]
        marked.append((method, row[1], *cells))
    _print(console, f"{feeder.name}: methods side by side, best in bold", heads, marked)
    for heading, meaning, _ in QUALITY.values():
        console.print(f"{heading:18s} {meaning}", highlight=False, soft_wrap=True)
    for method, said in refused.items():
        console.print(f"no {method}: {said}", highlight=False, soft_wrap=True)
    if out is not None:
        from dss_marl import plots

        notes = {
            m: f"{q['zones']:.0f} zones, modularity {q['modularity']:.2f}, cohesion {q['cohesion']:.2f}"
            if q["zones"] > 1
            else "one zone"
            for m, q in figures.items()
        }
        title = f"{feeder.name}, {len(feeder.buses):,} buses"
        _saved(console, plots.save(plots.comparison_figure(feeder, found, notes, title), out))


def _options(method: str, count: int | None, cut_at: Sequence[str] | None, file: Path | None) -> dict[str, Any]:
    if method == "cut":
        if count is not None:
            raise ValueError("method 'cut' takes --cut-at, not --count: it cuts where it is told to")
        return _cut_options(cut_at)
    if cut_at:
        raise ValueError(f"--cut-at is for method 'cut'; method {method!r} does not take it")
    if method == "mapping":
        return {} if file is None else {"file": str(file)}
    if file is not None:
        raise ValueError(f"--file is for method 'mapping'; method {method!r} does not take it")
    if count is None:
        return {"count": COUNT} if method in ("electrical", "balanced") else {}
    return {"count": count}


def _cut_options(cut_at: Sequence[str] | None) -> dict[str, Any]:
    """Kinds and names of branches; the defaults of ``cut`` if there are none."""
    if not cut_at:
        return {}
    return {"kinds": [x for x in cut_at if x in KINDS], "branches": [x for x in cut_at if x not in KINDS]}


def _exported(graph: nx.Graph, parts: Sequence[set[str]], path: Path) -> Path:
    """The feeder's graph with each bus's zone."""
    writers = {".graphml": write_graphml, ".geojson": write_geojson}
    if path.suffix.lower() not in writers:
        raise ValueError(f"--export writes .graphml or .geojson; got {str(path)!r}")
    for name, part in zip(zone_names(parts), parts, strict=True):
        for bus in sorted(part):
            graph.nodes[bus]["zone"] = name
    return writers[path.suffix.lower()](graph, path)


def _print(console: Console, title: str, heads: Sequence[str], rows: Rows) -> None:
    table = Table(title=title, box=box.SIMPLE_HEAD)
    for i, heading in enumerate(heads):
        table.add_column(heading, justify="left" if i == 0 or heading == "next to" else "right", no_wrap=i == 0)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _saved(console: Console, path: Path) -> None:
    console.print(f"saved {path}", highlight=False, soft_wrap=True)
