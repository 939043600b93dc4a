"""Results in the layout of MARL-eval (Gorsane et al. 2022): environment, task, algorithm, run, step, metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

ENVIRONMENT = "dss_marl"  # small letters, as it looks names up in these
RETURN = "return"  # the team return
Steps = Sequence[tuple[int, Mapping[str, Sequence[float]]]]  # agent-steps, and metrics of an evaluation
Metrics = Mapping[str, Sequence[float]]


def metrics_of(days: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """Metric to its value on each day; the team return is called ``return``."""
    return {RETURN if name == "team_return" else name: [day[name] for day in days] for name in days[0]}


def run_of(steps: Steps, absolute: Metrics) -> dict[str, Any]:
    """One run.

    Args:
        steps: evaluations while learning.
        absolute: metrics of the policy that is kept, on test days: the absolute metrics.
    """
    evaluations = {
        f"step_{k}": {"step_count": int(count), **{name: list(values) for name, values in metrics.items()}}
        for k, (count, metrics) in enumerate(steps)
    }
    return {**evaluations, "absolute_metrics": {name: list(values) for name, values in absolute.items()}}


def layout(runs: Iterable[tuple[str, str, str, Mapping[str, Any]]]) -> dict[str, Any]:
    """Runs, each with the names of its task, algorithm and run, as one nested mapping."""
    tasks: dict[str, Any] = {}
    for task, algorithm, name, run in runs:
        tasks.setdefault(task.lower(), {}).setdefault(algorithm, {})[name] = dict(run)
    return {ENVIRONMENT: tasks}
