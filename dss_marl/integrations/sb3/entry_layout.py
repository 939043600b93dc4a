"""EntryLayout: which entries of a Box action are numbers, which are choices, and which are padding, for each agent.

Agents that share a policy have rows of equal width, in which an entry may be a number for one agent, a choice for
another and padding for a third. Rows of a minibatch are in any order, so that the kind is read from the observation:
from those of the constant features ``has_action``, ``device_kind`` and ``identity`` that it takes to tell them apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from dss_marl.envs.task import Task
from dss_marl.grid.state import BoolArray, IntArray
from dss_marl.mdp.observations import device_kind, has_action, identity

NUMBER, PADDING = 0, -1  # in place of a number of positions
NONE = -1  # no position


@dataclass(frozen=True)
class EntryLayout:
    """The patterns of entries that occur among some agents, and how an observation tells which it is.

    Attributes:
        columns: (m) columns of the observation.
        signatures: (P, m) what stands there for each pattern.
        levels: (P, W) number of positions of each entry; 0 of a number, -1 of padding.
        hold: (P, W) position that a device takes if nobody controls it, at least at the start; -1 where agents differ,
            or there is none.
    """

    columns: tuple[int, ...]
    signatures: tuple[tuple[float, ...], ...]
    levels: tuple[tuple[int, ...], ...]
    hold: tuple[tuple[int, ...], ...]

    @classmethod
    def of_task(cls, task: Task, kind: str | None = None) -> EntryLayout:
        """The layout of a task's agents, or of those of a kind.

        Raises:
            ValueError: actions are not ``box``, or the scenario does not observe what tells agents apart.
        """
        scenario = task.scenario
        if scenario.actions != "box":
            raise ValueError(
                f"scenario {scenario.name!r}: entries 'mixed' is for actions 'box'; with {scenario.actions!r} the "
                "choices of devices are choices already: remove it, or use actions 'box'"
            )
        mine = [a for a, own in enumerate(task.agents.kinds) if kind in (None, own)]
        levels, hold = _by_agent(task)
        for columns, seen in _told(task):
            groups: dict[tuple[float, ...], list[int]] = {}
            for a in mine:
                groups.setdefault(tuple(seen[a].tolist()), []).append(a)
            if all((levels[own] == levels[own[0]]).all() for own in groups.values()):
                held = [np.where((hold[own] == hold[own[0]]).all(0), hold[own[0]], NONE) for own in groups.values()]
                kinds = [levels[own[0]] for own in groups.values()]
                return cls(tuple(columns), tuple(groups), _rows(kinds), _rows(held))
        raise ValueError(
            f"scenario {scenario.name!r}: entries 'mixed' must tell from an observation which entries of an action are "
            f"numbers, choices or padding, but it has {', '.join(scenario.observations)}; add 'has_action', or "
            "'identity' if that is not enough"
        )


def guided_entries(task: Task, kinds: Sequence[str]) -> BoolArray:
    """(A, W) True where an entry is a number of a device of these kinds.

    Raises:
        ValueError: the task has no such entry; names the kinds that have numbers.
    """
    layout = task.agents.action_layout
    names = np.repeat(task.zones[0].entries["kinds"], [np.prod(shape) for shape in layout.shapes])
    numbers = _by_nature(task) == 0
    chosen = numbers & np.isin(names, list(kinds))
    if not chosen.any():
        raise ValueError(
            f"scenario {task.scenario.name!r}: slope is for numbers of {', '.join(kinds)}, but no such device has any; "
            f"set training.slope.kinds to some of {', '.join(sorted(set(names[numbers]))) or 'none'}, or remove slope"
        )
    found: BoolArray = layout.used & chosen[layout.place]
    return found


def used_columns(task: Task) -> list[int]:
    """(W) the columns of the observation ``has_action``.

    Raises:
        ValueError: the scenario does not observe them.
    """
    columns, scenario = columns_of(task, has_action), task.scenario
    if not columns:
        raise ValueError(
            f"scenario {scenario.name!r}: ignore_padding needs the observation 'has_action', but has "
            f"{', '.join(scenario.observations)}; add it, or remove ignore_padding"
        )
    return columns


def columns_of(task: Task, function: Any) -> list[int]:
    """The columns of a feature in an observation; empty if the scenario does not observe it."""
    observer = task.observer
    ends = np.cumsum(observer.widths).tolist()
    for feature, end, width in zip(observer.features, ends, observer.widths, strict=True):
        if feature.function is function:
            return list(range(end - width, end))
    return []


def _by_nature(task: Task) -> IntArray:
    """(F) number of positions of each entry; 0 of a number."""
    return np.concatenate([np.asarray(group.n_levels(), np.int64).ravel() for group in task.device_groups])


def _by_agent(task: Task) -> tuple[IntArray, IntArray]:
    """(A, W) number of positions, 0 of a number and -1 of padding; and the position without control, or -1."""
    layout, levels = task.agents.action_layout, _by_nature(task)
    hold = np.where(levels > 0, np.rint((task.default_action + 1) / 2 * (levels - 1)).astype(np.int64), NONE)
    return np.where(layout.used, levels[layout.place], PADDING), np.where(layout.used, hold[layout.place], NONE)


def _told(task: Task) -> Iterator[tuple[list[int], np.ndarray]]:
    """Columns that tell agents apart, fewest features first, and what stands in them (A, m)."""
    known = [(columns_of(task, one), one) for one in (has_action, device_kind, identity)]
    known = [(columns, one) for columns, one in known if columns]
    for count in range(len(known) + 1):
        for chosen in combinations(known, count):
            seen = np.zeros((len(task.agents.names), sum(len(columns) for columns, _ in chosen)))
            start = 0
            for columns, one in chosen:
                for a, view in enumerate(task.agents.views):
                    own = np.asarray(one(view, task.sample), float)
                    seen[a, start : start + len(own)] = own
                start += len(columns)
            yield [column for columns, _ in chosen for column in columns], seen


def _rows(rows: Sequence[Any]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(int(value) for value in row) for row in rows)
