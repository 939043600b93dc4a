"""What a benchmark says: figures of each scenario and recipe, and aggregates over scenarios, with 95 % intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from dss_marl.experiments.study.results import CellResults, ScenarioResults, StudyResults
from dss_marl.grid.state import Array
from dss_marl.mdp.return_statistics import interquartile_mean, iqm_interval
from dss_marl.mdp.score_statistics import (
    AGGREGATES,
    Interval,
    day_interval,
    probability_of_improvement,
    stratified_interval,
)


@dataclass(frozen=True)
class Line:
    """A recipe on a scenario.

    Returns are means over the test days; the interquartile mean is over seeds.

    Attributes:
        scenario, recipe: names.
        seeds: that are finished.
        returned: interquartile mean and its interval over seeds.
        returned_over_days: the same with the interval over days, which are drawn for all seeds together.
        score: of the return, with its interval over seeds; None where there is no score.
        score_over_days: the same with the interval over days.
        rule: best rule without foresight; "" if there is none.
        better_days: days on which each seed has a higher return than the rule.
        days: number of test days.
        agent_steps, seconds: of a training, mean over seeds.
    """

    scenario: str
    recipe: str
    seeds: tuple[int, ...]
    returned: Interval
    returned_over_days: Interval
    score: Interval | None
    score_over_days: Interval | None
    rule: str
    better_days: tuple[int, ...]
    days: int
    agent_steps: float
    seconds: float


@dataclass(frozen=True)
class Overall:
    """Recipes over scenarios, by normalised score.

    Attributes:
        tasks: scenarios that have a score and on which every recipe has a finished seed.
        scores: recipe to (runs, tasks) scores, of the seeds that are finished on all these scenarios.
        aggregates: recipe to aggregate to its value and interval; aggregates as in ``AGGREGATES``.
        improvement: (recipe, other) to the probability that a run of the first scores higher.
    """

    tasks: tuple[str, ...]
    scores: Mapping[str, Array]
    aggregates: Mapping[str, Mapping[str, Interval]]
    improvement: Mapping[tuple[str, str], Interval]


def lines(results: StudyResults) -> list[Line]:
    """A line for each scenario and recipe with a finished seed."""
    found = []
    for name, scenario in results.scenarios.items():
        for recipe in results.recipes:
            cells = results.of(name, recipe)
            if cells:
                found.append(line_of(scenario, name, recipe, cells))
    return found


def line_of(scenario: ScenarioResults, name: str, recipe: str, cells: list[CellResults]) -> Line:
    """The line of the cells of one scenario and recipe."""
    returns = np.array([cell.returns for cell in cells])  # (seeds, days)
    rule = scenario.rule
    beaten = scenario.returns_of(rule) if rule else None
    score, over_days = _scores(scenario, returns)
    return Line(
        scenario=name,
        recipe=recipe,
        seeds=tuple(cell.seed for cell in cells),
        returned=_floats(iqm_interval(returns.mean(1))),
        returned_over_days=day_interval(returns, _iqm_of_means),
        score=score,
        score_over_days=over_days,
        rule=rule,
        better_days=() if beaten is None else tuple(int((row > beaten).sum()) for row in returns),
        days=len(scenario.days),
        agent_steps=float(np.mean([cell.agent_steps for cell in cells])),
        seconds=float(np.mean([cell.seconds for cell in cells])),
    )


def overall(results: StudyResults) -> Overall | None:
    """Aggregates over scenarios; None where no scenario has a score, or no seed is finished on all of them."""
    recipes = results.recipes
    tasks = tuple(
        name
        for name, scenario in results.scenarios.items()
        if scenario.ends is not None and all(results.of(name, recipe) for recipe in recipes)
    )
    scores = {recipe: _matrix(results, recipe, tasks) for recipe in recipes} if tasks else {}
    scores = {recipe: own for recipe, own in scores.items() if own.size}
    if not scores:
        return None
    return Overall(
        tasks,
        scores,
        {
            recipe: {name: stratified_interval(own, one) for name, one in AGGREGATES.items()}
            for recipe, own in scores.items()
        },
        {pair: probability_of_improvement(scores[pair[0]], scores[pair[1]]) for pair in permutations(scores, 2)},
    )


def _matrix(results: StudyResults, recipe: str, tasks: tuple[str, ...]) -> Array:
    """(runs, tasks) scores of the seeds that are finished on all tasks."""
    columns = []
    for name in tasks:
        scenario = results.scenarios[name]
        columns.append({cell.seed: scenario.score(cell.returns) for cell in results.of(name, recipe)})
    seeds = sorted(set.intersection(*(set(column) for column in columns)))
    return np.array([[column[seed] for column in columns] for seed in seeds], float)


def _scores(scenario: ScenarioResults, returns: Array) -> tuple[Interval | None, Interval | None]:
    """Score of (seeds, days) returns, with its intervals over seeds and over days."""
    if scenario.ends is None:
        return None, None
    zero, one = scenario.ends
    low, high = float(zero.mean()), float(one.mean())
    over_seeds = _floats(iqm_interval((returns.mean(1) - low) / (high - low)))

    def score(rows: Array) -> Array:
        width = rows[-1].mean(-1) - rows[-2].mean(-1)
        gain = _iqm_of_means(rows[:-2]) - rows[-2].mean(-1)
        return np.divide(gain, width, out=np.zeros_like(gain), where=width > 0)

    return over_seeds, day_interval(np.array([*returns, zero, one]), score)


def _iqm_of_means(returns: Array) -> Array:
    """(...) interquartile mean over seeds of the mean over days, of (seeds, ..., days) returns."""
    return interquartile_mean(np.moveaxis(returns.mean(-1), 0, -1))


def _floats(interval: tuple[Array, Array, Array]) -> Interval:
    mean, low, high = (float(end) for end in interval)
    return mean, low, high
