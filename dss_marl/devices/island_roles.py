"""IslandRoles: which units of a kind form an island, which follow, and what the grid-forming ones deliver."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import Array, BoolArray, IntArray, Interval, Setpoints, Solution
from dss_marl.grid.topology import FED, FORMED, Topology

UNBALANCE = 1.33  # of a third of the rating: what one phase can carry
SLACK = 1e-4  # of the rating, for the solver's tolerance
_MOST_KEPT = 10_000


@dataclass(frozen=True)
class IslandRoles:
    """The units of one kind that can form an island, among all of the kind.

    An island has one grid-forming unit. Generators choose first, whatever formed the island before; batteries choose
    after them and yield: they form what is then without supply. Within a kind the largest unit goes first.

    Attributes:
        topology: connectivity of the feeder.
        switches: (D) index of each unit in Feeder.switches, -1 if it cannot form an island.
        places: (D) position of each in Solution.grid_forming_kw, or -1.
        blocks: (D) the blocks of Topology that each unit connects to.
        nodes: (D, P) its nodes, repeated where it has fewer than the others.
        order: (D) the units, the first to form an island first.
        others: the blocks of units of other kinds that can form an island.
        able: positions of the units that can form an island.
        yields: whether an island that another kind forms is left to it.
    """

    topology: Topology
    switches: IntArray
    places: IntArray
    blocks: tuple[tuple[int, ...], ...]
    nodes: IntArray
    order: IntArray
    others: tuple[int, ...]
    able: IntArray
    yields: bool
    _known: dict[tuple[bytes, bytes, bytes], tuple[BoolArray, BoolArray]] = field(
        default_factory=dict, repr=False, compare=False
    )

    @classmethod
    def build(cls, feeder: Feeder, rows: Sequence[int] | IntArray, kw: Array, yields: bool = False) -> IslandRoles:
        """Roles of the units at these rows of Feeder.injections, with their ratings (D) [kW]."""
        topology = Topology.build(feeder)
        units = [feeder.injections[int(j)] for j in rows]
        switches = np.array([unit.grid_forming_switch for unit in units], np.int64)
        place = {int(s): g for g, s in enumerate(feeder.grid_forming_units)}
        width = max((len(unit.nodes) for unit in units), default=1)
        rest = set(topology.grid_forming_units) - set(switches.tolist()) - topology.ties
        return cls(
            topology=topology,
            switches=switches,
            places=np.array([place.get(int(s), -1) for s in switches], np.int64),
            blocks=tuple(tuple(topology.block[list(unit.nodes)].tolist()) for unit in units),
            nodes=np.array([(unit.nodes * width)[:width] for unit in units], np.int64).reshape(-1, width),
            order=np.argsort(-kw, kind="stable"),
            others=tuple(sorted({block for s in rest for block in topology.grid_forming_units[s]})),
            able=np.flatnonzero(switches >= 0),
            yields=yields,
        )

    def write(self, runs: BoolArray, setpoints: Setpoints, interval: Interval) -> tuple[BoolArray, BoolArray]:
        """Close the switches of the units that form an island, and open those of the others.

        Args:
            runs: (..., D) which units may deliver.
            setpoints: switches already operated; changed in place.
            interval: the time step, with its faults.

        Returns:
            (..., D) which units are grid-forming, and which are on energised nodes; the latter also where a unit of
            a kind that chooses later can form the island: if it does not, the engine takes the node as de-energised.
        """
        forms, alive = np.zeros(runs.shape, bool), np.zeros(runs.shape, bool)
        own = self.switches[self.able]
        if own.size:
            setpoints.closed[..., own] = False
        for row in np.ndindex(runs.shape[:-1]):
            forms[row], alive[row] = self._of_one(runs[row], setpoints.closed[row], interval.faulted_in(row))
        if own.size:
            setpoints.closed[..., own] = forms[..., self.able]
        return forms, alive

    def _of_one(self, runs: BoolArray, closed: BoolArray, faulted: BoolArray | None) -> tuple[BoolArray, BoolArray]:
        """Likewise (D) of one state, in which none of these units is forming in ``closed`` (S); remembered."""
        key = runs.tobytes(), closed.tobytes(), b"" if faulted is None else faulted.tobytes()
        if key not in self._known:
            if len(self._known) >= _MOST_KEPT:
                self._known.clear()
            self._known[key] = self._found(runs, closed, faulted)
        return self._known[key]

    def _found(self, runs: BoolArray, closed: BoolArray, faulted: BoolArray | None) -> tuple[BoolArray, BoolArray]:
        root, supply = self.topology.parts(closed)
        bad = {root[block] for block in np.flatnonzero(self.topology.faulted(faulted))}
        live = {r for r in root if supply[r] == FED or (self.yields and supply[r] == FORMED)}
        taken = live | bad  # parts that no other unit may form
        forms = np.zeros(len(self.switches), bool)
        for d in self.order:
            own = {root[block] for block in self.blocks[d]}
            if runs[d] and self.switches[d] >= 0 and not own & taken:
                forms[d] = True
                taken |= own
                live |= own
        if not self.yields:
            live |= {root[block] for block in self.others} - bad
        alive = np.array([all(root[block] in live for block in blocks) for blocks in self.blocks], bool)
        return forms, alive

    def fed(self, solution: Solution) -> BoolArray:
        """(..., D) which units are energised on all their phases."""
        return np.asarray(solution.energised[..., self.nodes].all(axis=-1))

    def loaded(self, solution: Solution, kva: Array) -> tuple[Array, BoolArray]:
        """Of the units that can form an island (``able``): output of each [kW], and whether S exceeds their limits.

        Args:
            solution: (...).
            kva: ratings of these units [kVA]; one phase can carry 1.33 times a third.
        """
        kw, kvar = (x[..., self.places[self.able], :] for x in (solution.grid_forming_kw, solution.grid_forming_kvar))
        most, total = kva * (1 + SLACK), kw.sum(axis=-1)
        over = np.hypot(total, kvar.sum(axis=-1)) > most
        over |= np.hypot(kw, kvar).max(axis=-1) > UNBALANCE * most / 3
        return total, over
