"""Comparison of all partition methods on one feeder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import networkx as nx

from dss_marl.zones.partition import Partition
from dss_marl.zones.registry import METHODS, partition

OF_COUNT = ("electrical", "balanced", "communities", "laterals")  # methods that take a number of zones


def survey(
    graph: nx.Graph, count: int, cut_at: Mapping[str, Sequence[str]] | None = None
) -> tuple[dict[str, Partition], dict[str, str]]:
    """Partitions of a feeder by every method, and the reasons why some methods fail.

    Methods that cannot give ``count`` zones choose the number themselves.

    Args:
        graph: the feeder's, with ``load_phases``; see ``feeder_graph``.
        count: number of zones, for methods that accept it.
        cut_at: options of ``cut``.

    Returns:
        method to partition; method to its error message.
    """
    found: dict[str, Partition] = {}
    refused: dict[str, str] = {}
    for method in (*OF_COUNT, *sorted(set(METHODS) - {*OF_COUNT, "mapping"})):
        options: dict[str, Any] = (
            {"count": count} if method in OF_COUNT else dict(cut_at or {}) if method == "cut" else {}
        )
        tries: list[Callable[[], Partition]] = [partial(partition, graph, method, **options)]
        if method in ("communities", "laterals"):
            tries.append(partial(partition, graph, method))
        for attempt in tries:
            try:
                found[method] = attempt()
                break
            except ValueError as error:
                refused[method] = str(error).removeprefix("zones: ")
    return found, {method: said for method, said in refused.items() if method not in found}
