"""Partition methods by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from typing import Any

import networkx as nx

from dss_marl.zones.clusters import communities, electrical
from dss_marl.zones.cuts import balanced, cut
from dss_marl.zones.parts import Partition
from dss_marl.zones.trees import laterals, phases
from dss_marl.zones.written import mapping

METHODS: dict[str, Callable[..., Partition]] = {
    "balanced": balanced,
    "communities": communities,
    "cut": cut,
    "electrical": electrical,
    "laterals": laterals,
    "mapping": mapping,
    "phases": phases,
}


def partition(graph: nx.Graph, method: str, **options: Any) -> Partition:
    """Apply a partition method by name, or one's own as ``package.module:function``.

    Raises:
        ValueError: unknown method, or options that it does not take.
    """
    function = METHODS.get(method) or imported(method, "partition method", METHODS)
    try:
        return function(graph, **options)
    except TypeError as error:
        raise ValueError(f"zones: method {method!r} does not take {options}: {error}") from error


def imported(name: str, what: str, known: Iterable[str]) -> Any:
    """What ``package.module:function`` names.

    Raises:
        ValueError: not of that form, or nothing there; the message lists the known names.
    """
    module, _, attribute = str(name).partition(":")
    if not attribute:
        raise ValueError(f"unknown {what} {name!r}; known: {', '.join(sorted(known))}, or 'package.module:function'")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{what} {name!r} cannot be imported: {error}") from error
