"""Quality measures of a partition that need no power flow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import networkx as nx
import numpy as np

from dss_marl.grid.state import Array, IntArray
from dss_marl.zones.neighbours import named_parts
from dss_marl.zones.partition import Partition, live_graph
from dss_marl.zones.tree_partitions import downstream, outward
from dss_marl.zones.zone import Zone

SAMPLED = 200  # number of buses sampled for electrical distances on larger feeders

# measure: (heading, meaning, True if higher is better)
QUALITY: dict[str, tuple[str, str, bool]] = {
    "modularity": ("modularity", "admittance inside zones in excess of chance; at most 1", True),
    "load_spread": ("load spread", "standard deviation of zone loads over their mean; 0 is balanced", False),
    "boundary_flow": (
        "boundary flow",
        "zone borders crossed by the average kW of load on its path from the source",
        False,
    ),
    "boundary_branches": ("boundary branches", "closed branches between zones", False),
    "cohesion": ("cohesion", "1 - impedance between buses of one zone / of different zones; at most 1", True),
}


def partition_quality(graph: nx.Graph, zones: Sequence[Zone] | Partition, seed: int = 0) -> dict[str, float]:
    """Measures for comparing partitions of one feeder, see ``QUALITY``. De-energised buses do not count.

    ``boundary_flow`` is a radial estimate: a branch carries the load downstream, without losses and reactive power.
    ``cohesion`` compares mean shortest-path impedances [pu] over pairs of buses at the main voltage level of the
    feeder, since the drop in customer transformers would mask all else; above 200 buses, over the pairs with 200 of
    them, sampled with ``seed``.

    Args:
        graph: the feeder's.
        zones: built zones, or a partition.
        seed: for sampling.

    Returns:
        the measures of ``QUALITY``, and ``zones``, their number; NaN where a single zone leaves nothing to compare.
    """
    parts = named_parts(zones)
    live = live_graph(graph)
    home = {bus: z for z, part in enumerate(parts.values()) for bus in part}
    load = [sum(graph.nodes[bus].get("load_kw", 0.0) for bus in sorted(part)) for part in parts.values()]
    borders = [(a, b) for a, b in live.edges if home[a] != home[b]]
    buses, before = outward(live)
    beyond = downstream(buses, before, dict(live.nodes(data="load_kw", default=0.0)))
    passed = sum(beyond[bus] for bus, up in before.items() if home[bus] != home[up])
    return {
        "zones": float(len(parts)),
        "modularity": _modularity(live, home, len(parts)),
        "load_spread": float(np.std(load) / np.mean(load)) if sum(load) else float("nan"),
        "boundary_flow": passed / beyond[buses[0]] if beyond[buses[0]] else float("nan"),
        "boundary_branches": float(sum(len(live.edges[edge].get("branches", "1")) for edge in borders)),
        "cohesion": _cohesion(live, home, seed),
    }


def _modularity(live: nx.Graph, home: dict[str, int], count: int) -> float:
    """Newman's modularity on admittances."""
    inside, ends = np.zeros(count), np.zeros(count)
    for a, b, weight in live.edges(data="admittance"):
        ends[home[a]] += weight
        ends[home[b]] += weight
        inside[home[a]] += weight * (home[a] == home[b])
    whole = ends.sum() / 2
    return float((inside / whole - (ends / (2 * whole)) ** 2).sum()) if whole else float("nan")


def _cohesion(live: nx.Graph, home: dict[str, int], seed: int) -> float:
    buses = list(live)
    zone = np.array([home[bus] for bus in buses])
    level = _main_level(live)
    chosen = np.array([i for i, bus in enumerate(buses) if level in (None, _level(live, bus))])
    others = chosen
    if len(chosen) > SAMPLED:
        chosen = np.sort(np.random.default_rng(seed).choice(chosen, SAMPLED, replace=False))
    impedance = nx.to_scipy_sparse_array(live, nodelist=buses, weight="z_pu", format="csr")
    apart = _dijkstra(impedance, chosen)[:, others]
    same = zone[chosen, None] == zone[others]
    pairs = chosen[:, None] != others
    if same.all() or not (same & pairs).any():
        return float("nan")
    return float(1 - apart[same & pairs].mean() / apart[~same].mean())


def _dijkstra(impedance: Any, start: IntArray) -> Array:
    """(len(start), B) shortest-path impedances from the starting buses to all."""
    from scipy.sparse.csgraph import dijkstra

    return np.asarray(dijkstra(impedance, directed=False, indices=start))


def _level(live: nx.Graph, bus: str) -> float:
    return round(float(live.nodes[bus].get("kv_base", 0.0)), 3)


def _main_level(live: nx.Graph) -> float | None:
    """Base voltage with the greatest line length [kV]; None without lengths."""
    length: Counter[float] = Counter()
    for a, b, km in live.edges(data="length_km", default=0.0):
        if _level(live, a) == _level(live, b):
            length[_level(live, a)] += km
    return max(length, key=length.__getitem__) if sum(length.values()) > 0 else None
