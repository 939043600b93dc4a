"""Power direction through each regulator, for any switch state."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from dss_marl.grid.batch_axes import by_state, check_one_state
from dss_marl.grid.feeder import Branch, Feeder, TapChanger, components
from dss_marl.grid.indexing import contiguous
from dss_marl.grid.state import BoolArray

_MOST_KEPT = 10_000


@dataclass(frozen=True)
class RegulatorDirection:
    """A feeder contracted to blocks that neither switches nor regulators separate; see Topology.

    Attributes:
        joints: pairs of blocks that a switch or a regulator joins, and which: below S a row of Feeder.switches, from S
            on a tap, the first of its branch.
        sources: blocks with a source of the circuit.
        grid_forming_units: row of Feeder.switches to the blocks that the unit feeds.
        from_blocks: (R) the blocks on the side of each tap's regulator that is to be fed.
        movers: (R) what joins the two sides of each tap, as in ``joints``.
        switches: number S.
    """

    joints: tuple[tuple[int, int, int], ...]
    sources: frozenset[int]
    grid_forming_units: dict[int, tuple[int, ...]]
    from_blocks: tuple[frozenset[int], ...]
    movers: tuple[frozenset[int], ...]
    switches: int
    _kept: dict[bytes, BoolArray] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def build(cls, feeder: Feeder) -> RegulatorDirection:
        """Contract a feeder."""
        count = len(feeder.switches)
        first: list[int] = []
        second: list[int] = []
        mover: list[int] = []
        source_side: list[list[int]] = [[] for _ in feeder.taps]
        movers: list[set[int]] = [set() for _ in feeder.taps]
        for branch in feeder.branches:
            one, two = branch.nodes1, branch.nodes2
            if branch.kind in ("transformer", "regulator"):
                one, two = feeder.through_windings(one, two)
            taps = [r for r, row in enumerate(feeder.taps) if _moves(row, branch)]
            for r in taps:
                source_side[r] += branch.nodes1 if branch.bus1 == feeder.taps[r].bus1 else branch.nodes2
                movers[r].add(count + taps[0])
            first += one
            second += two
            mover += [count + taps[0] if taps else branch.switch] * len(one)
        a, b, by = np.array(first, np.int64), np.array(second, np.int64), np.array(mover, np.int64)
        block = components(len(feeder.nodes), a[by < 0], b[by < 0])
        block = np.unique(block, return_inverse=True)[1].reshape(-1)
        moving = zip(block[a[by >= 0]].tolist(), block[b[by >= 0]].tolist(), by[by >= 0].tolist(), strict=True)
        return cls(
            joints=tuple(dict.fromkeys(moving)),
            sources=frozenset(block[feeder.source_nodes].tolist()),
            grid_forming_units={
                int(s): tuple(block[nodes].tolist())
                for s, nodes in zip(feeder.grid_forming_units, feeder.grid_forming_nodes, strict=True)
            },
            from_blocks=tuple(frozenset(block[side].tolist()) for side in source_side),
            movers=tuple(map(frozenset, movers)),
            switches=count,
        )

    @cached_property
    def _deciding(self) -> Any:
        """The switches that decide; steps of capacitor banks do not."""
        rows = {mover for _, _, mover in self.joints if mover < self.switches} | set(self.grid_forming_units)
        return contiguous(np.array(sorted(rows), np.int64))

    def fed_forward(self, closed: BoolArray) -> BoolArray:
        """(..., R) True for taps supplied from their intended side; read-only for one state.

        The others are supplied in reverse, unloaded, or de-energised.

        Args:
            closed: (..., S) states.

        Raises:
            ValueError: the states of other switches.
        """
        return by_state(self._forward_in_one, closed)

    def _forward_in_one(self, closed: BoolArray) -> BoolArray:
        check_one_state(closed, (self.switches,), "RegulatorDirection: closed")
        key = closed[self._deciding].tobytes()
        if key not in self._kept:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            self._kept[key] = np.array([self._is_forward(r, closed.tolist()) for r in range(len(self.from_blocks))])
            self._kept[key].flags.writeable = False
        return self._kept[key]

    def _is_forward(self, tap: int, closed: list[bool]) -> bool:
        """Whether its supply side reaches a source without passing through the regulator itself."""
        ways: dict[int, list[int]] = {}
        for a, b, mover in self.joints:
            if mover not in self.movers[tap] and (mover >= self.switches or closed[mover]):
                ways.setdefault(a, []).append(b)
                ways.setdefault(b, []).append(a)
        sources = set(self.sources).union(*(blocks for s, blocks in self.grid_forming_units.items() if closed[s]))
        seen, ahead = set(self.from_blocks[tap]), list(self.from_blocks[tap])
        while ahead:
            for block in ways.get(ahead.pop(), ()):
                if block not in seen:
                    seen.add(block)
                    ahead.append(block)
        return bool(seen & sources)


def _moves(tap: TapChanger, branch: Branch) -> bool:
    """Whether the tap's winding is at an end of the branch; winding 1 is at that of all of its transformer's."""
    return branch.element == tap.element and tap.bus2 in (branch.bus1, branch.bus2)
