"""Stepped inverters: the set point stays, moves by a step, and ends within the circle."""

import numpy as np
import pytest
from device_cases import KVA, KW, STEP, setpoints, stepped
from pydantic import ValidationError

from dss_marl import read_feeder
from dss_marl.devices import device_kind
from dss_marl.envs.scenario_files import load_scenario
from dss_marl.envs.task import build_task

RAISE, HOLD, LOWER = 1.0, 0.0, -1.0


def test_a_set_point_goes_up_by_steps_stays_and_comes_back():
    group = stepped()
    state, places = group.initial(), []
    for entry in (RAISE, RAISE, HOLD, HOLD, LOWER, LOWER, LOWER):
        points = setpoints(np.random.default_rng(1))
        points.kw[group.injections] = 0.5 * KW
        state, _ = group.act(np.full((4, 1), entry), state, points, STEP)
        places.append(points.kvar[group.injections[0]] / np.sqrt(KVA[0] ** 2 - (0.5 * KW[0]) ** 2))
    assert places == pytest.approx([0.2, 0.4, 0.4, 0.4, 0.2, 0.0, -0.2])


def test_it_takes_all_sun_within_the_circle_and_a_move_beyond_the_end_is_counted(rng):
    group, state = stepped(), None
    state = group.initial()
    for k in range(12):
        points = setpoints(rng)
        sun = points.kw[group.injections].copy()
        state, limited = group.act(np.full((4, 1), RAISE), state, points, STEP)
        kw, kvar = points.kw[group.injections], points.kvar[group.injections]
        assert np.array_equal(kw, sun)
        assert (kw**2 + kvar**2 <= KVA**2 * (1 + 1e-12)).all()
        assert limited.tolist() == [int(k >= most) for most in group.most]
    assert np.hypot(kw, kvar) == pytest.approx(KVA)


@pytest.mark.parametrize(("spec", "told"), [({"step": 0.3}, "use 0.3333"), ({"kva": 10}, "raise kva")])
def test_what_does_not_fit_is_told(spec, told):
    devices = [{"kind": "stepped_inverter", "bus": 890, "kw": 100, **spec}]
    with pytest.raises(ValueError, match=told):
        build_task(load_scenario("ieee34_volt_var").replace(devices=devices, zones={"method": "balanced", "count": 1}))


@pytest.mark.parametrize(("step", "most"), [({}, 10), ({"step": 1}, 1), ({"step": 0.001}, 1000)])
def test_a_step_is_a_tenth_or_any_share_up_to_all(step, most):
    kind = device_kind("stepped_inverter")
    specs = [kind.Spec(kind="stepped_inverter", bus="890", kw=100, **step)]
    group = kind.build(specs, read_feeder("ieee34", injections=kind.added_units(specs)))
    assert group.most.tolist() == [most]
    assert group.kva.tolist() == [120]


@pytest.mark.parametrize("step", [0, -0.1, 1.001])
def test_a_step_of_nothing_or_more_than_all_is_refused(step):
    with pytest.raises(ValidationError, match="step"):
        device_kind("stepped_inverter").Spec(kind="stepped_inverter", bus="890", kw=100, step=step)
