"""``dss-marl zones``: tables, figures and files of a feeder's zones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import networkx as nx
import typer
from rich.text import Text

from dss_marl.cli.console import saved, say
from dss_marl.cli.outputs import GRAPH, PICTURE, ZONES, output_file
from dss_marl.cli.tables import Cell, print_table
from dss_marl.cli.zone_tables import Rows, quality_meanings, quality_rows, zone_rows
from dss_marl.engines import read_feeder
from dss_marl.grid.export import write_geojson, write_graphml
from dss_marl.grid.feeder import Feeder
from dss_marl.zones import Zone, build_zones, feeder_graph, partition, partition_quality, write_mapping
from dss_marl.zones.method_comparison import survey
from dss_marl.zones.partition import zone_names
from dss_marl.zones.quality import QUALITY

COUNT = 6  # number of zones if a method needs one and none is given
KINDS = ("line", "switch", "transformer", "regulator", "reactor")
WRITERS = {".graphml": write_graphml, ".geojson": write_geojson}


def zones(
    feeder: Annotated[str, typer.Argument(help="A shipped feeder's name, or the path of a .dss file.")],
    method: Annotated[
        str, typer.Option(help="electrical, balanced, communities, laterals, phases, cut, or package.module:function.")
    ] = "electrical",
    count: Annotated[
        int | None, typer.Option(min=1, help="Number of zones; default 6 where the method needs one.")
    ] = None,
    cut_at: Annotated[
        list[str] | None, typer.Option(help="For method cut: a kind of branch, or a branch's name; may be repeated.")
    ] = None,
    file: Annotated[Path | None, typer.Option(help="For method mapping: the YAML file of the zones.")] = None,
    out: Annotated[
        Path | None, typer.Option(callback=output_file(PICTURE), help="Figure to write: .png, .pdf or .svg.")
    ] = None,
    save: Annotated[
        Path | None, typer.Option(callback=output_file(ZONES), help="YAML to write, for a scenario's method mapping.")
    ] = None,
    export: Annotated[
        Path | None, typer.Option(callback=output_file(GRAPH), help="Graph to write: .graphml or .geojson.")
    ] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Compare all methods.")] = False,
) -> None:
    """Partition a feeder into zones: contents, quality measures, a figure, and a file for scenarios."""
    circuit = read_feeder(feeder)
    graph = feeder_graph(circuit)
    if compare:
        _compare_methods(circuit, graph, COUNT if count is None else count, _cut_options(cut_at), out)
        return
    options = _options(method, count, cut_at, file)
    parts = partition(graph, method, **options)
    found = build_zones(circuit, parts)
    title = f"{circuit.name}: {', '.join([method, *(f'{key} {value}' for key, value in options.items())])}"
    _print_zones(title, circuit, graph, found)
    if save is not None:
        saved(write_mapping(parts, save, graph, title))
    if export is not None:
        saved(_exported(graph, parts, export))
    if out is not None:
        from dss_marl import plots

        saved(plots.save(plots.zones_figure(circuit, found, f"{circuit.name}: {len(found)} zones, {method}"), out))


def _print_zones(title: str, feeder: Feeder, graph: nx.Graph, found: Sequence[Zone]) -> None:
    """Print the zones, their quality, and those without anything to control."""
    print_table(title, *zone_rows(feeder, graph, found), left=("next to",))
    figures = partition_quality(graph, [set(zone.buses) for zone in found])
    print_table("", ("quality", "value", "meaning"), quality_meanings(figures), left=("meaning",))
    idle = [zone.name for zone in found if not len(zone.units) + len(zone.taps) + len(zone.switches)]
    if idle:
        more = ", ..." if len(idle) > 8 else ""
        say(f"nothing to control yet in {', '.join(idle[:8])}{more}: an agent there needs a device")


def _compare_methods(
    feeder: Feeder, graph: nx.Graph, count: int, cut_at: Mapping[str, Sequence[str]], out: Path | None
) -> None:
    """Print and draw the quality of every method's zones side by side."""
    found, refused = survey(graph, count, cut_at)
    figures = {method: partition_quality(graph, parts) for method, parts in found.items()}
    heads, rows = quality_rows(figures)
    title = f"{feeder.name}: methods side by side, best in bold"
    print_table(title, heads, _best_in_bold(rows, figures))
    meanings = [(heading, meaning) for heading, meaning, _ in QUALITY.values()]
    print_table("", ("quality", "meaning"), meanings, left=("meaning",))
    for method, reason in refused.items():
        say(f"no {method}: {reason}")
    if out is not None:
        from dss_marl import plots

        notes = {
            method: f"{own['zones']:.0f} zones, modularity {own['modularity']:.2f}, cohesion {own['cohesion']:.2f}"
            if own["zones"] > 1
            else "one zone"
            for method, own in figures.items()
        }
        title = f"{feeder.name}, {len(feeder.buses):,} buses"
        saved(plots.save(plots.comparison_figure(feeder, found, notes, title), out))


def _best_in_bold(rows: Rows, figures: Mapping[str, Mapping[str, float]]) -> list[tuple[Cell, ...]]:
    """Rows of ``quality_rows`` with the best of each figure marked; a single zone is never the best."""
    divided = [own for own in figures.values() if own["zones"] > 1]
    best = {
        figure: (max if more else min)(values)
        for figure, (_, _, more) in QUALITY.items()
        if (values := [own[figure] for own in divided if own[figure] == own[figure]])  # not NaN
    }
    marked: list[tuple[Cell, ...]] = []
    for row, own in zip(rows, figures.values(), strict=True):
        bold = [figure in best and own["zones"] > 1 and own[figure] == best[figure] for figure in QUALITY]
        cells = [Text(cell, "bold" if is_best else "") for cell, is_best in zip(row[2:], bold, strict=True)]
        marked.append((*row[:2], *cells))
    return marked


def _options(method: str, count: int | None, cut_at: Sequence[str] | None, file: Path | None) -> dict[str, Any]:
    if method == "cut":
        if count is not None:
            raise ValueError("method 'cut' takes --cut-at, not --count: the cuts determine the number of zones")
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
    for name, part in zip(zone_names(parts), parts, strict=True):
        for bus in sorted(part):
            graph.nodes[bus]["zone"] = name
    return WRITERS[path.suffix.lower()](graph, path)
