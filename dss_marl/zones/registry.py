"""Partition methods by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import networkx as nx

from dss_marl._plugins import imported
from dss_marl.zones.around import around
from dss_marl.zones.clustering import communities, electrical
from dss_marl.zones.cutting import balanced, cut
from dss_marl.zones.mapping_file import mapping
from dss_marl.zones.partition import Partition
from dss_marl.zones.tree_partitions import laterals, phases

METHODS: dict[str, Callable[..., Partition]] = {
    "around": around,
    "balanced": balanced,
    "communities": communities,
    "cut": cut,
    "electrical": electrical,
    "laterals": laterals,
    "mapping": mapping,
    "phases": phases,
}


def partition(graph: nx.Graph, method: str, **options: Any) -> Partition:
    """Apply a partition method by name, or your own as ``package.module:function``.

    Raises:
        ValueError: unknown method, or options that it does not take.

    >>> from dss_marl import read_feeder
    >>> parts = partition(read_feeder("case33").graph(), "balanced", count=3)
    >>> [len(part) for part in parts]
    [12, 9, 12]
    """
    function = METHODS.get(method) or imported(method, "partition method", METHODS)
    try:
        return function(graph, **options)
    except TypeError as error:
        takes = list(inspect.signature(function).parameters)[1:]  # after the graph
        unknown = [repr(name) for name in options if name not in takes]
        why = f"it has no {', '.join(unknown)}, but takes {', '.join(takes) or 'no options'}" if unknown else error
        raise ValueError(f"zones: method {method!r} does not take {options}: {why}") from error
