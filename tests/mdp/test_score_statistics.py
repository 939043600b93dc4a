"""Aggregates of scores: values computed by hand, and those of rliable where it can be imported."""

import numpy as np
import pytest

from dss_marl.mdp.score_statistics import (
    AGGREGATES,
    day_interval,
    optimality_gap,
    over_runs_and_tasks,
    probability_of_improvement,
    stratified_interval,
)

SCORES = np.array([[0.0, 0.5], [0.2, 0.9], [0.4, 1.3], [1.0, 0.7]])  # four runs of two tasks


def test_aggregates_by_hand():
    # sorted: 0 .2 | .4 .5 .7 .9 | 1 1.3
    assert over_runs_and_tasks(SCORES) == pytest.approx((0.4 + 0.5 + 0.7 + 0.9) / 4)
    assert AGGREGATES["mean"](SCORES) == pytest.approx(5.0 / 8)
    assert AGGREGATES["median"](SCORES) == pytest.approx((0.4 + 0.85) / 2)  # of the tasks' means
    assert optimality_gap(SCORES) == pytest.approx(1 - (5.0 - 0.3) / 8)  # 1.3 counts as 1


def test_probability_of_improvement_by_hand():
    x, y = np.array([1.0, 3.0, 5.0]), np.array([0.0, 3.0])
    # pairs in which x is higher: 1>0, 3>0, 5>0, 5>3, and the tie 3=3 as half: 4.5 of 6
    assert probability_of_improvement(x, y)[0] == pytest.approx(4.5 / 6)
    two = np.stack([x, x], axis=1), np.stack([y, y + 10], axis=1)  # never better on the second task
    assert probability_of_improvement(*two)[0] == pytest.approx(4.5 / 12)
    assert probability_of_improvement(SCORES, SCORES)[0] == 0.5
    assert probability_of_improvement(SCORES + 9, SCORES) == (1.0, 1.0, 1.0)


def test_methods_on_different_tasks_are_not_compared():
    with pytest.raises(ValueError, match="the same tasks; got 2 and 1"):
        probability_of_improvement(SCORES, SCORES[:, :1])
    with pytest.raises(ValueError, match="finite"):
        stratified_interval(np.array([[np.nan]]), over_runs_and_tasks)


def test_strata_keep_every_task_in_every_draw():
    """Tasks differ, runs do not: without strata the interval would be wide."""
    scores = np.array([[0.1, 0.9]] * 5)
    assert stratified_interval(scores, AGGREGATES["mean"]) == pytest.approx((0.5, 0.5, 0.5))


def test_the_interval_over_runs_is_that_of_the_resampled_mean():
    """Of two runs with 0 and 1 the mean is 0, 1/2 or 1 with probabilities 1/4, 1/2, 1/4."""
    assert stratified_interval(np.array([0.0, 1.0]), AGGREGATES["mean"]) == (0.5, 0.0, 1.0)
    many = np.random.default_rng(3).normal(size=(400, 1))
    mean, low, high = stratified_interval(many, AGGREGATES["mean"])
    half = 1.96 * many.std() / 20
    assert (low, high) == pytest.approx((mean - half, mean + half), abs=0.012)


def test_days_are_drawn_for_all_together():
    """Two rows that differ by a constant: their difference is the same in every draw."""
    base = np.random.default_rng(0).normal(size=30)
    rows = np.stack([base + 2, base])
    found = day_interval(rows, lambda x: np.asarray((x[0] - x[1]).mean(-1)))
    assert found == pytest.approx((2, 2, 2))
    with pytest.raises(ValueError, match="at least one day"):
        day_interval(np.empty((2, 0)), np.mean)


def test_aggregates_are_those_of_rliable():
    metrics = pytest.importorskip("rliable.metrics")
    rng = np.random.default_rng(1)
    for runs, tasks in ((5, 3), (3, 7), (10, 1)):
        x, y = rng.normal(0.7, 0.5, (runs, tasks)), rng.normal(0.6, 0.5, (4, tasks))
        assert over_runs_and_tasks(x) == pytest.approx(metrics.aggregate_iqm(x))
        assert AGGREGATES["mean"](x) == pytest.approx(metrics.aggregate_mean(x))
        assert AGGREGATES["median"](x) == pytest.approx(metrics.aggregate_median(x))
        assert optimality_gap(x) == pytest.approx(metrics.aggregate_optimality_gap(x, 1.0))
        assert probability_of_improvement(x, y)[0] == pytest.approx(metrics.probability_of_improvement(x, y))


def test_intervals_are_those_of_rliable_but_for_the_draws():
    try:
        from rliable import library, metrics
    except Exception as error:  # its arch fails on pandas 3 while it is imported
        pytest.skip(f"rliable cannot be imported: {error}")
    x = np.random.default_rng(1).normal(0.7, 0.5, (8, 4))
    _, theirs = library.get_interval_estimates({"x": x}, lambda s: np.array([metrics.aggregate_iqm(s)]), reps=4000)
    assert stratified_interval(x, over_runs_and_tasks)[1:] == pytest.approx(theirs["x"][:, 0], abs=0.03)
