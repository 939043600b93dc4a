"""Partitions by cutting branches: at branches of given kinds, or into zones of equal load."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

import networkx as nx

from dss_marl.grid.feeder import BRANCH_KINDS
from dss_marl.zones.partition import Partition, check_count, closed_graph, completed, listed, live_graph, merged_source


def cut(graph: nx.Graph, kinds: Sequence[str] = ("regulator", "switch"), branches: Sequence[str] = ()) -> Partition:
    """Zones are the connected components after cutting branches of these kinds and these named branches.

    Zones are numbered from the source outward. A source bus cut off alone joins the next zone; buses connected to
    the rest by open branches only belong to the zone across one of these.

    Args:
        graph: the feeder's.
        kinds: kinds of branches to cut: line, switch, transformer, regulator, reactor.
        branches: names of further branches to cut.

    Raises:
        ValueError: a kind or a named branch does not exist, or a lone string where a list is meant.
    """
    kinds, branches = listed("kinds", kinds), listed("branches", branches)
    strange = [kind for kind in kinds if kind not in BRANCH_KINDS]
    if strange:
        close = difflib.get_close_matches(str(strange[0]), BRANCH_KINDS, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ";"
        raise ValueError(f"zones: unknown kind of branch {strange[0]!r}{hint} known: {', '.join(BRANCH_KINDS)}")
    known = {name for _, _, names in graph.edges(data="branches") for name in names}
    full = {name.split(".", 1)[-1]: name for name in known} | {name: name for name in known}
    unknown = [name for name in branches if str(name).lower() not in full]
    if unknown:
        raise ValueError(
            f"zones: branch {unknown[0]!r} does not exist on {graph.name!r}; known: {', '.join(sorted(known))}"
        )
    named = {full[str(name).lower()] for name in branches}
    rest = closed_graph(graph)
    rest.remove_edges_from(
        [(a, b) for a, b, edge in rest.edges(data=True) if edge["kind"] in kinds or named & set(edge["branches"])]
    )
    live = live_graph(graph)
    parts = [part for part in nx.connected_components(rest) if next(iter(part)) in live]
    return completed(graph, merged_source(live, parts))


def balanced(graph: nx.Graph, count: int) -> Partition:
    """``count`` connected zones of similar load, by successively cutting edges of a spanning tree.

    Each cut splits the zone with the highest load into its two most equal parts. Every bus adds a hundredth of the mean
    bus load, so that parts without load are not preferred. Deterministic.

    Args:
        graph: the feeder's.
        count: number of zones.

    Raises:
        ValueError: ``count`` is not between 1 and the number of buses connected to the source.
    """
    live = live_graph(graph)
    check_count(graph, count, len(live))
    load = dict(live.nodes(data="load_kw", default=0.0))
    share = max(sum(load.values()), 1e-9) / len(load) / 100
    weight = {bus: load[bus] + share for bus in load}
    parts = [nx.Graph(nx.minimum_spanning_tree(live, weight=None).edges)] if len(live) > 1 else [live]
    while len(parts) < count:
        parts.sort(key=lambda tree: (-sum(weight[n] for n in tree) * (len(tree) > 1), min(tree)))
        parts += _halves(parts.pop(0), weight)
    return completed(graph, [set(tree) for tree in parts])


def _halves(tree: nx.Graph, weight: Mapping[str, float]) -> list[nx.Graph]:
    """The two parts of a tree after the most balanced cut."""
    root = min(tree)
    below = {n: weight[n] for n in tree}
    parent = {}
    for node, up in reversed(list(nx.bfs_predecessors(tree, root))):
        below[up] += below[node]
        parent[node] = up
    total = below[root]
    child = min(parent, key=lambda n: (abs(total - 2 * below[n]), n))
    tree.remove_edge(child, parent[child])
    return [tree.subgraph(part).copy() for part in nx.connected_components(tree)]
