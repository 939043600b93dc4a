"""Stepped batteries: levels, reactive power, impedances beyond the voltage limits, and energy by what was delivered."""

from dataclasses import replace

import numpy as np
import pytest
from device_cases import setpoints
from pydantic import ValidationError

from dss_marl import OpenDSSEngine, open_batch_engine, read_feeder
from dss_marl.devices import device_kind
from dss_marl.devices.stepped_battery import SteppedBatteries
from dss_marl.grid.state import Interval

KIND = device_kind("stepped_battery")
HOUR = Interval(0, 0.0, 1.0)
PLACE = {"kind": "stepped_battery", "bus": "680", "kw": 200, "kwh": 1000}


def built(**changes):
    """A battery at a bus of the 13-bus feeder."""
    specs = [KIND.Spec(**{**PLACE, **changes})]
    feeder = read_feeder("ieee13", injections=KIND.added_units(specs))
    return feeder, KIND.build(specs, feeder)


def alone(**changes):
    """One battery at injection 3 of seven."""
    one = SteppedBatteries(
        ("a",), ("w",), np.array([3]), np.array([200.0]), np.array([1000.0]), np.array([33]), np.array([1 / 0.95]),
        np.array([1.0]), np.array([False]), np.array([False]),
    )  # fmt: skip
    return replace(one, **{name: np.array([value]) for name, value in changes.items()})


def given(group, entry, state, rng):
    points = setpoints(rng)
    after, _ = group.act(np.array([[entry]]), state, points, HOUR)
    return points.kw[3], points.kvar[3], after


def test_power_is_a_level_and_reactive_power_goes_with_it(rng):
    kw, kvar, _ = given(alone(), 0.3, alone().initial(), rng)
    assert kw == 62.5
    assert kvar == pytest.approx(62.5 / 0.95)


def test_a_level_that_does_not_last_is_replaced_by_the_next_that_does(rng):
    group = alone()
    state = group.initial()
    state[..., 1] = 70.0  # kWh, for an hour
    assert given(group, 1.0, state, rng)[0] == 62.5
    state[..., 1] = 962.0
    assert given(group, -1.0, state, rng)[0] == -37.5
    state[..., 1] = 1000.0
    assert given(group, -1.0, state, rng)[0] == 0.0


def test_whole_kwh_are_kept_where_asked(rng):
    group = alone(whole=True)
    _, _, state = given(group, 0.5625, group.initial(), rng)  # 112.5 kW, of 1000 kWh: to the even number
    assert state[0, 1] == 888.0
    assert given(alone(), 0.5625, group.initial(), rng)[2][0, 1] == 887.5


def test_what_is_owed_is_owed_at_the_end_alone():
    group = alone(owes=True)
    state = group.initial()
    state[..., 1] = 400.0
    last = Interval(23, 23.0, 1.0, last=True)
    assert group.unmet_kwh(state, state, HOUR).tolist() == [0.0]
    assert group.unmet_kwh(state, state, last).tolist() == [600.0]
    assert alone().unmet_kwh(state, state, last).tolist() == [0.0]


@pytest.mark.parametrize("kv", [2.4, 4.16])
@pytest.mark.parametrize("engine", ["opendss", "batched"])
def test_beyond_its_limits_it_delivers_by_the_square_of_the_voltage(kv, engine):
    """Rated 2.4 kV between phases of 4.16 kV it delivers about 2.5 times its set point, as OpenDSS's generator does."""
    feeder, group = built(kv=kv, kvar_per_kw=0.3)
    points = feeder.setpoints()
    points.kw[group.injections] = 100.0
    points.kvar[group.injections] = 30.0
    if engine == "opendss":
        solver = OpenDSSEngine(feeder, tolerance=1e-7)
        solution = solver.solve(points)
        served, v_pu = solution.served_kw, solution.v_pu
    else:
        solver = open_batch_engine(feeder, 1, "batched")
        fields = (getattr(points, name)[None] for name in ("kw", "kvar", "tap", "closed"))
        solution, _ = solver.solve(type(points)(*fields))
        served, v_pu = solution.served_kw[0], solution.v_pu[0]
    solver.close()
    own = served[group.injections[0]]
    if kv == 4.16:
        assert own == pytest.approx(100.0, rel=1e-4)
    else:
        at = [n for n, bus in enumerate(feeder.node_bus) if feeder.buses[bus].name == "680"]
        times = (v_pu[at].mean() * 4.16 / kv / 1.1) ** 2
        assert own == pytest.approx(100.0 * times, rel=2e-3)  # the phases are not quite balanced
        assert 2.3 < times < 2.7


@pytest.mark.parametrize(
    "wrong", [{"levels": 32}, {"levels": 1}, {"v_pu": (1.1, 1.2)}, {"initial": 1.1}, {"kwh": 0}, {"kvar_per_kw": 3}]
)
def test_what_no_battery_can_be_is_refused(wrong):
    with pytest.raises(ValidationError):
        KIND.Spec(**{**PLACE, **wrong})
