"""Where the active element connects: bus, node numbers and node indices of each of its ends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

NOWHERE = -1  # ground, a neutral, or an open conductor


class Terminal(NamedTuple):
    """One end of an element: conductor k ends at node ``numbers[k]`` of the bus, whose index is ``nodes[k]``."""

    bus: str
    numbers: tuple[int, ...]
    nodes: tuple[int, ...]

    @property
    def ends(self) -> dict[int, int]:
        """Node number to index, of the conductors that end somewhere."""
        return {p: n for p, n in zip(self.numbers, self.nodes, strict=True) if n != NOWHERE}


def terminals(context: Any, places: Sequence[int]) -> list[Terminal]:
    """The active element's ends.

    Args:
        context: in which the circuit has been solved.
        places: (1 + Y) of OpenDSS's own node numbers, 0 being ground, the index in the Feeder, or NOWHERE.
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
    """Of the active element: "closed", "open" (an end has all phases open), or "partly" open."""
    element = context.CktElement
    state = "closed"
    for k in range(1, element.NumTerminals() + 1):
        if element.IsOpen(k, 0):
            if all(element.IsOpen(k, c) for c in range(1, element.NumPhases() + 1)):
                return "open"
            state = "partly"
    return state


def elements(collection: Any) -> Iterable[str]:
    """Names of the enabled elements of a class; each is the active element while it is yielded."""
    index = collection.First()
    while index:
        yield collection.Name().lower()
        index = collection.Next()
