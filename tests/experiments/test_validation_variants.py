"""Constants, parts, replays and searches that a proof compares with."""

import numpy as np
import pytest
from common import task_of
from validation_cases import noon

from dss_marl.controllers import Greedy, NoControl, RandomControl, ZoneGreedy, is_local, reference
from dss_marl.controllers.search.constant_search import constants
from dss_marl.envs.scenario_files import load_scenario
from dss_marl.experiments.evaluation import available_controllers, environment_for, run_day
from dss_marl.experiments.validation.ablations import (
    ConstantController,
    PartialController,
    ReplayController,
    devices_of,
)


def test_constants_cover_every_kind_of_entry_and_every_position():
    task = task_of("ieee123_hybrid")
    found = constants(task)
    assert not any(np.array_equal(joint_action, task.default_action) for joint_action in found.values())
    action_layout = task.agents.action_layout
    for group, part, (_, width) in zip(task.device_groups, action_layout.parts, action_layout.shapes, strict=True):
        for k in range(width):
            values = {joint_action[part][k] for joint_action in found.values()}
            assert values >= set(np.linspace(-1, 1, min(int(group.n_levels()[0, k]) or 3, 17)))


def test_a_part_moves_its_devices_and_no_others():
    task = task_of("ieee123_hybrid")
    whole = ConstantController(np.full(task.agents.action_layout.size, 0.5))
    device = devices_of(task)[3]
    for without in (False, True):
        env = environment_for(whole, task.scenario, "test")
        part = PartialController(whole, [device], without)
        env.reset(seed=0, options={"day": 20})
        part.reset(env)
        env.step(part.act(env, {}))
        own = task.agents.action_layout.entry_device == 3
        np.testing.assert_allclose(env.after.action[own ^ without], 0.5)
        np.testing.assert_allclose(env.after.action[~(own ^ without)], task.default_action[~(own ^ without)])
        env.close()
    with pytest.raises(ValueError, match="none of"):
        part = PartialController(whole, [("Inverters", "nowhere")])
        part.reset(env)


def test_a_recorded_controller_thinks_once_a_day_and_asks_the_same_again():
    task = task_of("ieee123_hybrid")

    class Thinking(RandomControl):
        """Counts its thoughts."""

        thoughts = 0

        def act(self, env, observations):
            self.thoughts += 1
            return super().act(env, observations)

    whole = Thinking()
    recorded, env = ReplayController(whole), environment_for(whole, task.scenario, "test")
    earned = [run_day(env, controller, 20)["team_return"] for controller in (whole, recorded, recorded)]
    assert earned[0] == earned[1] == earned[2]
    assert whole.thoughts == 2 * task.scenario.steps
    env.close()


# --- zone_greedy and what starts


def test_a_zone_alone_is_greedy_and_zones_together_do_not_see_each_other():
    one = noon(zones={"method": "balanced", "count": 1})
    env = environment_for(Greedy(), one, "test")
    both = [run_day(env, controller, 175)["team_return"] for controller in (Greedy(solves=40), ZoneGreedy(solves=40))]
    assert both[0] == pytest.approx(both[1], abs=1e-6)  # one zone is the team
    env = environment_for(Greedy(), noon(), "test")
    team, zones = (run_day(env, controller, 175)["team_return"] for controller in (Greedy(), ZoneGreedy()))
    assert zones < team
    env.close()


def test_what_is_local_says_so():
    scenario = load_scenario("ieee34_volt_var")
    local = {name: is_local(reference(name, scenario)) for name in ("droop", "tuned_droop", "greedy", "best_known")}
    assert local == {"droop": True, "tuned_droop": True, "greedy": False, "best_known": False}
    assert is_local(ZoneGreedy()) and is_local(RandomControl()) and not is_local(object())


def test_only_what_starts_plays_and_the_rest_says_why(tmp_path):
    found, refused = available_controllers(load_scenario("ieee123_switching"), ["no_control", "droop", "tuned_droop"])
    assert list(found) == ["no_control"]
    assert "needs inverters" in refused["droop"] and "no tuned_droop" in refused["tuned_droop"]


def test_circuit_controls_may_take_all_devices_of_a_zone():
    """The inverter's zone stays, the regulators' has nothing left to move."""
    devices = [{"kind": "inverter", "bus": 675, "kw": 900}, {"kind": "regulator", "names": "all"}]
    scenario = noon(devices=devices, zones={"method": "cut", "kinds": [], "branches": ["632670"]})
    assert run_day(environment_for(reference("droop", scenario), scenario, "test"), NoControl(), 20)["failed"] == 0
