"""DeviceFleet: all groups of a task on a stack of states as on one state after the other."""

from dataclasses import replace

import numpy as np
import pytest
from common import SCENARIOS, task_of
from states import stacked, steps

from dss_marl.devices.fleet import DeviceFleet
from dss_marl.grid.state import Interval

FIELDS = ("kw", "kvar", "tap", "closed")
STEP = Interval(4, 11.0, 0.25)


@pytest.fixture(params=SCENARIOS)
def task(request):
    return task_of(request.param)


@pytest.fixture
def fleet(task):
    return DeviceFleet(task.device_groups, task.agents.action_layout.parts)


@pytest.fixture
def states(task):
    """Six states of a day under random actions, as seen before a step."""
    return [before for before, _ in steps(task.scenario.name)[:6]]


@pytest.fixture
def asked(task, rng):
    return rng.uniform(-1, 1, (6, task.agents.action_layout.size))


def same(together, alone):
    """Set points of the stack, and of each by itself."""
    return all(
        np.array_equal(getattr(together, name)[k], getattr(one, name)) for name in FIELDS for k, one in enumerate(alone)
    )


def test_acting_on_many_is_acting_on_each(fleet, states, asked):
    together = stacked(states)
    points, alone = together.setpoints.copy(), [state.setpoints.copy() for state in states]
    kept, limited = fleet.act(asked, together.device_state, points, STEP)
    unmet = fleet.unmet_kwh(together.device_state, kept, STEP)
    assert kept.shape == together.device_state.shape
    assert limited.shape == unmet.shape == (len(states), fleet.size)
    for k, state in enumerate(states):
        kept_alone, limited_alone = fleet.act(asked[k], state.device_state, alone[k], STEP)
        # load shedders sum over loads, in another order where there are many states
        np.testing.assert_allclose(kept[k], kept_alone, rtol=1e-12)
        assert np.array_equal(limited[k], limited_alone)
        unmet_alone = fleet.unmet_kwh(state.device_state, kept_alone, STEP)
        np.testing.assert_allclose(unmet[k], unmet_alone, rtol=1e-12)
    assert same(points, alone)


def test_acting_leaves_the_state_before_alone_and_carries_what_is_not_the_fleets(fleet, states, asked):
    state = states[0]
    longer = np.append(state.device_state, [7.0, 8.0])
    before = longer.copy()
    kept, _ = fleet.act(asked[0], longer, state.setpoints.copy(), STEP)
    assert np.array_equal(longer, before)
    assert kept[-2:].tolist() == [7.0, 8.0]


def test_holding_many_is_holding_each(fleet, states):
    together = stacked(states)
    points, alone = together.setpoints.copy(), [state.setpoints.copy() for state in states]
    held = fleet.hold_action(together.device_state, points, STEP)
    for k, state in enumerate(states):
        assert np.array_equal(held[k], fleet.hold_action(state.device_state, alone[k], STEP))
        fleet.hold(state.device_state, alone[k], STEP)
    fleet.hold(together.device_state, points, STEP)
    assert same(points, alone)


@pytest.mark.parametrize("batch", [(6,), (2, 3)])
def test_the_masks_of_many_are_those_of_each(task, fleet, states, batch):
    together = stacked(states)
    values = (
        task.encoding.values
        if task.encoding.discrete
        else np.tile([-1.0, -0.3, 0.0, 1.0], (task.agents.action_layout.size, 1))
    )
    points = together.setpoints.copy()
    for name in FIELDS:
        rows = getattr(points, name)
        setattr(points, name, rows.reshape(*batch, rows.shape[-1]))
    found = fleet.feasible(values, together.device_state.reshape(*batch, -1), points, STEP)
    assert found.shape == (*batch, *values.shape)
    alone = np.array([fleet.feasible(values, state.device_state, state.setpoints, STEP) for state in states])
    assert np.array_equal(found.reshape(alone.shape), alone)


def test_what_many_tell_is_what_each_tells(fleet, states):
    together = stacked(states)
    telemetry = fleet.telemetry(together.device_state, together.setpoints, STEP)
    stored = fleet.stored_kwh(together.device_state)
    for k, state in enumerate(states):
        assert np.array_equal(telemetry[k], fleet.telemetry(state.device_state, state.setpoints, STEP))
        assert np.array_equal(stored[k], fleet.stored_kwh(state.device_state))
    assert fleet.zeros(together.device_state).shape == (len(states), fleet.size)


def test_checks_of_many_are_those_of_each(task, fleet):
    """What exceeds its rating is counted, whether it trips or not."""
    states = [after for _, after in steps(task.scenario.name)[:6]]
    together = stacked(states)

    def check(state):
        kept, limited = state.device_state.copy(), np.zeros((*state.device_state.shape[:-1], fleet.size), np.int64)
        fleet.trip(kept, state.setpoints.copy(), state.solution, limited)
        fleet.check(kept, state.setpoints.copy(), state.solution, limited)
        return kept, limited

    kept, limited = check(together)
    for k, state in enumerate(states):
        assert np.array_equal(kept[k], check(state)[0])
        assert np.array_equal(limited[k], check(state)[1])


def test_devices_that_wait_are_held(task, states, asked):
    slow = [replace(group, act_every=np.full(group.size, 3, np.int64)) for group in task.device_groups]
    fleet = DeviceFleet(slow, task.agents.action_layout.parts)
    assert fleet.can_act(3).all()
    assert not fleet.can_act(4).any()
    state = states[0]
    turn = fleet.hold_waiting(asked[0], state.device_state, state.setpoints, Interval(3, 11.0, 0.25))
    wait = fleet.hold_waiting(asked[0], state.device_state, state.setpoints, STEP)
    assert np.array_equal(turn, asked[0])
    assert np.array_equal(wait, fleet.hold_action(state.device_state, state.setpoints, STEP))
