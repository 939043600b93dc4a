"""What a task refuses that no scenario of the suite asks for, and what an environment refuses before it is reset."""

from dataclasses import replace

import pytest
from common import load_cached, task_of

from dss_marl import ZoneEnv
from dss_marl.envs.scenario_files import load_scenario
from dss_marl.envs.task import build_task
from dss_marl.mdp.agents import Agents, with_devices


@pytest.mark.parametrize("levels", [4, 10])
def test_levels_need_a_middle(levels):
    with pytest.raises(ValueError, match=f"levels: .*must be odd, so that the middle one is neutral; got {levels}"):
        load_scenario("ieee13_volt_var").replace(levels=levels)


def test_a_kind_without_act_every_of_its_own_has_one_for_all():
    scenario = load_cached("ieee123_switching").scenario
    switches = next(spec for spec in scenario.devices if spec["kind"] == "switch")
    one, other = {**switches, "lines": ["l13"]}, {"kind": "switch", "names": [], "lines": ["l45"], "act_every": 2}
    both = [spec for spec in scenario.devices if spec["kind"] != "switch"]
    with pytest.raises(ValueError, match=r"Switches: give all devices of this kind the same 'act_every'; got \[1, 2\]"):
        build_task(scenario.replace(devices=[one, other, *both]))
    task = build_task(scenario.replace(devices=[{**one, "act_every": 2}, other, *both]))
    group = next(group for group in task.device_groups if type(group).__name__ == "Switches")
    assert group.act_every.tolist() == [2] * group.size


def test_a_device_must_be_in_a_zone():
    task = task_of("ieee34_volt_var")
    group = task.device_groups[0]
    lost = replace(group, buses=("nowhere", *group.buses[1:]))
    with pytest.raises(ValueError, match=r"Inverters: bus 'nowhere' is in no zone"):
        with_devices(task.zones, [lost], ["inverter"])


def test_kinds_that_agents_would_call_alike_are_refused():
    """Agents carry letters and underscores of a kind's name alone."""
    task = task_of("ieee34_volt_var")
    group = task.device_groups[0]
    with pytest.raises(
        ValueError, match=r"two kinds of device would have the same name; rename one: inverter, my:Inverter2"
    ):
        Agents.build("device", task.zones, [group, group], ["inverter", "my:Inverter2"])


def test_before_a_reset_there_is_no_state_and_no_what_if():
    env = ZoneEnv(load_cached("ieee34_volt_var", agents="device"))
    actions = env.task.encoding.encode(env.task.default_action)
    for call in (env.state, lambda: env.what_if(actions)):
        with pytest.raises(RuntimeError, match="call reset first"):
            call()
    env.reset(seed=1)
    assert env.state_space.contains(env.state())
    assert env.what_if(actions).step == 0
    env.close()
