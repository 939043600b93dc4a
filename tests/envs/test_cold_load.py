"""Cold load in an episode: what is dark loses its diversity, and what is lit again draws more."""

import numpy as np
import pytest
from common import task_of

from dss_marl import ZoneEnv
from dss_marl.envs.cold_load_pickup import ColdLoad
from dss_marl.grid.topology import Topology

NAME = "ieee123_restoration"


@pytest.fixture
def env():
    env = ZoneEnv(task_of(NAME))
    yield env
    env.close()


@pytest.fixture
def cold(env):
    return ColdLoad(env.task.scenario.cold_load, env.task.feeder, Topology.build(env.task.feeder))


def intervals(env, seed):
    """Intervals of an episode as operated, under random requests."""
    env.reset(seed=seed, options={"day": 200})
    rng = np.random.default_rng(seed)
    while env.agents:
        env.step(env.task.encoding.encode(rng.uniform(-1, 1, env.task.agents.action_layout.size)))
        yield env.after


def test_in_an_episode_it_is_as_stepped_by_hand(env, cold):
    """Across steps that switch parts off and on again, from the first interval on."""
    for seed in range(2):
        env.reset(seed=seed, options={"day": 200})
        at_first = env.now.device_state[-cold.size :]
        wanted = env.simulator.conditions.injections_kw(0)
        expected = cold.start(cold.supplied(env.now.setpoints, wanted))
        assert np.array_equal(at_first, expected)
        assert expected.any(), "the fault has made a part dark before the episode"
        moved = 0
        for after in intervals(env, seed):
            wanted = env.simulator.conditions.injections_kw(after.step)
            before = expected
            expected = cold.after(before, cold.supplied(after.setpoints, wanted), after.dt_h)
            assert np.array_equal(after.device_state[-cold.size :], expected)
            assert np.array_equal(env.now.device_state[-cold.size :], expected), "observing moves nothing"
            moved += not np.array_equal(expected, before)
        assert moved == env.task.scenario.steps


def test_what_is_lit_again_draws_more_and_what_is_dark_no_more(env, cold):
    relit, most = 0, 0.0
    for seed in range(3):
        was = None
        for after in intervals(env, seed):
            wanted = env.simulator.conditions.injections_kw(after.step)
            supplied = cold.supplied(after.setpoints, wanted)
            device_state = env.before.device_state[-cold.size :]
            drawn = after.setpoints.kw[cold.loads][supplied]
            assert drawn == pytest.approx(wanted[cold.loads][supplied] * cold.factors(device_state)[supplied])
            dark = after.setpoints.kw[cold.loads][~supplied]
            assert (np.abs(dark) <= np.abs(wanted[cold.loads][~supplied])).all()
            seen, device_state_now = env.now, env.now.device_state[-cold.size :]
            wanted_now = seen.forecast[0]
            lit = cold.supplied(seen.setpoints, wanted_now)
            expected = wanted_now[cold.loads][lit] * cold.factors(device_state_now)[lit]
            assert seen.setpoints.kw[cold.loads][lit] == pytest.approx(expected), "agents see it coming"
            if was is not None:
                again = supplied & ~was
                relit += int(again.sum())
                most = max(most, float(cold.factors(device_state)[again].max(initial=0)))
            was = supplied
    assert relit > 20
    assert most > 1.3


def test_a_stack_of_loads_is_as_one_by_one(cold, rng):
    states = np.concatenate([rng.random((5, len(cold.loads))), 0.25 * rng.random((5, len(cold.loads)))], axis=-1)
    supplied = rng.random((5, len(cold.loads))) < 0.5
    together = cold.after(states, supplied, 0.25)
    assert np.array_equal(together, [cold.after(s, on, 0.25) for s, on in zip(states, supplied, strict=True)])
    assert np.array_equal(cold.factors(states), [cold.factors(s) for s in states])
