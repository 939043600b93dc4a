"""Confirmation of candidates on OpenDSS."""

from __future__ import annotations

import numpy as np

from dss_marl.controllers.planning.play import play_plan
from dss_marl.controllers.planning.polish.playing.judge import Judge
from dss_marl.envs.task import Task
from dss_marl.grid.state import Array

_CONFIRMED = 3  # candidates that are played on OpenDSS


def best_confirmed(task: Task, day: int, judge: Judge, plans: Array) -> tuple[Array, float]:
    """The best on OpenDSS of those that the batched engine finds best, and its return; -inf if all fail.

    Args:
        task, day: that the plans are for.
        judge: of the day.
        plans: (K, T, F) with at least one.
    """
    totals = judge.play(plans).sum(axis=1)
    return best_on_opendss(task, day, plans[np.argsort(-totals, kind="stable")[:_CONFIRMED]])


def best_on_opendss(task: Task, day: int, plans: Array) -> tuple[Array, float]:
    """The best of some plans (K, T, F), and its return on OpenDSS; -inf if all fail."""
    returns = [returned_or_failed(task, day, plan) for plan in plans]
    best = int(np.argmax(returns))
    return plans[best], returns[best]


def returned_or_failed(task: Task, day: int, plan: Array) -> float:
    """As ``play_plan``; -inf where a power flow fails."""
    try:
        return play_plan(task, day, plan)
    except ValueError:
        return -np.inf
