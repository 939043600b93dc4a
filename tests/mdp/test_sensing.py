"""What an operator lacks: exact and complete measurements, news in time, and agents that are all friends."""

import dataclasses

import numpy as np
import pytest
from common import load_cached, task_of

from dss_marl import ZoneEnv, load_scenario
from dss_marl.envs.task import build_task
from dss_marl.mdp.adversary import Attack, AttackSpec
from dss_marl.mdp.communication import Messages, MessageSpec
from dss_marl.mdp.sensing import Sensing, SensingSpec

NAME = "ieee34_volt_var"


def states(count=6, **changes):
    """The first intervals of a day around noon under random actions."""
    env = ZoneEnv(load_scenario(NAME).replace(start_hour=10, **changes))
    env.reset(seed=0, options={"day": 172})
    rng = np.random.default_rng(0)
    result = [env.now]
    while len(result) < count:
        env.step(env.task.encoding.encode(rng.uniform(-1, 1, env.task.agents.action_layout.size)))
        result.append(env.now)
    env.close()
    return result


@pytest.fixture(scope="module")
def truth():
    return states()


# --- sensing ---------------------------------------------------------------------------------------------------------


def measured(spec, truth, seed=0):
    sensing = Sensing(SensingSpec(**spec))
    sensing.reset(np.random.default_rng(seed))
    return [sensing.measured(state) for state in truth]


def test_perfect_meters_tell_the_truth(truth):
    for state, seen in zip(truth, measured({}, truth), strict=True):
        assert np.array_equal(seen.solution.v_pu, state.solution.v_pu)
        assert np.array_equal(seen.forecast, state.forecast)


def test_noise_has_the_stated_size_and_no_bias(truth):
    spec = {"noise_v_pu": 0.004, "noise_power": 0.1}
    seen = measured(spec, truth * 30)
    v = np.array([s.solution.v_pu - t.solution.v_pu for s, t in zip(seen, truth * 30, strict=True)])
    assert v.std() == pytest.approx(0.004, rel=0.03)
    assert abs(v.mean()) < 0.0001
    loads = task_of(NAME).feeder.loads
    true = np.array([t.forecast[0, loads] for t in truth * 30])
    share = np.array([s.forecast[0, loads] for s in seen]) / true - 1
    assert share.std() == pytest.approx(0.1, rel=0.03)
    served = np.array([s.solution.served_kw[loads] for s in seen])
    true_served = np.array([t.solution.served_kw[loads] for t in truth * 30])
    assert (served / true_served - 1).std() == pytest.approx(0.1, rel=0.03)


def test_a_missing_reading_is_the_last_that_came(truth):
    seen = measured({"missing": 0.5}, truth)
    last = np.ones_like(truth[0].solution.v_pu)
    fresh = 0
    for state, one in zip(truth, seen, strict=True):
        v = one.solution.v_pu
        assert ((v == state.solution.v_pu) | (v == last)).all()
        fresh += (v == state.solution.v_pu).sum()
        last = v
    assert fresh / (len(truth) * len(last)) == pytest.approx(0.5, abs=0.06)


def test_late_readings_are_those_of_then(truth):
    seen = measured({"delay": 2}, truth)
    for k, one in enumerate(seen):
        then = truth[max(0, k - 2)]
        assert np.array_equal(one.solution.v_pu, then.solution.v_pu)
        assert np.array_equal(one.forecast[0], then.forecast[0])
        assert one.hour == truth[k].hour, "clocks are not late"


def test_dead_nodes_stay_dead_to_any_meter(truth):
    dead = truth[0].solution.energised.copy()
    dead[5:9] = False
    state = truth[0].replace(
        solution=dataclasses.replace(
            truth[0].solution, energised=dead, v_pu=np.where(dead, truth[0].solution.v_pu, 0.0)
        )
    )
    seen = measured({"noise_v_pu": 0.05, "missing": 0.3, "delay": 1}, [state, state])[1]
    assert (seen.solution.v_pu[5:9] == 0).all()


# --- messages --------------------------------------------------------------------------------------------------------


def mailbox(**spec):
    task = task_of(NAME)
    return Messages(MessageSpec(**spec), task.feeder, task.zones, task.sample)


def test_who_hears_of_whom_follows_the_zone_graph():
    """ieee34's zones are a chain with branches: nearest first, none beyond the hops."""
    import networkx as nx

    from dss_marl.zones import zone_graph

    task = task_of(NAME)
    graph = zone_graph(task.feeder.graph(), task.zones)
    names = [zone.name for zone in task.zones]
    for hops in (0, 1, 2, "all"):
        box = mailbox(hops=hops)
        for z, name in enumerate(names):
            far = nx.single_source_shortest_path_length(graph, name)
            heard = [names[s] for s, there in zip(box.senders[z], box.present[z], strict=True) if there]
            reach = 99 if hops == "all" else hops
            assert set(heard) == {n for n, d in far.items() if 0 < d <= reach}
            assert [far[n] for n in heard] == sorted(far[n] for n in heard)


def test_messages_are_what_the_senders_see(truth):
    task = task_of(NAME)
    box = mailbox(hops="all", share=["zone_voltage", "load"])
    box.reset(np.random.default_rng(0))
    received = box.received(truth[0]).reshape(len(task.zones), -1, 4)
    told = box.observer.observe(truth[0])
    for z in range(len(task.zones)):
        assert np.array_equal(received[z], told[box.senders[z]].astype(float))


def test_lost_messages_leave_the_last_one_standing(truth):
    box = mailbox(hops="all", loss=0.4)
    box.reset(np.random.default_rng(3))
    last, lost, count = None, 0, 0
    for state in truth * 20:
        now = box.received(state).reshape(6, 5, 5)
        told = box.observer.observe(state)[box.senders]
        came = now[..., 4] == 1
        assert np.array_equal(now[came][:, :4], told[came].astype(float))
        if last is not None:
            assert np.array_equal(now[~came][:, :4], last[~came][:, :4])
        lost, count, last = lost + (~came).sum(), count + came.size, now
    assert lost / count == pytest.approx(0.4, abs=0.03)


def test_messages_under_way_arrive_later(truth):
    box = mailbox(hops=1, delay=2)
    box.reset(np.random.default_rng(0))
    width = box.senders.shape[1]
    for k, state in enumerate(truth):
        now = box.received(state).reshape(6, width, 5)
        if k < 2:
            assert (now == 0).all()
        else:
            told = box.observer.observe(truth[k - 2])[box.senders]
            assert np.array_equal(now[box.present][:, :4], told[box.present].astype(float))


def test_negative_hops_are_refused():
    with pytest.raises(ValueError, match=r"hops must be 0, 1, 2, \.\.\. or 'all'; got -1"):
        mailbox(hops=-1)


# --- attack ----------------------------------------------------------------------------------------------------------


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
def test_hostile_agents_do_something_else_and_no_other_does(policy, expected, truth, rng):
    attack, action_layout = attacked(policy, agents=("zone_2", "zone_5"))
    asked = rng.uniform(-1, 1, action_layout.size)
    for state in truth[2:4]:
        done = attack.act(asked, action_layout.entry_agent, state)
        hostile = np.isin(action_layout.entry_agent, [1, 4])
        assert np.array_equal(done[~hostile], asked[~hostile])
        assert np.array_equal(done[hostile], expected(asked, state)[hostile])


def test_a_share_of_agents_is_drawn_anew_at_each_reset():
    attack, _ = attacked("noise", share=0.34)
    drawn = []
    rng = np.random.default_rng(0)
    for _ in range(20):
        attack.reset(rng)
        drawn.append(tuple(attack.hostile(0)))
    assert {sum(one) for one in drawn} == {2}
    assert len(set(drawn)) > 5
    attack.reset(np.random.default_rng(0))
    assert tuple(attack.hostile(0)) == drawn[0]


def test_an_attack_may_begin_later():
    attack, _ = attacked("full", agents=("zone_1",), from_step=3)
    assert [attack.hostile(k).any() for k in range(5)] == [False, False, False, True, True]


def test_what_a_hostile_agent_does_in_a_step_repeats():
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


# --- in the environment ----------------------------------------------------------------------------------------------

HARD = {
    "sensing": {"noise_v_pu": 0.003, "noise_power": 0.05, "missing": 0.1, "delay": 1},
    "messages": {"hops": 1, "loss": 0.3, "delay": 1},
    "attack": {"policy": "noise", "share": 0.3},
}


def rollout(env, seed):
    observations, infos = env.reset(seed=seed, options={"day": 172})
    rng = np.random.default_rng(0)
    result = [np.stack(list(observations.values()))]
    for _ in range(6):
        observations, *_, infos = env.step(
            env.task.encoding.encode(rng.uniform(-1, 1, env.task.agents.action_layout.size))
        )
        result.append(np.stack(list(observations.values())))
    return np.array(result), infos


def test_each_is_reproducible_by_seed():
    env = ZoneEnv(load_scenario(NAME).replace(start_hour=10, **HARD))
    first, infos = rollout(env, 1)
    again, _ = rollout(env, 1)
    other, _ = rollout(env, 2)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert sum(info["attacked"] for info in infos.values()) == 2
    env.close()


def test_a_saved_episode_goes_on_with_the_same_noise_losses_and_attacks():
    """Again and again, here and in another environment: each goes on from the streams as they were."""
    env, other = (ZoneEnv(load_scenario(NAME).replace(start_hour=10, **HARD)) for _ in range(2))
    env.reset(seed=3)
    still = env.task.encoding.encode(env.task.default_action)
    for _ in range(3):
        env.step(still)
    saved = env.save_state()
    rests = []
    for one in (env, env, other, env):
        one.load_state(saved)
        rests.append(np.array([np.stack(list(one.step(still)[0].values())) for _ in range(4)]))
    assert np.ptp(rests[0], axis=0).max() > 0
    assert all(np.array_equal(rest, rests[0]) for rest in rests[1:])
    env.close()
    other.close()


@pytest.mark.parametrize("key", HARD)
def test_each_alone_changes_what_happens(key):
    """And leaves the day and the truth alone, but for an attack, which moves the grid."""
    plain, hard = (ZoneEnv(load_scenario(NAME).replace(start_hour=10, **c)) for c in ({}, {key: HARD[key]}))
    base, _ = rollout(plain, 1)
    seen, _ = rollout(hard, 1)
    width = base.shape[-1]
    if key == "messages":
        assert seen.shape[-1] > width
        assert np.array_equal(seen[..., :width], base)
    else:
        assert not np.array_equal(seen, base)
    same = np.array_equal(plain.now.solution.v_pu, hard.now.solution.v_pu)
    assert same == (key != "attack")
    assert np.array_equal(plain.state(), hard.state()) == same, "a central critic sees the truth"
    for one in (plain, hard):
        one.close()


def test_labels_of_messages():
    env = ZoneEnv(load_cached(NAME).scenario.replace(messages={"hops": 1, "share": ["zone_voltage"], "loss": 0.1}))
    labels = env.labels("zone_1")["observation"]
    assert len(labels) == env.observation_space("zone_1").shape[0]
    assert "zone_2: lowest voltage [(v_pu - 1) * 20]" in labels
    assert "zone_2: received [0 or 1]" in labels
    env.close()


# --- rewards ---------------------------------------------------------------------------------------------------------


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


def test_a_difference_reward_is_what_is_lost_had_the_agent_held():
    env, difference, _, joint_action, before = played(agents="device", reward_sharing="difference")
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
    assert team.reward_sharing == "difference"
    whole.close()
    env.close()


# --- two time scales -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("actions", ["box", "multidiscrete"])
def test_slow_devices_act_only_at_their_steps(actions):
    plain = load_scenario(NAME)
    devices = [{**d, "act_every": 4} if d["kind"] == "regulator" else d for d in plain.devices]
    env = ZoneEnv(plain.replace(devices=devices, actions=actions))
    env.reset(seed=0)
    regulators = next(k for k, g in enumerate(env.task.device_groups) if type(g).__name__ == "Regulators")
    part = env.task.agents.action_layout.parts[regulators]
    moved = []
    for step in range(12):
        tap = env.now.setpoints.tap.copy()
        joint_action = np.zeros(env.task.agents.action_layout.size)
        joint_action[part] = 1.0 if step % 8 < 4 else -1.0
        if actions == "multidiscrete":
            allowed = env._allowed[part].sum(-1)
            assert (allowed == 1).all() if step % 4 else (allowed > 1).all()
        *_, infos = env.step(env.task.encoding.encode(joint_action))
        moved.append(bool((env.now.setpoints.tap != tap).any()))
        assert all(info["limited"] == 0 for info in infos.values()) or step % 4 == 0
    assert moved == [True, False, False, False] * 3
    env.close()
