"""Load shedders: load shedding by priority class within a feeder section."""

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

_LEVELS = len(CLASSES)  # all served; normal loads shed; critical loads only


class LoadShedderSpec(DeviceSpec):
    """Load shedders of feeder sections, parts without internal switches; a section is named by any of its buses."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    buses: tuple[str, ...] | Literal["all"] = Field(default="all", description="one bus per section, or all sections")


@dataclass(frozen=True)
class LoadShedders(DeviceGroup):
    """One device per section. -1 serves all loads, 0 sheds the normal ones, 1 serves only critical ones.

    Shed energy is unmet, weighted by priority. A restored load draws more power if the scenario has ``cold_load``.
    Device state: the position, and the weighted energy shed in the last interval [kWh].

    Attributes:
        injections: (L) index of the loads in Feeder.injections.
        owner: (L) the device of each.
        of: (L) class of each, index in load_priorities.CLASSES.
        weight: (L) weight of unserved energy.
    """

    injections: IntArray
    owner: IntArray
    of: IntArray
    weight: Array

    action_labels: ClassVar[tuple[str, ...]] = ("serve all, shed normal, or serve only critical loads",)
    telemetry_labels: ClassVar[tuple[str, ...]] = ("classes shed / 2 [1]",)
    state_size: ClassVar[int] = 2
    Spec: ClassVar[type[DeviceSpec]] = LoadShedderSpec

    def with_priorities(self, priorities: Priorities) -> LoadShedders:
        """See DeviceGroup.with_priorities."""
        return replace(self, of=priorities.of[self.injections], weight=priorities.weight[self.injections])

    def n_levels(self) -> IntArray:
        """See DeviceGroup.n_levels."""
        return np.full((self.size, 1), _LEVELS, np.int64)

    def default_action(self) -> Array:
        """See DeviceGroup.default_action: all loads served."""
        return np.full((self.size, 1), -1.0)

    def act(self, action: Array, state: Array, setpoints: Setpoints, interval: Interval) -> tuple[Array, IntArray]:
        """See DeviceGroup.act; nothing is refused."""
        position = np.rint((action[..., 0] + 1) / 2 * (_LEVELS - 1))
        shed_kw = self._write(position, setpoints)
        kwh = np.zeros(position.shape)
        for d in range(self.size):
            own = np.ascontiguousarray((shed_kw * self.weight)[..., self.owner == d])  # so that a batch adds up alike
            kwh[..., d] = own.sum(axis=-1) * interval.dt_h
        return np.stack([position, kwh], axis=-1), np.zeros(position.shape, np.int64)

    def _write(self, position: Array, setpoints: Setpoints) -> Array:
        """Set the loads; returns the power shed, (..., L) [kW]."""
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
        """See DeviceGroup.hold_action."""
        return state[..., :1] * 2 / (_LEVELS - 1) - 1

    def feasible(self, action: Array, state: Array, setpoints: Setpoints, interval: Interval) -> BoolArray:
        """See DeviceGroup.feasible: always."""
        return np.ones(action.shape, bool)

    def telemetry(self, state: Array, setpoints: Setpoints, interval: Interval) -> Array:
        """See DeviceGroup.telemetry."""
        return state[..., :1] / (_LEVELS - 1)

    def unmet_kwh(self, before: Array, after: Array, interval: Interval) -> Array:
        """See DeviceGroup.unmet_kwh."""
        return after[..., 1].copy()

    @classmethod
    def build(cls, specs: Sequence[LoadShedderSpec], feeder: Feeder) -> LoadShedders:
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
                raise ValueError(f"load_shedder: the section of bus {empty[0]!r} of feeder {feeder.name!r} has no load")
            if set(found) & set(wanted) or len(set(found)) < len(found):
                raise ValueError(f"load_shedder: a section of feeder {feeder.name!r} is named twice; name it once")
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
    """(buses) the first bus of each bus's section, a part that no switch separates."""
    first, second, switch = feeder.joints
    fixed = switch == len(feeder.switches)
    return components(len(feeder.buses), feeder.node_bus[first[fixed]], feeder.node_bus[second[fixed]])
