"""ActionLayout: each agent's numbers reach its own devices, and nothing else does."""

import numpy as np
import pytest
from common import SCENARIOS, task_of

from dss_marl.devices import DeviceGroup
from dss_marl.mdp.actions import ActionLayout, BoxEncoding

every_scenario = pytest.mark.parametrize("scenario", SCENARIOS)


def group(count, entries=1, kind="Kind"):
    labels = tuple(f"entry {k}" for k in range(entries))
    made = type(kind, (DeviceGroup,), {"action_labels": labels})
    return made(tuple(f"{kind}{d}".lower() for d in range(count)), ("bus",) * count)


def three_agents(by_kind=True):
    """Two kinds, one with two entries; devices in no particular order."""
    groups = [group(4), group(3, 2, "Other")]
    return ActionLayout.build(["zone_1", "zone_2", "zone_3"], [2, 0, 0, 1, 1, 1, 0], groups, by_kind), groups


def test_slots_by_kind():
    """Two of the first kind at most, and two of the second with two entries: six entries."""
    action_layout, _ = three_agents()
    assert action_layout.width == 6
    assert action_layout.place.tolist() == [[1, 2, 8, 9, -1, -1], [3, -1, 4, 5, 6, 7], [0, -1, -1, -1, -1, -1]]
    assert action_layout.shapes == ((4, 1), (3, 2))
    assert action_layout.parts == (slice(0, 4), slice(4, 10))
    assert action_layout.size == 10
    assert action_layout.labels[0] == (
        "kind1: entry 0",
        "kind2: entry 0",
        "other2: entry 0",
        "other2: entry 1",
        "-",
        "-",
    )
    assert action_layout.labels[2] == ("kind0: entry 0", "-", "-", "-", "-", "-")
    assert action_layout.entry_device.tolist() == [0, 1, 2, 3, 4, 4, 5, 5, 6, 6]
    assert action_layout.entry_agent.tolist() == [2, 0, 0, 1, 1, 1, 1, 1, 0, 0]


def test_slots_of_whatever_an_agent_has():
    action_layout, _ = three_agents(by_kind=False)
    assert action_layout.place.tolist() == [[1, 2, 8, 9, -1], [3, 4, 5, 6, 7], [0, -1, -1, -1, -1]]


def test_a_flat_vector_by_group_and_by_agent(rng):
    action_layout, _ = three_agents()
    joint_action = rng.uniform(size=(2, 10))
    first, second = action_layout.by_group(joint_action)
    assert np.array_equal(first[..., 0], joint_action[:, :4])
    assert np.array_equal(second, joint_action[:, 4:].reshape(2, 3, 2))
    rows = action_layout.rows(joint_action, fill=-7.0)
    assert np.array_equal(rows[1, 0], [*joint_action[1, [1, 2, 8, 9]], -7, -7])


@every_scenario
def test_each_number_reaches_its_device(scenario):
    """Every place of the joint action is reached by exactly one entry, of the agent in whose zone the device is."""
    task = task_of(scenario)
    action_layout = task.agents.action_layout
    boxes = BoxEncoding(action_layout, task.device_groups, 11)
    zeros = np.zeros(action_layout.width, np.float32)
    assert sorted(action_layout.place[action_layout.used]) == list(range(action_layout.size))
    for a, agent in enumerate(action_layout.agents):
        for entry in range(action_layout.width):
            actions = {name: zeros.copy() for name in action_layout.agents}
            actions[agent][entry] = 0.5
            place = action_layout.place[a, entry]
            assert np.flatnonzero(boxes.decode(actions).joint_action).tolist() == ([place] if place >= 0 else [])
    device = 0
    for made in task.device_groups:
        for bus in made.buses:
            assert bus in task.agents.views[action_layout.device_agent[device]].buses
            device += 1


@every_scenario
def test_writing_and_reading_are_inverse(scenario, rng):
    task = task_of(scenario)
    action_layout = task.agents.action_layout
    boxes = BoxEncoding(action_layout, task.device_groups, 11)
    joint_action = rng.uniform(-1, 1, action_layout.size).astype(np.float32).astype(float)
    actions = boxes.encode(joint_action)
    assert list(actions) == list(action_layout.agents)
    for a, agent in enumerate(action_layout.agents):
        assert (actions[agent].dtype, actions[agent].shape) == (np.float32, (action_layout.width,))
        assert (actions[agent][action_layout.place[a] < 0] == 0).all()
    back = boxes.decode(actions)
    assert np.array_equal(back.joint_action, joint_action)
    assert (back.clipped == 0).all()


def test_only_used_slots_are_counted_when_clipped():
    action_layout, groups = three_agents()
    actions = {
        "zone_1": [1.5, 1.0, -2.0, 0.3, 9.0, -9.0],  # two of four used, and the padding
        "zone_2": [-1.0, 5.0, 1.0, 1.0, 1.0, 1.0],  # padding only
        "zone_3": [-np.inf, 0, 0, 0, 0, 0],
    }
    decoded = BoxEncoding(action_layout, groups, 11).decode(actions)
    assert decoded.clipped.tolist() == [2, 0, 1]
    assert decoded.joint_action.tolist() == pytest.approx([-1, 1, 1, -1, 1, 1, 1, 1, -1, 0.3])


def test_any_order_of_agents_and_any_numbers_will_do_and_are_only_read():
    action_layout, groups = three_agents()
    boxes = BoxEncoding(action_layout, groups, 11)
    given = {agent: np.full(6, 0.1 * (z + 1)) for z, agent in enumerate(action_layout.agents)}
    joint_action = boxes.decode(given).joint_action
    for variant in (
        dict(reversed(given.items())),
        {agent: list(x) for agent, x in given.items()},
        {agent: tuple(x) for agent, x in given.items()},
        {agent: x.astype(np.float32) for agent, x in given.items()},
    ):
        assert boxes.decode(variant).joint_action == pytest.approx(joint_action)
    three = {agent: np.full(6, 3.0) for agent in action_layout.agents}
    assert boxes.decode(three).joint_action.tolist() == [1] * 10
    assert all((x == 3).all() for x in three.values())
