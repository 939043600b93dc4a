"""Leading batch axes: rewards and cold load of many states at once."""

import numpy as np
import pytest
from common import SCENARIOS, load_cached, task_of
from states import stacked, steps

from dss_marl.envs.cold_load_pickup import ColdLoad, ColdLoadSpec
from dss_marl.envs.reward_assignment import RewardAssignment
from dss_marl.grid.topology import Topology

every_batch = pytest.mark.parametrize("batch", [(6,), (2, 3)])


@every_batch
@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize(("agents", "sharing"), [("zone", "team"), ("zone", "zone"), ("device", "agent")])
def test_rewards_of_many_states(name, batch, agents, sharing):
    task = load_cached(name, agents=agents, reward_sharing=sharing)
    model, assignment, pairs = task.reward_model, RewardAssignment(task, None), (steps(name) * 6)[-6:]
    before, after = (stacked([pair[k] for pair in pairs], batch) for k in (0, 1))
    values, joint_action = model.zone_terms(before, after), task.default_action
    shared = assignment.agent_rewards(values[..., : len(task.rewards), :], before, after, joint_action)
    assert values.shape == (*batch, len(task.rewards) + len(task.costs), len(task.zones))
    assert shared.shape == (*batch, len(task.agents.names))
    for k, pair in enumerate(pairs):
        at, alone = np.unravel_index(k, batch), model.zone_terms(*pair)
        assert values[at] == pytest.approx(alone, rel=1e-12, abs=1e-15)
        own = assignment.agent_rewards(alone[: len(task.rewards)], *pair, joint_action)
        assert shared[at] == pytest.approx(own, rel=1e-12, abs=1e-15)


@every_batch
def test_cold_load_of_many_states(batch, rng):
    feeder = task_of("ieee123_restoration").feeder
    cold = ColdLoad(ColdLoadSpec(), feeder, Topology.build(feeder))
    pairs = (steps("ieee123_restoration") * 6)[-6:]
    after = stacked([pair[1] for pair in pairs], batch)
    points, wanted = after.setpoints.copy(), after.forecast[..., 0, :]
    for state in np.ndindex(batch):
        points.closed[state] = rng.random(points.closed.shape[-1]) < 0.7
    before = points.copy()
    supplied = cold.supplied(points, wanted)
    device_state = cold.after(cold.start(supplied), rng.permuted(supplied, axis=-1), 0.25)
    later = cold.after(device_state, supplied, 0.5)
    cold.raise_loads(device_state, points, supplied)
    assert supplied.shape == (*batch, len(cold.loads))
    assert later.shape == (*batch, cold.size)
    assert not supplied.all()
    for state in np.ndindex(batch):
        one = type(points)(*(getattr(before, x)[state].copy() for x in ("kw", "kvar", "tap", "closed")))
        assert np.array_equal(cold.supplied(one, wanted[state]), supplied[state])
        assert np.array_equal(cold.factors(device_state)[state], cold.factors(device_state[state]))
        assert np.array_equal(cold.start(supplied)[state], cold.start(supplied[state]))
        assert np.array_equal(cold.after(device_state[state], supplied[state], 0.5), later[state])
        cold.raise_loads(device_state[state], one, supplied[state])
        assert np.array_equal(one.kw, points.kw[state])
        assert np.array_equal(one.kvar, points.kvar[state])
