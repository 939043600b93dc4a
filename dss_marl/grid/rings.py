"""Branch exchange: one switch closes while another one on the same ring opens, so that the feeder stays radial."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from dss_marl.grid.batch_axes import check_one_state
from dss_marl.grid.state import BoolArray
from dss_marl.grid.topology import Topology

_MOST_KEPT = 10_000  # cached switch states
SwitchRings = dict[int, frozenset[int]]  # open switch -> closed ones


@dataclass(frozen=True)
class Rings:
    """The rings that open switches would close, and the exchanges they allow.

    Attributes:
        topology: connectivity of the feeder.
    """

    topology: Topology
    _known: dict[bytes, SwitchRings] = field(default_factory=dict, repr=False, compare=False)

    def of_open_switches(self, closed: BoolArray) -> SwitchRings:
        """For each open switch, the closed switches that may open when it closes: those that open all its conductors.

        Every block then stays supplied and no loop remains. A switch that closes no ring, such as one to a de-energised
        part, has none; nor has any switch while the feeder has loops.

        Args:
            closed: (S) states; one state alone, since rings are no array.

        Raises:
            ValueError: several states, or those of other switches.
        """
        check_one_state(closed, (len(self.topology.pairs),), "Rings: closed")
        key = closed.tobytes()
        if key not in self._known:
            if len(self._known) >= _MOST_KEPT:
                self._known.clear()
            self._known[key] = self._found(closed)
        return self._known[key]

    def _found(self, closed: BoolArray) -> SwitchRings:
        topology = self.topology
        lines = [s for s, pairs in enumerate(topology.pairs) if pairs]
        if topology.loops(closed):
            return {s: frozenset() for s in lines if not closed[s]}
        above, by, depth = self._hung(closed, lines)
        rings: SwitchRings = {}
        for s in lines:
            if closed[s]:
                continue
            common: set[int] | None = None
            for a, b in topology.pairs[s]:
                path = _path(a, b, above, by, depth)
                common = path if common is None else common & path
            width = len(topology.pairs[s])
            rings[s] = frozenset(t for t in common or () if len(topology.pairs[t]) == width)
        return rings

    def _hung(self, closed: BoolArray, lines: Sequence[int]) -> tuple[list[int], list[int], list[int]]:
        """Every connected part as a tree: parent of each block (-1 at the root), the switch to it, and the depth."""
        size = self.topology.size
        beside: list[list[tuple[int, int]]] = [[] for _ in range(size)]
        for s in lines:
            if closed[s]:
                for a, b in self.topology.pairs[s]:
                    beside[a].append((b, s))
                    beside[b].append((a, s))
        above, by, depth = [-1] * size, [-1] * size, [-1] * size
        for top in range(size):
            if depth[top] >= 0:
                continue
            depth[top], waiting = 0, deque([top])
            while waiting:
                block = waiting.popleft()
                for other, s in beside[block]:
                    if depth[other] < 0:
                        above[other], by[other], depth[other] = block, s, depth[block] + 1
                        waiting.append(other)
        return above, by, depth

    def together(
        self, closed: BoolArray, closing: Sequence[int], opening: Sequence[int], first: int = 0
    ) -> tuple[BoolArray, BoolArray]:
        """Apply several exchanges at once.

        All are made if together they keep every block supplied and form no loop. Otherwise they are applied one at a
        time, in rounds, each checked against the state left by those before it.

        Args:
            closed: (S) states before; one state alone, since each has exchanges of its own.
            closing: the open switch of each exchange.
            opening: the closed switch to open instead.
            first: index of the exchange that is tried first; the others follow in cyclic order.

        Returns:
            the new states (S), and which exchanges were refused.

        Raises:
            ValueError: several states, or those of other switches.
        """
        check_one_state(closed, (len(self.topology.pairs),), "Rings: closed")
        after = closed.copy()
        after[list(opening)] = False
        after[list(closing)] = True
        if len(set(opening)) == len(opening) and self._as_well_fed(closed, after):
            return after, np.zeros(len(closing), bool)
        after, waiting = closed.copy(), [*range(first, len(closing)), *range(first)]
        done = True
        while done:
            done = False
            for k in list(waiting):
                if opening[k] in self.of_open_switches(after)[closing[k]]:
                    after[opening[k]], after[closing[k]] = False, True
                    waiting.remove(k)
                    done = True
        refused = np.zeros(len(closing), bool)
        refused[waiting] = True
        return after, refused

    def _as_well_fed(self, before: BoolArray, after: BoolArray) -> bool:
        """Whether each block is supplied as before, by one source, without loops."""
        topology = self.topology
        one, two = topology.parts(before), topology.parts(after)
        if topology.loops(after) or len(set(one.root)) != len(set(two.root)):
            return False
        if any(one.supply[a] != two.supply[b] for a, b in zip(one.root, two.root, strict=True)):
            return False
        fed = [
            *topology.sources,
            *(b for s, blocks in topology.grid_forming_units.items() if before[s] for b in blocks),
        ]
        return len({one.root[b] for b in fed}) == len({two.root[b] for b in fed})


def _path(a: int, b: int, above: Sequence[int], by: Sequence[int], depth: Sequence[int]) -> set[int]:
    """The switches on the path between two blocks; empty if they are not connected."""
    path: set[int] = set()
    while a != b:
        if depth[a] < depth[b]:
            a, b = b, a
        if above[a] < 0:
            return set()
        path.add(by[a])
        a = above[a]
    return path
