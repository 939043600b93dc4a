"""Devices of every kind once ``check`` has looked at an interval, ratings exceeded or not."""

from functools import cache

import numpy as np
import pytest
from device_cases import CASES, reached, some_action
from device_cases import setpoints as some_setpoints

from dss_marl import read_feeder
from dss_marl.devices import device_kind
from dss_marl.grid.state import Interval, Setpoints, Solution

FIELDS = ("kw", "kvar", "tap", "closed")
GENERATORS = [  # bus, kW, whether it can feed an island, least kW, tank [l]
    ("48", 330, True, 0.0, 20.0), ("64", 545, True, 30.0, 0.0), ("35", 240, False, 0.0, 20.0),
    ("78", 535, False, 90.0, 40.0),
]  # fmt: skip
TRIPPING = {
    "generator": [
        {"bus": bus, "kw": kw, "forming": forms, "kw_min": least, "tank_l": tank, "ramp_kw_per_h": 400.0}
        for bus, kw, forms, least, tank in GENERATORS
    ],
    "feeder_tie": [{"bus": bus, "kva": 900.0} for bus in ("250", "450", "67")],
}


@cache
def tripping(name):
    """Devices of a kind that trips, on ieee123 with its switches."""
    kind = device_kind(name)
    specs = [kind.Spec(kind=name, **spec) for spec in TRIPPING[name]]
    feeder = read_feeder("ieee123", injections=kind.added_units(specs))
    return kind.build(specs, feeder), feeder


def at(step):
    return Interval(step, 0.0, 0.25)


def solved(rng, points, formers):
    """Voltages of 300 nodes, and powers of grid-forming units, many of which are beyond any rating."""
    one = np.zeros(points.kw.shape[:-1])
    power = rng.uniform(-100, 500, (2, *points.kw.shape[:-1], formers, 3)) * rng.choice([0.0, 0.3, 1.0], (formers, 1))
    return Solution(
        rng.uniform(0.9, 1.1, (*points.kw.shape[:-1], 300)), one, one, one, points.kw.copy(),
        np.ones((*points.kw.shape[:-1], 300), bool), points.tap.copy(), points.closed.copy(), lambda: one,
        grid_forming_kw=power[0], grid_forming_kvar=power[1],
    )  # fmt: skip


def parts(value):
    """Copies of all arrays in an argument."""
    if isinstance(value, Setpoints):
        return [getattr(value, name).copy() for name in FIELDS]
    if isinstance(value, Solution):
        return [np.copy(getattr(value, f)) for f in ("v_pu", "served_kw", "energised", "tap", "closed",
                                                     "grid_forming_kw", "grid_forming_kvar")]  # fmt: skip
    return [value.copy()]


def unchanged(kept, *arguments):
    return all(np.array_equal(a, b) for old, new in zip(kept, arguments, strict=True)
               for a, b in zip(old, parts(new), strict=True))  # fmt: skip


def intervals(name, rng, steps=20):
    """Yield group, action, state before and after ``act``, set points and solution of a day's first intervals."""
    if name in CASES:
        group, feeder = CASES[name].make(), None
        state, points = reached(group, rng, 20)
    else:
        group, feeder = tripping(name)
        state, points = group.initial(), feeder.setpoints()
    for step in range(steps):
        coming = some_setpoints(rng, 20) if feeder is None else feeder.setpoints()
        coming.tap, coming.closed = points.tap, points.closed
        if feeder is not None:  # switches open here and there, so that there are islands and dark parts
            lines = [s for s, row in enumerate(feeder.switches) if row.kind == "switch" and row.closed]
            coming.closed[lines] = rng.random(len(lines)) < 0.5
        points, action = coming, some_action(group, rng, *state.shape[:-2])
        kept = [parts(action), parts(state)]
        new, _ = group.act(action, state, points, at(step))
        assert unchanged(kept, action, state), "act changes what it was given"
        solution = solved(rng, points, 0 if feeder is None else len(feeder.grid_forming_units))
        if group.voltage_dependent:
            for _ in range(3):
                group.respond(new, points, solution)
        yield step, group, new, points, solution
        state, _ = group.check(new, points, solution)


EVERY = [*CASES, *TRIPPING]


@pytest.mark.parametrize("name", EVERY)
def test_check_changes_no_argument_and_counts_devices(name, rng):
    exceeded = set()
    for _, group, state, points, solution in intervals(name, rng):
        kept = [parts(state), parts(points), parts(solution)]
        checked, over = group.check(state, points, solution)
        assert unchanged(kept, state, points, solution)
        assert checked.shape == state.shape and over.shape == state.shape[:-1] and over.dtype == np.int64
        exceeded |= set(over.ravel().tolist())
    assert exceeded == ({0, 1} if name in TRIPPING else {0})


@pytest.mark.parametrize("name", EVERY)
def test_doing_nothing_after_check_is_legal_and_never_limited(name, rng):
    for step, group, state, points, solution in intervals(name, rng):
        checked, _ = group.check(state, points, solution)
        for interval in (at(step + 1), at(step + 2)):
            held, acted = points.copy(), points.copy()
            present = group.hold_action(checked, held, interval)
            assert (np.abs(present) <= 1).all()
            assert group.feasible(present, checked, held, interval).all()
            _, limited = group.act(present, checked, acted, interval)
            assert not limited.any()
            group.hold(checked, held, interval)
            assert np.array_equal(acted.closed, held.closed) and np.array_equal(acted.tap, held.tap)
            assert acted.kw == pytest.approx(held.kw, abs=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_check_leaves_what_was_asked_as_it_was(name, rng):
    """A curve's parameters too: new are only the kvar that it came to, and what is forgotten: PV power, responses."""
    moved = False
    for _, group, state, points, solution in intervals(name, rng):
        checked, _ = group.check(state, points, solution)
        if not group.voltage_dependent:
            assert np.array_equal(checked, state)
            continue
        own = (group.mode == "volt_var") + (group.guard is not None) + (group.watt is not None)
        same = slice(0, group.state_size - own)
        assert np.array_equal(checked[..., same], state[..., same])
        if group.mode == "volt_var":
            assert checked[..., same.stop] * group.kva == pytest.approx(points.kvar[..., group.injections])
        if group.watt is not None:
            assert (checked[..., -1] == 0).all()
        moved |= not np.allclose(checked[..., -1], state[..., -1])
    assert moved == CASES[name].make().voltage_dependent
