"""Key figures of games: what each agent got, what a community market gained and for whom, fairness, the objectives."""

from __future__ import annotations

import numpy as np

from dss_marl.envs.task import Task
from dss_marl.grid.state import GridState
from dss_marl.mdp.market import Market
from dss_marl.mdp.pv_sharing import jain_index, served_shares

OBJECTIVE, RETURN = "objective/", "return/"  # begin the figures of an objective, and of a zone's own return
# name: (unit, heading, True if more is better)
GAME_FIGURES: dict[str, tuple[str, str, bool]] = {
    "community_bill": ("currency", "bill of all members", False),
    "gain_from_trade": ("currency", "gain from trade", True),
    "gain_jain": ("1", "Jain's index of gains from trade", True),
    "pv_jain": ("1", "Jain's index of PV shares fed in", True),
    "pv_lowest_share": ("1", "lowest PV share fed in", True),
}


class GameFigures:
    """Accumulates them over an episode; none for a task without private rewards, objectives or memory of PV.

    ``gain_from_trade`` is what members would pay if each had its own contract with the grid, minus what they pay.
    ``return/ZONE`` is the sum of the weighted reward terms of one zone, which with ``reward_sharing: zone`` its agent
    gets; their sum is the team's return.

    Args:
        task: of the episode.
    """

    def __init__(self, task: Task) -> None:
        self._task, self._rows = task, task.objective_rows
        self._market: Market | None = task.all_zones.market
        count = 0 if self._market is None else len(self._market.buses)
        self._paid, self._alone = np.zeros(count), np.zeros(count)
        self._returns = np.zeros(len(task.zones))
        self._objectives = np.zeros(len(self._rows))
        self._pv_kwh = np.zeros((2, 0))
        self._private = task.scenario.reward_sharing == "zone" and self._market is not None

    def add(self, before: GridState, after: GridState) -> None:
        """Add one step."""
        if self._private or len(self._rows):
            terms = self._task.reward_model.zone_terms(before, after)[: len(self._task.rewards)]
            self._returns += terms.sum(axis=0)
            self._objectives += self._rows @ terms.sum(axis=-1)
        if self._market is not None:
            net_kwh, prices = self._market.net_kw(after) * after.dt_h, self._market.prices(after.price[0])
            self._paid += self._market.settled(after).paid
            self._alone += np.maximum(net_kwh, 0) * prices.retail - np.maximum(-net_kwh, 0) * prices.feed_in
        self._pv_kwh = after.pv_kwh

    def result(self) -> dict[str, float]:
        """The figures."""
        found: dict[str, float] = {}
        if self._market is not None:
            gains = np.maximum(self._alone - self._paid, 0.0)
            found |= {
                "community_bill": float(self._paid.sum()),
                "gain_from_trade": float(gains.sum()),
                "gain_jain": float(jain_index(gains)),
            }
        if self._pv_kwh.shape[-1]:
            shares = served_shares(self._pv_kwh)
            found |= {"pv_jain": float(jain_index(shares)), "pv_lowest_share": float(shares.min())}
        names = self._task.scenario.objectives
        found |= {f"{OBJECTIVE}{name}": float(x) for name, x in zip(names, self._objectives, strict=True)}
        if self._private:
            zones = [zone.name for zone in self._task.zones]
            found |= {f"{RETURN}{name}": float(x) for name, x in zip(zones, self._returns, strict=True)}
        return found
