"""LoadShedders: the loads of a section, shed class by class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
from pydantic import ConfigDict, Field

from dss_marl.devices.base import DeviceGroup, DeviceSpec
from dss_marl.grid.feeder import Feeder, components
from dss_marl.grid.load_priorities import CLASSES, NORMAL, Priorities
from dss_marl.grid.state import Array, BoolArray, IntArray, Interval, Setpoints

_LEVELS = len(CLASSES)  # all served; without normal loads; critical ones alone


class BreakerSpec(DeviceSpec):
    """The breakers of sections: what no switch parts, named by any of its buses."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    buses: tuple[str, ...] | Literal["all"] = Field(default="all", description="a bus of each section; all: every one")


@dataclass(frozen=True)
class LoadShedders(DeviceGroup):
    """One device for the loads of each section. -1 serves all of them, 0 sheds the normal ones, 1 leaves the critical.

    What is shed is unmet, weighted by its priority. A load that comes back draws more, where the scenario has
    ``cold_load``.
    Memory: the position, and what was shed in the last interval, weighted [kWh].

    Attributes:
        injections: (L) index of the loads in the Feeder's injections.
        owner: (L) the device of each.
        of: (L) the class of each, index in priorities.CLASSES.
        weight: (L) of a kWh not served.
    """

    injections: IntArray
    owner: IntArray
    of: IntArray
    weight: Array

    action_labels: ClassVar[tuple[str, ...]] = ("serves all, sheds normal loads, or serves critical ones alone",)
    telemetry_labels: ClassVar[tuple[str, ...]] = ("classes shed over two [1]",)
    state_size: ClassVar[int] = 2
    Spec: ClassVar[type[DeviceSpec]] = BreakerSpec

    def with_priorities(self, priorities: Priorities) -> LoadShedders:
        """See DeviceGroup.informed."""
        return replace(self, of=priorities.of[self.injections], weight=priorities.weight[self.injections])

    def n_levels(self) -> IntArray:
        """See DeviceGroup.levels."""
        return np.full((self.size, 1), _LEVELS, np.int64)

    def default_action(self) -> Array:
        """See DeviceGroup.neutral: all are served."""
        return np.full((self.size, 1), -1.0)

    def act(self, action: Array, state: Array, setpoints: Setpoints, interval: Interval) -> tuple[Array, IntArray]:
        """See DeviceGroup.act; nothing is refused."""
        position = np.rint((action[..., 0] + 1) / 2 * (_LEVELS - 1))
        shed_kw = self._write(position, setpoints)
        kwh = np.zeros(position.shape)
        for d in range(self.size):
            kwh[..., d] = (shed_kw * self.weight)[..., self.owner == d].sum(axis=-1) * interval.dt_h
        return np.stack([position, kwh], axis=-1), np.zeros(position.shape, np.int64)

    def _write(self, position: Array, setpoints: Setpoints) -> Array:
        """(..., L) what is shed [kW]; the loads are set."""
        kw = setpoints.kw[..., self.injections]
        off = self.of > NORMAL - position[..., self.owner]
        setpoints.kw[..., self.injections] = np.where(off, 0.0, kw)
        setpoints.kvar[..., self.injections] = np.where(off, 0.0, setpoints.kvar[..., self.injections])
        return np.where(off, np.maximum(-kw, 0.0), 0.0)

    def hold(self, state: Array, setpoints: Setpoints, interval: Interval) -> None:
        """See DeviceGroup.hold."""
        if state[..., 0].any():
            self._write(state[..., 0], setpoints)

    def hold_action(self, state: Array, setpoints: Setpoints, interval: Interval) -> Array:
        """See DeviceGroup.present."""
        return state[..., :1] * 2 / (_LEVELS - 1) - 1

    def feasible(self, action: Array, state: Array, setpoints: Setpoints, interval: Interval) -> BoolArray:
        """See DeviceGroup.legal: always."""
        return np.ones(action.shape, bool)

    def telemetry(self, state: Array, setpoints: Setpoints, interval: Interval) -> Array:
        """See DeviceGroup.readings."""
        return state[..., :1] / (_LEVELS - 1)

    def unmet_kwh(self, before: Array, after: Array, interval: Interval) -> Array:
        """See DeviceGroup.unmet_kwh."""
        return after[..., 1].copy()

    @classmethod
    def build(cls, specs: Sequence[BreakerSpec], feeder: Feeder) -> LoadShedders:
        """See DeviceGroup.build."""
        section = sections(feeder)
        of_load = np.array([section[feeder.bus_index[feeder.injections[j].bus]] for j in feeder.loads], np.int64)
        loaded = np.unique(of_load)
        wanted: list[int] = []
        for spec in specs:
            buses = [] if spec.buses == "all" else [feeder.bus_index[feeder.bus(bus).name] for bus in spec.buses]
            found = loaded.tolist() if spec.buses == "all" else [int(section[bus]) for bus in buses]
            empty = [bus for bus, one in zip(spec.buses, found, strict=True) if one not in loaded] if buses else []
            if empty:
                raise ValueError(f"breaker: the section of bus {empty[0]!r} of feeder {feeder.name!r} has no load")
            if set(found) & set(wanted) or len(set(found)) < len(found):
                raise ValueError(f"breaker: a section of feeder {feeder.name!r} is named twice; name one bus of each")
            wanted += found
        kept = np.isin(of_load, wanted)
        first = [feeder.buses[int(np.flatnonzero(section == one)[0])].name for one in wanted]
        return cls(
            names=tuple(f"section_{bus}" for bus in first),
            buses=tuple(first),
            injections=feeder.loads[kept],
            owner=np.array([wanted.index(int(one)) for one in of_load[kept]], dtype=np.int64),
            of=np.full(int(kept.sum()), NORMAL, dtype=np.int64),
            weight=np.ones(int(kept.sum())),
        )


def sections(feeder: Feeder) -> IntArray:
    """(buses) the first bus of the section, what no switch parts, that each bus lies in."""
    first, second, switch = feeder.joints
    fixed = switch == len(feeder.switches)
    return components(len(feeder.buses), feeder.node_bus[first[fixed]], feeder.node_bus[second[fixed]])
