"""Agents: every device is moved by exactly one, and each looks at the zone that its devices are in."""

import numpy as np
import pytest
from common import load_cached

from dss_marl.mdp.agents import Agents, short_kind

HOW = ["zone", "kind", "device"]
NAMES = ["ieee34_volt_var", "ieee13_volt_var", "ieee123_hybrid"]


@pytest.fixture(params=[(name, how) for name in NAMES for how in HOW], ids=lambda p: f"{p[0]}-{p[1]}")
def task(request):
    name, how = request.param
    return load_cached(name, agents=how)


def devices(task):
    """(kind, name, bus) of every device, kind after kind."""
    return [(type(g), name, bus) for g in task.device_groups for name, bus in zip(g.names, g.buses, strict=True)]


def test_every_device_has_one_agent_that_looks_at_its_zone(task):
    agents = task.agents
    owned = np.concatenate([view.devices for view in agents.views])
    assert sorted(owned) == list(range(len(devices(task))))
    for view, zone in zip(agents.views, agents.zone, strict=True):
        for d in view.devices:
            assert devices(task)[d][2] in task.zones[zone].buses
        assert view.buses == task.zones[zone].buses
        assert np.array_equal(view.scored_nodes, task.zones[zone].scored_nodes)


def test_how_many_agents_there_are(task):
    every, how = devices(task), task.agents.how
    zone_of = {bus: z for z, zone in enumerate(task.zones) for bus in zone.buses}
    wanted = {
        "zone": len(task.zones),
        "kind": len({(kind, zone_of[bus]) for kind, _, bus in every}),
        "device": len(every),
    }[how]
    assert len(task.agents.names) == len(set(task.agents.names)) == wanted
    if how != "zone":
        for view, kind in zip(task.agents.views, task.agents.kinds, strict=True):
            assert view.kinds.sum() == 1
            assert view.entries["kinds"][int(view.kinds.argmax())] == kind
            assert len({every[d][0] for d in view.devices}) == 1


def test_entries_reach_the_agents_own_devices(task):
    action_layout = task.agents.action_layout
    assert sorted(action_layout.place[action_layout.used]) == list(range(action_layout.size))
    first = 0
    for group, part in zip(task.device_groups, action_layout.parts, strict=True):
        for d in range(group.size):
            own = range(part.start + d * len(group.action_labels), part.start + (d + 1) * len(group.action_labels))
            for k in own:
                assert action_layout.entry_device[k] == first + d
                assert action_layout.entry_agent[k] == action_layout.device_agent[first + d]
                a, w = np.argwhere(action_layout.place == k)[0]
                assert (a, action_layout.labels[a][w].split(":")[0]) == (action_layout.entry_agent[k], group.names[d])
        first += group.size


def test_what_is_its_own_comes_first(task):
    """In an agent's rows of units, taps, banks and switches; and none is lost."""
    if task.agents.how == "zone":
        return
    moved = 0
    for view, zone in zip(task.agents.views, task.agents.zone, strict=True):
        whole = task.zones[zone]
        kind, first, own = None, 0, []
        for group in task.device_groups:
            inside = [d - first for d in view.devices if first <= d < first + group.size]
            if inside:
                kind, own = group, inside
            first += group.size
        for rows, index in (("units", "injections"), ("taps", "taps"), ("capacitors", "switches")):
            assert sorted(getattr(view, rows)) == sorted(getattr(whole, rows))
            mine = set(np.ravel(getattr(kind, index)[own]).tolist()) if hasattr(kind, index) else set()
            mine &= set(getattr(whole, rows).tolist())
            assert set(getattr(view, rows)[: len(mine)].tolist()) == mine
            moved += getattr(view, rows).tolist() != getattr(whole, rows).tolist()
        where = {u: k for k, u in enumerate(whole.units.tolist())}
        order = [where[u] for u in view.units.tolist()]
        assert np.array_equal(view.unit_kw, whole.unit_kw[order])
        assert np.array_equal(view.unit_nodes, whole.unit_nodes[order])
    assert moved or task.agents.how == "kind"  # whose rows may lie that way already


def test_names_are_what_pettingzoo_likes(task):
    import re

    assert all(re.match("^[a-z]+_[0-9]+$", name) for name in task.agents.names) or any(
        "_" in kind for kind in task.agents.kinds
    )


def test_ones_own_kind_gets_a_plain_name():
    assert short_kind("my.module:SheddableLoads") == "sheddableloads"
    assert short_kind("inverter") == "inverter"


def test_zones_without_a_device_are_refused_for_zone_agents_only():
    task = load_cached("ieee34_volt_var")
    some = [task.device_groups[0]]  # inverters only: every zone has one, so leave one out
    import dataclasses

    fewer = dataclasses.replace(
        some[0],
        names=some[0].names[1:],
        buses=some[0].buses[1:],
        injections=some[0].injections[1:],
        kva=some[0].kva[1:],
        may_curtail=some[0].may_curtail[1:],
    )
    with pytest.raises(ValueError, match=r"has no device, so its agent would have no action.*'kind' or 'device'"):
        Agents.build("zone", task.zones, [fewer], ["inverter"])
    assert len(Agents.build("kind", task.zones, [fewer], ["inverter"]).names) == 5
