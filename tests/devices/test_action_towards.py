"""The action that leads from a present state to where another play of the interval left the devices."""

import numpy as np
import pytest
from common import task_of
from device_cases import CASES, chargers, flexible_loads, reached, setpoints, some_action

from dss_marl.devices import Goal
from dss_marl.devices.base import DeviceGroup
from dss_marl.devices.fleet import DeviceFleet
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.grid.state import Interval

WALKS = ("inverter_stepped", "regulator", "regulator_gangs", "capacitor", "capacitor_absolute")
STEP = Interval(3, 0.0, 0.25)


def fleet_of(group):
    """The group as a fleet."""
    return DeviceFleet([group], [slice(0, group.size * len(group.action_labels))])


def acted(fleet, action, state, points, interval=STEP):
    """Device state and set points after an action, as a goal of the joint action."""
    after = points.copy()
    state, _ = fleet.act(action, state, after, interval)
    return Goal(action, state, after)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("batch", [(), (5,)])
def test_on_the_way_itself_the_action_does_the_same(name, batch):
    fleet = fleet_of(CASES[name].make())
    group, rng = fleet.groups[0], np.random.default_rng(1)
    for _ in range(40):
        state, points = reached(group, rng, *batch)
        state = state.reshape(*batch, -1)
        action = some_action(group, rng, *batch)
        goal = acted(fleet, action.reshape(*batch, -1), state, points)
        found = acted(fleet, fleet.action_towards(goal, state, points, STEP), state, points)
        assert (found.setpoints.tap == goal.setpoints.tap).all()
        assert (found.setpoints.closed == goal.setpoints.closed).all()
        np.testing.assert_allclose(found.setpoints.kw, goal.setpoints.kw, atol=1e-9)
        np.testing.assert_allclose(found.setpoints.kvar, goal.setpoints.kvar, atol=1e-9)


@pytest.mark.parametrize("name", WALKS)
@pytest.mark.parametrize("batch", [(), (5,)])
def test_from_elsewhere_the_actions_arrive(name, batch):
    """And each on the way is one that the devices execute."""
    fleet = fleet_of(CASES[name].make())
    group, rng = fleet.groups[0], np.random.default_rng(2)
    for _ in range(20):
        state, points = reached(group, rng, *batch)
        there = acted(fleet, some_action(group, rng, *batch).reshape(*batch, -1), state.reshape(*batch, -1), points)
        state, points = reached(group, rng, *batch)
        state = state.reshape(*batch, -1)
        if name == "regulator_gangs":  # of several taps the first one counts: the others keep their distance
            there.setpoints.tap[..., [2, 0, 1]] = points.tap[..., [2, 0, 1]]
        for _ in range(40):
            action = fleet.action_towards(there, state, points, STEP)
            after = points.copy()
            state, limited = fleet.act(action, state, after, STEP)
            assert not limited.any()
            points = after
        rows = getattr(group, "taps", getattr(group, "switches", None))
        if rows is None:
            assert (state == there.state).all()
        else:
            field = "tap" if hasattr(group, "taps") else "closed"
            assert (getattr(points, field)[..., rows] == getattr(there.setpoints, field)[..., rows]).all()


def test_a_tap_goes_as_far_as_one_step_allows():
    fleet = fleet_of(CASES["regulator"].make())  # 1, 2 and 5 moves a step, at taps 2, 0 and 1
    points = setpoints(np.random.default_rng(0))
    points.tap[:] = 0
    wanted = points.copy()
    wanted.tap[[2, 0, 1]] = [-7, 1, 3]
    state = np.zeros(3)
    action = fleet.action_towards(Goal(np.zeros(3), state, wanted), state, points, STEP)
    np.testing.assert_allclose(action, [-1.0, 0.5, 0.6])


def test_an_ev_gets_what_is_missing_of_the_goal():
    """Less where it is ahead, more where it is behind, at most full power."""
    group = chargers()
    state, points = group.initial(), setpoints(np.random.default_rng(0))
    state[:, [1, 2, 3, 4]] = [-1.0, 8.0, 10.0, 12.0]  # here for 8 h more, 10 of 12 kWh due
    half = acted(fleet_of(group), np.zeros(4), state.ravel(), points)
    behind = state.copy()
    behind[:, 3] += [0.1, 0.2, 5.0, -9.0]
    fleet = fleet_of(group)
    action = fleet.action_towards(half, behind.ravel(), points, STEP)
    after = acted(fleet, action, behind.ravel(), points)
    due, wanted = (goal.state.reshape(4, -1)[:, 3] for goal in (after, half))
    np.testing.assert_allclose(due[:2], wanted[:2])
    assert action[2] == 1 and action[3] == -1


def test_an_ev_that_lends_gives_back_what_it_has_beyond_the_goal():
    """And draws what it lacks; a goal beyond what it lends is approached as far as it may be."""
    group = chargers((8.0, 8.0, 8.0, 0.5))
    state, points = group.initial(), setpoints(np.random.default_rng(0))
    state[:, [1, 2, 3, 4]] = [-1.0, 8.0, 10.0, 12.0]  # here for 8 h more, 10 of 12 kWh due
    idle = acted(fleet_of(group), np.array([0.0, 0.0, 0.0, 0.0]), state.ravel(), points)
    other = state.copy()
    other[:, 3] += [0.1, -0.2, -9.0, 2.0]  # behind, ahead, far ahead, and behind
    fleet = fleet_of(group)
    action = fleet.action_towards(idle, other.ravel(), points, STEP)
    after = acted(fleet, action, other.ravel(), points)
    due, wanted = (goal.state.reshape(4, -1)[:, 3] for goal in (after, idle))
    np.testing.assert_allclose(due[[0, 1, 3]], wanted[[0, 1, 3]])
    assert action[2] == -1 and action[1] < 0 < action[0]


def test_a_shifted_load_comes_to_the_energy_owed_at_the_goal():
    group = flexible_loads()  # the last two shift
    state, points = group.initial(), setpoints(np.random.default_rng(0))
    fleet = fleet_of(group)
    goal = acted(fleet, np.array([0.3, 0.2, 0.4]), state.ravel(), points)
    ahead = state.copy()
    ahead[1:, 1], ahead[1:, 2] = 0.05, 0.01  # something is owed already [kWh], recovered at so many kW
    found = acted(fleet, fleet.action_towards(goal, ahead.ravel(), points, STEP), ahead.ravel(), points)
    np.testing.assert_allclose(found.state.reshape(3, -1)[1:, 1], goal.state.reshape(3, -1)[1:, 1])
    assert found.action[0] == 0.3


@pytest.mark.parametrize("name", ["case33_reconfiguration", "ieee123_switching", "ieee13_legacy"])
def test_followed_through_a_day_the_labels_lead_to_the_plan(name):
    """From random switches, open points, taps and banks to those of another day's play, which then are kept."""
    task = task_of(name)
    goals, env = [], ZoneEnv(task, "train")
    rng, size = np.random.default_rng(3), task.agents.action_layout.size
    steps = task.scenario.steps
    day = env.days[0]
    env.reset(seed=0, options={"day": day})
    while env.agents:
        wanted = rng.uniform(-1, 1, size) if env.now.step < steps // 3 else env.simulator.hold_action(env.now)
        goals.append(_goal(env, wanted))
    env.reset(seed=0, options={"day": day})
    while env.agents:
        step = env.now.step
        label = env.simulator.action_towards(env.now, goals[step])
        _goal(env, rng.uniform(-1, 1, size) if step < steps // 3 else label)
        if step == steps - 1:
            assert (env.after.setpoints.tap == goals[-1].setpoints.tap).all()
            assert (env.after.setpoints.closed == goals[-1].setpoints.closed).all()
    env.close()


def _goal(env, wanted):
    """Play an interval, and where it led."""
    env.step(env.task.encoding.encode(wanted))
    return Goal(wanted, env.after.device_state, env.after.setpoints)


def test_kinds_that_the_circuit_may_operate_define_it():
    from dss_marl.devices import KINDS

    own = [kind for kind in KINDS.values() if kind.circuit_controls]
    assert own and all(kind.action_towards is not DeviceGroup.action_towards for kind in own)
