"""Entries of a restoration task's joint action, by the devices they control."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dss_marl.controllers.planning.restoration.sections import FeederSections
from dss_marl.devices import FeederTies, Generators, LoadShedders, Switches
from dss_marl.envs.simulator import Simulator
from dss_marl.envs.task import Task
from dss_marl.grid.state import Array, GridState, IntArray

KINDS = (Switches, FeederTies, Generators, LoadShedders)


@dataclass(frozen=True)
class ActionEntries:
    """Entries by kind of device. Target values are 1 or -1 for a closed or open switch, else action values.

    Attributes:
        switching: entries of switches and feeder ties.
        switches: the row of Feeder.switches of each of them.
        power, share: entries of the generators' active power and share of reactive power.
        load_shedders: entries of the load shedders.
        section: (F) section of each entry's device.
        values: per entry, its admissible values.
    """

    switching: IntArray
    switches: IntArray
    power: IntArray
    share: IntArray
    load_shedders: IntArray
    section: IntArray
    values: list[Array]

    @classmethod
    def build(cls, task: Task, sections: FeederSections) -> ActionEntries:
        """The entries of a task."""
        action_layout = task.agents.action_layout
        of_kind: dict[type, list[int]] = {kind: [] for kind in KINDS}
        rows: list[tuple[int, int]] = []
        section = np.zeros(action_layout.size, np.int64)
        for group, part in zip(
            task.device_groups, action_layout.by_group(np.arange(action_layout.size, dtype=float)), strict=True
        ):
            own = part.astype(int)
            of_kind[type(group)] += own.ravel().tolist()
            section[own] = sections.of_bus[[task.feeder.bus_index[bus] for bus in group.buses]][:, None]
            if isinstance(group, Switches | FeederTies):
                moved = group.switches if isinstance(group, Switches) else group.grid_forming_units
                rows += list(zip(own[:, 0].tolist(), moved.tolist(), strict=True))
        switching = [entry for entry, _ in rows]
        return cls(
            switching=np.array(switching, dtype=np.int64),
            switches=np.array([row for _, row in rows], dtype=np.int64),
            power=np.array(of_kind[Generators][::2], dtype=np.int64),
            share=np.array(of_kind[Generators][1::2], dtype=np.int64),
            load_shedders=np.array(of_kind[LoadShedders], dtype=np.int64),
            section=section,
            values=_values(task, switching),
        )

    def request(self, simulator: Simulator, now: GridState, wanted: Array) -> Array:
        """(F) joint action that moves entries to their targets; entries hold where that is infeasible now."""
        joint_action = wanted.copy()
        closed = now.setpoints.closed[self.switches]
        goal = wanted[self.switching] > 0
        joint_action[self.switching] = np.where(goal == closed, 0.0, np.where(goal, 1.0, -1.0))
        # A closing may follow an opening in the same interval although the mask forbids it.
        if simulator.task.encoding.discrete and (joint_action[self.switching] > 0).any():
            possible = simulator.feasible(now, joint_action[:, None])[:, 0]
            if not possible.all():
                joint_action = np.where(possible, joint_action, simulator.hold_action(now))
        return joint_action


def _values(task: Task, switching: list[int]) -> list[Array]:
    encoding = task.encoding
    by_nature = np.concatenate([group.n_levels().ravel() for group in task.device_groups])
    values = []
    for entry in range(task.agents.action_layout.size):
        count = int(encoding.counts[entry]) or int(by_nature[entry]) or 5
        values.append(np.linspace(-1, 1, 2 if entry in switching else count))
    return values
