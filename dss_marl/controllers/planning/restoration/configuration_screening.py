"""Screening of a day's radial configurations, by power flows of their parts."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from dss_marl.controllers.planning.restoration.cold_start import without_pickup
from dss_marl.controllers.planning.restoration.section_pickup import WAYS, SectionPickup
from dss_marl.grid.state import Array, BoolArray, GridState, IntArray, Setpoints

_EARLY = 1 / 3  # weight of the first interval, with cold-load pickup, in the value of a day
_MIXES = (_EARLY, 1.0, 0.0)  # weights of the first interval in the rankings of configurations


class ConfigurationScreening:
    """Rewards of configurations in the first interval, and in a later one without cold-load pickup.

    The parts of a configuration are independent, and a part occurs in many configurations: each part is evaluated once
    in each of the two intervals, with several ways to serve its load, and the best one counts.

    Args:
        pickup: of the day.
        now: the first interval.
        most: maximum number of power flows; parts beyond it are unknown, and so are configurations with them.

    Attributes:
        states: (K, S) all radial configurations.
    """

    def __init__(self, pickup: SectionPickup, now: GridState, most: int) -> None:
        self._pickup, self._most = pickup, most
        self.states = pickup.sections.radial(now)
        late = without_pickup(pickup.trials.simulator, now, pickup.trials.task.scenario.steps // 2)
        self._moments = (now, late)
        self._number: dict[bytes, int] = {}
        self._parts = [self._numbered(closed) for closed in self.states]
        self._worth = np.full((2, len(self._number)), -np.inf)
        self._try()

    def _numbered(self, closed: BoolArray) -> IntArray:
        """(parts) indices of a configuration's parts, each defined by its sections and its supply."""
        sections = self._pickup.sections
        part, found = sections.parts(closed), []
        shut = [(s, part[a]) for s, (a, _) in sections.joins.items() if closed[s]]
        shut += [(s, part[k]) for s, k in sections.feeder_ties.items() if closed[s]]
        for p in np.unique(part):
            key = (part == p).tobytes() + np.array([s for s, own in shut if own == p], np.int64).tobytes()
            found.append(self._number.setdefault(key, len(self._number)))
        return np.array(found)

    def _try(self) -> None:
        """Power flows of a few configurations that cover all parts, in both intervals; fewer parts allow more ways.

        If there are too many even for one way each, those that could serve most by their ratings come first.
        """
        order = self._covering(range(len(self.states)))
        if len(order) * len(self._moments) > self._most:
            expected = [self._pickup.expected_kw(self._moments[0], closed) for closed in self.states]
            order = self._covering(np.argsort(-np.array(expected), kind="stable").tolist())
        ways = max(1, min(self._most // max(len(order) * len(self._moments), 1), len(WAYS)))
        end = self._pickup.trials.solves + self._most
        for k in order:
            if self._pickup.trials.solves >= end:
                break
            for moment, worth in zip(self._moments, self._worth, strict=True):
                np.maximum.at(worth, self._parts[k], self._best(moment, self.states[k], ways))

    def _covering(self, order: Iterable[int]) -> list[int]:
        """Configurations, in this order, with a part that earlier ones lack."""
        seen: set[int] = set()
        chosen = []
        for k in order:
            parts = self._parts[k].tolist()
            if not seen.issuperset(parts):
                chosen.append(k)
                seen.update(parts)
        return chosen

    def _best(self, moment: GridState, closed: BoolArray, ways: int) -> Array:
        """(parts) reward of each part of a configuration, for the best of several ways to serve its load."""
        pickup, points = self._pickup, moment.setpoints
        there = moment.replace(setpoints=Setpoints(points.kw, points.kvar, points.tap, closed))
        held = pickup.trials.simulator.hold_action(there)
        part = pickup.sections.parts(closed)
        best = np.full(pickup.sections.count, -np.inf)
        for joint_action in pickup.starting_values(there, held, closed, ways):
            after = pickup.trials.operate(there, joint_action)
            if after is not None:
                np.maximum(best, pickup.sum_by_part(part, pickup.section_rewards(there, after)), out=best)
        return best[np.unique(part)]

    @property
    def rewards(self) -> Array:
        """(K, 2) reward of each configuration in the first and in the later interval; -inf if unknown."""
        return np.array([self._worth[:, parts].sum(axis=1) for parts in self._parts])

    def best_configurations(self, count: int) -> BoolArray:
        """(about count, S) the best configurations for the whole day, for its beginning, and for the rest."""
        if not len(self.states):
            return self.states
        worth = self.rewards
        found: dict[int, None] = {}
        for early in _MIXES:
            scores = worth @ np.array([early, 1 - early]) if 0 < early < 1 else worth[:, 1 - int(early)]
            found |= dict.fromkeys(np.argsort(-scores, kind="stable")[: -(-count // len(_MIXES))].tolist())
        return self.states[[k for k in found if np.isfinite(worth[k]).all()]]
