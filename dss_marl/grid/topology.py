"""Topology processing: connectivity for any switch state, phase by phase, and which switches may close."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from dss_marl.grid.batch_axes import by_state, check_one_state
from dss_marl.grid.feeder import Feeder, components
from dss_marl.grid.indexing import contiguous
from dss_marl.grid.state import BoolArray, IntArray

Pairs = tuple[tuple[int, int], ...]
FORMED, FED = 1, 2  # supply of a part: by a grid-forming unit, or by a source of the circuit
_PHASES = 3
_MOST_KEPT = 10_000  # cached switch states


class Parts(NamedTuple):
    """Connected parts of one switch state; lists, which at this size are faster than arrays.

    Attributes:
        root: (B) the first block of the part that contains each block.
        supply: (B) at the root of a part: 0 if de-energised, FORMED if supplied by grid-forming units only, FED if
            supplied by a source.
    """

    root: list[int]
    supply: list[int]


@dataclass(frozen=True)
class Topology:
    """A feeder contracted to blocks: nodes of one phase that no switch separates. A switch connects pairs of blocks.

    The cost depends on the number of switches, not of buses. Three one-phase regulators in parallel, or the three
    phases of a line, are not a loop.

    Attributes:
        block: (N) the block of each node.
        pairs: (S) the pairs of blocks that each row of Feeder.switches connects; empty if it is not a line.
        sources: blocks of the circuit's own sources.
        grid_forming_units: row of Feeder.switches to the blocks that the unit feeds.
        ties: those of the grid-forming units that are ties to other feeders, as strong as a source.
    """

    block: IntArray
    pairs: tuple[Pairs, ...]
    sources: tuple[int, ...]
    grid_forming_units: dict[int, tuple[int, ...]]
    ties: frozenset[int] = frozenset()
    _parts: dict[bytes, Parts] = field(default_factory=dict, repr=False, compare=False)
    _masks: dict[tuple[bytes, bytes], BoolArray] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def build(cls, feeder: Feeder) -> Topology:
        """Contract a feeder."""
        first, second, switch = feeder.joints
        fixed = switch == len(feeder.switches)
        label = components(len(feeder.nodes), first[fixed], second[fixed])
        block = np.unique(label, return_inverse=True)[1].reshape(-1)
        pairs: list[dict[tuple[int, int], None]] = [{} for _ in feeder.switches]
        for a, b, s in zip(block[first[~fixed]], block[second[~fixed]], switch[~fixed], strict=True):
            pairs[s][int(a), int(b)] = None  # conductors between the same two blocks form no loop
        return cls(
            block=block,
            pairs=tuple(tuple(of_switch) for of_switch in pairs),
            sources=tuple(np.unique(block[feeder.source_nodes]).tolist()),
            grid_forming_units={
                int(s): tuple(block[nodes].tolist())
                for s, nodes in zip(feeder.grid_forming_units, feeder.grid_forming_nodes, strict=True)
            },
            ties=frozenset(row.grid_forming_switch for row in feeder.injections if row.kind == "feeder_tie"),
        )

    @cached_property
    def size(self) -> int:
        """Number of blocks B."""
        return int(self.block.max()) + 1

    @cached_property
    def _deciding(self) -> Any:
        """The rows that decide which parts are connected and supplied; steps of capacitor banks do not."""
        rows = {s for s, _ in self._lines} | set(self.grid_forming_units)
        return contiguous(np.array(sorted(rows), np.int64))

    @cached_property
    def _lines(self) -> list[tuple[int, Pairs]]:
        """The rows that connect blocks, with their pairs."""
        return [(s, pairs) for s, pairs in enumerate(self.pairs) if pairs]

    # --- connectivity of a state -------------------------------------------------------------------------------------

    def labels(self, closed: BoolArray) -> IntArray:
        """(..., B) the first block of the part that contains each block, for switch states (..., S)."""
        return by_state(lambda row: np.array(self.parts(row).root), closed)

    def loops(self, closed: BoolArray) -> IntArray:
        """(...) number of independent loops of closed switches, per phase, de-energised parts included."""
        return by_state(lambda row: np.array(self._count_loops(row)), closed)

    def sourced(self, closed: BoolArray) -> BoolArray:
        """(..., B) which blocks have a path to a source, or to a grid-forming unit that is on."""
        return by_state(lambda row: self._supplied(self.parts(row)), closed)

    def faulted(self, nodes: BoolArray | None) -> BoolArray:
        """(..., B) which blocks hold a faulted node; ``nodes`` (..., N) as in Interval.faulted, (B) for None."""
        return np.zeros(self.size, bool) if nodes is None else by_state(self._blocks_at, nodes)

    def _blocks_at(self, nodes: BoolArray) -> BoolArray:
        blocks = np.zeros(self.size, bool)
        blocks[self.block[nodes]] = True
        return blocks

    def reaches_source(self, nodes: BoolArray) -> BoolArray:
        """(...) whether any of the nodes (..., N) is connected to a source without a switch in between."""
        return np.asarray(self.faulted(nodes)[..., list(self.sources)].any(axis=-1))

    def isolated(self, closed: BoolArray, nodes: BoolArray) -> BoolArray:
        """Switch states after protection has opened every line switch at a faulted block.

        Args:
            closed: (..., S) states before.
            nodes: (..., N) faulted nodes, as in Interval.faulted.

        Returns:
            (..., S).

        Raises:
            ValueError: no switch can isolate the fault from a source.
        """
        return by_state(self._isolated_in_one, closed, nodes)

    def _isolated_in_one(self, closed: BoolArray, nodes: BoolArray) -> BoolArray:
        bad = set(self.block[nodes].tolist())
        if self.reaches_source(nodes):
            raise ValueError(
                "no switch can isolate the fault from the source; choose another branch, or add a switchable line"
            )
        around = [s for s, pairs in self._lines if any(block in bad for pair in pairs for block in pair)]
        after = closed.copy()
        after[around] = False
        return after

    def parts(self, closed: BoolArray) -> Parts:
        """Connected parts of one state (S); cached, so not to be modified.

        Raises:
            ValueError: several states, or those of other switches.
        """
        check_one_state(closed, (len(self.pairs),), "Topology: closed")
        key = closed[self._deciding].tobytes()
        if key not in self._parts:
            if len(self._parts) >= _MOST_KEPT:
                self._parts.clear()
            self._parts[key] = self._joined(closed.tolist())
        return self._parts[key]

    def _joined(self, closed: list[bool]) -> Parts:
        root = list(range(self.size))
        for s, pairs in self._lines:
            if closed[s]:
                for a, b in pairs:
                    while root[a] != a:
                        a = root[a]
                    while root[b] != b:
                        b = root[b]
                    if a < b:  # attach the higher root to the lower
                        root[b] = a
                    else:
                        root[a] = b
        for block, above in enumerate(root):  # parents come first, so their roots are final
            root[block] = root[above]
        supply = [0] * len(root)
        for s, blocks in self.grid_forming_units.items():
            if closed[s]:
                for block in blocks:
                    supply[root[block]] = FORMED
        fed = [block for s in self.ties if closed[s] for block in self.grid_forming_units[s]]
        for block in (*fed, *self.sources):
            supply[root[block]] = FED
        return Parts(root, supply)

    def _count_loops(self, closed: BoolArray) -> int:
        """Number of closed connections beyond those of a spanning forest."""
        joints = sum(len(pairs) for s, pairs in self._lines if closed[s])
        return joints - self.size + len(set(self.parts(closed).root))

    def _supplied(self, parts: Parts) -> BoolArray:
        return np.array(parts.supply)[parts.root] > 0

    # --- interlock ---------------------------------------------------------------------------------------------------

    def may_close(self, closed: BoolArray, faulted: BoolArray | None = None) -> BoolArray:
        """Which switches may close, each on its own, with the others as they are.

        On every phase that it connects, a closing must form no loop, put no two sources in parallel, and connect no
        energised part to a fault. An island supplied by grid-forming units may be connected to a source, or to another
        such island, on all three phases at once: its units then become grid-following, see devices.Generators.

        Args:
            closed: (..., S) states.
            faulted: (..., N) as in Interval.faulted.

        Returns:
            (..., S), read-only for one state; True where a switch is closed already, and for capacitor steps.
        """
        return by_state(self._mask, closed, faulted)

    def _mask(self, closed: BoolArray, faulted: BoolArray | None) -> BoolArray:
        """(S) of one state; remembered."""
        key = closed[self._deciding].tobytes(), b"" if faulted is None else faulted.tobytes()
        if key not in self._masks:
            if len(self._masks) >= _MOST_KEPT:
                self._masks.clear()
            parts = self.parts(closed)
            bad = self._faulted_roots(parts, faulted)
            mask, states = np.ones(len(self.pairs), bool), closed.tolist()
            refused = [s for s, _ in self._lines if not states[s] and not self._closable(s, parts, bad)]
            if refused:
                mask[refused] = False
            mask.flags.writeable = False
            self._masks[key] = mask
        return self._masks[key]

    def _faulted_roots(self, parts: Parts, faulted: BoolArray | None) -> set[int]:
        return set() if faulted is None else {parts.root[block] for block in self.block[faulted].tolist()}

    def _closable(self, switch: int, parts: Parts, bad: set[int]) -> bool:
        """Whether one open switch may close; ``bad`` are the roots of faulted parts."""
        root, supply = parts
        meetings = 0  # phases that join two supplied parts, one of them by a grid-forming unit
        for a, b in self.pairs[switch]:
            a, b = root[a], root[b]
            if a == b:
                return False
            one, two = supply[a], supply[b]
            if one and two:
                if one == two == FED:
                    return False
                meetings += 1
            if bad and (one or two) and (a in bad or b in bad):
                return False
        return not meetings or meetings == len(self.pairs[switch]) == _PHASES

    def may_supply(self, closed: BoolArray, tie: int, faulted: BoolArray | None = None) -> BoolArray:
        """Whether a tie to another feeder may close: not onto a part that a feeder supplies, nor onto a fault.

        Args:
            closed: (..., S) states.
            tie: its row in Feeder.switches.
            faulted: (..., N) as in Interval.faulted.

        Returns:
            (...).
        """
        return by_state(lambda row, bad: np.array(self._may_supply(row, tie, bad)), closed, faulted)

    def _may_supply(self, closed: BoolArray, tie: int, faulted: BoolArray | None) -> bool:
        if closed[tie]:
            return True
        parts = self.parts(closed)
        roots = {parts.root[block] for block in self.grid_forming_units[tie]}
        return not any(parts.supply[root] == FED for root in roots) and not roots & self._faulted_roots(parts, faulted)

    def resolve(
        self,
        closed: BoolArray,
        switches: Sequence[int] | IntArray,
        requests: IntArray,
        faulted: BoolArray | None = None,
        first: int | IntArray = 0,
    ) -> tuple[BoolArray, BoolArray]:
        """Apply requests one at a time, each checked against the state left by those before it; openings come first.

        So one switch can open and another close in its place within one interval. Two closings that are feasible
        individually may form a loop together; the first one wins, so the order should rotate from step to step.

        Args:
            closed: (..., S) states before.
            switches: (D) rows of Feeder.switches that the requests refer to.
            requests: (..., D) above 0 to close, below 0 to open, 0 for no change.
            faulted: (..., N) as in Interval.faulted.
            first: (...) index of the closing that comes first; the others follow in cyclic order.

        Returns:
            the new states (..., S), and (..., D) which requests were refused.
        """
        rows = np.asarray(switches, np.int64)
        both = by_state(
            lambda states, wanted, bad, turn: np.concatenate(
                self._resolve_in_one(states, rows, wanted, bad, int(turn[0]))
            ),
            closed,
            requests,
            faulted,
            np.asarray(first)[..., None],
        )
        return both[..., : len(self.pairs)], both[..., len(self.pairs) :]

    def _resolve_in_one(
        self, closed: BoolArray, switches: IntArray, requests: IntArray, faulted: BoolArray | None, first: int
    ) -> tuple[BoolArray, BoolArray]:
        closed, refused = closed.copy(), np.zeros(len(requests), bool)
        closed[switches[requests < 0]] = False
        closings = np.flatnonzero(requests > 0)
        for d in np.roll(closings, -int(np.searchsorted(closings, first))):
            switch = int(switches[d])
            if not closed[switch]:
                parts = self.parts(closed)
                if not self._closable(switch, parts, self._faulted_roots(parts, faulted)):
                    refused[d] = True
                    continue
                closed[switch] = True
        return closed, refused
