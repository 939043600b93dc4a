"""What compromised agents do, which ones they are, and from when."""

import numpy as np
import pytest
from common import task_of

from dss_marl import ZoneEnv, load_scenario
from dss_marl.envs.task import build_task
from dss_marl.mdp.adversary import Attack, AttackSpec

NAME = "ieee34_volt_var"


def attacked(policy, **who):
    task = task_of(NAME)
    attack = Attack(AttackSpec(policy=policy, **who), task.agents.names)
    attack.reset(np.random.default_rng(1))
    return attack, task.agents.action_layout


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("opposite", lambda asked, state: -asked),
        ("full", lambda asked, state: np.ones_like(asked)),
        ("frozen", lambda asked, state: state.action),
        ("swinging", lambda asked, state: np.full_like(asked, -1.0 if state.step % 2 == 0 else 1.0)),
    ],
)
def test_compromised_agents_do_something_else_and_no_other_does(policy, expected, truth, rng):
    attack, action_layout = attacked(policy, agents=("zone_2", "zone_5"))
    asked = rng.uniform(-1, 1, action_layout.size)
    for state in truth[2:4]:
        done = attack.act(asked, action_layout.entry_agent, state)
        compromised = np.isin(action_layout.entry_agent, [1, 4])
        assert np.array_equal(done[~compromised], asked[~compromised])
        assert np.array_equal(done[compromised], expected(asked, state)[compromised])


def test_a_share_of_agents_is_drawn_anew_at_each_reset():
    attack, _ = attacked("noise", share=0.34)
    drawn = []
    rng = np.random.default_rng(0)
    for _ in range(20):
        attack.reset(rng)
        drawn.append(tuple(attack.compromised(0)))
    assert {sum(one) for one in drawn} == {2}
    assert len(set(drawn)) > 5
    attack.reset(np.random.default_rng(0))
    assert tuple(attack.compromised(0)) == drawn[0]


def test_an_attack_may_begin_later():
    attack, _ = attacked("full", agents=("zone_1",), from_step=3)
    assert [attack.compromised(k).any() for k in range(5)] == [False, False, False, True, True]


def test_what_a_compromised_agent_does_in_a_step_repeats():
    """So that what-if and planned days see what will be."""
    task = task_of(NAME)
    env = ZoneEnv(load_scenario(NAME).replace(attack={"policy": "noise", "share": 0.5}))
    env.reset(seed=1, options={"day": 172})
    still = env.task.encoding.encode(task.default_action)
    expected = [env.what_if(still).action for _ in range(2)]
    env.step(still)
    assert np.array_equal(expected[0], expected[1])
    assert np.array_equal(env.after.action, expected[0])
    assert not np.array_equal(env.after.action, task.default_action)
    env.close()


def test_an_attack_on_one_kind_leaves_the_others_alone():
    """And draws the same agents where the circuit's own controls have the others."""
    scenario = load_scenario(NAME).replace(
        attack={"policy": "full", "share": 0.5, "kinds": ["inverter"]}, agents="device"
    )
    drawn = []
    for one in (scenario, scenario.under_circuit_controls()):
        env = ZoneEnv(one, "test")
        env.reset(seed=3)
        action = env.what_if(env.task.encoding.encode(env.task.default_action)).action
        inverters = next(k for k, g in enumerate(env.task.device_groups) if type(g).__name__ == "Inverters")
        drawn.append(action[env.task.agents.action_layout.parts[inverters]])
        assert action.sum() == drawn[-1].sum() == 3
        env.close()
    assert np.array_equal(*drawn)
    only = scenario.replace(attack={"policy": "full", "share": 0.5, "kinds": ["regulator"]})
    assert only.under_circuit_controls().attack is None


def test_wrong_attacks_are_refused():
    with pytest.raises(ValueError, match="attack: there is no battery among the devices"):
        build_task(load_scenario(NAME).replace(attack={"policy": "full", "share": 0.5, "kinds": ["battery"]}))
    with pytest.raises(ValueError, match="attack: unknown agent 'zone_9'; agents are zone_1"):
        build_task(load_scenario(NAME).replace(attack={"policy": "full", "agents": ["zone_9"]}))
    with pytest.raises(ValueError, match="either agents or a share"):
        load_scenario(NAME).replace(attack={"policy": "full"})
    with pytest.raises(ValueError, match=r"known: .*opposite"):
        build_task(load_scenario(NAME).replace(attack={"policy": "nasty", "share": 0.5}))


def test_an_erratic_attack_stays_one_to_four_steps_and_cannot_be_read_from_the_clock(truth):
    """What it does in a step depends on the episode alone, whatever was asked before."""
    attack, layout = attacked("erratic", agents=("zone_2",))
    asked, entry = np.zeros(layout.size), int(np.flatnonzero(layout.entry_agent == 1)[0])

    def day():
        steps = [truth[2].replace(step=k) for k in range(96)]
        return np.array([attack.act(asked, layout.entry_agent, state)[entry] for state in steps])

    drawn = []
    for seed in range(60):
        attack.reset(np.random.default_rng(seed))
        ends = day()
        assert set(ends) == {-1.0, 1.0} and np.array_equal(ends, day())
        stays = np.diff(np.flatnonzero(np.diff(ends)))
        assert set(stays) <= {1, 2, 3, 4} and len(set(stays)) > 2
        drawn.append(ends)
    assert len({tuple(ends) for ends in drawn}) == 60
    assert 0.3 < np.mean([ends[0] > 0 for ends in drawn]) < 0.7
    assert np.abs(np.mean(drawn, axis=0)).mean() < 0.25, "no hour of the day tells the end"
