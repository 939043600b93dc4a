"""Challenges to a plan: what it would have to withstand to be called the best known."""

from __future__ import annotations

import numpy as np

from dss_marl.controllers.planning.play import play_plan
from dss_marl.controllers.planning.polish.improvement import Improvement, power_flows
from dss_marl.controllers.planning.polish.plan_entries import PlanEntries, as_kept
from dss_marl.controllers.planning.polish.playing.confirmation import best_confirmed, returned_or_failed
from dss_marl.controllers.planning.polish.playing.judge import Judge
from dss_marl.envs.task import Task
from dss_marl.grid.state import Array

_STEPS = (0.02, 0.1, 0.4)  # sizes of sampled changes of numbers
_RESTART_S = 3.0  # of a processor, about, for a restart from zero kvar
CHALLENGES = ("every group neutral", "single changes", "restart from zero kvar")


def challenge(task: Task, day: int, requests: Array, samples: int = 200, seed: int = 0) -> dict[str, float]:
    """How much better than a plan simple changes of it are; a plan that is hard to beat gives nothing above 0.

    Candidates are judged on the batched engine, the best of each challenge on OpenDSS:

    - every group neutral: one kind's entries with one meaning, one device, or all reactive power, neutral all day.
    - single changes: one entry of one interval, a level up or down, or a number moved by 0.02 to 0.4 or to neutral.
    - restart from zero kvar: the plan without reactive power, improved again by a short search.

    Args:
        task: of the plan.
        day: of the year.
        requests: (T, F) joint actions, the plan.
        samples: number of single changes.
        seed: of their choice.

    Returns:
        by challenge, the largest gain of the team's return on OpenDSS, negative if all are worse; 0 if the task has
        nothing to change in this way.

    Raises:
        ValueError: the plan has the wrong shape, or a power flow of it fails.
    """
    plan = as_kept(np.asarray(requests, float))
    expected = (task.scenario.steps, task.agents.action_layout.size)
    if plan.shape != expected:
        raise ValueError(f"a plan of scenario {task.scenario.name!r} has shape {expected}; got {plan.shape}")
    base = play_plan(task, day, plan)
    judge, entries = Judge(task, day), PlanEntries.of(task)
    try:
        offered = {
            CHALLENGES[0]: entries.groups_neutral(plan),
            CHALLENGES[1]: _single(entries, plan, samples, np.random.default_rng([seed, day])),
        }
        gains = {name: _best_gain(task, day, judge, plans, plan, base) for name, plans in offered.items()}
        gains[CHALLENGES[2]] = _restart(task, day, judge, entries, plan, base)
    finally:
        judge.close()
    return gains


def _single(entries: PlanEntries, plan: Array, samples: int, rng: np.random.Generator) -> Array:
    """(K, T, F) the plan with one entry changed, at random."""
    plans = np.repeat(plan[None], samples, 0)
    step, entry = rng.integers(plan.shape[0], size=samples), rng.integers(plan.shape[1], size=samples)
    up = rng.choice([-1, 1], samples)
    old = plan[step, entry]
    moved = old + up * rng.choice(_STEPS, samples)
    moved = np.where(rng.random(samples) < 0.2, entries.neutral[entry], moved)
    levels = entries.other_level(old, entry, up)
    plans[np.arange(samples), step, entry] = np.where(entries.levels[entry] > 0, levels, moved)
    return as_kept(plans)


def _best_gain(task: Task, day: int, judge: Judge, plans: Array, plan: Array, base: float) -> float:
    """The largest gain on OpenDSS among the candidates that the batched engine finds best."""
    changed = plans[(plans != plan).any(axis=(1, 2))]
    if not len(changed):
        return 0.0
    return best_confirmed(task, day, judge, changed)[1] - base


def _restart(task: Task, day: int, judge: Judge, entries: PlanEntries, plan: Array, base: float) -> float:
    start = plan.copy()
    start[:, entries.reactive] = entries.neutral[entries.reactive]
    if np.array_equal(start, plan):
        return 0.0
    search = Improvement(judge, entries, start)
    search.run(power_flows(task, _RESTART_S))
    return returned_or_failed(task, day, search.plan) - base
