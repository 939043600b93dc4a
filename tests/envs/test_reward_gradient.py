"""Slopes of the reward against differences of trial steps, which OpenDSS solves."""

from dataclasses import replace
from functools import cache, partial

import numpy as np
import pytest
from common import task_of
from states import steps

import dss_marl
from dss_marl import BatchZoneEnv, OpenDSSEngine, ZoneEnv, build_task, load_scenario, open_batch_engine
from dss_marl.devices import DeviceGroup, Inverters
from dss_marl.grid.solution_slopes import SolutionSlopes
from dss_marl.mdp.reward_model import RewardModel
from dss_marl.mdp.rewards import COSTS, REWARDS, violating_share, voltage_violation
from dss_marl.mdp.term_slopes import RewardSlopes

CLOSE = 1e-4  # of the largest slope
STEP = 2e-3
# Inverters, batteries with and without reactive power, flexible loads, EVs, generators; the circuit's own controls.
SCENARIOS = [
    "case33_volt_var",
    "eulv_ev",
    "eulv_fair_curtailment",
    "ieee123_demand_charge",
    "ieee123_flexibility",
    "ieee123_demand_response",
    "ieee123_dispatch",
    "ieee13_microgrid",
    "ieee13_volt_var",
    "ieee34_var",
    "ieee34_volt_var",
]
# Steps before, where not 3: until cars are there; until the sun shines; until no regulator is about to move.
BEFORE = {"eulv_ev": 32, "eulv_fair_curtailment": 12, "ieee34_var": 5}


def played(name, steps_before=3):
    """An environment within a day, on a precise engine, and random actions within the range."""
    task = task_of(name)
    env, rng = ZoneEnv(task, engine=OpenDSSEngine(task.feeder, tolerance=1e-9)), np.random.default_rng(5)
    env.reset(seed=5, options={"day": 172})
    for _ in range(steps_before):
        env.step(random_actions(env, rng))
    return env, random_actions(env, rng)


def random_actions(env, rng):
    layout = env.task.agents.action_layout
    rows = layout.rows(rng.uniform(-0.8, 0.8, layout.size)).astype(np.float32)
    return dict(zip(env.agents, rows, strict=True))


def differences(env, actions, agent, entry):
    """Slopes on both sides by one agent's entry, without the term that has steps."""
    model = env.task.reward_model.without(violating_share)

    def reward(change):
        changed = {name: row.astype(float) for name, row in actions.items()}
        changed[agent][entry] += change
        return model.team_reward(env.now, env.what_if(changed))

    low, middle, high = (reward(change) for change in (-STEP, 0.0, STEP))
    return (middle - low) / STEP, (high - middle) / STEP, (high - low) / (2 * STEP)


@pytest.mark.parametrize("name", SCENARIOS)
def test_slope_is_that_of_trial_steps(name):
    env, actions = played(name, BEFORE.get(name, 3))
    slope = env.gradient(actions)
    layout = env.task.agents.action_layout
    scale, checked = np.nanmax(np.abs(slope.by_agent)), 0
    assert scale > 0
    rng = np.random.default_rng(1)
    entries = [(a, w) for a, w in np.argwhere(layout.used) if np.isfinite(slope.by_agent[a, w])]
    for a, w in rng.permutation(entries)[:12]:
        below, above, both = differences(env, actions, env.agents[a], w)
        if abs(above - below) > 0.05 * scale:
            continue  # a kink
        assert abs(both - slope.by_agent[a, w]) < CLOSE * scale, layout.labels[a][w]
        checked += 1
    assert checked >= min(len(entries), 12) - 2
    env.close()


def test_reward_is_that_of_the_step_and_nothing_is_committed():
    env, actions = played("ieee13_volt_var")
    saved = env.save_state()
    slope = env.gradient(actions)
    before = env.save_state()
    assert np.array_equal(before.episode.observations, saved.episode.observations)
    assert before.episode.rng.bit_generator.state == saved.episode.rng.bit_generator.state
    env.step(actions)
    assert slope.reward == pytest.approx(env.team_reward, abs=1e-9)
    env.close()


def test_choices_have_no_slope_and_padding_has_slope_0():
    env, actions = played("ieee13_volt_var")
    slope, layout = env.gradient(actions), env.task.agents.action_layout
    levels = np.concatenate([group.n_levels().ravel() for group in env.task.device_groups])
    assert np.array_equal(np.isnan(slope.by_entry), levels > 0) and (levels > 0).any()
    assert (slope.by_agent[~layout.used] == 0).all()
    np.testing.assert_array_equal(layout.joint_action(slope.by_agent), slope.by_entry)
    env.close()


def test_at_the_end_of_the_range_it_is_the_slope_inside():
    env, actions = played("case33_volt_var")
    full = {agent: np.ones_like(row) for agent, row in actions.items()}
    slope = env.gradient(full).by_agent
    below, _, _ = differences(env, full, env.agents[0], 0)
    assert slope[0, 0] == pytest.approx(below, abs=0.01 * np.abs(slope).max())
    env.close()


def test_a_margin_gives_leaving_the_band_a_slope_before_its_limit():
    """Against differences of what stands for the terms: a ramp to the limit, that falls off as its logarithm beyond."""
    margin = 0.002
    task = task_of("ieee13_volt_var")
    plain, early = (RewardSlopes(task.reward_model, len(task.feeder.branches), own) for own in (0.0, margin))
    state = task.sample
    nodes, band = task.all_zones.scored_nodes, task.all_zones.band
    node, high = (
        int(nodes.ravel()[0]),
        float(np.broadcast_to(band.high, state.solution.v_pu.shape)[int(nodes.ravel()[0])]),
    )
    model, count = task.reward_model, task.reward_model.n_scored_nodes

    def slope(slopes, v_pu):
        at = state.solution.v_pu.copy()
        at[:] = 1.0
        at[node] = v_pu
        moved = state.replace(solution=replace(state.solution, v_pu=at))
        return slopes(moved, moved).v_pu[node]

    limit, share = model.weight(voltage_violation) / count, model.weight(violating_share) / count
    assert slope(plain, high - margin / 2) == slope(early, high - 1.5 * margin) == 0
    assert slope(plain, high + margin) == pytest.approx(-limit)
    assert slope(early, high - margin / 2) == pytest.approx(-limit - share / margin)
    assert slope(early, high + margin) == pytest.approx(-limit - share / (2 * margin))


# --- batches ---------------------------------------------------------------------------------------------------------


def batch(task, copies=3, **options):
    engine = open_batch_engine(task.feeder, copies, "batched", tolerance=1e-8, backend="numpy", validate=False)
    env = BatchZoneEnv(task, copies, engine=engine, **options)
    env.reset(seed=list(range(copies)))
    return env


@pytest.mark.parametrize("name", ["ieee13_volt_var", "ieee123_dispatch"])
def test_each_copy_has_the_slope_that_it_has_alone(name):
    task, rng = task_of(name), np.random.default_rng(0)
    many = batch(task)
    rows = rng.uniform(-1, 1, many.action_rows.shape).astype(np.float32)
    found = many.gradient(rows)
    for b in range(3):
        env = ZoneEnv(task, engine=OpenDSSEngine(task.feeder, tolerance=1e-9))
        env.reset(seed=b)
        alone = env.gradient(dict(zip(env.agents, rows[b], strict=True)))
        scale = np.nanmax(np.abs(alone.by_entry))
        np.testing.assert_allclose(found.by_entry[b], alone.by_entry, atol=1e-5 * scale)
        assert found.reward[b] == pytest.approx(float(alone.reward), abs=1e-5)
        env.close()
    many.close()


def test_small_steps_along_the_slope_raise_the_reward():
    env, rng = batch(task_of("case33_volt_var"), 8), np.random.default_rng(0)
    rows = rng.uniform(-0.5, 0.5, env.action_rows.shape).astype(np.float32)
    slope = env.gradient(rows)
    along = rows + 1e-3 * slope.by_agent / np.abs(slope.by_agent).max(axis=(1, 2), keepdims=True)
    assert (env.gradient(along.astype(np.float32)).reward > slope.reward).all()
    env.close()


def test_a_copy_whose_power_flow_fails_has_nan(monkeypatch):
    env = batch(task_of("ieee13_legacy"))
    many = env.simulator.many
    many.table.kw[many.place[1]] *= 60
    slope = env.gradient(np.zeros(env.action_rows.shape, np.float32))
    assert np.isnan(slope.reward[1]) and np.isnan(slope.by_entry[1]).all()
    assert np.isfinite(slope.reward[[0, 2]]).all()
    env.close()


def test_compromised_agents_have_slope_0():
    env = batch(task_of("ieee123_volt_var_attack"))
    rows = np.full(env.action_rows.shape, 0.2, np.float32)
    while not env.attack.compromised(env.now.step).any():
        env.step(rows)
    slope = np.nan_to_num(env.gradient(rows).by_agent)
    attacked = env.attack.compromised(env.now.step)
    assert not slope[attacked].any() and slope[~attacked].any()
    env.close()


# Bills have none: an auction's prices jump. See test_market.py.
SMOOTH = [name for name, term in REWARDS.items() if not hasattr(term, "needs_market")]


# --- terms -----------------------------------------------------------------------------------------------------------


@cache
def pairs():
    """States before and after steps, as batches of one, with voltages beyond the band and an overload."""
    found = []
    for before, after in steps("ieee34_volt_var")[:4]:
        rng = np.random.default_rng(len(found))
        solution = after.solution
        v_pu = np.where(solution.energised, solution.v_pu + rng.normal(0, 0.03, solution.v_pu.shape), 0.0)
        solution = replace(solution, v_pu=v_pu, currents=partial(np.linspace, 0.2, 1.3, len(solution.loading)))
        found.append((before, after.replace(solution=solution, import_limit_kw=float(solution.source_kw) / 2)))
    return found


@pytest.mark.parametrize("name", SMOOTH)
def test_slopes_of_terms_are_differences(name):
    """With respect to each of a few entries of the solution."""
    task = task_of("ieee34_volt_var")
    model = RewardModel({name: (2.0, REWARDS[name])}, {}, task.zones, task.all_zones)
    slopes_of = RewardSlopes(model, len(task.feeder.branches))
    for before, after in pairs():
        slopes, rng = slopes_of(before, after), np.random.default_rng(0)
        for what in ("v_pu", "served_kw", "loading", "loss_kw", "source_kw", "source_kvar"):
            value = np.atleast_1d(np.asarray(getattr(after.solution, what), float))
            at = np.unique([*rng.integers(0, value.size, 12), value.size - 1])
            slope = np.atleast_1d(getattr(slopes, what))[at]
            found = [term_difference(model, before, after, what, k) for k in at]
            np.testing.assert_allclose(slope, found, rtol=1e-5, atol=1e-7, err_msg=what)


def term_difference(model, before, after, what, k, step=1e-6):
    """Of the team's reward, by one entry of the solution; 0 where it jumps."""

    def reward(change):
        value = np.asarray(getattr(after.solution, what), float)
        moved = value + change if not value.ndim else value + change * (np.arange(len(value)) == k)
        changed = {"currents": lambda: moved} if what == "loading" else {what: moved}
        return model.team_reward(before, after.replace(solution=replace(after.solution, **changed)))

    change = (reward(step) - reward(-step)) / (2 * step)
    return 0.0 if "violating_share" in model.rewards or not np.isfinite(change) else change


def own_term(zone, before, after):
    """Squared voltages of the zone's scored nodes."""
    return -zone.total(after.solution.v_pu**2)


def own_slopes(zone, before, after):
    slope = np.zeros(after.solution.v_pu.shape)
    slope[..., zone.scored_nodes] = -2 * after.solution.v_pu[..., zone.scored_nodes]
    return {"v_pu": slope}


with_own = dss_marl.with_slopes(own_slopes)(own_term)


def wrong_slopes(zone, before, after):
    return {"voltage": 1.0}


with_wrong = dss_marl.with_slopes(wrong_slopes)(own_term)


def rewarded(name):
    """The 33-bus task with one reward term of this module."""
    return build_task(load_scenario("case33_volt_var").replace(rewards={f"{__name__}:{name}": 1.0}))


def test_a_term_of_ones_own_brings_its_slope():
    task = rewarded("with_own")
    env, rng = ZoneEnv(task, engine=OpenDSSEngine(task.feeder, tolerance=1e-9)), np.random.default_rng(0)
    env.reset(seed=0)
    actions = random_actions(env, rng)
    slope = env.gradient(actions).by_agent
    *_, both = differences(env, actions, env.agents[1], 0)
    assert slope[1, 0] == pytest.approx(both, rel=1e-4)
    many = batch(task)
    rows = np.stack([np.stack(list(actions.values()))] * 3)
    np.testing.assert_allclose(many.gradient(rows).by_agent[0], slope, rtol=1e-5)
    env.close()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("own_term", r"'own_term' is not known; decorate the term with @dss_marl.with_sl"),
        ("with_wrong", "no slope with respect to 'voltage'; known: v_pu, served_kw"),
    ],
)
def test_a_term_without_slope_is_refused(name, message):
    env = ZoneEnv(rewarded(name))
    env.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        env.gradient(env.task.encoding.encode(env.task.default_action))
    env.close()


class Untold(Inverters):
    """They follow the voltage, and do not tell how."""

    settle = DeviceGroup.settle


def test_devices_that_follow_the_voltage_and_do_not_tell_how_are_refused():
    kind = f"{__name__}:Untold"
    devices = [{**device, "kind": kind, "guard": True} for device in load_scenario("case33_volt_var").devices]
    env = dss_marl.make("case33_volt_var", devices=devices)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="no reward gradient: its Untold follow the voltage; define their settle"):
        env.gradient({agent: env.action_space(agent).sample() for agent in env.agents})
    env.close()


def test_it_needs_a_running_episode():
    env = ZoneEnv(task_of("ieee13_volt_var"))
    with pytest.raises(RuntimeError, match="gradient needs a running episode; call reset first"):
        env.gradient({})


def test_every_shipped_term_but_those_of_a_market_has_slopes_and_costs_need_none():
    task = task_of("ieee34_volt_var")
    model = RewardModel({name: (1.0, REWARDS[name]) for name in SMOOTH}, COSTS, task.zones, task.all_zones)
    before, after = pairs()[0]
    assert isinstance(RewardSlopes(model, len(task.feeder.branches))(before, after), SolutionSlopes)
