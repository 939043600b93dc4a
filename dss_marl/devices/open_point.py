"""Open points of a meshed feeder operated radially; each may move along the ring that it opens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from pydantic import ConfigDict, Field

from dss_marl.devices.base import DeviceGroup, DeviceSpec, Goal, unique_names
from dss_marl.devices.switch import TieSpec
from dss_marl.grid.feeder import AddedSwitch, Feeder, find
from dss_marl.grid.rings import Rings
from dss_marl.grid.state import Array, BoolArray, IntArray, Interval, Setpoints
from dss_marl.grid.topology import Topology


class OpenPointSpec(DeviceSpec):
    """Possible open points: switches by name, or all of them; other lines; and new normally open ties.

    Each one that is initially open is a device.
    """

    model_config = ConfigDict(coerce_numbers_to_str=True)

    names: tuple[str, ...] | Literal["all"] = Field(default="all", description="all includes lines and ties")
    lines: tuple[str, ...] = Field(default=(), description="lines made switchable, with their impedance")
    ties: tuple[TieSpec, ...] = Field(default=(), description="ties to add, normally open")

    @property
    def added(self) -> list[AddedSwitch]:
        """Lines and ties to add as switches."""
        ties = [AddedSwitch(tie.name, tie.bus1, tie.bus2, tie.phases, tie.amps) for tie in self.ties]
        return [*map(AddedSwitch, self.lines), *ties]


@dataclass(frozen=True)
class OpenPoints(DeviceGroup):
    """Open points, one per ring. The action selects the switch to open.

    A move is a branch exchange in one interval: the open switch closes and another one on its ring opens. So the feeder
    stays radial and fully supplied for any request; see Rings. Moves that are feasible individually may be refused
    together: all are made if every block stays supplied, otherwise they are applied one at a time, in an order that
    rotates with the step; refused ones count as limited.
    Device state: index of the open switch; if that one is closed, as after a fault, another open one replaces it.

    Attributes:
        switches: (D, W) index of each possible switch in Feeder.switches; the same ones for all.
        home: (D) number of the initially open switch.
        place_names: (W) the switches' names.
        exchanges: the feasible exchanges.
    """

    switches: IntArray
    home: IntArray
    place_names: tuple[str, ...]
    exchanges: Rings

    action_labels: ClassVar[tuple[str, ...]] = ("switch to open",)
    state_size: ClassVar[int] = 1
    coupled: ClassVar[bool] = True
    Spec: ClassVar[type[DeviceSpec]] = OpenPointSpec

    @property
    def places(self) -> IntArray:
        """(W) index of each possible switch in Feeder.switches."""
        return self.switches[0]

    @property
    def telemetry_labels(self) -> tuple[str, ...]:  # type: ignore[override]
        """One entry per switch: 1 for the open one."""
        return tuple(f"open at {name} [0 or 1]" for name in self.place_names)

    def n_levels(self) -> IntArray:
        """See DeviceGroup.n_levels: one per switch."""
        return np.full((self.size, 1), len(self.places), np.int64)

    def initial(self) -> Array:
        """See DeviceGroup.initial: at home."""
        return self.home[:, None].astype(float)

    def default_action(self) -> Array:
        """See DeviceGroup.default_action: at home."""
        return self.request(self.home)

    def request(self, place: IntArray) -> Array:
        """(..., D, 1) the action that requests these (..., D) switches."""
        return (2 * place / (len(self.places) - 1) - 1)[..., None]

    def targets(self, action: Array) -> IntArray:
        """(..., D) the switches that (..., D, 1) actions request."""
        return np.rint((action[..., 0] + 1) / 2 * (len(self.places) - 1)).astype(np.int64)

    def here(self, state: Array, closed: BoolArray) -> IntArray:
        """(..., D) number of the open switch of each device; -1 if fewer switches are open than there are devices.

        Args:
            state: (..., D, 1) device state.
            closed: (..., S) switch states.
        """
        kept = state[..., 0].astype(np.int64)
        is_open = ~closed[..., self.places]
        if np.take_along_axis(is_open, kept, -1).all():
            return kept
        result = np.empty_like(kept)
        for row in np.ndindex(kept.shape[:-1]):
            own = [int(place) if is_open[row][place] else -1 for place in kept[row]]
            free = [int(place) for place in np.flatnonzero(is_open[row]) if place not in own]
            result[row] = [free.pop(0) if place < 0 and free else place for place in own]
        return result

    def act(self, action: Array, state: Array, setpoints: Setpoints, interval: Interval) -> tuple[Array, IntArray]:
        """See DeviceGroup.act."""
        here, goal = self.here(state, setpoints.closed), self.targets(action)
        refused = np.zeros(here.shape, np.int64)
        for row in np.ndindex(here.shape[:-1]):
            requested = np.flatnonzero(goal[row] != np.where(here[row] < 0, state[row][:, 0], here[row]))
            if not requested.size:
                continue
            allowed = self._allowed(here[row], setpoints.closed[row], state[row])
            able = [d for d in requested if allowed[d, goal[row][d]]]
            refused[row][[d for d in requested if d not in able]] = 1
            if not able:
                continue
            first = int(np.searchsorted(able, interval.step_in(row) % self.size)) % len(able)
            closing, opening = self.places[here[row][able]], self.places[goal[row][able]]
            after, failed = self.exchanges.together(setpoints.closed[row], closing.tolist(), opening.tolist(), first)
            setpoints.closed[row] = after
            moved = np.array(able)[~failed]
            here[row][moved] = goal[row][moved]
            refused[row][np.array(able)[failed]] = 1
        kept = np.where(here < 0, state[..., 0], here)
        return kept[..., None].astype(float), refused

    def _allowed(self, here: IntArray, closed: BoolArray, state: Array) -> BoolArray:
        """(D, W) the switches that each may open next, for one state: its present one, and those on its ring."""
        allowed = np.zeros((self.size, len(self.places)), bool)
        rings, places = self.exchanges.of_open_switches(closed), self.places.tolist()
        for d, place in enumerate(here.tolist()):
            if place >= 0:
                ring = rings[places[place]]
                allowed[d] = [s in ring for s in places]
            allowed[d, place if place >= 0 else int(state[d, 0])] = True
        return allowed

    def hold_action(self, state: Array, setpoints: Setpoints, interval: Interval) -> Array:
        """See DeviceGroup.hold_action."""
        here = self.here(state, setpoints.closed)
        return self.request(np.where(here < 0, state[..., 0].astype(np.int64), here))

    def feasible(self, action: Array, state: Array, setpoints: Setpoints, interval: Interval) -> BoolArray:
        """See DeviceGroup.feasible."""
        here, goal = self.here(state, setpoints.closed), self.targets(action)
        result = np.zeros(goal.shape, bool)
        tried = goal.ndim - here.ndim
        for row in np.ndindex(here.shape[:-1]):
            allowed = self._allowed(here[row], setpoints.closed[row], state[row])
            place = (slice(None),) * tried + row
            result[place] = allowed[np.arange(self.size), goal[place]]
        return result[..., None]

    def action_towards(self, goal: Goal, state: Array, setpoints: Setpoints, interval: Interval) -> Array:
        """See DeviceGroup.action_towards.

        What counts is which switches are open, not which device opens them: a device that is at one of the goal's
        stays. The others go to one that is still closed, to their own by preference; their ring has one of these.
        """
        here, wanted = self.here(state, setpoints.closed), self.here(goal.state, goal.setpoints.closed)
        places = np.where(here < 0, state[..., 0].astype(np.int64), here)
        for row in np.ndindex(here.shape[:-1]):
            allowed = self._allowed(here[row], setpoints.closed[row], state[row])
            left = [place for place in wanted[row].tolist() if place >= 0 and place not in here[row]]
            for d in np.flatnonzero(~np.isin(here[row], wanted[row])).tolist():
                own = [place for place in left if allowed[d, place]]
                if own:
                    preferred = int(wanted[row][d])
                    places[row][d] = preferred if preferred in own else own[0]
                    left.remove(int(places[row][d]))
        return self.request(places)

    def telemetry(self, state: Array, setpoints: Setpoints, interval: Interval) -> Array:
        """See DeviceGroup.telemetry."""
        here = self.here(state, setpoints.closed)
        return np.where(here[..., None] < 0, 0.0, here[..., None] == np.arange(len(self.places))).astype(float)

    def check_start(self, start: Setpoints) -> None:
        """See DeviceGroup.check_start."""
        if start.closed[self.places[self.home]].any() or self.exchanges.topology.loops(start.closed):
            raise ValueError(
                "open points start at the circuit's own open switches; change these with "
                "feeder: {commands: [...]}, not with feeder: {closed: ...}"
            )

    @classmethod
    def added_switches(cls, specs: Sequence[OpenPointSpec]) -> list[AddedSwitch]:
        """See DeviceGroup.added_switches."""
        return [row for spec in specs for row in spec.added]

    @classmethod
    def build(cls, specs: Sequence[OpenPointSpec], feeder: Feeder) -> OpenPoints:
        """See DeviceGroup.build."""
        lines = [row for row in feeder.switches if row.kind == "switch"]
        index = {row.name: s for s, row in enumerate(feeder.switches)}
        exchanges = Rings(Topology.build(feeder))
        rings = exchanges.of_open_switches(feeder.setpoints().closed)
        useful = {s for s, ring in rings.items() if ring} | {s for ring in rings.values() for s in ring}
        rows: list[int] = []
        for spec in specs:
            wanted = [*spec.names, *(row.name for row in spec.added)] if spec.names != "all" else []
            listed = [*wanted, *spec.lines, *(tie.name for tie in spec.ties)]
            named = dict.fromkeys(index[lines[find(lines, name, "switch", feeder.name)].name] for name in listed)
            for s in named:
                if s not in useful:
                    raise ValueError(
                        f"{feeder.switches[s].name} of feeder {feeder.name!r} is on no ring closed by a single open "
                        "switch, so it cannot be an open point; remove it"
                    )
            act_every = [index[row.name] for row in lines] if spec.names == "all" else []
            rows += [s for s in [*act_every, *named] if s in useful]
        rows = sorted(set(rows))
        homes = [k for k, s in enumerate(rows) if not feeder.switches[s].closed]
        if not homes:
            raise ValueError(f"feeder {feeder.name!r} has no open switch that closes a ring; add ties")
        found = [feeder.switches[rows[k]] for k in homes]
        return cls(
            names=unique_names([row.name.split(".", 1)[1] for row in found], "open point"),
            buses=tuple(row.bus for row in found),
            switches=np.tile(np.array(rows, dtype=np.int64), (len(homes), 1)),
            home=np.array(homes, dtype=np.int64),
            place_names=tuple(feeder.switches[s].name.split(".", 1)[1] for s in rows),
            exchanges=exchanges,
        )
