"""Voltage barriers: what makes each of them one, and their values at points that follow from the formulas."""

import numpy as np
import pytest

import dss_marl
from dss_marl.mdp import voltage_barriers as barriers

FORMULAS = {name: getattr(barriers, f"{name}_of") for name in ("l1", "l2", "bowl", "bump")}
FORMULAS["courant_beltrami"] = lambda v_pu: barriers.courant_beltrami_of(v_pu, 0.95, 1.05)
every = pytest.mark.parametrize("name", FORMULAS)
OFF = np.linspace(0, 0.5, 501)


@every
def test_a_barrier_is_lowest_at_1_pu_symmetric_and_never_falls_outwards(name):
    barrier = FORMULAS[name]
    high, low = barrier(1 + OFF), barrier(1 - OFF)
    np.testing.assert_allclose(high, low, atol=1e-12)
    assert (np.diff(high) >= -1e-15).all() and high[0] >= 0
    assert high[-1] > high[50] and high[50] < 0.06  # the ends of the band cost little compared with far outside
    assert (np.diff(high[51:]) > 0).all()  # out of band every step further costs more


@pytest.mark.parametrize(
    ("name", "at_limit", "at_090"),
    [
        ("l1", 0.05, 0.1),
        ("l2", 0.005, 0.02),
        ("bowl", 0.04 - 0.01 * np.exp(-0.125) / (0.1 * np.sqrt(2 * np.pi)), 0.105),
        ("bump", np.exp(-1 / (1 - 0.95**4)), np.exp(-1 / (1 - 0.9**4))),
        ("courant_beltrami", 0.0, 0.0025),
    ],
)
def test_barriers_at_published_points(name, at_limit, at_090):
    barrier = FORMULAS[name]
    np.testing.assert_allclose(barrier(np.array([0.95, 1.05])), at_limit, atol=1e-9)
    np.testing.assert_allclose(barrier(np.array([0.9, 1.1])), at_090, atol=1e-9)
    np.testing.assert_allclose(barrier(np.ones(1)), 1.06e-4 if name == "bowl" else 0.0, atol=1e-6)


def test_a_bump_ends_at_2_pu_and_at_none():
    np.testing.assert_allclose(
        barriers.bump_of(np.array([2.0, 2.5, 3.0, 0.0])), np.exp([-1.0, -1.0667, -np.inf, -1.0]), rtol=1e-3
    )


@every
def test_a_barrier_is_chosen_by_name_and_is_a_mean_over_the_scored_nodes(name):
    env = dss_marl.make("case33_volt_var", rewards={name: 1.0, "reactive_power": 0.1 / 6}, split="test")
    env.reset(seed=0)
    env.step({agent: env.action_space(agent).sample() for agent in env.agents})
    scored = np.concatenate([zone.scored_nodes for zone in env.task.zones])
    units = env.task.device_groups[0].injections
    expected = FORMULAS[name](env.after.solution.v_pu[scored]).mean()
    expected += 0.1 * np.abs(env.after.setpoints.kvar[units]).mean() / 1000
    assert env.team_reward == pytest.approx(-expected, rel=1e-9)
    env.close()
