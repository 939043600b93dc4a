"""Quantity: a table to be, with its columns and how its row of a step is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from dss_marl.envs.task import Task
from dss_marl.experiments.recording.table import Column
from dss_marl.grid.state import GridState


class Step(NamedTuple):
    """One step as played.

    Attributes:
        before: the interval as agents saw it.
        after: the interval as operated; None where its power flow failed.
        observations, actions, rewards, infos: by agent; the observations are those that the actions were chosen on.
        team_reward: of the step.
    """

    before: GridState
    after: GridState | None
    observations: Mapping[str, Any]
    actions: Mapping[str, Any]
    rewards: Mapping[str, float]
    infos: Mapping[str, Mapping[str, Any]]
    team_reward: float

    @property
    def present(self) -> GridState:
        """The interval as operated, or as agents saw it where its power flow failed: then nothing has moved."""
        return self.before if self.after is None else self.after


class Quantity(NamedTuple):
    """A table to be.

    Attributes:
        name, meaning, axis, columns: see Table.
        of_step: (n) its values of a Step, which may have failed.
        of_states: (n) its values of the states before and after a step that did not fail; instead of ``of_step``.
    """

    name: str
    meaning: str
    axis: str
    columns: tuple[Column, ...]
    of_step: Callable[[Step], Any] | None = None
    of_states: Callable[[GridState, GridState], Any] | None = None

    def row(self, step: Step) -> np.ndarray:
        """(n) the values of a step; NaN where they are not known."""
        if self.of_step is not None:
            return np.asarray(self.of_step(step))
        if step.after is None or self.of_states is None:
            return np.full(len(self.columns), np.nan)
        return np.asarray(self.of_states(step.before, step.after)).ravel()


class Places:
    """Columns for what lies at a bus.

    Args:
        task: whose zones are looked up.
    """

    def __init__(self, task: Task) -> None:
        self._zone = {bus: zone.name for zone in task.zones for bus in zone.buses}

    def at(self, bus: str, name: str, unit: str, kind: str = "") -> Column:
        """A column of an element at this bus."""
        return Column(name, unit, kind, bus, self._zone.get(bus, ""))


def labelled(label: str, column: Column) -> Column:
    """The column named by a label such as ``mean voltage [pu]``; a label without a unit is of a ratio."""
    name, bracket, unit = label.rpartition(" [")
    if not bracket or not unit.endswith("]"):
        return column._replace(name=label, unit="1")
    return column._replace(name=name, unit=unit[:-1])
