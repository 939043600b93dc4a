"""Entries: what of a restoration task's flat action moves what, and where it lies."""

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
    """The entries by what they move; wanted values are 1 or -1 of a switch closed or open, else as they are asked.

    Attributes:
        switching: entries of switches and supplies.
        switches: the row of Feeder.switches of each of them.
        power, share: entries of the generators' power and share of reactive power.
        breakers: entries of the breakers.
        section: (F) in which section each entry's device lies.
        values: per entry, the values that it may be given.
    """

    switching: IntArray
    switches: IntArray
    power: IntArray
    share: IntArray
    breakers: IntArray
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
            breakers=np.array(of_kind[LoadShedders], dtype=np.int64),
            section=section,
            values=_values(task, switching),
        )

    def request(self, simulator: Simulator, now: GridState, wanted: Array) -> Array:
        """(F) what is asked so that entries come to what is wanted; where that is not possible now, they hold."""
        joint_action = wanted.copy()
        closed = now.setpoints.closed[self.switches]
        goal = wanted[self.switching] > 0
        joint_action[self.switching] = np.where(goal == closed, 0.0, np.where(goal, 1.0, -1.0))
        # Alone among requests a closing may be done, after an opening, where the mask forbids it.
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
