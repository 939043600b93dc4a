"""Attacks that look at the voltage, and attacks that falsify messages."""

import numpy as np
import pytest
from common import load_cached, task_of
from states import with_voltages

from dss_marl import BatchZoneEnv, ZoneEnv, load_scenario
from dss_marl.envs.task import build_task
from dss_marl.mdp.adversary import EntryPlaces
from dss_marl.mdp.communication import Messages

NAME = "ieee34_volt_var"
LOST = {"hops": "all", "share": ["zone_voltage", "load"], "loss": 0.3, "delay": 1}


def attacked(**attack):
    return build_task(load_scenario(NAME).replace(messages=LOST, attack=attack))


# --- the inverted curve ----------------------------------------------------------------------------------------------


def test_an_entry_is_where_its_device_is(truth):
    task = task_of(NAME)
    places = EntryPlaces.build(task.feeder, task.device_groups)
    v = places.v_pu(truth[0])
    for group, part, shape in zip(
        task.device_groups, task.agents.action_layout.parts, task.agents.action_layout.shapes, strict=True
    ):
        for d, bus in enumerate(group.buses):
            own = v[part].reshape(shape)[d]
            buses = {task.feeder.nodes[n].split(".")[0] for n in places.nodes[part][d * shape[1]]}
            at = task.feeder.injections[group.injections[d]].nodes if hasattr(group, "injections") else None
            assert bus in buses
            if at is not None:
                assert own == pytest.approx(truth[0].solution.v_pu[list(at)].mean())
    reactive = [type(g).__name__ == "Inverters" for g in task.device_groups for _ in range(g.size)]
    assert places.reactive.sum() == sum(reactive)


@pytest.mark.parametrize(
    ("v_pu", "share"), [(0.95, -1.0), (0.99, -0.5), (1.0, 0.0), (1.005, 0.25), (1.02, 1), (1.06, 1)]
)
def test_an_inverted_curve_injects_above_1_pu_and_absorbs_below(v_pu, share, truth):
    task = attacked(policy="inverted", agents=["zone_2", "zone_5"])
    attack, entry_agent = task.attack(), task.agents.action_layout.entry_agent
    reactive = EntryPlaces.build(task.feeder, task.device_groups).reactive
    asked = np.full(len(entry_agent), 0.3)
    everywhere = np.full(len(task.feeder.nodes), v_pu)
    done = attack.act(asked, entry_agent, with_voltages(truth[2], everywhere, np.ones(len(everywhere), bool)))
    taken = np.isin(entry_agent, [1, 4]) & reactive
    assert taken.any() and (done[~taken] == 0.3).all()
    assert done[taken] == pytest.approx(share)


def test_an_inverted_curve_of_a_dead_inverter_rests(truth):
    task = attacked(policy="inverted", share=1.0)
    places = EntryPlaces.build(task.feeder, task.device_groups)
    dead = np.zeros(len(task.feeder.nodes))
    done = task.attack().act(
        np.ones(len(places.reactive)), task.agents.action_layout.entry_agent,
        with_voltages(truth[2], dead, np.zeros(len(dead), bool)),
    )  # fmt: skip
    assert (done[places.reactive] == 0).all()


def test_an_inverted_curve_makes_deviations_larger():
    """The mean distance from 1 pu grows against inverters at rest."""
    off_pu = {}
    for policy in ("inverted", "frozen"):
        env = ZoneEnv(load_scenario(NAME).replace(attack={"policy": policy, "share": 1.0, "kinds": ["inverter"]}))
        env.reset(seed=0, options={"day": 172})
        env.step(env.task.encoding.encode(env.task.default_action))
        off_pu[policy] = np.abs(env.after.solution.v_pu - 1).mean()
        env.close()
    assert off_pu["inverted"] > off_pu["frozen"] + 1e-3


def test_own_policies_may_know_the_places():
    task = attacked(policy=f"{__name__}:Placed", share=0.5)
    assert isinstance(task.attack().drive, Placed)


class Placed:
    def __init__(self, places):
        assert places.nodes.shape == places.weight.shape

    def __call__(self, requested, state, rng):
        return requested


# --- false messages --------------------------------------------------------------------------------------------------


def test_a_false_message_negates_the_deviation_from_rest(truth):
    """Voltages from 1 pu, of which 0 is told, and load from the nominal one; the others tell the truth."""
    task = build_task(load_scenario(NAME).replace(messages={"hops": "all", "share": ["zone_voltage", "load"]}))
    box = Messages(task.scenario.messages, task.feeder, task.zones, task.sample)
    told = box.observer.observe(truth[3])
    false = np.zeros(len(task.zones), bool)
    false[[1, 4]] = True
    wrong = box.falsified(told, false)
    assert np.array_equal(wrong[~false], told[~false])
    assert wrong[false, :3] == pytest.approx(-told[false, :3]) and (told[false, :3] != 0).all()
    nominal = np.array([-task.start.kw[zone.loads].sum() / 100 for zone in task.zones])
    assert wrong[false, 3] == pytest.approx((2 * nominal - told[:, 3])[false], rel=1e-5)
    received = box.received(truth[3], false).reshape(len(task.zones), -1, 4)
    for z in range(len(task.zones)):
        assert np.array_equal(received[z], wrong[box.senders[z]].astype(float))


def test_what_is_told_stays_within_its_range(truth):
    task = attacked(policy="frozen", share=0.5)
    box = Messages(task.scenario.messages, task.feeder, task.zones, task.sample)
    far = np.tile(box.observer.high, (len(task.zones), 1))
    wrong = box.falsified(far, np.ones(len(task.zones), bool))
    assert (wrong >= box.observer.low).all() and (wrong[:, 3] == 0).all() and (wrong[:, :3] == -5).all()


@pytest.mark.parametrize("agents", ["zone", "device"])
def test_only_compromised_zones_lie_and_only_while_they_are_compromised(agents):
    """Everything but the messages is as under the same attack without false data."""
    told = {}
    for false_data in (False, True):
        attack = {"policy": "frozen", "share": 0.34, "from_step": 2, "false_data": false_data}
        changes = {"messages": {"hops": "all"}, "attack": attack, "agents": agents}
        env = ZoneEnv(load_scenario(NAME).replace(**changes))
        told[false_data] = [np.stack(list(env.reset(seed=4, options={"day": 172})[0].values()))]
        for _ in range(3):
            rows = env.step(env.task.encoding.encode(env.task.default_action))[0]
            told[false_data].append(np.stack(list(rows.values())))
        compromised, task, width = env.attack.state.compromised, env.task, env.messages.width
        senders, each = env.messages.senders, len(env.messages.observer.low)
        env.close()
    liars = np.zeros(len(task.zones), bool)
    liars[task.agents.zone[compromised]] = True
    assert 0 < liars.sum() < len(liars)
    for step, (honest, false) in enumerate(zip(told[False], told[True], strict=True)):
        assert np.array_equal(honest[:, :-width], false[:, :-width])
        apart = (honest != false)[:, -width:].reshape(len(honest), -1, each).any(axis=-1)
        assert np.array_equal(apart, liars[senders][task.agents.zone] & (step >= 2))


def test_copies_hear_what_each_would_alone():
    """Each with compromised agents of its own, losses and delays; also after the resets of single copies."""
    attack = {"policy": "inverted", "share": 0.34, "from_step": 1, "false_data": True}
    scenario = load_cached(NAME).scenario.replace(messages=LOST, attack=attack, steps=3)
    batch = BatchZoneEnv(scenario, 3)
    alone = [ZoneEnv(scenario) for _ in range(3)]
    seeds = [5, 6, 7]
    rows = batch.reset(seed=seeds)[0]
    heard = [np.stack(list(env.reset(seed=s)[0].values())) for env, s in zip(alone, seeds, strict=True)]
    still = alone[0].task.encoding.encode(alone[0].task.default_action)
    np.testing.assert_allclose(rows, np.array(heard), atol=1e-6)
    for _ in range(2):
        step = batch.step([still] * 3)
        heard = [np.stack(list(env.step(still)[0].values())) for env in alone]
        np.testing.assert_allclose(step.observations, np.array(heard), atol=1e-6)
    drawn = np.array([env.attack.state.compromised for env in alone])
    assert len(np.unique(drawn, axis=0)) > 1
    batch.close()
    for env in alone:
        env.close()


def test_attacks_that_cannot_work_are_refused():
    with pytest.raises(ValueError, match=r"false_data needs messages between zones.*messages\.hops"):
        build_task(load_scenario(NAME).replace(attack={"policy": "full", "share": 0.5, "false_data": True}))
    with pytest.raises(ValueError, match="inverted needs devices with an entry for reactive power"):
        attacked(policy="inverted", share=0.5, kinds=["regulator"])
