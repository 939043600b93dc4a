"""Groups of every kind for the tests that any kind must pass, and states that they can come to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dss_marl import read_feeder
from dss_marl.devices import (
    Batteries,
    Capacitors,
    Estimators,
    EVChargers,
    FlexibleLoads,
    Inverters,
    Regulators,
    SteppedBatteries,
    SteppedInverters,
)
from dss_marl.devices.base import DeviceGroup
from dss_marl.devices.converters import Converters
from dss_marl.devices.guard import Guard, GuardSpec
from dss_marl.devices.volt_var_curve import Places
from dss_marl.devices.volt_watt_curve import VoltWatt, VoltWattSpec
from dss_marl.grid.state import Interval, Setpoints

KVA = np.array([120.0, 60.0, 36.0, 240.0])
KW = np.array([100.0, 60.0, 30.0, 200.0])
CURTAIL = np.array([0.0, 1.0, 1.0, 0.0])
PLACES = np.array([3, 1, 4, 6])  # injections of four devices, of seven
EACH_AT_A_NODE = Places(np.arange(4)[:, None], np.ones((4, 1)), np.full(4, 0.01))
STEP = Interval(0, 0.0, 0.25)


@dataclass(frozen=True)
class Case:
    """A kind under test.

    ``asked`` and ``done`` give (..., D, X): what an action asks for if nothing limits it, and what was done.
    ``idle`` gives (D) the kW of devices that nobody controls, from the injections before control.
    """

    make: Callable[[], DeviceGroup]
    asked: Callable
    done: Callable
    idle: Callable = lambda group, kw: kw


def inverters(curtail=CURTAIL, **rest):
    """Four, at injections 3, 1, 4 and 6 of seven."""
    return Inverters(tuple("abcd"), tuple("wxyz"), PLACES, KVA, curtail, **rest)


def category_a(mode="share"):
    """Four by IEEE 1547, category A, some of them with var priority or without kvar at night."""
    return inverters(
        mode=mode,
        own_converters=Converters(KVA, 0.44 * KVA, 0.25 * KVA, *np.zeros((3, 4))),
        var_first=np.array([True, True, False, False]),
        night=np.array([True, False, True, False]),
        places=EACH_AT_A_NODE if mode == "volt_var" else None,
    )


def lossy(**rest):
    """Those of category B with losses of 1 %, 2 % and 3 % of the rating, the last one without."""
    shares = np.array([1.0, 1.0, 1.0, 0.0])
    converters = Converters(KVA, 0.44 * KVA, 0.44 * KVA, 0.01 * KVA * shares, 0.02 * shares, 0.03 / KVA * shares)
    return inverters(own_converters=converters, **rest)


def volt_watt(mode="share"):
    """Lossy ones, of which the second and third have a volt-watt curve."""
    curves = [False, VoltWattSpec(), VoltWattSpec(v1_pu=1.05, v2_pu=1.08, p2=0.0), False]
    watt = VoltWatt.of(curves, KW, KVA, np.full(4, 0.01))
    return lossy(mode=mode, places=EACH_AT_A_NODE, watt=watt)


def guarded():
    """Lossy ones, all but the first with a guard."""
    guard = Guard.of([False, True, GuardSpec(margin_pu=0.01, slope=20), True], np.full((4, 4), 0.002))
    return lossy(places=EACH_AT_A_NODE, guard=guard)


def stepped():
    """Four with steps of a fifth, a half, a tenth and the whole way."""
    return SteppedInverters(tuple("abcd"), tuple("wxyz"), PLACES, KVA, np.array([5.0, 2.0, 10.0, 1.0]))


def regulators(**rest):
    """Three, at taps 2, 0 and 1 of four, with 1, 2 and 5 moves a step."""
    ends = np.array([-16, -8, -16]), np.array([16, 8, 10])
    return Regulators(tuple("abc"), tuple("xyz"), np.array([2, 0, 1]), np.array([1, 2, 5]), *ends, **rest)


def gangs():
    """One of three taps with relative moves and a waiting time, one of a single tap by its position."""
    ends = np.array([-16, -8, -16, -16]), np.array([16, 8, 10, 16])
    return Regulators(
        tuple("ab"), tuple("xy"), np.array([2, 0, 1, 3]), np.array([3, 5]), *ends,
        first=np.array([0, 3]), absolute=np.array([False, True]), min_time_h=np.array([0.5, 0.0]),
    )  # fmt: skip


def capacitors(**rest):
    """Two, at switches 3 and 1 of four."""
    return Capacitors(tuple("ab"), tuple("xy"), np.array([3, 1]), **rest)


def batteries(reactive=(True, False, True, False)):
    """Four of different size and efficiency, in the inverters' places; two of them with reactive power."""
    return Batteries(
        tuple("abcd"), tuple("wxyz"), PLACES,
        kw=np.array([100.0, 50.0, 5.0, 250.0]), kva=np.array([100.0, 60.0, 7.0, 250.0]),
        kwh=np.array([200.0, 25.0, 50.0, 1000.0]), charging=np.array([0.95, 0.9, 1.0, 0.8]),
        discharging=np.array([0.95, 0.85, 1.0, 0.9]), standby_kw=np.array([0.0, 0.5, 0.1, 2.0]),
        start_soc=np.array([0.5, 0.2, 0.0, 0.9]), minimum=np.array([0.1, 0.2, 0.0, 0.3]),
        maximum=np.array([0.9, 1.0, 1.0, 0.9]), reactive=np.array(reactive),
    )  # fmt: skip


def stepped_batteries():
    """Four in the inverters' places: 33, 5 and 3 levels, and any power; one of them rounds to whole kWh."""
    return SteppedBatteries(
        tuple("abcd"), tuple("wxyz"), PLACES,
        kw=np.array([100.0, 50.0, 5.0, 250.0]), kwh=np.array([200.0, 25.0, 50.0, 1000.0]),
        levels=np.array([33, 5, 3, 0]), kvar_per_kw=np.array([1 / 0.95, 0.0, -0.3, 0.329]),
        start_soc=np.array([1.0, 0.2, 0.0, 0.9]), whole=np.array([True, False, False, False]),
        owes=np.array([True, False, False, False]),
    )  # fmt: skip


def chargers(v2g_kwh=(0.0, 0.0, 0.0, 0.0)):
    """Four, from slow to fast."""
    return EVChargers(
        tuple("abcd"), tuple("wxyz"), PLACES, kw=np.array([3.7, 7.4, 11.0, 22.0]),
        efficiency=np.array([0.95, 0.9, 1.0, 0.95]), priority=np.array([1.0, 2.0, 0.0, 1.0]), v2g_kwh=np.array(v2g_kwh),
    )  # fmt: skip


def flexible_loads():
    """Three, at injections 0, 5 and 2: one sheds, two shift."""
    return FlexibleLoads(
        tuple("abc"), tuple("xyz"), np.array([0, 5, 2]), most=np.array([1.0, 0.5, 0.3]),
        shift=np.array([False, True, True]), payback_h=np.array([1.0, 2.0, 0.5]),
        payback=np.array([1.0, 1.0, 1.5]), priority=np.array([3.0, 1.0, 1.0]), base_kwh=np.array([20.0, 30.0, 10.0]),
    )  # fmt: skip


def estimators():
    """Three, of nodes 5, 0 and 2."""
    return Estimators(
        tuple("abc"), tuple("xyz"), np.array([5, 0, 2]), np.array([1, 3]),
        v_centre_pu=np.array([1.0, 1.02, 0.98]), span_pu=np.array([0.1, 0.05, 0.2]),
    )  # fmt: skip


def setpoints(rng, *batch):
    """Of a feeder with seven injections, four taps and four switches; the inverters' kW is the available PV."""
    kw = -rng.uniform(1, 50, (*batch, 7))
    kw[..., PLACES] = KW * rng.uniform(0, 1, (*batch, 4)) * (rng.random((*batch, 4)) < 0.8)
    return Setpoints(
        kw, rng.uniform(-9, 0, (*batch, 7)), rng.integers(-8, 9, (*batch, 4)), rng.random((*batch, 4)) < 0.5
    )


def some_action(group, rng, *batch):
    """Of any size, and often at an end or zero."""
    shape = (*batch, group.size, len(group.action_labels))
    return np.where(rng.random(shape) < 0.4, rng.integers(-1, 2, shape), rng.uniform(-1, 1, shape))


def reached(group, rng, *batch, steps=6):
    """Device state and set points after a few random steps from a random day, before the next interval's control."""
    state = np.empty((*batch, group.size, group.state_size))
    for k in np.ndindex(batch):
        state[k] = group.start(rng, bool(rng.random() < 0.3), rng.uniform(0, 24))
    points = setpoints(rng, *batch)
    for t in range(rng.integers(0, steps + 1)):
        coming = setpoints(rng, *batch)
        coming.tap, coming.closed = points.tap, points.closed
        state, _ = group.act(some_action(group, rng, *batch), state, coming, Interval(t, 0.0, rng.uniform(0.05, 1.5)))
        points = coming
    coming = setpoints(rng, *batch)
    coming.tap, coming.closed = points.tap, points.closed
    return state, coming


def sun_asked(group, action, state, before, interval):
    """The kW after curtailment as if everyone may; without what the circle cuts, which no entry asks for."""
    held_back = np.minimum(action[..., -1], 0) if group.may_curtail.any() else 0 * action[..., 0]
    return held_back[..., None]


def sun_done(group, state, before, after):
    return state[..., len(group.action_labels) - 1 : len(group.action_labels)] if group.may_curtail.any() else (
        0 * state[..., :1]
    )  # fmt: skip


def steps_asked(group, action, state, before, interval):
    moves = np.where(np.abs(action[..., 0]) > 1 / 3, np.sign(action[..., 0]), 0)
    return (state[..., 0] + moves)[..., None]


def steps_done(group, state, before, after):
    """By what is set, where the circle leaves anything."""
    kw, kvar = after.kw[..., group.injections], after.kvar[..., group.injections]
    left = np.sqrt(np.maximum(group.kva**2 - kw**2, 0))
    share = np.where(left > 1e-6, kvar / np.maximum(left, 1e-6), state[..., 0] / group.most)
    return (share * group.most)[..., None]


def taps_asked(group, action, state, before, interval):
    """(..., T) positions."""
    first = [0, 1, 2] if group.first is None else group.first
    absolute = np.zeros(group.size, bool) if group.absolute is None else group.absolute
    tap = before.tap[..., group.taps]
    lowest, highest = group.lowest[first], group.highest[first]
    goal = np.rint(lowest + (action[..., 0] + 1) / 2 * (highest - lowest))
    moves = np.where(absolute, goal - tap[..., first], np.rint(action[..., 0] * group.moves))
    return np.stack([moves, moves], -1)


def taps_done(group, state, before, after):
    first = [0, 1, 2] if group.first is None else list(group.first)
    last = [*(f - 1 for f in first[1:]), len(group.taps) - 1]
    moves = (after.tap - before.tap)[..., group.taps]
    return np.stack([moves[..., first], moves[..., last]], -1)


def states_asked(group, action, state, before, interval):
    now = before.closed[..., group.switches]
    return np.where(action[..., 0] > 1 / 3, True, np.where(action[..., 0] < -1 / 3, False, now))[..., None]


def states_done(group, state, before, after):
    return after.closed[..., group.switches][..., None]


def storage_asked(group, action, state, before, interval):
    """kW and share of the kvar."""
    wanted = [action[..., 0] * group.kw - group.standby_kw]
    return np.stack([*wanted, action[..., 1]] if group.reactive.any() else wanted, -1)


def storage_done(group, state, before, after):
    """The share by what is set, where the circle leaves anything."""
    kw, kvar = after.kw[..., group.injections], after.kvar[..., group.injections]
    left = np.sqrt(np.maximum(group.kva**2 - (kw + group.standby_kw) ** 2, 0))
    share = np.where(left > 1e-6, kvar / np.maximum(left, 1e-6), state[..., 1])
    return np.stack([kw, share] if group.reactive.any() else [kw], -1)


def levels_asked(group, action, state, before, interval):
    """kW of the nearest level that the energy lasts for, found by trying them all."""
    kwh = state[..., 1]
    given = np.empty(action.shape[:-1])
    for place in np.ndindex(given.shape):
        d = place[-1]
        room = (kwh[place] - group.kwh[d]) / interval.dt_h, kwh[place] / interval.dt_h
        kw, count = action[place][0] * group.kw[d], group.levels[d]
        if count:
            each = group.kw[d] * np.linspace(-1, 1, count)
            kw = each[round(count // 2 + action[place][0] * (count // 2))]
            lasting = each[(each >= room[0] - 1e-6) & (each <= room[1] + 1e-6)]
            kw = lasting[np.argmin(np.abs(lasting - kw))]
        given[place] = min(max(kw, room[0]), room[1])
    return given[..., None]


def levels_done(group, state, before, after):
    return after.kw[..., group.injections][..., None]


def charge_asked(group, action, state, before, interval):
    """kW by the share of the interval during which a car is there; without one, as if it were there all the time."""
    stay = np.minimum(state[..., 2], interval.dt_h) - np.maximum(state[..., 1], 0)
    part = np.where(stay > 0, stay / interval.dt_h, 1.0)
    share = np.where(group.v2g_kwh > 0, action[..., 0], (action[..., 0] + 1) / 2)
    return -(share * group.kw * part)[..., None]


def charge_done(group, state, before, after):
    return after.kw[..., group.injections][..., None]


def shed_asked(group, action, state, before, interval):
    return (-before.kw[..., group.injections] * (action[..., 0] + 1) / 2 * group.most * interval.dt_h)[..., None]


def shed_done(group, state, before, after):
    """By what is set, less what is taken back."""
    back = state[..., 4] * group.payback
    return ((after.kw - before.kw)[..., group.injections] * STEP.dt_h + back)[..., None]


CASES = {
    "inverter": Case(inverters, sun_asked, sun_done),
    "inverter_category": Case(category_a, sun_asked, sun_done),
    "inverter_power_factor": Case(lambda: category_a("power_factor"), sun_asked, sun_done),
    "inverter_volt_var": Case(lambda: category_a("volt_var"), sun_asked, sun_done),
    "inverter_without_curtail": Case(lambda: inverters(np.zeros(4)), sun_asked, sun_done),
    "inverter_lossy": Case(lossy, sun_asked, sun_done),
    "inverter_volt_watt": Case(volt_watt, sun_asked, sun_done),
    "inverter_guarded": Case(guarded, sun_asked, sun_done),
    "inverter_volt_var_and_watt": Case(lambda: volt_watt("volt_var"), sun_asked, sun_done),
    "inverter_stepped": Case(stepped, steps_asked, steps_done),
    "regulator": Case(regulators, taps_asked, taps_done),
    "regulator_gangs": Case(gangs, taps_asked, taps_done),
    "capacitor": Case(lambda: capacitors(discharge_h=np.array([0.5, 0.0])), states_asked, states_done),
    "capacitor_absolute": Case(
        lambda: capacitors(absolute=np.array([True, True]), discharge_h=np.array([0.5, 0.0])),
        lambda group, action, state, before, interval: action > 0,
        states_done,
    ),
    "battery": Case(batteries, storage_asked, storage_done, lambda group, kw: -group.standby_kw),
    "battery_without_kvar": Case(
        lambda: batteries([False] * 4), storage_asked, storage_done, lambda group, kw: -group.standby_kw
    ),
    "stepped_battery": Case(stepped_batteries, levels_asked, levels_done, lambda group, kw: 0 * kw),
    "ev_charger": Case(chargers, charge_asked, charge_done, lambda group, kw: 0 * kw),
    "ev_charger_lending": Case(
        lambda: chargers([8.0, 0.0, 2.0, 20.0]), charge_asked, charge_done, lambda group, kw: 0 * kw
    ),
    "flexible_load": Case(flexible_loads, shed_asked, shed_done),
    "estimator": Case(
        estimators,
        lambda group, action, state, before, interval: (group.v_centre_pu + group.span_pu * action[..., 0])[..., None],
        lambda group, state, before, after: state,
    ),
}

# A source, a line that opens, and two loads behind it.
SWITCHED = """\
clear
new circuit.c phases=3 basekv=10 pu=1 mvasc3=100 mvasc1=100
new line.tie bus1=sourcebus bus2=b switch=yes r1=1 x1=2 r0=1 x0=2 c1=0 c0=0 length=1 units=km normamps=100
new load.big bus1=b phases=3 kv=10 kw=500 kvar=300 model=1
new load.small bus1=b phases=3 kv=10 kw=100 kvar=20 model=1
set voltagebases=[10]
calcvoltagebases
"""


def switched(folder, kind, specs):
    """Feeder of this circuit with the devices, their group, and set points."""
    (folder / "switched.dss").write_text(SWITCHED)
    feeder = read_feeder(folder / "switched.dss", injections=kind.added_units(specs))
    return feeder, kind.build(specs, feeder), feeder.setpoints()
