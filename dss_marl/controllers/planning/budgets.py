"""Budgets priced: a task whose reward contains what its budgets limit, for planners."""

from __future__ import annotations

from collections.abc import Callable

from dss_marl.envs.task import Task, build_task

# Cost to the reward term of the same quantity, and the weight of the term at a price of 1 per unit of the cost.
_TERMS: dict[str, tuple[str, Callable[[Task], float]]] = {
    "voltage_violation_sum": ("voltage_violation", lambda task: task.reward_model.n_scored_nodes),
    "thermal_overload": ("overload", lambda task: len(task.zones)),
    "curtailed_kwh": ("curtailment", lambda task: 1000.0),
    "unserved_kwh": ("unserved", lambda task: 1000.0),
}


def priced(task: Task) -> Task:
    """The task with every unit of a limited cost charged at its price, below the limit too; itself without budgets.

    A plan for it stays within the budgets if any plan does and the prices are high enough, at a return that is at most
    the price of the budgets below the best.

    Raises:
        ValueError: a budget of a cost that no reward term prices.
    """
    scenario = task.scenario
    if not scenario.budgets:
        return task
    rewards = dict(scenario.rewards)
    for name, budget in scenario.budgets.items():
        if name not in _TERMS:
            raise ValueError(
                f"scenario {scenario.name!r}: a budget of {name!r} cannot be planned for; planners know "
                f"{', '.join(_TERMS)}. Name another reference_controller, or validate without plans"
            )
        term, per_unit = _TERMS[name]
        rewards[term] = rewards.get(term, 0.0) + budget.price * per_unit(task)
    return build_task(scenario.replace(rewards=rewards, budgets={}))
