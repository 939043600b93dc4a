"""Leading batch axes: the devices of shipped scenarios act on many states at once as on each."""

from functools import cache

import numpy as np
import pytest
from common import SCENARIOS, task_of
from device_cases import category_a, reached
from states import stacked, steps

from dss_marl.devices import KINDS
from dss_marl.grid.state import Interval, Setpoints, Solution

FIELDS = ("kw", "kvar", "tap", "closed")
NAMES = [
    *SCENARIOS,
    "eulv_ev",
    "ieee123_demand_response",
    "ieee34_local_pv",
    "ieee123_demand_charge",
    "ieee123_flexibility",
    "ieee123_crews",
]
every_name = pytest.mark.parametrize("name", NAMES)
every_batch = pytest.mark.parametrize("batch", [(6,), (2, 3)])


def own_states(task, device_state):
    """Per group, its (..., D, K)."""
    first = 0
    for group in task.device_groups:
        size = group.size * group.state_size
        own = device_state[..., first : first + size]
        yield group, own.reshape(*own.shape[:-1], group.size, group.state_size)
        first += size


@cache
def reached_states(name):
    """Six states of a random day."""
    found = [after for _, after in steps(name)]
    return (found * 6)[:6]


def of_state(points, state):
    return Setpoints(*(getattr(points, name)[state].copy() for name in FIELDS))


def same_points(together, alone, state):
    return all(np.array_equal(getattr(together, name)[state], getattr(alone, name)) for name in FIELDS)


def some_actions(group, rng, batch):
    shape = (*batch, group.size, len(group.action_labels))
    return np.where(rng.random(shape) < 0.4, rng.integers(-1, 2, shape), rng.uniform(-1, 1, shape))


def test_every_kind_is_in_one_of_the_scenarios():
    kinds = {spec["kind"] for name in NAMES for spec in task_of(name).scenario.devices}
    assert kinds == set(KINDS)


def intervals(task, rng, batch):
    """Nothing is broken, the same in all states, and something else in each."""
    feeder = task.feeder
    broken = np.zeros((*batch, len(feeder.nodes)), bool)
    for state in np.ndindex(batch):
        broken[state][rng.choice(len(feeder.nodes), 2)] = True
    first = (0,) * len(batch)
    return [Interval(3, 9.5, 0.25), Interval(4, 9.75, 0.25, broken[first]), Interval(5, 10.0, 0.5, broken)]


@every_batch
@every_name
def test_many_states_at_once_are_as_one_by_one(name, batch, rng):
    task = task_of(name)
    together = stacked(reached_states(name), batch)
    for interval in intervals(task, rng, batch):
        for group, device_state in own_states(task, together.device_state):
            action = some_actions(group, rng, batch)
            points, held = together.setpoints.copy(), together.setpoints.copy()
            present = group.hold_action(device_state, points, interval)
            allowed = group.feasible(action, device_state, points, interval)
            kept, limited = group.act(action, device_state, points, interval)
            group.hold(device_state, held, interval)
            told, unmet = group.telemetry(kept, points, interval), group.unmet_kwh(device_state, kept, interval)
            stored = group.stored_kwh(kept)
            checked, exceeded = group.check(kept, points, together.solution)
            shape = (*batch, group.size)
            assert kept.shape == checked.shape == (*shape, group.state_size)
            assert allowed.shape == present.shape == action.shape
            assert limited.shape == unmet.shape == stored.shape == exceeded.shape == shape
            for state in np.ndindex(batch):
                k = int(np.ravel_multi_index(state, batch))
                solution = reached_states(name)[k].solution
                now = Interval(interval.step, interval.hour, interval.dt_h, interval.faulted_in(state))
                mine = of_state(together.setpoints, state)
                still = mine.copy()
                assert np.array_equal(present[state], group.hold_action(device_state[state], mine, now))
                assert np.array_equal(allowed[state], group.feasible(action[state], device_state[state], mine, now))
                kept_alone, limited_alone = group.act(action[state], device_state[state], mine, now)
                group.hold(device_state[state], still, now)
                assert same_points(points, mine, state)
                assert same_points(held, still, state)
                assert np.array_equal(kept[state], kept_alone)
                assert np.array_equal(limited[state], limited_alone)
                assert np.array_equal(told[state], group.telemetry(kept_alone, mine, now))
                assert np.array_equal(unmet[state], group.unmet_kwh(device_state[state], kept_alone, now))
                assert np.array_equal(stored[state], group.stored_kwh(kept_alone))
                checked_alone, exceeded_alone = group.check(kept_alone, mine, solution)
                assert np.array_equal(checked[state], checked_alone)
                assert np.array_equal(exceeded[state], exceeded_alone)


@every_name
def test_many_actions_are_tried_on_many_states(name, rng):
    """As masks do: more leading axes of the action than of the state."""
    task, batch, tried = task_of(name), (2, 3), 4
    together = stacked(reached_states(name), batch)
    for interval in intervals(task, rng, batch):
        for group, device_state in own_states(task, together.device_state):
            action = some_actions(group, rng, (tried, *batch))
            allowed = group.feasible(action, device_state, together.setpoints, interval)
            assert allowed.shape == action.shape
            for k in range(tried):
                alone = group.feasible(action[k], device_state, together.setpoints, interval)
                assert np.array_equal(allowed[k], alone)


@pytest.mark.parametrize("batch", [(5,), (2, 3)])
def test_each_state_says_how_far_its_curves_are_off(batch, rng):
    group = category_a("volt_var")
    device_state, points = reached(group, rng, *batch)
    v = rng.uniform(0.92, 1.08, (*batch, group.size))
    before = points.copy()
    off = group.respond(device_state, points, solution_of(v))
    assert off.shape == batch
    for state in np.ndindex(batch):
        alone = of_state(before, state)
        assert group.respond(device_state[state], alone, solution_of(v[state])) == off[state]
        assert same_points(points, alone, state)


def solution_of(v_pu):
    zero = np.float64(0)
    none = np.zeros((*v_pu.shape[:-1], 0))
    return Solution(v_pu, zero, zero, zero, none, np.ones(v_pu.shape, bool), none, none, lambda: none)
