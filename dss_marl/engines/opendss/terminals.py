"""Terminals of the active element: bus, node numbers and node indices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

NOWHERE = -1  # ground, a neutral, or an open conductor


class Terminal(NamedTuple):
    """One terminal of an element: conductor k connects to node ``numbers[k]`` of the bus, with index ``nodes[k]``."""

    bus: str
    numbers: tuple[int, ...]
    nodes: tuple[int, ...]

    @property
    def ends(self) -> dict[int, int]:
        """Node number to index, for the connected conductors."""
        return {p: n for p, n in zip(self.numbers, self.nodes, strict=True) if n != NOWHERE}


def terminals(context: Any, places: Sequence[int]) -> list[Terminal]:
    """The terminals of the active element.

    Args:
        context: with a solved circuit.
        places: (1 + Y) index in the Feeder, or NOWHERE, of each of OpenDSS's node numbers; 0 is ground.
    """
    element = context.CktElement
    order, refs, width = element.NodeOrder(), element.NodeRef(), element.NumConductors()
    result = []
    for k, name in enumerate(element.BusNames()):
        at = slice(k * width, (k + 1) * width)
        nodes = tuple([places[r] for r in refs[at]])
        if element.IsOpen(k + 1, 0):  # any conductor
            nodes = tuple([NOWHERE if element.IsOpen(k + 1, c + 1) else n for c, n in enumerate(nodes)])
        result.append(Terminal(name.split(".", 1)[0].lower(), tuple(order[at]), nodes))
    return result


def activate(context: Any, name: str) -> Any:
    """The element of that name, with its class, as OpenDSS's interface of the active element.

    Raises:
        ValueError: there is none; OpenDSS would go on with the element that was active before.
    """
    if context.Circuit.SetActiveElement(name) < 0:
        raise ValueError(f"OpenDSS has no element {name!r}; please report this, with the circuit")
    return context.CktElement


def is_enabled(context: Any, name: str) -> bool:
    """Whether there is such an element, in service."""
    return context.Circuit.SetActiveElement(name) >= 0 and bool(context.CktElement.Enabled())


def openness(context: Any) -> str:
    """State of the active element: "closed", "open" (all phases of a terminal open), or "partly" open."""
    element = context.CktElement
    state = "closed"
    for k in range(1, element.NumTerminals() + 1):
        if element.IsOpen(k, 0):
            if all(element.IsOpen(k, c) for c in range(1, element.NumPhases() + 1)):
                return "open"
            state = "partly"
    return state


def elements(collection: Any) -> Iterable[str]:
    """Names of the enabled elements of a class; each is active while it is yielded."""
    index = collection.First()
    while index:
        yield collection.Name().lower()
        index = collection.Next()
