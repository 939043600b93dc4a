"""PlanEntries: what the entries of a plan are, and the groups in which they are set neutral."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dss_marl.devices import Inverters
from dss_marl.envs.task import Task
from dss_marl.grid.state import Array, BoolArray, IntArray

_REACTIVE = ("reactive power", "power factor")  # words in the labels of entries that decide kvar


@dataclass(frozen=True)
class PlanEntries:
    """The entries of a joint action.

    Attributes:
        neutral: (F) of an uncontrolled device.
        levels: (F) number of levels by nature, 0 if continuous.
        reactive: (F) True where an entry decides reactive power.
        instant: (F) True where an entry is a number without a memory: reactive power and curtailment. Only the
            circuit's own controls, if there are any, carry what they do into later intervals.
        groups: name to positions: all of a kind with one label, all of a device, and all that decide kvar.
    """

    neutral: Array
    levels: IntArray
    reactive: BoolArray
    instant: BoolArray
    groups: dict[str, IntArray]

    def groups_neutral(self, plan: Array) -> Array:
        """(K, T, F) a plan with one group neutral all day, group by group."""
        plans = np.repeat(plan[None], len(self.groups), 0)
        for one, places in zip(plans, self.groups.values(), strict=True):
            one[:, places] = self.neutral[places]
        return as_kept(plans)

    @classmethod
    def of(cls, task: Task) -> PlanEntries:
        """The entries of a task."""
        layout = task.agents.action_layout
        levels = [np.asarray(group.n_levels()).ravel() for group in task.device_groups]
        labels = [label for group in task.device_groups for label in group.action_labels * group.size]
        reactive = np.array([any(word in label for word in _REACTIVE) for label in labels], bool)
        inverter = np.zeros(layout.size, bool)
        for group, part in zip(task.device_groups, layout.parts, strict=True):
            inverter[part] = isinstance(group, Inverters)
        counts = np.concatenate(levels).astype(np.int64)
        return cls(
            neutral=task.default_action.copy(),
            levels=counts,
            reactive=reactive,
            instant=(inverter | reactive) & (counts == 0),
            groups=_groups(task, labels, reactive),
        )

    @property
    def continuous(self) -> BoolArray:
        """(F) True where an entry is a number."""
        return self.levels == 0

    def other_level(self, values: Array, entries: IntArray, up: IntArray) -> Array:
        """(n) the level next to these values (n) of entries (n), the next above where ``up`` is 1, below where -1."""
        spacing = 2 / np.maximum(self.levels[entries] - 1, 1)
        return np.asarray(np.clip(values + up * spacing, -1.0, 1.0))


def _groups(task: Task, labels: list[str], reactive: BoolArray) -> dict[str, IntArray]:
    layout, names = task.agents.action_layout, [name for group in task.device_groups for name in group.names]
    kinds = [type(group).__name__ for group in task.device_groups for _ in range(group.size * len(group.action_labels))]
    found: dict[str, list[int]] = {}
    for place, (kind, label) in enumerate(zip(kinds, labels, strict=True)):
        found.setdefault(f"{kind}: {label}", []).append(place)
        found.setdefault(names[layout.entry_device[place]], []).append(place)
    if reactive.any():
        found["all reactive power"] = np.flatnonzero(reactive).tolist()
    distinct = {tuple(places): name for name, places in reversed(found.items())}
    return {name: np.array(places, np.int64) for places, name in reversed(distinct.items())}


def as_kept(plans: Array) -> Array:
    """Plans rounded to half precision, as they are stored."""
    return np.clip(plans, -1.0, 1.0).astype(np.float16).astype(float)
