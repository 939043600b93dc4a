"""Partitions by clustering: electrical distance (scikit-learn) and modularity (networkx)."""

from __future__ import annotations

import networkx as nx
import numpy as np

from dss_marl.grid.state import Array, IntArray
from dss_marl.zones.partition import (
    Partition,
    check_count,
    completed,
    in_pieces,
    live_graph,
    merged_source,
    without_source,
)

DENSE = 400  # up to this many buses the full spectrum is computed


def electrical(graph: nx.Graph, count: int, minimum: int = 3) -> Partition:
    """``count`` connected zones of electrically close buses, by spectral clustering.

    Buses are embedded by the ``count`` slowest modes of the Laplacian of branch admittances, each divided by the square
    root of its eigenvalue, so that squared distance approximates the impedance between two buses [pu], which couples
    their voltages. Ward's method, merging only neighbours, clusters them (scikit-learn's AgglomerativeClustering). A
    source bus with a single neighbour joins that neighbour's zone.

    Args:
        graph: the feeder's.
        count: number of zones.
        minimum: preferred minimum number of buses of a zone; otherwise a single bus behind a transformer, electrically
            far from all others, would form one. Reduced if ``count`` zones of this size are impossible.

    Raises:
        ValueError: ``count`` is not between 1 and the number of buses that can have a zone.

    Source: Klein and Randić, Resistance distance, 1993, doi:10.1007/BF01164627; Ward, 1963,
    doi:10.1080/01621459.1963.10500845.
    """
    live = live_graph(graph)
    body = without_source(live)
    check_count(graph, count, len(body))
    buses = list(body)
    parts = [set(buses)]
    if count > 1:
        children = _ward(body, count) if len(buses) > 2 else np.array([[0, 1]])
        sizes = range(minimum, 0, -1)
        groups = next(found for size in sizes if len(found := _cut_tree(children, len(buses), count, size)) == count)
        parts = [{buses[i] for i in group} for group in groups]
    return completed(graph, merged_source(live, in_pieces(live, parts)))


def _ward(graph: nx.Graph, modes: int) -> IntArray:
    """(B - 1, 2) Ward's merges of the buses, numbered as in scikit-learn: merge i creates cluster B + i."""
    from sklearn.cluster import AgglomerativeClustering

    joined = nx.to_scipy_sparse_array(graph, weight=None, format="csr")
    clustering = AgglomerativeClustering(n_clusters=1, connectivity=joined, linkage="ward", compute_full_tree=True)
    return np.asarray(clustering.fit(electrical_places(graph, modes)).children_)


def _cut_tree(children: IntArray, buses: int, count: int, minimum: int) -> list[list[int]]:
    """Undo the last merges until there are ``count`` clusters of at least ``minimum`` buses; returns these."""
    size = np.ones(buses + len(children), int)
    for i, pair in enumerate(children):
        size[buses + i] = size[pair].sum()
    kept = {buses + len(children) - 1}
    for i in range(len(children) - 1, -1, -1):
        if sum(size[node] >= minimum for node in kept) == count:
            break
        kept = (kept - {buses + i}) | {int(child) for child in children[i]}
    groups = []
    for node in sorted(node for node in kept if size[node] >= minimum):
        leaves, open_nodes = [], [node]
        while open_nodes:
            top = open_nodes.pop()
            leaves += [top] if top < buses else []
            open_nodes += [] if top < buses else children[top - buses].tolist()
        groups.append(leaves)
    return groups


def electrical_places(graph: nx.Graph, modes: int) -> Array:
    """(B, modes) coordinates of the buses; squared distances approximate the impedances between them [pu]."""
    from scipy.sparse.linalg import eigsh

    modes = min(modes, len(graph) - 1)
    laplacian = nx.laplacian_matrix(graph, weight="admittance").astype(float)
    if len(graph) <= DENSE:
        values, vectors = np.linalg.eigh(laplacian.toarray())
    else:
        below = -1e-7 * float(laplacian.diagonal().mean())  # just below the zero mode, where the matrix is singular
        start = np.linspace(-1.0, 1.0, len(graph))  # otherwise eigsh starts at random
        values, vectors = eigsh(laplacian.tocsc(), k=modes + 1, sigma=below, which="LM", v0=start)
        order = np.argsort(values)
        values, vectors = values[order], vectors[:, order]
    return np.asarray(vectors[:, 1 : modes + 1] / np.sqrt(values[1 : modes + 1]))


def communities(graph: nx.Graph, count: int | None = None, resolution: float = 1.0, seed: int = 0) -> Partition:
    """Zones of high modularity on branch admittances: more admittance inside than expected by chance.

    networkx's Louvain method finds them; with a ``count``, its communities are then merged pairwise with the least loss
    of modularity (networkx's greedy method), or first found at a higher resolution if there are too few.

    Args:
        graph: the feeder's.
        count: number of zones; None lets the method decide.
        resolution: values above 1 give smaller zones.
        seed: of the order in which Louvain's method visits the buses.

    Raises:
        ValueError: ``count`` is not between 1 and the number of buses that can have a zone.

    Source: Blondel et al., 2008, doi:10.1088/1742-5468/2008/10/P10008; Clauset, Newman and Moore, 2004,
    doi:10.1103/PhysRevE.70.066111.
    """
    live = live_graph(graph)
    body = without_source(live)
    buses = list(body)
    numbered = nx.Graph()  # sets of integers iterate in the same order in every process, sets of names do not
    numbered.add_nodes_from(range(len(buses)))
    place = {bus: i for i, bus in enumerate(buses)}
    numbered.add_edges_from((place[a], place[b], {"weight": y}) for a, b, y in body.edges(data="admittance"))
    found = nx.community.louvain_communities(numbered, resolution=resolution, seed=seed)
    if count is not None:
        check_count(graph, count, len(body))
        while len(found) < count:
            resolution *= 2
            found = nx.community.louvain_communities(numbered, resolution=resolution, seed=seed)
        found = _joined(numbered, found, count)
    parts = [{buses[i] for i in part} for part in found]
    return completed(graph, merged_source(live, in_pieces(live, parts)))


def _joined(graph: nx.Graph, parts: list[set[int]], count: int) -> list[set[int]]:
    """Merge parts until there are ``count``, in the order of best resulting modularity."""
    if len(parts) <= count:
        return parts
    home = {bus: z for z, part in enumerate(parts) for bus in part}
    coarse = nx.Graph()
    coarse.add_nodes_from(range(len(parts)))
    for a, b, weight in graph.edges(data="weight"):
        z, y = home[a], home[b]
        before = coarse.get_edge_data(z, y, {"weight": 0.0})["weight"]
        coarse.add_edge(z, y, weight=before + weight)
    groups = nx.community.greedy_modularity_communities(coarse, weight="weight", cutoff=count, best_n=count)
    return [set().union(*(parts[z] for z in group)) for group in groups]
