"""Who gets which reward: the team, a zone, an agent, or the difference that an agent makes."""

import dataclasses

import numpy as np
import pytest

from dss_marl import ZoneEnv, load_scenario

NAME = "ieee34_volt_var"


def played(actions_rng=0, **changes):
    env = ZoneEnv(load_scenario(NAME).replace(start_hour=11, **changes))
    env.reset(seed=0, options={"day": 172})
    rng = np.random.default_rng(actions_rng)
    for _ in range(3):
        joint_action = rng.uniform(-1, 1, env.task.agents.action_layout.size)
        before = env.save_state()
        _, rewards, *_, infos = env.step(env.task.encoding.encode(joint_action))
    return env, rewards, infos, joint_action, before


@pytest.mark.parametrize("agents", ["zone", "device"])
def test_who_gets_which_reward(agents):
    """The team's is the sum over zones; a zone's its share; an agent's what its own view gives."""
    team_env, team, infos, *_ = played(agents=agents)
    zones, own = (played(agents=agents, reward_sharing=way)[1] for way in ("zone", "agent"))
    terms = [key for key in next(iter(infos.values())) if key.startswith("reward/")]
    zone_of = team_env.task.agents.zone
    for agent, z in zip(team_env.possible_agents, zone_of, strict=True):
        assert zones[agent] == pytest.approx(sum(infos[agent][t] for t in terms), rel=1e-6)
        others = [b for b, y in zip(team_env.possible_agents, zone_of, strict=True) if y == z]
        assert len({zones[b] for b in others}) == 1
    by_zone = {int(z): zones[a] for a, z in zip(team_env.possible_agents, zone_of, strict=True)}
    assert set(team.values()) == {team["zone_1" if agents == "zone" else "inverter_1"]}
    assert next(iter(team.values())) == pytest.approx(sum(by_zone.values()), rel=1e-6)
    assert team_env.team_reward == next(iter(team.values()))
    assert len(set(own.values())) > 1
    if agents == "zone":
        assert own == zones
    team_env.close()


def test_the_figures_of_a_day_do_not_depend_on_who_gets_which_reward():
    from dss_marl.controllers import NoControl
    from dss_marl.experiments import evaluate

    found = [
        evaluate(NoControl(), load_scenario(NAME).replace(reward_sharing=way, steps=8), [100])[0]
        for way in ("team", "zone", "difference")
    ]
    assert found[0]["team_return"] < 0
    assert [one["team_return"] for one in found[1:]] == pytest.approx([found[0]["team_return"]] * 2, rel=1e-4)


@pytest.mark.parametrize("agents", ["zone", "device"])
def test_a_difference_reward_is_what_is_lost_had_the_agent_held(agents):
    env, difference, infos, joint_action, before = played(agents=agents, reward_sharing="difference")
    env.load_state(before)
    team = env.task.scenario
    whole = ZoneEnv(env.task.scenario.replace(reward_sharing="team"))
    for a, agent in enumerate(env.possible_agents):
        whole.load_state(dataclasses.replace(before, scenario=whole.task.scenario))
        actual = whole.step(env.task.encoding.encode(joint_action))[1][agent]
        whole.load_state(dataclasses.replace(before, scenario=whole.task.scenario))
        held = np.where(
            env.task.agents.action_layout.entry_agent == a, whole.simulator.hold_action(whole.now), joint_action
        )
        without = whole.step(env.task.encoding.encode(held))[1][agent]
        assert difference[agent] == pytest.approx(actual - without, abs=2e-4)
    assert len({round(x, 6) for x in difference.values()}) > 3
    terms = [key for key in next(iter(infos.values())) if key.startswith("reward/")]
    of_zones = [sum(info[term] for term in terms) for info in infos.values()]
    assert list(difference.values()) != pytest.approx(of_zones, abs=1e-3), "nobody is paid what its zone earns"
    assert team.reward_sharing == "difference"
    whole.close()
    env.close()
