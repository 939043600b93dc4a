"""Open points: where the rings of a feeder are open; each may move along the ring that closing it would make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from pydantic import ConfigDict, Field

from dss_marl.devices.base import DeviceGroup, DeviceSpec, unique_names
from dss_marl.devices.switch import TieSpec
from dss_marl.grid.feeder import AddedSwitch, Feeder, find
from dss_marl.grid.rings import Rings
from dss_marl.grid.state import Array, BoolArray, IntArray, Interval, Setpoints
from dss_marl.grid.topology import Topology


class OpenPointSpec(DeviceSpec):
    """The places where rings may be open: switches by name, or all of them; other lines; and new ties, open at first.

    Each of them that is open at first is a device.
    """

    model_config = ConfigDict(coerce_numbers_to_str=True)

    names: tuple[str, ...] | Literal["all"] = Field(default="all", description="all counts the lines and ties in")
    lines: tuple[str, ...] = Field(default=(), description="lines that become switches, at their own impedance")
    ties: tuple[TieSpec, ...] = ()

    @property
    def added(self) -> list[AddedSwitch]:
        """What the circuit needs for it."""
        ties = [AddedSwitch(tie.name, tie.bus1, tie.bus2, tie.phases, tie.amps) for tie in self.ties]
        return [*map(AddedSwitch, self.lines), *ties]


@dataclass(frozen=True)
class OpenPoints(DeviceGroup):
    """Open points, one for each ring. An action says which of the places shall be open, by its position.

    A move is an exchange in one interval: the place closes, and another on the ring that this makes opens. So the
    feeder stays radial, and all stays fed, whatever is asked; see Exchanges. A move that is legal by itself may be
    refused together with others: all are made if that leaves every block its supply, else they are taken one by one,
    the first being another device's in every step, and ``limited`` counts those refused.
    Memory: the place that is open; where that is closed, as after a fault, another open one stands in.

    Attributes:
        switches: (D, W) index of each place in the Feeder's switches; the same places for all.
        home: (D) number of the place that is open at first.
        place_names: (W) the switches' names.
        exchanges: what may be exchanged.
    """

    switches: IntArray
    home: IntArray
    place_names: tuple[str, ...]
    exchanges: Rings

    action_labels: ClassVar[tuple[str, ...]] = ("the place that shall be open",)
    state_size: ClassVar[int] = 1
    coupled: ClassVar[bool] = True
    Spec: ClassVar[type[DeviceSpec]] = OpenPointSpec

    @property
    def places(self) -> IntArray:
        """(W) index of each place in the Feeder's switches."""
        return self.switches[0]

    @property
    def telemetry_labels(self) -> tuple[str, ...]:  # type: ignore[override]
        """A place each: 1 for the one that is open."""
        return tuple(f"open at {name}, 0 or 1" for name in self.place_names)

    def n_levels(self) -> IntArray:
        """See DeviceGroup.levels: the places."""
        return np.full((self.size, 1), len(self.places), np.int64)

    def initial(self) -> Array:
        """See DeviceGroup.initial: at home."""
        return self.home[:, None].astype(float)

    def default_action(self) -> Array:
        """See DeviceGroup.neutral: at home."""
        return self.request(self.home)

    def request(self, place: IntArray) -> Array:
        """(..., D, 1) the action that asks for these (..., D) places."""
        return (2 * place / (len(self.places) - 1) - 1)[..., None]

    def asked(self, action: Array) -> IntArray:
        """(..., D) the places that (..., D, 1) actions ask for."""
        return np.rint((action[..., 0] + 1) / 2 * (len(self.places) - 1)).astype(np.int64)

    def here(self, state: Array, closed: BoolArray) -> IntArray:
        """(..., D) the place where each is open; -1 where fewer places are open than there are devices.

        Args:
            memory: (..., D, 1).
            closed: (..., S) states.
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
        here, goal = self.here(state, setpoints.closed), self.asked(action)
        refused = np.zeros(here.shape, np.int64)
        for row in np.ndindex(here.shape[:-1]):
            asked = np.flatnonzero(goal[row] != np.where(here[row] < 0, state[row][:, 0], here[row]))
            if not asked.size:
                continue
            allowed = self._allowed(here[row], setpoints.closed[row], state[row])
            able = [d for d in asked if allowed[d, goal[row][d]]]
            refused[row][[d for d in asked if d not in able]] = 1
            if not able:
                continue
            first = int(np.searchsorted(able, interval.step % self.size)) % len(able)
            closing, opening = self.places[here[row][able]], self.places[goal[row][able]]
            after, failed = self.exchanges.together(setpoints.closed[row], closing.tolist(), opening.tolist(), first)
            setpoints.closed[row] = after
            moved = np.array(able)[~failed]
            here[row][moved] = goal[row][moved]
            refused[row][np.array(able)[failed]] = 1
        kept = np.where(here < 0, state[..., 0], here)
        return kept[..., None].astype(float), refused

    def _allowed(self, here: IntArray, closed: BoolArray, state: Array) -> BoolArray:
        """(D, W) the places where each of one state may be open next: where it is, and along its ring."""
        allowed = np.zeros((self.size, len(self.places)), bool)
        rings, places = self.exchanges.of_open_switches(closed), self.places.tolist()
        for d, place in enumerate(here.tolist()):
            if place >= 0:
                ring = rings[places[place]]
                allowed[d] = [s in ring for s in places]
            allowed[d, place if place >= 0 else int(state[d, 0])] = True
        return allowed

    def hold_action(self, state: Array, setpoints: Setpoints, interval: Interval) -> Array:
        """See DeviceGroup.present."""
        here = self.here(state, setpoints.closed)
        return self.request(np.where(here < 0, state[..., 0].astype(np.int64), here))

    def feasible(self, action: Array, state: Array, setpoints: Setpoints, interval: Interval) -> BoolArray:
        """See DeviceGroup.legal."""
        here, goal = self.here(state, setpoints.closed), self.asked(action)
        result = np.zeros(goal.shape, bool)
        tried = goal.ndim - here.ndim
        for row in np.ndindex(here.shape[:-1]):
            allowed = self._allowed(here[row], setpoints.closed[row], state[row])
            place = (slice(None),) * tried + row
            result[place] = allowed[np.arange(self.size), goal[place]]
        return result[..., None]

    def telemetry(self, state: Array, setpoints: Setpoints, interval: Interval) -> Array:
        """See DeviceGroup.readings."""
        here = self.here(state, setpoints.closed)
        return np.where(here[..., None] < 0, 0.0, here[..., None] == np.arange(len(self.places))).astype(float)

    def check_start(self, start: Setpoints) -> None:
        """See DeviceGroup.check_start."""
        if start.closed[self.places[self.home]].any() or self.exchanges.topology.loops(start.closed):
            raise ValueError(
                "open points begin where the circuit's own switches are open; open and close others by "
                "feeder: {commands: [...]}, not by feeder: {closed: ...}"
            )

    @classmethod
    def added_switches(cls, specs: Sequence[OpenPointSpec]) -> list[AddedSwitch]:
        """See DeviceGroup.new_switches."""
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
            asked = [*wanted, *spec.lines, *(tie.name for tie in spec.ties)]
            named = dict.fromkeys(index[lines[find(lines, name, "switch", feeder.name)].name] for name in asked)
            for s in named:
                if s not in useful:
                    raise ValueError(
                        f"{feeder.switches[s].name} of feeder {feeder.name!r} lies on no ring that one open switch "
                        "closes, so no open point can be there; leave it out"
                    )
            act_every = [index[row.name] for row in lines] if spec.names == "all" else []
            rows += [s for s in [*act_every, *named] if s in useful]
        rows = sorted(set(rows))
        homes = [k for k, s in enumerate(rows) if not feeder.switches[s].closed]
        if not homes:
            raise ValueError(f"feeder {feeder.name!r} has no open switch that would close a ring; add ties")
        found = [feeder.switches[rows[k]] for k in homes]
        return cls(
            names=unique_names([row.name.split(".", 1)[1] for row in found], "open point"),
            buses=tuple(row.bus for row in found),
            switches=np.tile(np.array(rows, dtype=np.int64), (len(homes), 1)),
            home=np.array(homes, dtype=np.int64),
            place_names=tuple(feeder.switches[s].name.split(".", 1)[1] for s in rows),
            exchanges=exchanges,
        )
