"""A power flow that fails ends the episode, with the stated penalty and finite observations."""

import numpy as np
import pytest
from episodes import episode, random_actions, still
from stub_engines import Failing

from dss_marl import OpenDSSEngine, ZoneEnv, load_scenario
from dss_marl.envs.task import build_task


@pytest.mark.parametrize("moment", ["operating", "looking ahead"])
def test_a_failed_power_flow_ends_the_episode(scenario, task, moment):
    """With the stated penalty and a finite observation; the next episode is unharmed."""
    failing_step = 4
    at = 1 + 2 * failing_step + (moment == "looking ahead")
    env = ZoneEnv(task, engine=Failing(OpenDSSEngine(task.feeder), at))
    env.reset(seed=5)
    rng = np.random.default_rng(5)
    for _ in range(failing_step):
        *_, flags, _, infos = env.step(random_actions(env, rng))
        assert not any(flags.values())
    observations, rewards, terminations, truncations, infos = env.step(random_actions(env, rng))
    assert set(terminations.values()) == {True}
    assert set(truncations.values()) == {False}
    assert set(rewards.values()) == {-task.scenario.failure_penalty}
    assert env.agents == []
    for agent, seen in observations.items():
        assert env.observation_space(agent).contains(seen)
        assert np.isfinite(seen).all()
        assert infos[agent]["failed"] == 1.0
        assert infos[agent]["TimeLimit.truncated"] is False
        assert all(np.isfinite(x) for x in infos[agent].values())
    assert env.state_space.contains(env.state())
    with pytest.raises(RuntimeError, match="reset"):
        env.step(still(env))
    env.engine.at = -99
    healthy = ZoneEnv(task)
    assert episode(env, 5) == episode(healthy, 5)
    env.close()
    healthy.close()


def test_a_failure_in_the_last_step_terminates_and_does_not_truncate(task, scenario):
    short = build_task(load_scenario(scenario).replace(steps=3))
    env = ZoneEnv(short, engine=Failing(OpenDSSEngine(short.feeder), at=5))
    env.reset(seed=5)
    for _ in range(3):
        _, _, terminations, truncations, infos = env.step(still(env))
    assert set(terminations.values()) == {True}
    assert set(truncations.values()) == {False}
    assert infos[env.possible_agents[0]]["TimeLimit.truncated"] is False
    env.close()


def test_a_grid_that_collapses_is_a_failure(scenario):
    """A real one: everything times fifty."""
    task = build_task(load_scenario(scenario).replace(profiles={"load_scale": (0.4, 0.4)}, failure_penalty=12.5))
    env = ZoneEnv(task)
    env.reset(seed=1)
    env.simulator.conditions.day.kw[3:] *= 50
    env.simulator.conditions.day.kvar[3:] *= 50
    rewards = {}
    while env.agents:
        _, rewards, terminations, _, _ = env.step(still(env))
    assert set(terminations.values()) == {True}
    assert set(rewards.values()) == {-12.5}
    env.close()
