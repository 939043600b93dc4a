"""Devices: what any kind must do, for random states and actions, for one and for many at once."""

import numpy as np
import pytest
from device_cases import CASES, STEP, reached, setpoints, some_action

from dss_marl.devices import KINDS, Estimators, FlexibleLoads, Inverters, SteppedBatteries
from dss_marl.devices.base import DeviceGroup, DeviceSpec, act_periods
from dss_marl.grid.state import Interval, Setpoints

# Unless curtailment is requested without ``curtail``; to a stepped battery a level that does not last means another.
NEVER_REFUSE = (Inverters, FlexibleLoads, Estimators, SteppedBatteries)
FIELDS = ("kw", "kvar", "tap", "closed")


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def equal(a, b):
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in FIELDS)


def test_each_kind_is_tested_here():
    """But for those that need a whole feeder, with such tests in files of their own, and those without actions."""
    tested = {type(case.make()) for case in CASES.values()}
    whole = (
        "switch",
        "generator",
        "open_point",
        "pv",
        "feeder_tie",
        "load_shedder",
        "demand_meter",
        "flexibility_request",
        "crew",
    )
    assert set(KINDS.values()) - tested == {KINDS[name] for name in whole}


@pytest.mark.parametrize("batch", [(100,), (5, 8)])
def test_a_request_is_limited_just_where_it_is_not_legal(case, batch, rng):
    group = case.make()
    for _ in range(5):
        state, points = reached(group, rng, *batch)
        action = some_action(group, rng, *batch)
        allowed = group.feasible(action, state, points, STEP)
        _, limited = group.act(action, state, points, STEP)
        assert allowed.shape == action.shape
        assert allowed.dtype == bool
        assert limited.dtype == np.int64
        assert np.array_equal(limited > 0, ~allowed.all(-1))


def test_the_present_action_is_legal_and_changes_nothing_that_is_held(case, rng):
    group = case.make()
    for _ in range(10):
        state, acted = reached(group, rng, 100)
        interval = Interval(3, 4.5, rng.uniform(0.05, 2.0))
        held = acted.copy()
        before = held.copy()
        present = group.hold_action(state, acted, interval)
        assert equal(acted, before)
        assert (np.abs(present) <= 1).all()
        assert group.feasible(present, state, acted, interval).all()
        kept, limited = group.act(present, state, acted, interval)
        group.hold(state, held, interval)
        assert equal(acted, held)
        assert (limited == 0).all()
        assert np.isfinite(kept).all()


@pytest.mark.parametrize("batch", [(5,), (2, 3)])
def test_many_at_once_are_as_one_by_one(case, batch, rng):
    group = case.make()
    state, together = reached(group, rng, *batch)
    action = some_action(group, rng, *batch)
    before = together.copy()
    present, allowed = group.hold_action(state, together, STEP), group.feasible(action, state, together, STEP)
    kept, limited = group.act(action, state, together, STEP)
    unmet = group.unmet_kwh(state, kept, STEP)
    held, telemetry = before.copy(), group.telemetry(kept, together, STEP)
    group.hold(kept, held, STEP)
    shape = (*batch, group.size)
    assert kept.shape == (*shape, group.state_size)
    assert limited.shape == unmet.shape == shape
    assert telemetry.shape == (*shape, len(group.telemetry_labels))
    assert np.isfinite(telemetry).all()
    for k in np.ndindex(batch):
        alone = Setpoints(*(getattr(before, name)[k].copy() for name in FIELDS))
        held_alone = alone.copy()
        assert np.array_equal(present[k], group.hold_action(state[k], alone, STEP))
        assert np.array_equal(allowed[k], group.feasible(action[k], state[k], alone, STEP))
        kept_alone, limited_alone = group.act(action[k], state[k], alone, STEP)
        group.hold(kept_alone, held_alone, STEP)
        assert np.array_equal(kept[k], kept_alone)
        assert np.array_equal(limited[k], limited_alone)
        assert np.array_equal(unmet[k], group.unmet_kwh(state[k], kept_alone, STEP))
        assert np.array_equal(telemetry[k], group.telemetry(kept_alone, alone, STEP))
        for name in FIELDS:
            assert np.array_equal(getattr(together, name)[k], getattr(alone, name)), name
            assert np.array_equal(getattr(held, name)[k], getattr(held_alone, name)), name


def test_a_group_touches_only_its_own_set_points_and_no_argument(case, rng):
    group = case.make()
    state, changed = reached(group, rng, 20)
    action = some_action(group, rng, 20)
    before, asked, kept = changed.copy(), action.copy(), state.copy()
    group.feasible(action, state, changed, STEP)
    group.telemetry(state, changed, STEP)
    assert equal(changed, before)
    group.act(action, state, changed, STEP)
    assert np.array_equal(action, asked)
    assert np.array_equal(state, kept)
    power = getattr(group, "injections", [])
    own = {
        "kw": power,
        "kvar": power,
        "tap": getattr(group, "taps", []),
        "closed": getattr(group, "switches", []),
    }
    for name, index in own.items():
        others = np.setdiff1d(np.arange(getattr(before, name).shape[-1]), index)
        assert np.array_equal(getattr(changed, name)[..., others], getattr(before, name)[..., others]), name


def test_the_mask_allows_what_is_done_and_nothing_else(case, rng):
    """Level by level, all levels of an entry tried at once against one state; the other entries at rest."""
    group = case.make()
    refused = 0
    for _ in range(20):
        state, points = reached(group, rng, 40)
        levels = group.n_levels()
        assert levels.shape == (group.size, len(group.action_labels))
        for entry in range(levels.shape[1]):
            counts = np.where(levels[:, entry] > 0, levels[:, entry], 11)
            number = np.minimum(np.arange(counts.max())[:, None], counts - 1)  # (L, D)
            tried = np.repeat(group.hold_action(state, points, STEP)[None], len(number), 0)
            tried[..., entry] = (-1 + 2 * number / np.maximum(counts - 1, 1))[:, None]
            allowed = group.feasible(tried, state, points, STEP)[..., entry]
            assert allowed.shape == (len(number), 40, group.size)
            refused += (~allowed).sum()
            for level, may in zip(tried, allowed, strict=True):
                after = points.copy()
                kept, limited = group.act(level, state, after, STEP)
                wanted = case.asked(group, level, state, points, STEP)
                exact = np.isclose(case.done(group, kept, points, after), wanted, rtol=0, atol=1e-9).all(-1)
                assert np.array_equal(exact, may)
                assert np.array_equal(limited == 0, may)
    assert refused or isinstance(group, NEVER_REFUSE)


def test_the_neutral_action_leaves_things_alone(case, rng):
    """All available PV, no tap move, no switching, idle stores, all load served; kvar only by a curve."""
    group = case.make()
    changed = setpoints(rng)
    before = changed.copy()
    kept, _ = group.act(group.default_action(), group.initial(), changed, STEP)
    own = getattr(group, "injections", np.array([], int))
    positions = np.zeros(group.size, bool) if getattr(group, "absolute", None) is None else group.absolute
    if not positions.any():  # their neutral action is the position of the circuit's file
        assert np.array_equal(changed.tap, before.tap)
        assert np.array_equal(changed.closed, before.closed)
    assert np.array_equal(changed.kw[own], case.idle(group, before.kw[own]))
    if hasattr(group, "kva"):
        assert (changed.kvar[own] == 0).all()
    assert (group.unmet_kwh(group.initial(), kept, STEP) == 0).all()


def test_a_kind_must_say_how_it_acts():
    with pytest.raises(TypeError, match="Mine must define act"):
        type("Mine", (DeviceGroup,), {})(("a",), ("x",)).act(np.zeros((1, 0)), np.zeros((1, 0)), None, STEP)


def test_turns_are_kept_only_where_someone_waits():
    assert act_periods([1, 1]) is None
    assert act_periods([1, 4]).tolist() == [1, 4]
    assert DeviceSpec(kind="x").act_every == 1
