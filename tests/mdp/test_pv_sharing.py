"""Fairness of PV curtailment: Jain's index by hand, memory of the day, and the sum of its changes."""

from __future__ import annotations

import numpy as np
import pytest

import dss_marl
from dss_marl.mdp.pv_sharing import fairness, jain_index, served_shares


@pytest.mark.parametrize(
    ("shares", "index"),
    [
        ([0.5, 0.5, 0.5, 0.5], 1.0),
        ([1.0, 0.0, 0.0, 0.0], 0.25),  # k of U: 1/4
        ([1.0, 1.0, 0.0, 0.0], 0.5),
        ([1.0, 0.5], 1.5**2 / (2 * 1.25)),  # 0.9
        ([0.9, 0.6, 0.3], 1.8**2 / (3 * 1.26)),  # 6/7
        ([0.0, 0.0], 1.0),  # all alike
    ],
)
def test_jain_index_by_hand(shares, index):
    np.testing.assert_allclose(jain_index(np.array(shares)), index)


def test_units_in_the_dark_have_their_full_share():
    np.testing.assert_allclose(served_shares(np.array([[4.0, 0.0], [1.0, 0.0]])), [0.25, 1.0])


CASE = {"split": "test", "steps": 12, "start_hour": 9}


@pytest.fixture
def env():
    made = dss_marl.make("eulv_fair_curtailment", **CASE)
    yield made
    made.close()


def _actions(env, curtailed):
    """Curtail these shares (U)."""
    entries = env.task.default_action.reshape(-1, 2).copy()
    entries[:, 1] = -np.asarray(curtailed)
    return env.task.encoding.encode(entries.ravel())


def test_the_index_is_that_of_the_whole_day_so_far(env):
    """Shares by hand: half of the units curtail 40 % for three steps."""
    env.reset(seed=0, options={"day": env.days[20]})
    curtailed = np.repeat([0.4, 0.0], 12)
    available, fed, total = np.zeros(24), np.zeros(24), 0.0
    for _ in range(3):
        total += sum(info["reward/fairness"] for info in env.step(_actions(env, curtailed))[4].values()) / 60
        kw = np.minimum(env.after.available[env.task.remembered_pv], 4.6)
        available += env.after.available[env.task.remembered_pv] * 0.5
        fed += kw * (1 - curtailed) * 0.5
    np.testing.assert_allclose(env.after.pv_kwh, [available, fed], rtol=1e-7)  # actions are single precision
    np.testing.assert_allclose(env.now.pv_kwh, env.after.pv_kwh)
    x = fed / available
    np.testing.assert_allclose(total, x.sum() ** 2 / (24 * (x**2).sum()) - 1, atol=1e-12)
    assert total < -0.02


def test_taking_turns_is_fair(env):
    """Curtailing one half and then the other by as much energy brings the index back to 1, and the sum to 0."""
    env.reset(seed=0, options={"day": env.days[20]})
    first = np.repeat([0.3, 0.0], 12)
    lowest = total = before = 0.0
    env.step(_actions(env, np.zeros(24)))
    for turn in range(2):
        kwh = env.now.available[env.task.remembered_pv].sum()
        share = first if not turn else np.roll(first, 12) * before / kwh
        before = kwh
        total += sum(info["reward/fairness"] for info in env.step(_actions(env, share))[4].values())
        lowest = min(lowest, total)
    assert lowest < -0.1
    np.testing.assert_allclose(total, 0, atol=5e-3)


def test_the_term_is_split_evenly_and_seen(env):
    observations, _ = env.reset(seed=0, options={"day": env.days[20]})
    labels = env.labels("bus_34")["observation"]
    seen = [k for k, label in enumerate(labels) if "share" in label]
    np.testing.assert_allclose(observations["bus_34"][seen], 1)
    curtailed = np.zeros(24)
    curtailed[0] = 0.5  # the unit at bus 34
    observations, _, _, _, infos = env.step(_actions(env, curtailed))
    np.testing.assert_allclose(observations["bus_34"][seen], [0.5, 1 - 0.5 / 24, 0.5], atol=0.02)
    np.testing.assert_allclose(observations["bus_73"][seen], [1.0, 1 - 0.5 / 24, 0.5], atol=0.02)
    assert len({info["reward/fairness"] for info in infos.values()}) == 1


def test_memory_is_saved_restored_and_forgotten(env):
    env.reset(seed=0, options={"day": env.days[20]})
    env.step(_actions(env, np.full(24, 0.2)))
    saved = env.save_state()
    kept = env.step(_actions(env, np.zeros(24)))[1]
    env.load_state(saved)
    assert env.step(_actions(env, np.zeros(24)))[1] == kept
    env.reset(seed=0)
    assert not env.now.pv_kwh.any()


def test_a_task_without_such_a_term_keeps_nothing():
    other = dss_marl.make("ieee13_volt_var", steps=2)
    other.reset(seed=0)
    assert other.now.pv_kwh.shape == (2, 0)
    other.close()


def test_copies_remember_each_their_own_day():
    batch = dss_marl.make_batch("eulv_fair_curtailment", copies=3, **CASE)
    alone = dss_marl.make("eulv_fair_curtailment", **CASE)
    days = [alone.days[k] for k in (3, 20, 30)]
    batch.reset(seed=[0, 1, 2], options=[{"day": day} for day in days])
    rng = np.random.default_rng(0)
    plays = [rng.uniform(0, 0.5, 24) for _ in range(4)]
    rows = [batch.step([_actions(alone, share)] * 3) for share in plays]
    for b, day in enumerate(days):
        alone.reset(seed=b, options={"day": day})
        for share, row in zip(plays, rows, strict=True):
            infos = alone.step(_actions(alone, share))[4]
            np.testing.assert_allclose(row.infos["reward/fairness"][b], infos["bus_34"]["reward/fairness"], atol=1e-12)
            np.testing.assert_allclose(
                row.infos["objective/equity"][b], infos["bus_34"]["objective/equity"], atol=1e-12
            )
    batch.close()
    alone.close()


def test_single_zones_and_all_agree(env):
    env.reset(seed=0, options={"day": env.days[20]})
    env.step(_actions(env, np.linspace(0, 0.9, 24)))
    one_by_one = [float(fairness(zone, env.before, env.after)) for zone in env.task.zones]
    np.testing.assert_allclose(fairness(env.task.all_zones, env.before, env.after), one_by_one)
