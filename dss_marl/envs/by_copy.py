"""Terms and features of one's own in a batch: called copy by copy, as they may not be written for leading axes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any

import numpy as np

from dss_marl.envs.task import Task
from dss_marl.grid.copies import rows_of
from dss_marl.grid.state import GridState
from dss_marl.mdp.observer import Observer
from dss_marl.zones import Zone


def for_batches(task: Task) -> Task:
    """The task with every term and feature that does not ship with the package called copy by copy."""
    model = task.reward_model
    rewards = {name: (weight, by_copy(term, 0)) for name, (weight, term) in model.rewards.items()}
    costs = {name: by_copy(term, 0) for name, term in model.costs.items()}
    same = all(rewards[name][1] is term for name, (_, term) in model.rewards.items())
    if same and all(costs[name] is term for name, term in model.costs.items()):
        rewards, costs = model.rewards, model.costs
    observer = observer_by_copy(task.observer)
    overall = observer if task.global_observer is task.observer else observer_by_copy(task.global_observer)
    if rewards is model.rewards and observer is task.observer and overall is task.global_observer:
        return task
    return replace(
        task, reward_model=replace(model, rewards=rewards, costs=costs), observer=observer, global_observer=overall
    )


def observer_by_copy(observer: Observer) -> Observer:
    """The observer with the features of one's own called copy by copy."""
    features = tuple(
        one if by_copy(one.function, 1) is one.function else replace(one, function=by_copy(one.function, 1))
        for one in observer.features
    )
    changed = any(one is not old for one, old in zip(features, observer.features, strict=True))
    return replace(observer, features=features) if changed else observer


def by_copy(function: Callable[..., Any], axes: int) -> Callable[..., Any]:
    """A function of a zone and states that also takes batches of states; one of the package's is returned as it is.

    Args:
        function: of one zone, or of all stacked if it is zone-batched.
        axes: of its result for one zone and one state: 0 for a term, 1 for a feature.
    """
    if getattr(function, "__module__", "").split(".")[0] == __name__.split(".")[0]:
        return function

    @wraps(function)
    def called(zone: Zone, *states: GridState) -> Any:
        batch = states[0].solution.v_pu.shape[:-1]
        if not batch:
            return function(zone, *states)
        wanted = axes + zone.index.ndim
        rows = []
        for k in range(batch[0]):
            value = np.asarray(function(zone, *(_alone(state, k) for state in states)), float)
            rows.append(value.reshape((1,) * (wanted - value.ndim) + value.shape))  # the same for all zones
        return np.stack(rows)

    return called


def _alone(state: GridState, copy: int) -> GridState:
    """One copy's state, with plain numbers as its step and hour."""
    own = rows_of(state, copy)
    return own.replace(step=int(own.step), hour=float(own.hour))
