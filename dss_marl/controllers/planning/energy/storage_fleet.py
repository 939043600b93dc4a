"""All devices of the day program, of all kinds."""

from __future__ import annotations

from typing import Any

import numpy as np

from dss_marl.controllers.planning.energy.device_models import (
    BatteryModel,
    DayOutlook,
    DeviceModel,
    EVModel,
    FlexibleLoadModel,
    InjectionColumns,
    InverterModel,
)
from dss_marl.controllers.planning.polish.plan_entries import PlanEntries
from dss_marl.devices import Batteries, EVChargers, FlexibilityRequests, FlexibleLoads, Generators, Inverters
from dss_marl.envs.task import Task
from dss_marl.grid.state import Array, BoolArray, IntArray, Setpoints
from dss_marl.mdp.rewards import battery_use, stored_energy, unserved, unserved_device_energy

PARTS: dict[type, Any] = {
    Inverters: InverterModel,
    Batteries: BatteryModel,
    EVChargers: EVModel,
    FlexibleLoads: FlexibleLoadModel,
}


class StorageFleet:
    """The devices optimised by the day program: all but regulators and capacitors.

    Args:
        task: the task.
        day: of the year.
        device_states: of each kind, at the beginning of the day.

    Attributes:
        parts: device models, kind after kind.
        slices: of each model's entries among those of all.
        places: (n) positions of the entries in the joint action.
        columns: (m) affected injections, model after model.
        low, high: (T, n) bounds of the entries.
        held: (n) True for entries that the program leaves neutral.
        former, former_kw: (n) position among the islands' units, or -1, and rating [kW] of the battery whose power an
            entry is.
        formed: (T, n) True where such a battery forms an island.
    """

    def __init__(self, task: Task, day: int, device_states: list[Array]) -> None:
        outlook = _outlook(task, day)
        self.parts: list[DeviceModel] = [
            PARTS[type(group)](group, device_state.copy(), outlook)
            for group, device_state in zip(task.device_groups, device_states, strict=True)
            if type(group) in PARTS
        ]
        self.places = places(task)
        ends = np.cumsum([part.low.shape[1] for part in self.parts])
        self.slices = [slice(end - part.low.shape[1], end) for part, end in zip(self.parts, ends, strict=True)]
        columns = [part.columns for part in self.parts]
        self.columns = InjectionColumns(
            np.concatenate([one.injection for one in columns]),
            np.hstack([one.kw for one in columns]),
            np.hstack([one.kvar for one in columns]),
        )
        self.low = np.hstack([part.low for part in self.parts])
        self.high = np.hstack([part.high for part in self.parts])
        self.held = _held_neutral(task)[self.places]
        for bounds in (self.low, self.high):
            bounds[:, self.held] = task.default_action[self.places[self.held]]
        self.formed = np.zeros(self.low.shape, bool)
        self.former, self.former_kw = np.full(len(self.places), -1), np.zeros(len(self.places))
        unit = sum(group.size for group in task.device_groups if isinstance(group, Generators))
        for part, own in zip(self.parts, self.slices, strict=True):
            if isinstance(part, BatteryModel) and part.group.roles is not None:
                for d in part.group.roles.able.tolist():
                    place = own.start + d * part.width
                    self.former[place], self.former_kw[place] = unit, part.group.kw[d]
                    unit += 1

    def form(self, on: BoolArray, given: Array, entries: Array) -> Array:
        """Take over which batteries form an island.

        Args:
            on, given: (T, G) which of the islands' units do, and what they deliver [kW].
            entries: (T, n).

        Returns:
            (T, n) the entries, with the power of batteries that form an island as it came about.
        """
        entries, places = entries.copy(), np.flatnonzero(self.former >= 0)
        units = self.former[places]
        self.formed[:, places] = on[:, units]
        entries[:, places] = np.where(on[:, units], given[:, units] / self.former_kw[places], entries[:, places])
        for part, own in zip(self.parts, self.slices, strict=True):
            if isinstance(part, BatteryModel):
                part.formed = self.formed[:, own][:, :: part.width]
        return entries

    def start(self, entries: Array) -> Array:
        """(T, n) initial entries, given those of uncontrolled devices."""
        own = zip(self.parts, self.slices, strict=True)
        return np.hstack([part.start(entries[:, mine]) for part, mine in own])

    def idle(self) -> Array:
        """(T, n) entries with the lowest power of loads, PV and storage, which every island can supply."""
        return np.hstack([part.idle() for part in self.parts])

    def slopes(self, entries: Array) -> list[Any]:
        """Per device model, (T m, T n) sparse Jacobian of its columns."""
        return [part.slopes(entries[:, mine]) for part, mine in zip(self.parts, self.slices, strict=True)]

    def not_to_lower(self) -> IntArray:
        """Positions of entries that must not be rounded down: an EV would leave with slightly too little energy."""
        own = zip(self.parts, self.slices, strict=True)
        cars = [self.places[mine] for part, mine in own if isinstance(part, EVModel)]
        return np.concatenate([np.zeros(0, np.int64), *cars])


def places(task: Task) -> IntArray:
    """(n) positions in the joint action of the entries that the program decides."""
    parts, everything = task.agents.action_layout.parts, np.arange(task.agents.action_layout.size)
    own = [everything[part] for part, g in zip(parts, task.device_groups, strict=True) if type(g) in PARTS]
    return np.concatenate([np.zeros(0, np.int64), *own])


def _held_neutral(task: Task) -> BoolArray:
    """(F) reactive power where the circuit's own controls run.

    Slopes with taps as they are would have it raise voltages that the regulators then lower again: it only costs losses
    and tap moves. What it is worth with the controls settled is found afterwards, by the moves of ``planning.polish``.
    Where reactive power is asked for at the source, it is planned.
    """
    asked = any(isinstance(group, FlexibilityRequests) for group in task.device_groups)
    return PlanEntries.of(task).reactive & (task.scenario.circuit_controls and not asked)


def _outlook(task: Task, day: int) -> DayOutlook:
    scenario = task.scenario
    first = round(scenario.start_hour / scenario.dt_h)
    beyond = max(0, first + scenario.steps - task.profiles.steps)
    rows, made = slice(first, first + scenario.steps), task.profiles.day(day, beyond)
    weight = task.reward_model.weight
    return DayOutlook(
        setpoints=Setpoints(made.kw[rows], made.kvar[rows], task.start.tap, task.start.closed),
        dt_h=scenario.dt_h,
        stored=weight(stored_energy) / 1000,
        unmet=weight(unserved_device_energy, unserved) / 1000,
        through=weight(battery_use) / 1000,
        converter=task.reward_model.converter_price(made.price[rows], scenario.dt_h),
    )
