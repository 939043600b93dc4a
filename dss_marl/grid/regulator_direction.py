"""Power direction through each regulator, for any switch state."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from dss_marl.grid.batch_axes import by_state, check_one_state
from dss_marl.grid.feeder import Feeder, components
from dss_marl.grid.state import BoolArray

_MOST_KEPT = 10_000


@dataclass(frozen=True)
class RegulatorDirection:
    """A feeder contracted to blocks that neither switches nor regulators separate; see Topology.

    Attributes:
        joints: pairs of blocks that a switch or a regulator connects, and its index: below S a row of Feeder.switches,
            from S on a tap.
        sources: blocks with a source of the circuit.
        grid_forming_units: row of Feeder.switches to the blocks that the unit feeds.
        from_blocks: (R) the blocks on the intended supply side of each tap's regulator.
        switches: number of switches S.
    """

    joints: tuple[tuple[int, int, int], ...]
    sources: frozenset[int]
    grid_forming_units: dict[int, tuple[int, ...]]
    from_blocks: tuple[frozenset[int], ...]
    switches: int
    _kept: dict[bytes, BoolArray] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def build(cls, feeder: Feeder) -> RegulatorDirection:
        """Contract a feeder."""
        count = len(feeder.switches)
        tap_of = {row.name: count + r for r, row in enumerate(feeder.taps)}
        first: list[int] = []
        second: list[int] = []
        mover: list[int] = []
        source_side: dict[str, list[int]] = {}
        for branch in feeder.branches:
            one, two = branch.nodes1, branch.nodes2
            if branch.kind in ("transformer", "regulator"):
                one, two = feeder.through_windings(one, two)
            if branch.name in tap_of:
                other = feeder.taps[tap_of[branch.name] - count].bus1
                source_side[branch.name] = list(branch.nodes1 if branch.bus1 == other else branch.nodes2)
            first += one
            second += two
            mover += [tap_of.get(branch.name, branch.switch if branch.switch >= 0 else -1)] * len(one)
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
            from_blocks=tuple(frozenset(block[source_side[row.name]].tolist()) for row in feeder.taps),
            switches=count,
        )

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
        key = closed.tobytes()
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
            if mover != self.switches + tap and (mover >= self.switches or closed[mover]):
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
