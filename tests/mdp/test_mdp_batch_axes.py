"""Leading batch axes in mdp: many states at once are as one by one; and one call serves all zones."""

from dataclasses import replace
from functools import cache, wraps

import numpy as np
import pytest
from common import SCENARIOS, load_cached, task_of
from states import stacked, steps

from dss_marl import ZoneEnv
from dss_marl.mdp.adversary import DRIVES, Attack, AttackSpec, EntryPlaces
from dss_marl.mdp.communication import Messages, MessageSpec
from dss_marl.mdp.observations import KNOWN
from dss_marl.mdp.observer import Observer
from dss_marl.mdp.rewards import COSTS, REWARDS
from dss_marl.mdp.sensing import Sensing, SensingSpec
from dss_marl.zones import over_zones

TERMS = {**{f"reward {name}": f for name, f in REWARDS.items()}, **{f"cost {name}": f for name, f in COSTS.items()}}
TERMS = {name: f for name, f in TERMS.items() if not hasattr(f, "needs_market")}  # those: test_market.py
FEATURES = sorted(name for name in KNOWN if KNOWN[name].function.__module__.startswith("dss_marl."))
FEATURES = [name for name in FEATURES if not hasattr(KNOWN[name].function, "needs_market")]
every_scenario = pytest.mark.parametrize("name", SCENARIOS)
every_batch = pytest.mark.parametrize("batch", [(6,), (2, 3)])


@cache
def pairs_of(name):
    """(before, after) six times, at one hour, because a batch has one."""
    pairs = (steps(name) * 6)[-6:]
    hour, step = pairs[0][0].hour, pairs[0][0].step
    return [tuple(replace(state, hour=hour, step=step) for state in pair) for pair in pairs]


def both(name, batch):
    return tuple(stacked([pair[k] for pair in pairs_of(name)], batch) for k in (0, 1))


def each(batch, of_one):
    return np.array([of_one(k) for k in range(6)]).reshape(*batch, *np.shape(of_one(0)))


# --- many states at once ---------------------------------------------------------------------------------------------


@every_batch
@every_scenario
def test_terms_of_many_states(name, batch):
    task, pairs = task_of(name), pairs_of(name)
    before, after = both(name, batch)
    for label, term in TERMS.items():
        alone = each(batch, lambda k, term=term: [term(zone, *pairs[k]) for zone in task.zones])
        together = over_zones(term, task.zones, task.all_zones, before, after)
        assert np.broadcast_to(together, alone.shape) == pytest.approx(alone, rel=1e-12, abs=1e-15), label
        for z, zone in enumerate(task.zones):
            assert np.shape(term(zone, before, after)) == batch, label
            assert term(zone, before, after) == pytest.approx(alone[..., z], rel=1e-12, abs=1e-15), label


@every_batch
@every_scenario
def test_observations_of_many_states(name, batch):
    """The task's own, all that ship, and one of a user's that takes a zone at a time."""
    task, pairs = task_of(name), pairs_of(name)
    now = both(name, batch)[1]
    names = [*FEATURES, "test_mdp_batch_axes:kw_of_units", "test_mdp_batch_axes:always_two"]
    everything = Observer.build(names, task.zones, task.all_zones, pairs[0][0])
    for observer in (task.observer, everything):
        rows = observer.observe(now)
        alone = each(batch, lambda k, observer=observer: observer.observe(pairs[k][1]))
        assert rows.dtype == np.float32
        assert rows.shape == alone.shape
        assert rows == pytest.approx(alone, rel=1e-6, abs=1e-6)


def kw_of_units(zone, state):
    """Of different length in each zone, and without the mark."""
    return state.setpoints.kw[..., zone.units] / 1000


def always_two(zone, state):
    """Knows nothing of batches, nor needs to."""
    return np.array([2.0])


def first_row_only(zone, state):
    return np.ones(2) if state.solution.v_pu.ndim == 1 else np.ones((5, 2))


def test_an_observation_of_another_batch_is_refused():
    task, pairs = task_of("ieee13_volt_var"), pairs_of("ieee13_volt_var")
    observer = Observer.build(["test_mdp_batch_axes:first_row_only"], task.zones, task.all_zones, pairs[0][0])
    observer.observe(pairs[0][1])
    with pytest.raises(ValueError, match=r"'first_row_only' must give at most 2 finite numbers.*shape \(6, 2\)"):
        observer.observe(both("ieee13_volt_var", (6,))[1])


@every_batch
@every_scenario
def test_meters_of_many_states(name, batch):
    """Late and without noise: what is drawn for a batch is not what is drawn for its states."""
    together = Sensing(SensingSpec(delay=1))
    first, second = (together.measured(state) for state in both(name, batch))
    for k, (before, after) in enumerate(pairs_of(name)):
        meters, at = Sensing(SensingSpec(delay=1)), np.unravel_index(k, batch)
        for seen, alone in ((first, meters.measured(before)), (second, meters.measured(after))):
            assert np.array_equal(seen.solution.v_pu[at], alone.solution.v_pu)
            assert np.array_equal(seen.solution.served_kw[at], alone.solution.served_kw)
            assert np.array_equal(seen.forecast[at], alone.forecast)


@pytest.mark.parametrize("late", [0, 1])
@every_batch
@every_scenario
def test_messages_of_many_states(name, batch, late):
    task, pairs = task_of(name), pairs_of(name)
    spec = MessageSpec(hops="all", delay=late)
    together = Messages(spec, task.feeder, task.zones, pairs[0][0])
    received = [together.received(state) for state in both(name, batch)][-1]
    assert received.shape == (*batch, len(task.zones), together.width)
    for k in range(6):
        alone = Messages(spec, task.feeder, task.zones, pairs[0][0])
        last = [alone.received(state) for state in pairs[k]][-1]
        assert received[np.unravel_index(k, batch)] == pytest.approx(last, rel=1e-6, abs=1e-6)


def test_messages_get_lost_in_each_state_by_themselves():
    task = task_of("ieee34_volt_var")
    messages = Messages(MessageSpec(hops="all", loss=0.5), task.feeder, task.zones, pairs_of("ieee34_volt_var")[0][0])
    heard = messages.received(both("ieee34_volt_var", (2, 3))[1])
    assert len(np.unique((heard != 0).reshape(6, -1), axis=0)) > 1


@pytest.mark.parametrize("policy", sorted(set(DRIVES) - {"noise"}))
@every_batch
@every_scenario
def test_attacks_on_many_states(name, batch, policy, rng):
    task, pairs, now = task_of(name), pairs_of(name), both(name, batch)[1]
    layout = task.agents.action_layout
    places = EntryPlaces.build(task.feeder, task.device_groups)
    if policy == "inverted" and not places.reactive.any():
        pytest.skip("no device decides reactive power")
    attack = Attack(AttackSpec(policy=policy, share=0.5), layout.agents, places=places)
    asked = rng.uniform(-1, 1, (*batch, layout.size))
    done = attack.act(asked, layout.entry_agent, now)
    for k in range(6):
        at = np.unravel_index(k, batch)
        assert np.array_equal(done[at], attack.act(asked[at], layout.entry_agent, pairs[k][1]))


@pytest.mark.parametrize("actions", ["box", "multidiscrete", "native"])
@every_batch
@every_scenario
def test_entries_of_many_joint_actions(name, batch, actions, rng):
    task = load_cached(name, actions=actions)
    layout, encoding = task.agents.action_layout, task.encoding
    asked = rng.uniform(-1, 1, (*batch, layout.size))
    level, rows, groups = encoding.nearest(asked), layout.rows(asked), layout.by_group(asked)
    for state in np.ndindex(batch):
        assert np.array_equal(level[state], encoding.nearest(asked[state]))
        assert np.array_equal(rows[state], layout.rows(asked[state]))
        for together, alone in zip(groups, layout.by_group(asked[state]), strict=True):
            assert np.array_equal(together[state], alone)
    with pytest.raises(ValueError, match=rf"joint action must be of one state, shape \({layout.size},\); got"):
        encoding.encode(asked)
    if actions != "box":
        levels = np.ones((*batch, *encoding.values.shape), bool)
        with pytest.raises(ValueError, match=r"allowed levels must be of one state"):
            encoding.mask(0, levels)


# --- one call for all zones ------------------------------------------------------------------------------------------


def counted(function, calls):
    """The function with its marks, which writes down the zones that it is called with."""

    @wraps(function)
    def counting(zone, *states):
        calls.append(zone)
        return function(zone, *states)

    return counting


@pytest.mark.parametrize("label", TERMS)
def test_a_shipped_term_is_called_once_for_all_zones(label):
    """Else every term would be as slow as there are zones, and no value would tell."""
    task, calls = task_of("ieee34_volt_var"), []
    before, after = pairs_of("ieee34_volt_var")[0]
    over_zones(counted(TERMS[label], calls), task.zones, task.all_zones, before, after)
    assert [zone.name for zone in calls] == ["all"]


def calls_of(feature):
    """How often a step calls a shipped feature: those that are linear or constant are in the observer's product."""
    return 0 if feature.constant or hasattr(feature.function, "linear") else 1


@pytest.mark.parametrize("feature", FEATURES)
def test_a_shipped_feature_is_called_once_for_all_zones(feature):
    task, calls = task_of("ieee34_volt_var"), []
    built = Observer.build([feature], task.zones, task.all_zones, pairs_of("ieee34_volt_var")[0][0])
    one = replace(built.features[0], function=counted(built.features[0].function, calls))
    watched = replace(built, features=(one,))
    watched.observe(pairs_of("ieee34_volt_var")[0][0])
    calls.clear()
    watched.observe(pairs_of("ieee34_volt_var")[0][1])
    assert [zone.name for zone in calls] == ["all"] * calls_of(one)


@every_scenario
def test_a_step_calls_each_term_and_feature_at_most_once(name):
    task, calls = task_of(name), {}

    def watched(key, function):
        return counted(function, calls.setdefault(key, []))

    rewards = {key: (weight, watched(f"reward {key}", term)) for key, (weight, term) in task.rewards.items()}
    costs = {key: watched(f"cost {key}", term) for key, term in task.costs.items()}
    features = tuple(
        replace(one, function=watched(f"feature {one.function.__name__}", one.function))
        for one in task.observer.features
    )
    model = replace(task.reward_model, rewards=rewards, costs=costs)
    env = ZoneEnv(replace(task, reward_model=model, observer=replace(task.observer, features=features)))
    env.reset(seed=0)
    for made in calls.values():
        made.clear()
    env.step(env.task.encoding.encode(task.default_action))
    env.close()
    assert len(calls) == len(rewards) + len(costs) + len(features)
    once = {f"feature {one.function.__name__}": calls_of(one) for one in features}
    once |= {f"reward {key}": int(not hasattr(term, "scaled")) for key, (_, term) in task.rewards.items()}
    once |= {f"cost {key}": int(not hasattr(term, "scaled")) for key, term in task.costs.items()}
    for key, made in calls.items():
        assert [zone.name for zone in made] == ["all"] * once[key], key
