"""After an error an environment has either not changed, or refuses to go on until a reset succeeds."""

import pickle
import threading
import timeit

import numpy as np
import pytest
from common import load_cached
from episodes import still
from stub_engines import Calm, Failing

import dss_marl
from dss_marl import OpenDSSEngine, PowerFlowError, ZoneEnv
from dss_marl.envs.turn_env import TurnEnv


@pytest.fixture
def task():
    return load_cached("ieee13_volt_var", steps=4)


@pytest.fixture
def twins(task):
    """Two environments on the same day, one step in."""
    pair = ZoneEnv(task), ZoneEnv(task)
    for env in pair:
        env.reset(seed=1)
        env.step(still(env))
    yield pair
    for env in pair:
        env.close()


def alike(env, other):
    """Whether both go on bitwise alike: to the end of the day, and into the next day of the stream."""
    while other.agents:
        ours, theirs = env.step(still(env)), other.step(still(other))
        assert ours[1:] == theirs[1:]
    assert all(np.array_equal(a, b) for a, b in zip(env.reset()[0].values(), other.reset()[0].values(), strict=True))
    assert env.day == other.day


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"faults": ["nope"]}, "unknown branch 'nope'|branch 'nope'"),
        ({"faults": "line.650632"}, "faults must be a list of branches"),
        ({"faults": [3]}, "faults must be a list of branches"),
        ({"day": 400}, "day must be a whole number"),
        ({"day": 3, "faults": ["line.650632", "nope"]}, "nope"),
    ],
)
def test_a_refused_reset_leaves_the_running_episode(twins, options, message):
    env, other = twins
    day = env.day
    with pytest.raises(ValueError, match=message):
        env.reset(seed=77, options=options)
    assert env.day == day
    alike(env, other)


def test_a_power_flow_that_fails_in_reset_ends_the_episode_until_a_reset_succeeds(task):
    env = ZoneEnv(task, engine=Failing(OpenDSSEngine(task.feeder), at=-99))
    env.reset(seed=1)
    env.step(still(env))
    env.engine.at = 0
    with pytest.raises(PowerFlowError):
        env.reset()
    actions = {agent: env.action_space(agent).sample() for agent in env.possible_agents}
    for going_on in (env.step, env.what_if):
        with pytest.raises(RuntimeError, match=r"error \(PowerFlowError: on purpose\); call reset first"):
            going_on(actions)
    assert env.agents == []
    env.engine.at = -99
    env.reset()
    env.step(still(env))
    env.close()


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_an_error_half_way_through_a_step_or_reset_interrupts(task, monkeypatch, error):
    """Of an observation or reward of one's own for instance, or Ctrl-C."""

    def broken(now):
        raise error("half way")

    env = ZoneEnv(task)
    env.reset(seed=1)
    actions = still(env)
    for going_on in (lambda: env.step(actions), env.reset):
        with monkeypatch.context() as patch, pytest.raises(error):
            patch.setattr(env.observation_model, "observe", broken)
            going_on()
        with pytest.raises(RuntimeError, match=f"error \\({error.__name__}: half way\\); call reset first"):
            env.step(actions)
        env.reset()
        env.step(actions)
    env.close()


def test_what_if_that_fails_leaves_the_episode(twins):
    env, other = twins
    solve = env.engine.solve
    env.engine.solve = lambda *_: (_ for _ in ()).throw(PowerFlowError("on purpose"))
    with pytest.raises(PowerFlowError):
        env.what_if(still(env))
    env.engine.solve = solve
    alike(env, other)


def test_what_if_after_the_end_is_refused_as_a_step_is(task):
    env = ZoneEnv(task, engine=Calm(task.feeder))
    env.reset(seed=1)
    actions = still(env)
    while env.agents:
        env.step(still(env))
    with pytest.raises(RuntimeError, match="call reset first"):
        env.what_if(actions)


def test_a_state_that_cannot_be_loaded_changes_nothing(twins, task):
    env, other = twins
    foreign = ZoneEnv(load_cached("ieee13_volt_var", steps=3))
    foreign.reset(seed=5)
    for saved in (foreign.save_state(), None, {"episode": 3}):
        with pytest.raises(ValueError, match=r"which differs from this environment|takes what save_state gave"):
            env.load_state(saved)
    own = other.save_state()
    restart, env.engine.restart = env.engine.restart, lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        env.load_state(own)
    with pytest.raises(ZeroDivisionError):
        env.save_state()
    env.engine.restart = restart
    env.save_state()
    alike(env, other)
    foreign.close()


def in_a_thread(function):
    """The exception that a function raises in another thread; None if none."""
    raised = []

    def run():
        try:
            function()
        except Exception as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return raised[0] if raised else None


def test_a_second_thread_gets_an_error_and_the_episode_goes_on(twins):
    env, other = twins
    actions = still(env)
    asked = (env.reset, lambda: env.step(actions), lambda: env.what_if(actions), env.save_state)
    for function in asked:
        error = in_a_thread(function)
        assert isinstance(error, RuntimeError) and "belongs to another thread" in str(error)
    alike(env, other)


def test_opendss_stays_in_one_thread_whatever_is_closed_or_copied(task):
    """In another thread of a process with threads of other libraries it was seen to crash."""
    env = ZoneEnv(task)
    env.reset(seed=1)
    twin = pickle.loads(pickle.dumps(env))
    for one in (lambda: twin.step(still(twin)), lambda: twin.engine.solve(task.start)):
        error = in_a_thread(one)
        assert isinstance(error, RuntimeError) and "OpenDSS runs in thread 'MainThread'" in str(error)
    env.close()
    assert "OpenDSS runs in thread" in str(in_a_thread(env.reset))
    env.close()
    env.reset(seed=1)
    twin.close()
    twin.reset(seed=1)
    assert in_a_thread(twin.engine.close) is None, "a garbage collection may close an engine in any thread"
    twin.close()
    env.close()


def test_the_thread_check_costs_less_than_a_microsecond_by_far(task):
    """Below 0.2 us on an idle machine; the bound leaves room for a busy one."""
    env = ZoneEnv(task)
    env._check_thread()
    assert min(timeit.repeat(env._check_thread, number=10_000, repeat=5)) / 10_000 < 1e-6


def test_in_turns_a_wrong_action_is_refused_in_its_agents_turn(task):
    env = TurnEnv(ZoneEnv(task))
    env.reset(seed=1)
    good = still(env.env)
    first = env.agent_selection
    with pytest.raises(ValueError, match=f"action of {first!r} contains NaN"):
        env.step(np.full_like(good[first], np.nan))
    assert env.agent_selection == first and env.env.after is None
    for agent in env.possible_agents:
        assert env.agent_selection == agent
        env.step(good[agent])
    assert env.env.after.step == 0
    env.close()


def test_in_turns_a_failed_reset_refuses_the_next_turn(task):
    env = TurnEnv(ZoneEnv(task, engine=Failing(OpenDSSEngine(task.feeder), at=-99)))
    env.reset(seed=1)
    good = still(env.env)
    env.env.engine.at = 0
    with pytest.raises(PowerFlowError):
        env.reset()
    with pytest.raises(RuntimeError, match="call reset first"):
        env.step(good[env.agent_selection])
    env.close()


def test_the_public_aec_environment_acts_in_turns():
    env = dss_marl.env("ieee13_volt_var", max_cycles=2)
    assert isinstance(env.env, TurnEnv)
    env.close()


def test_the_central_environment_refuses_likewise():
    env = dss_marl.gym_env("ieee13_volt_var", steps=3)
    env.reset(seed=1)
    with pytest.raises(ValueError, match="branch"):
        env.reset(options={"faults": ["nope"]})
    with pytest.raises(ValueError, match="NaN"):
        env.step(np.full(env.action_space.shape, np.nan))
    env.step(np.zeros(env.action_space.shape, np.float32))
    assert env.env.after.step == 0
    env.close()
