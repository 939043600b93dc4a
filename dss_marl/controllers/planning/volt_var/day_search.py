"""Day search: taps and banks planned over the day, inverters within each interval, with perfect foresight."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from dss_marl.controllers.optimization.interval_qp import LocalModel, solve_miqp
from dss_marl.controllers.optimization.shortest_path import best_path
from dss_marl.controllers.planning.volt_var.interval_model import IntervalModel, IntervalOptimum
from dss_marl.controllers.planning.volt_var.single_entry import optimise_single_entry
from dss_marl.controllers.planning.volt_var.tap_positions import TapPositions
from dss_marl.grid.state import Array, IntArray

_MOST = 400  # maximum number of candidates per interval, the best found so far
_SHIFTS = (-16, -8, -4, -2, -1, 1, 2, 4, 8, 16)  # intervals by which a position may be shifted in time
_LITTLE = 1e-6  # gain below which an attempt is not repeated
_PATIENCE = (2.0, 8.0)  # intervals over which the cost of a move is spread, for the initial paths


class DaySearch:
    """Iterative improvement of a day's plan.

    Every round adds candidate positions around the current path to each interval, with the inverters' best entries
    confirmed on the engine, and takes the best path through all candidates so far. So no round worsens the plan, and a
    move earlier, later, temporary or permanent takes one round.

    Args:
        intervals: the intervals.
        positions: of taps and banks.
        prices: (P) cost of one move.
        known: per interval, (P) initial positions and (n) inverter entries; None determines them.
        try_banks: begin with the banks in other states too; not where the search takes turns with a program for stores,
            which would go on from banks that suit the stores as they were.

    Attributes:
        path: per interval, (P).
        total: return of the path.
    """

    def __init__(
        self,
        intervals: IntervalModel,
        positions: TapPositions,
        prices: Array,
        known: Sequence[tuple[IntArray, Array]] | None = None,
        try_banks: bool = False,
    ) -> None:
        self._intervals, self._positions, self._prices = intervals, positions, prices
        count = intervals.count
        self._limits = [positions.may_move(step) for step in range(count)]
        self._offers: list[dict[bytes, tuple[IntArray, IntervalOptimum]]] = [{} for _ in range(count)]
        self._curvatures: list[Array | None] = [None] * count
        self._settled = [False] * count
        self.path: list[IntArray]
        self.total = -np.inf
        for step, (position, entries) in enumerate(known or ()):
            self._try(
                step, position, IntervalOptimum(intervals.reward(intervals.operate(step, position, entries)), entries)
            )
        self.path = [position for position, _ in known or ()]
        if known is None:
            self.path = self._initial_path(try_banks)
        self._choose()

    def _initial_path(self, try_banks: bool) -> list[IntArray]:
        """A path, after others with the banks held in other states, since a bank and what makes up for it go together.

        With inverters no round would find that: each changes one device, and the others follow only afterwards.
        """
        for start in self._positions.other_banks() if try_banks and len(self._intervals.low) else ():
            self._forward(_PATIENCE[-1], start)
        for patience in _PATIENCE if len(self._prices) else _PATIENCE[:1]:
            path = self._forward(patience)
        return path

    def _forward(self, patience: float, held: IntArray | None = None) -> list[IntArray]:
        """A path, interval by interval.

        Args:
            patience: intervals over which the cost of a move is spread.
            held: (P) the position to begin with, whose banks stay as they are; None: that at reset, and all may move.
        """
        position, m, path = self._positions.start if held is None else held, self._intervals, []
        entries = np.clip(np.zeros(len(m.low)), m.low, m.high)
        for step, most in enumerate(self._limits):
            limit = most if held is None else np.where(self._positions.banks, 0, most)
            best = self._polish(step, position, IntervalOptimum(-np.inf, entries), 2)
            place, choice = self._follow_model(step, position, best, limit, self._prices / patience)
            price = np.abs(place - position) @ self._prices / patience
            self._try(step, position, best)
            if choice.reward - price > best.reward:
                self._try(step, place, choice)
                position, best = place, choice
            entries = best.entries
            path.append(position)
        return path

    def _follow_model(
        self, step: int, position: IntArray, start: IntervalOptimum, limit: IntArray, prices: Array
    ) -> tuple[IntArray, IntervalOptimum]:
        """Optimum of the model with moves, confirmed by the engine; the start if that fails."""
        m = self._intervals
        if not len(position):
            return position, start
        local = self._model(step, position, start.entries)
        whole = None if local is None else m.with_moves(step, position, start.entries, local, prices)
        if local is None or whole is None:
            return position, start
        n = len(start.entries)
        low = np.append(m.low - start.entries, np.maximum(-limit, self._positions.lowest - position))
        high = np.append(m.high - start.entries, np.minimum(limit, self._positions.highest - position))
        change = solve_miqp(whole, low, high, np.arange(n, len(low)))
        if change is None:
            return position, start
        place = position + np.rint(change[n:]).astype(np.int64)
        return place, m.improve(step, place, IntervalOptimum(-np.inf, start.entries + change[:n]), local)

    def optimum(self, step: int) -> IntervalOptimum:
        """The optimum of the interval on the path."""
        return self._offers[step][self.path[step].tobytes()][1]

    def requests(self) -> Array:
        """(T, F) joint actions on the path."""
        before, result = self._positions.start, []
        for step, position in enumerate(self.path):
            _, joint_action = self._intervals.operating_point(step, position, self.optimum(step).entries)
            self._positions.write(joint_action, before, position)
            result.append(joint_action)
            before = position
        return np.array(result)

    def _model(self, step: int, position: IntArray, entries: Array) -> LocalModel | None:
        local = self._intervals.linearise(step, position, entries, self._curvatures[step])
        if local is not None:
            self._curvatures[step] = local.curvature
        return local

    def _polish(self, step: int, position: IntArray, choice: IntervalOptimum, rounds: int) -> IntervalOptimum:
        """The inverters' best entries at these positions, relinearised every round; derivative-free for one entry."""
        if len(choice.entries) == 1:
            found = optimise_single_entry(self._intervals, step, position)
            return found if found.reward > choice.reward else choice
        for _ in range(rounds):
            local = self._model(step, position, choice.entries)
            if local is None:
                break
            better = self._intervals.improve(step, position, choice, local, 1)
            gained, choice = better.reward - choice.reward, better
            if gained < _LITTLE:
                break
        curvature = self._curvatures[step]
        if curvature is None:
            return choice
        return self._intervals.settle_converters(step, position, choice, curvature)

    def _try(self, step: int, position: IntArray, choice: IntervalOptimum) -> None:
        known = self._offers[step].get(position.tobytes())
        if known is None or choice.reward > known[1].reward:
            self._offers[step][position.tobytes()] = (position, choice)

    def improve(self, around: Callable[[IntArray], Iterable[IntArray]]) -> float:
        """Add candidates around the path, and take the best path; returns the gain."""
        for step, position in enumerate(self.path):
            if self._settled[step]:
                continue
            before = self.optimum(step).reward
            self._try(step, position, self._polish(step, position, self.optimum(step), 1))
            start = self.optimum(step)
            if not len(position):  # the intervals do not depend on each other
                self._settled[step] = start.reward - before < _LITTLE
                continue
            local = self._model(step, position, start.entries)
            if local is None:
                continue
            for other in (*around(position), *self._neighbour_positions(step)):
                if other.tobytes() not in self._offers[step]:
                    self._try(step, other, self._intervals.improve(step, other, start, local))
        total = self.total
        self._choose()
        return self.total - total

    def _neighbour_positions(self, step: int) -> list[IntArray]:
        """Positions of the path in neighbouring intervals, so that a move may shift in time."""
        return [self.path[other] for other in (step + shift for shift in _SHIFTS) if 0 <= other < len(self.path)]

    def _choose(self) -> None:
        rewards, places = [], []
        for step, offers in enumerate(self._offers):
            found = sorted(offers.values(), key=lambda offer: -offer[1].reward)[:_MOST]
            here = self.path[step]
            if not any(np.array_equal(place, here) for place, _ in found):
                found.append(offers[here.tobytes()])
            rewards.append(np.array([choice.reward for _, choice in found]))
            places.append(np.stack([place for place, _ in found]))
        self.total, path = best_path(rewards, places, self._positions.start, self._limits, self._prices)
        self.path = [places[step][k] for step, k in enumerate(path)]
