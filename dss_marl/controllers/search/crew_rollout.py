"""Rollout for repair crews: each choice is tried in storms that agree with what is known, and the best one is taken."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np

from dss_marl.controllers.rules.crew_rules import RestoreMost
from dss_marl.controllers.rules.section_supply import FAR
from dss_marl.devices import Crews
from dss_marl.devices.crew import CLEAR, COST, FAULTED, UNKNOWN
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.grid.state import Array, BoolArray, GridState, IntArray, Interval
from dss_marl.mdp.rewards import crew_cost, unserved

_STORMS = 16  # tried per choice
_MOST = 200_000  # sets of faulted sections


class CrewRollout(RestoreMost):
    """Sends each free crew where the rest of the day costs least on average over sampled storms.

    The storms agree with what is dark and with what patrols have found; after the choice all crews follow
    RestoreMost, in a load-balance model with the present loads. It knows how storms are drawn, but not the faults.

    Args:
        seed: of the sampled storms.
    """

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed

    def reset(self, env: ZoneEnv) -> None:
        """See CrewRule; also lists the storms that explain what is dark.

        Raises:
            ValueError: no crews, or too many possible storms.
        """
        super().reset(env)
        assert env.now is not None
        self._rng = np.random.default_rng([self._seed, env.day])
        state = env.simulator.fleet.states(env.now.device_state)[self._k]
        self._storms, self._odds = _storms(self._group, self._group.known(state) > CLEAR)
        self._found = np.zeros(self._group.sections.size, bool)

    def jobs(self, env: ZoneEnv, now: GridState) -> IntArray:
        """See CrewRule."""
        state = env.simulator.fleet.states(now.device_state)[self._k]
        known, weighted_kw = self._group.known(state), self.supply.weighted_kw(now)
        self._found |= known == FAULTED
        chosen = np.full(self._group.size, -1)
        left, free = self._group.open_jobs(state), np.flatnonzero(self._group.free(state))
        if not left[free].any():
            return chosen
        guesses = self._guesses(state)
        for d in free.tolist():
            options = np.flatnonzero(left[d])
            if len(options):
                costs = [self._mean_cost(env, now, guesses, weighted_kw, chosen, d, q) for q in options.tolist()]
                chosen[d] = options[int(np.argmin(costs))]
                left[:, chosen[d]] = False
        return chosen

    def _guesses(self, state: Array) -> list[Array]:
        """States of the crews with sampled faults in the sections that are unknown."""
        crews, known, rng = self._group, self._group.known(state), self._rng
        unknown = known == UNKNOWN
        fits = (self._storms[:, ~unknown] == self._found[~unknown]).all(axis=1)
        odds = self._odds * fits
        size, spread = crews.sections.size, crews.repair_spread
        guesses = []
        for k in rng.choice(len(odds), _STORMS, p=odds / odds.sum()):
            hours = crews.repair_h * np.exp(spread * rng.standard_normal(size) - spread**2 / 2)
            guess = np.where(unknown, np.where(self._storms[k], np.maximum(hours, 0.25), 0.0), crews.repairs_h(state))
            guesses.append(crews.with_repairs(state, guess))
        return guesses

    def _mean_cost(
        self,
        env: ZoneEnv,
        now: GridState,
        guesses: list[Array],
        weighted_kw: Array,
        chosen: IntArray,
        crew: int,
        section: int,
    ) -> float:
        """Mean cost of the rest of the day if a crew goes to a section now."""
        first = chosen.copy()
        first[crew] = section
        model, scenario = env.task.reward_model, env.task.scenario
        per_step = weighted_kw * model.weight(unserved) / 1000 * scenario.dt_h
        total = 0.0
        for guess in guesses:
            steps, dollars = self._play(guess, first, weighted_kw, now, scenario.steps)
            total += float((per_step * steps).sum()) + model.weight(crew_cost) * dollars
        return total / len(guesses)

    def _play(
        self, state: Array, first: IntArray, weighted_kw: Array, now: GridState, last: int
    ) -> tuple[IntArray, float]:
        """(Q) steps that each section stays dark until the end of the day, and the cost of crews [$]."""
        crews, clear, dollars = self._group, np.full(len(weighted_kw), FAR), 0.0
        clear[crews.known(state) == CLEAR] = now.step
        for step in range(now.step, last):
            jobs = self.choose(state, weighted_kw)
            if step == now.step:
                jobs = np.where(first >= 0, first, np.where(np.isin(jobs, first), -1, jobs))
            state = crews.worked(jobs, state, Interval(step, 0.0, now.dt_h))
            dollars += float(state[:, COST].sum())
            known = crews.known(state)
            clear[(known == CLEAR) & (clear == FAR)] = step + 1
            if not known.any():
                break
        dark = np.minimum(self.supply.supplied_from(clear.tolist()), last) - now.step
        return np.maximum(dark, 0), dollars


def _storms(crews: Crews, dark: BoolArray) -> tuple[BoolArray, Array]:
    """(n, Q) sets of faulted sections that leave just these (Q) dark, and (n) their odds.

    Raises:
        ValueError: there are too many.
    """
    places, sections = np.flatnonzero(dark), crews.sections
    low, high = (min(number, len(places)) for number in crews.faults)
    if sum(comb(len(places), k) for k in range(low, high + 1)) > _MOST:
        raise ValueError(
            f"crew_rollout lists all sets of up to {high} faults among {len(places)} dark sections, which are more "
            f"than {_MOST}; choose fewer switches or faults"
        )
    rows, odds = [], []
    share = sections.line_km / sections.line_km.sum()
    for k in range(low, high + 1):
        every = np.array(list(combinations(places.tolist(), k)), np.int64).reshape(-1, k)
        storms = np.zeros((len(every), sections.size), bool)
        np.put_along_axis(storms, every, True, axis=1)
        weight = np.where(storms, share, 1.0).prod(axis=1) * _orders(k)
        explains = ((storms.astype(np.int64) @ sections.dark.astype(np.int64) > 0) == dark).all(axis=1)
        rows.append(storms[explains])
        odds.append(weight[explains])
    return np.concatenate(rows), np.concatenate(odds)


def _orders(count: int) -> float:
    """Number of orders in which a set is drawn."""
    return float(np.prod(np.arange(1, count + 1)))
