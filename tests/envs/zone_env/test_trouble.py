"""The task is one: doing nothing violates the band, and agents can do something about it."""

import numpy as np
import pytest
from episodes import still

from dss_marl import ZoneEnv, load_scenario


def in_trouble(env):
    """Whether a scored node is outside 0.95 to 1.05 pu in the interval just operated."""
    scored = np.concatenate([zone.scored_nodes for zone in env.task.zones])
    v = env.after.solution.v_pu[scored][env.after.solution.energised[scored]]
    return bool((v < 0.95).any() or (v > 1.05).any())


def about_voltages(env):
    """The reward terms of voltages out of band; skips where the task is another one."""
    terms = [name for name in env.task.scenario.rewards if name in ("voltage_violation", "violating_share")]
    if not terms:
        pytest.skip("the task rewards no voltages")
    return terms


def test_doing_nothing_violates_the_band_or_the_import_limit_on_most_days(new_env):
    about_voltages(new_env())
    env = new_env(split="test")
    violated = 0
    for day in env.days[::2][:20]:
        env.reset(options={"day": day})
        while env.agents:
            env.step(still(env))
            if in_trouble(env) or env.after.solution.source_kw > env.after.import_limit_kw:
                violated += 1
                break
    assert violated > 10


def test_the_trouble_is_where_agents_can_do_something(env):
    """A scored node that no action moves, such as one just behind the source, is never outside the band."""
    about_voltages(env)
    scored = np.concatenate([zone.scored_nodes for zone in env.task.zones])
    low, high = ({a: np.full(x.shape, s, np.float32) for a, x in still(env).items()} for s in (-1, 1))
    worst = np.zeros(len(scored))
    moved = np.zeros(len(scored))
    for day in env.days[:120:20]:
        env.reset(seed=1, options={"day": day})
        while env.agents:
            if env.now.step % 12 == 0:
                change = env.what_if(high).solution.v_pu - env.what_if(low).solution.v_pu
                moved = np.maximum(moved, np.abs(change)[scored])
            env.step(still(env))
            v = env.after.solution.v_alive[scored]
            worst = np.maximum(worst, np.maximum(v - 1.05, 0.95 - v))
    assert (worst > 0).any()
    assert (moved[worst > 0] > 0.01).all()


def test_voltage_trouble_shows_in_reward_and_cost(env):
    """In every interval they agree with the voltages on whether there is any."""
    terms = about_voltages(env)
    troubled = []
    for day in env.days[:90:15]:
        env.reset(seed=1, options={"day": day})
        while env.agents:
            _, _, _, _, infos = env.step(still(env))
            cost = sum(info["cost/voltage_violation_sum"] for info in infos.values())
            assert (cost > 0) == in_trouble(env)
            for term in terms:
                assert (sum(info[f"reward/{term}"] for info in infos.values()) < 0) == (cost > 0)
            troubled.append(cost > 0)
    assert 0 < sum(troubled) < len(troubled)


def test_under_the_circuits_own_controls(scenario):
    """The variant without regulators and capacitors as actions: taps move by themselves and voltages get better."""
    plain = load_scenario(scenario)
    ruled = plain.under_circuit_controls()
    kinds = {spec["kind"] for spec in ruled.devices}
    assert not kinds & {"regulator", "capacitor"}
    env = ZoneEnv(ruled)
    if not env.task.feeder.taps:
        pytest.skip("the scenario blocks the circuit's regulators")
    assert all("tap moves" not in label for a in env.possible_agents for label in env.labels(a)["action"])
    env.reset(seed=1, options={"day": env.days[0]})
    taps = [env.now.setpoints.tap]
    while env.agents:
        env.step(still(env))
        taps.append(env.after.setpoints.tap)
        assert np.array_equal(env.after.setpoints.tap, env.after.solution.tap)
        assert np.array_equal(env.now.setpoints.tap, env.after.setpoints.tap)
    if env.task.feeder.taps:  # balanced and low-voltage feeders have none
        assert len({tuple(tap) for tap in taps}) > 2
    env.close()
