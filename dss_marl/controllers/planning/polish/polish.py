"""Polish: the best of several plans of a day, improved on the batched engine and confirmed on OpenDSS."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dss_marl.controllers.planning.polish.improvement import Improvement, power_flows
from dss_marl.controllers.planning.polish.plan_entries import PlanEntries, as_kept
from dss_marl.controllers.planning.polish.playing.confirmation import best_confirmed, best_on_opendss
from dss_marl.controllers.planning.polish.playing.judge import Judge
from dss_marl.envs.task import Task
from dss_marl.grid.state import Array

EFFORT_S = 8.0  # of a processor, by default
_COMPARED = 3  # starts that are played on OpenDSS
_CLEANINGS = 8  # groups at most that are set neutral at the end
_TRIED = 2  # starts that are improved
_TRIAL_SHARE = 0.2  # of the effort spent on each of them, before the best goes on


class Polished(NamedTuple):
    """A plan and what it earns.

    Attributes:
        requests: (T, F) joint actions, exact in half precision.
        returned: the team's return on OpenDSS.
        gained: by how much that is above the best start's.
    """

    requests: Array
    returned: float
    gained: float


def polish(task: Task, day: int, starts: Sequence[Array], effort_s: float = EFFORT_S, seed: int = 0) -> Polished:
    """Improve plans of a day; the result is never worse on OpenDSS than the best start.

    Args:
        task: of the plans.
        day: of the year.
        starts: (T, F) joint actions each; also without their reactive power they are starts.
        effort_s: about how many seconds of a processor to spend. It is counted in power flows, so that equal starts
            give equal plans.
        seed: of the moves that are sampled.

    Raises:
        ValueError: no starts, one has the wrong shape, or a power flow fails in each.
    """
    entries = PlanEntries.of(task)
    shape = (task.scenario.steps, task.agents.action_layout.size)
    wrong = [one.shape for one in starts if one.shape != shape]
    if wrong or not len(starts):
        raise ValueError(f"plans of scenario {task.scenario.name!r} have shape {shape}; got {wrong or 'none'}")
    judge = Judge(task, day)
    try:
        order = _ordered(judge, entries, [as_kept(one) for one in starts])
        best, returned = best_on_opendss(task, day, np.array(order[:_COMPARED]))
        better = _improved(judge, entries, order, power_flows(task, effort_s), seed)
        found, earned = best_on_opendss(task, day, np.array([best, better]))
        found, earned = _without_idle_groups(task, day, judge, entries, found, earned)
    finally:
        judge.close()
    if earned == -np.inf:
        raise ValueError(f"day {day} of scenario {task.scenario.name!r}: a power flow fails in every plan")
    return Polished(found, earned, earned - returned if returned > -np.inf else 0.0)


def _ordered(judge: Judge, entries: PlanEntries, starts: list[Array]) -> list[Array]:
    """The distinct starts, and each without reactive power, the best on the batched engine first."""
    several = list(starts)
    for one in starts:
        still = one.copy()
        still[:, entries.reactive] = entries.neutral[entries.reactive]
        several.append(still)
    distinct = list({one.tobytes(): one for one in several}.values())
    totals = judge.play(np.array(distinct)).sum(axis=1)
    return [distinct[k] for k in np.argsort(-totals, kind="stable")]


def _improved(judge: Judge, entries: PlanEntries, order: list[Array], work: int, seed: int) -> Array:
    searches = [Improvement(judge, entries, one, seed) for one in order[:_TRIED]]
    last = judge.work + work
    for search in searches:
        search.run(int(_TRIAL_SHARE * work))
    best = max(searches, key=lambda search: search.total)
    best.run(max(last - judge.work, 0))
    return best.plan


def _without_idle_groups(
    task: Task, day: int, judge: Judge, entries: PlanEntries, plan: Array, earned: float
) -> tuple[Array, float]:
    """The plan without groups of entries that only cost, and its return, on OpenDSS."""
    for _ in range(_CLEANINGS):
        plans = entries.groups_neutral(plan)
        changed = plans[(plans != plan).any(axis=(1, 2))]
        if not len(changed):
            break
        found, returned = best_confirmed(task, day, judge, changed)
        if not returned > earned:
            break
        plan, earned = found, returned
    return plan, earned
