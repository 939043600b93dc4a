"""The greedy reference: what one step ahead on the engine promises."""

import numpy as np
import pytest

import dss_marl
from dss_marl.controllers import Greedy, NoControl
from dss_marl.controllers.search.trial_solves import TrialSolver
from dss_marl.experiments import evaluate

SUMMER = 175


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("ieee34_volt_var", {}),
        ("ieee13_volt_var", {"actions": "multidiscrete", "levels": 5}),
        ("ieee13_volt_var", {"actions": "native", "agents": "device"}),
        ("ieee123_hybrid", {}),
        ("ieee123_hybrid", {"actions": "multidiscrete"}),
    ],
)
def test_the_next_interval_is_never_worse_than_under_holding(name, changes):
    scenario = dss_marl.load_scenario(name).replace(start_hour=11, steps=3, **changes)
    env, greedy = dss_marl.ZoneEnv(scenario, "test"), Greedy(solves=60)
    observations, _ = env.reset(seed=0, options={"day": SUMMER})
    greedy.reset(env)
    while env.agents:
        now = env.now
        kinds = [type(group).__name__ == "Batteries" for group in env.task.device_groups]
        idle = np.repeat(kinds, [part.stop - part.start for part in env.task.agents.action_layout.parts])
        held = np.where(idle, env.task.default_action, env.simulator.hold_action(now))
        if scenario.actions == "multidiscrete":  # what agents can say that is nearest to holding
            held = env.masks.enforce(env.task.encoding.decode(env.task.encoding.encode(held)), env.episode.levels, now)[
                0
            ]
        worst = TrialSolver(env.simulator).reward(now, held)
        expected = TrialSolver(env.simulator).reward(now, greedy.best(env))
        observations, rewards, *_ = env.step(greedy.act(env, observations))
        assert expected >= worst - 1e-4  # what was solved before shows in the last digits
        np.testing.assert_allclose(next(iter(rewards.values())), expected, atol=1e-3)  # float32 actions
        assert not env.after.action[idle].any()


def test_a_step_spends_no_more_power_flows_than_allowed(monkeypatch):
    spent = []
    original = TrialSolver.reward
    monkeypatch.setattr(TrialSolver, "reward", lambda self, *given: spent.append(1) or original(self, *given))
    env = dss_marl.ZoneEnv(dss_marl.load_scenario("ieee34_volt_var"), "test")
    env.reset(seed=0)
    greedy = Greedy(solves=25)
    greedy.reset(env)
    greedy.best(env)
    assert len(spent) == 25


def test_it_beats_holding_over_a_noon_by_far():
    scenario = dss_marl.load_scenario("ieee34_volt_var").replace(start_hour=11, steps=6)
    still, greedy = (
        evaluate(controller, scenario, [SUMMER])[0]["team_return"] for controller in (NoControl(), Greedy(solves=60))
    )
    assert greedy > 0.1 * still  # both negative


def test_nothing_to_move_is_an_error():
    scenario = dss_marl.load_scenario("ieee123_hybrid").replace(
        devices=[{"kind": "battery", "bus": "35", "kw": 150, "kwh": 600}], zones={"method": "balanced", "count": 1}
    )
    env = dss_marl.ZoneEnv(scenario)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="has none of the devices that greedy controls"):
        Greedy().reset(env)
