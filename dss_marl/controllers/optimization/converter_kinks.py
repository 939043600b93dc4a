"""Converter losses of inverters in convex programs: what is not smooth in their reactive power."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dss_marl.devices import Inverters
from dss_marl.envs.task import Task
from dss_marl.grid.state import Array, GridState, IntArray
from dss_marl.mdp.rewards import converter_loss, energy_cost, excess_cost


@dataclass(frozen=True)
class KinkRows:
    """Costs weight * max(|entry| - width, 0) of m entries.

    Attributes:
        value: (m) the entries, as carried out.
        weight: (m) cost per unit of an entry.
        width: (m) half-width without cost.
        reach: (m) reactive power of an entry of 1 [kvar].
    """

    value: Array
    weight: Array
    width: Array
    reach: Array


class ConverterKinks:
    """The kinks and steps of a task's converter losses, priced by its reward.

    Losses proportional to the apparent power have a kink at 0 kvar at night, and a bend where kW and kvar are alike by
    day: c1 (sqrt(P^2 + Q^2) - P) is replaced by c1 max(|Q| - P / 2, 0). The standby losses of a converter without sun
    are a step at 0; the largest convex function below it is proportional to the entry. A program counts both as rows;
    what remains of the losses is smooth.

    Args:
        task: of its inverters whose entry is a share of the available kvar; none if the reward does not price losses.

    Attributes:
        places: (m) of these entries in the joint action.
    """

    def __init__(self, task: Task) -> None:
        layout, self._rewards = task.agents.action_layout, task.reward_model
        priced = self._rewards.weight(converter_loss, energy_cost, excess_cost) > 0
        self._groups: list[Inverters] = []
        places = [np.zeros(0, np.int64)]
        for part, shape, group in zip(layout.parts, layout.shapes, task.device_groups, strict=True):
            if priced and isinstance(group, Inverters) and group.mode == "share" and group.converters.any_losses:
                self._groups.append(group)
                places.append(np.arange(layout.size)[part].reshape(shape)[:, 0])
        self.places: IntArray = np.concatenate(places)

    def price(self, after: GridState) -> float:
        """Of 1 kW of losses in the interval."""
        return float(self._rewards.converter_price(after.price[..., 0], after.dt_h))

    def cost(self, after: GridState) -> float:
        """Cost of the kinks and steps in an interval as operated."""
        lost_kw = 0.0
        for group in self._groups:
            kw, kvar = _powers(group, after)
            beyond = np.maximum(np.abs(kvar) - kw / 2, 0.0)
            lost_kw += float(group.converters.proportional @ beyond)
            lost_kw += float(group.converters.standby_kw @ ((kw == 0) & (kvar != 0)))
        return self.price(after) * lost_kw if self._groups else 0.0

    def rows(self, after: GridState, settled: bool = False) -> KinkRows:
        """The same as rows of a program around an interval as operated.

        Args:
            after: the interval.
            settled: which converters run at night is decided, so their standby losses depend on nothing.
        """
        found = [np.zeros((4, 0))]
        for group in self._groups:
            kw, kvar = _powers(group, after)
            reach = np.maximum(group.reach(np.ones(group.size), kw), group.reach(-np.ones(group.size), kw))
            known = np.maximum(reach, 1e-9)
            weight = group.converters.proportional * reach
            if not settled:
                weight = weight + group.converters.standby_kw * (kw == 0)
            found.append(np.stack([kvar / known, self.price(after) * weight, kw / 2 / known, known]))
        return KinkRows(*np.hstack(found))

    def smooth(self, after: GridState) -> tuple[Array, Array]:
        """(m) slope [1/kvar] and (m) curvature [1/kvar^2] of what the rows leave of the losses' cost."""
        found, price = [np.zeros((2, 0))], self.price(after)
        for group in self._groups:
            own, (kw, kvar) = group.converters, _powers(group, after)
            beyond = np.where(np.abs(kvar) > kw / 2, np.sign(kvar), 0.0)
            bend = kw * kw / np.maximum(np.hypot(kw, kvar), 1e-9) ** 3
            slope = own.added_slope(kw, kvar) - own.proportional * beyond
            found.append(price * np.stack([slope, own.proportional * bend + 2 * own.quadratic]))
        slope, bend = np.hstack(found)
        return slope, bend

    def at_night(self, after: GridState, running: bool = True) -> IntArray:
        """Which of the m entries have converters without sun that run for reactive power alone, or that are off."""
        found = [np.zeros(0, bool)]
        for group in self._groups:
            kw, kvar = _powers(group, after)
            found.append((kw == 0) & ((kvar != 0) == running))
        return np.flatnonzero(np.concatenate(found))


def _powers(group: Inverters, after: GridState) -> tuple[Array, Array]:
    """(D) active power before the losses, and reactive power."""
    points, rows = after.setpoints, group.injections
    return points.kw[rows] + points.lost_kw[rows], points.kvar[rows]
