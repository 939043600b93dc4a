"""Branch exchange: open points move one at a time while this improves the coming interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dss_marl.controllers.search.radial_configurations import RadialConfigurations
from dss_marl.controllers.search.trial_batch import WORTHWHILE, BatchOfTask, TrialBatch
from dss_marl.controllers.search.trial_solves import TrialSolver
from dss_marl.devices import OpenPoints
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.grid.state import GridState, IntArray

_NOISE = 1e-5  # relative change of a reward due to earlier solves


class BranchExchange:
    """Steepest-descent branch exchange on the engine, interval by interval, without foresight.

    It repeatedly makes the exchange of open switches with the highest team reward of the coming interval, until none
    improves it. Switching is priced, so it moves only if a single interval pays for it. Other devices take their
    default action. Source: Baran and Wu, doi:10.1109/61.25627, for losses.

    Args:
        batched: let the batched engine rule out most configurations, which takes a third of the time; the environment's
            engine solves the others. Its last digits, which depend on what it solved before, then are others.
    """

    circuit_controls = False

    def __init__(self, batched: bool = False) -> None:
        self.batched = batched
        self._batch = BatchOfTask()

    def reset(self, env: ZoneEnv) -> None:
        """Look for open points.

        Raises:
            ValueError: the scenario has none.
        """
        if not any(isinstance(group, OpenPoints) for group in env.task.device_groups):
            raise ValueError(
                f"branch_exchange moves open points; scenario {env.task.scenario.name!r} has no device 'open_point'"
            )

    def act(self, env: ZoneEnv, observations: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """The exchanges at the end of the descent, all requested at once."""
        assert env.now is not None
        trials = TrialSolver(env.simulator)
        search = RadialConfigurations(trials)
        here = search.open_places(env.now)
        if not env.simulator.fleet.can_act(env.now.step)[search.entries].all() or (here < 0).any():
            return env.task.encoding.encode(search.requests(env.task.default_action, here))
        batch = self._batch.of(trials) if self.batched else None
        places = _Descent(search, env.now, here, batch).end()
        return env.task.encoding.encode(search.requests(env.task.default_action, search.move_targets(here, places)))


class _Descent:
    """Descent from the present configuration.

    Args:
        search: on the running episode.
        now: before the interval.
        here: (D) open switch of each device.
        batch: for upper bounds, so that the engine solves only what they do not rule out; None: it solves all.
    """

    def __init__(self, search: RadialConfigurations, now: GridState, here: IntArray, batch: TrialBatch | None) -> None:
        self._search, self._now, self._batch = search, now, batch
        self._prices, self._here = search.prices(now), here
        self._worth: dict[tuple[int, ...], float] = {}  # or an upper bound of it
        self._bounds: set[tuple[int, ...]] = set()  # those with a bound

    def end(self) -> IntArray:
        """(D) open switches, ascending, that no exchange improves."""
        places = np.sort(self._here)
        best = self._solve(places.tolist())
        while True:
            around = [tuple(one.tolist()) for one in self._search.neighbours(places)]
            self._try([one for one in around if one not in self._worth])
            top = self._top(best)
            if top is None:
                return places
            places, best = np.array(top), self._worth[top]

    def _top(self, best: float) -> tuple[int, ...] | None:
        """The best configuration known; None if it is no better than this."""
        while self._worth:
            top = max(self._worth, key=lambda one: self._worth[one])
            if self._worth[top] <= best + _NOISE:
                break
            if top not in self._bounds:
                return top
            self._worth[top] = self._solve(top)
            self._bounds.remove(top)
        return None

    def _try(self, some: list[tuple[int, ...]]) -> None:
        if self._batch is None or len(some) < WORTHWHILE:
            self._worth |= {one: self._solve(one) for one in some}
            return
        bounds = self._search.bounds(self._batch, self._now, some).tolist()
        self._worth |= {one: bound - self._price(one) for one, bound in zip(some, bounds, strict=True)}
        self._bounds.update(some)

    def _solve(self, places: Sequence[int]) -> float:
        return self._search.reward(self._now, np.array(places)) - self._price(places)

    def _price(self, places: Sequence[int]) -> float:
        """Price of moving there, over all exchanges."""
        moved = set(self._here.tolist()) ^ set(places)
        return float(self._prices[list(moved)].sum())
