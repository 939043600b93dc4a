"""Slots: each agent's numbers reach its own devices, and nothing else does."""

import numpy as np
import pytest
from common import SCENARIOS, task_of

from dss_marl.devices import DeviceGroup
from dss_marl.spaces import Slots

every_scenario = pytest.mark.parametrize("scenario", SCENARIOS)


def zone(name, *buses):
    return type("Z", (), {"name": name, "buses": buses})()


def group(buses, entries=1, kind="Kind"):
    labels = tuple(f"entry {k}" for k in range(entries))
    made = type(kind, (DeviceGroup,), {"action_labels": labels})
    return made(tuple(f"{kind}{d}".lower() for d in range(len(buses))), tuple(buses))


def three_zones():
    """Two kinds, one with two entries; devices in no particular order."""
    zones = [zone("zone_1", "a", "b"), zone("zone_2", "c"), zone("zone_3", "d")]
    return Slots.build(zones, [group("dabc"), group("ccb", 2, "Other")])


def zeros(slots):
    return {agent: np.zeros(slots.width, np.float32) for agent in slots.agents}


def test_slots_by_hand():
    """Two of the first kind at most, and two of the second with two entries: six slots."""
    slots = three_zones()
    assert slots.agents == ("zone_1", "zone_2", "zone_3")
    assert slots.width == 6
    assert slots.place.tolist() == [[1, 2, 8, 9, -1, -1], [3, -1, 4, 5, 6, 7], [0, -1, -1, -1, -1, -1]]
    assert slots.shapes == ((4, 1), (3, 2))
    assert slots.parts == (slice(0, 4), slice(4, 10))
    assert slots.device_zone.tolist() == [2, 0, 0, 1, 1, 1, 0]
    assert slots.labels[0] == ("kind1: entry 0", "kind2: entry 0", "other2: entry 0", "other2: entry 1", "-", "-")
    assert slots.labels[2] == ("kind0: entry 0", "-", "-", "-", "-", "-")


@every_scenario
def test_each_number_reaches_its_device(scenario):
    """Every place of the flat vector is reached by exactly one slot, of the agent in whose zone the device is."""
    task = task_of(scenario)
    slots = task.slots
    used = slots.place[slots.place >= 0]
    assert sorted(used) == list(range(slots.parts[-1].stop))
    for z, agent in enumerate(slots.agents):
        for slot in range(slots.width):
            actions = zeros(slots)
            actions[agent][slot] = 0.5
            flat, _ = slots.read(actions)
            place = slots.place[z, slot]
            assert np.flatnonzero(flat).tolist() == ([place] if place >= 0 else [])
    device = 0
    for part, made in zip(slots.parts, task.groups, strict=True):
        assert part.stop - part.start == made.size * len(made.action_labels)
        for bus in made.buses:
            assert bus in task.zones[slots.device_zone[device]].buses
            device += 1


@every_scenario
def test_writing_and_reading_are_inverse(scenario, rng):
    slots = task_of(scenario).slots
    flat = rng.uniform(-1, 1, slots.parts[-1].stop).astype(np.float32).astype(float)
    actions = slots.write(flat)
    assert list(actions) == list(slots.agents)
    for z, agent in enumerate(slots.agents):
        assert (actions[agent].dtype, actions[agent].shape) == (np.float32, (slots.width,))
        assert (actions[agent][slots.place[z] < 0] == 0).all()
    again, clipped = slots.read(actions)
    assert np.array_equal(again, flat)
    assert (clipped == 0).all()


def test_only_used_slots_are_counted_when_clipped():
    slots = three_zones()
    actions = zeros(slots)
    actions["zone_1"][:] = [1.5, 1.0, -2.0, 0.3, 9.0, -9.0]  # two of four used, and the padding
    actions["zone_2"][:] = [-1.0, 5.0, 1.0, 1.0, 1.0, 1.0]  # padding only
    actions["zone_3"][0] = -np.inf
    flat, clipped = slots.read(actions)
    assert clipped.tolist() == [2, 0, 1]
    assert flat.tolist() == pytest.approx([-1, 1, 1, -1, 1, 1, 1, 1, -1, 0.3])


def test_any_order_of_agents_and_any_numbers_will_do():
    slots = three_zones()
    given = {agent: np.full(6, 0.1 * (z + 1)) for z, agent in enumerate(slots.agents)}
    flat, _ = slots.read(given)
    for variant in (
        dict(reversed(given.items())),
        {agent: list(x) for agent, x in given.items()},
        {agent: tuple(x) for agent, x in given.items()},
        {agent: x.astype(np.float32) for agent, x in given.items()},
    ):
        assert slots.read(variant)[0] == pytest.approx(flat)
    ones = {agent: np.ones(6, int) for agent in slots.agents}
    assert slots.read(ones)[0].tolist() == [1] * 10


def test_actions_are_only_read():
    slots = three_zones()
    given = {agent: np.full(6, 3.0) for agent in slots.agents}
    slots.read(given)
    assert all((x == 3).all() for x in given.values())


def test_a_zone_without_a_device_is_refused():
    zones = [zone("zone_1", "a"), zone("zone_2", "b", "c")]
    with pytest.raises(
        ValueError, match=r"zone_2 \(buses b, c\) has no device.*add a device there or choose other zones"
    ):
        Slots.build(zones, [group("a")])


def test_a_device_outside_all_zones_is_refused():
    with pytest.raises(ValueError, match="bus 'x' is in no zone"):
        Slots.build([zone("zone_1", "a")], [group("ax")])
