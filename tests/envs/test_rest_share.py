"""Inverters that rest without sun unless a worthwhile share of their kvar is asked for."""

from __future__ import annotations

import numpy as np
import pytest

import dss_marl
from dss_marl.devices import GuardSpec
from dss_marl.envs.inverter_aids import InverterAids
from dss_marl.envs.task import build_task
from dss_marl.envs.zone_env import ZoneEnv

REST = 0.1


def make(start_hour, rest_share=REST, **changes):
    scenario = dss_marl.load_scenario("case33_volt_var").replace(start_hour=start_hour, steps=4, **changes)
    env = ZoneEnv(build_task(InverterAids(rest_share=rest_share).applied(scenario)))
    env.reset(seed=0)
    return env


def play(env, share):
    env.step({agent: np.full(env.action_space(agent).shape, share, np.float32) for agent in env.agents})
    rows = env.task.device_groups[0].injections
    return env.after.setpoints.kvar[rows], env.after.setpoints.lost_kw[rows]


@pytest.mark.parametrize("share", [0.05, -0.09])
def test_at_night_a_small_share_leaves_the_converter_off(share):
    kvar, lost_kw = play(make(0), share)
    assert np.all(kvar == 0) and np.all(lost_kw == 0)


@pytest.mark.parametrize("share", [0.11, -0.5])
def test_at_night_a_larger_share_is_supplied_in_full(share):
    with_rest, without = play(make(0), share), play(make(0, 0.0), share)
    assert np.all(with_rest[0] != 0)
    np.testing.assert_array_equal(with_rest, without)
    assert np.all(with_rest[1] >= make(0).task.device_groups[0].converters.standby_kw)


def test_by_day_every_share_is_supplied():
    np.testing.assert_array_equal(play(make(12), 0.05), play(make(12, 0.0), 0.05))


@pytest.mark.parametrize(("hour", "share"), [(0, 0.05), (0, 0.5), (12, 0.05)])
def test_the_gradient_has_no_slope_where_the_share_decides_whether_it_runs(hour, share):
    env = make(hour)
    actions = {agent: np.full(env.action_space(agent).shape, share, np.float32) for agent in env.agents}
    found = env.gradient(actions).by_entry
    assert np.all(found == 0) if hour == 0 else np.all(found != 0)


def test_a_guard_supplies_what_the_voltage_needs_from_a_resting_converter():
    scenario = dss_marl.load_scenario("case33_volt_var").replace(start_hour=19, steps=4)
    guarded = InverterAids(GuardSpec(), REST).applied(scenario)
    env = ZoneEnv(build_task(guarded))
    env.reset(seed=0)
    kvar, _ = play(env, 0.0)
    v_pu = env.task.device_groups[0].places.voltages(env.after.solution.v_alive)
    low = env.task.device_groups[0].guard.low_pu
    np.testing.assert_array_equal(kvar > 0, v_pu < low - 1e-9)


def test_aids_say_what_they_are():
    assert InverterAids().about == ""
    assert "rest without sun" in InverterAids(rest_share=REST).about
    assert ";" in InverterAids(GuardSpec(), REST).about


def test_only_shares_can_rest():
    with pytest.raises(ValueError, match="rest_share is for mode share"):
        make(0, 0.0, devices=[{"kind": "inverter", "bus": 13, "kw": 1300, "mode": "volt_var", "rest_share": 0.1}])
