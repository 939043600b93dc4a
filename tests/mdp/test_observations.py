"""Features: by hand, by zone, all zones together, many states at once; labels and ranges."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from common import SCENARIOS, task_of
from states import stacked, steps, with_voltages

from dss_marl import load_scenario
from dss_marl.envs.task import build_task
from dss_marl.mdp.observations import KNOWN, feature, named_feature
from dss_marl.mdp.observer import Observer

ANYWHERE = {name for name in KNOWN if not hasattr(KNOWN[name].function, "needs_market")}  # those: test_market.py
every_feature = pytest.mark.parametrize("name", sorted(ANYWHERE))
every_scenario = pytest.mark.parametrize("scenario", SCENARIOS)


def states(scenario):
    return [pair[1] for pair in steps(scenario)]


def lowest_and_count(zone, state):
    """A feature of one's own, unregistered."""
    v = state.solution.v_pu[zone.scored_nodes]
    return [v.min(), 0.01 * len(v)]


def as_many_as_taps(zone, state):
    """A feature of one's own whose length differs from zone to zone."""
    return 0.1 * state.setpoints.tap[zone.taps]


def never_finite(zone, state):
    """A feature that fails."""
    return [np.nan]


def at_times_not_finite(zone, state):
    """A feature that fails later."""
    return [np.nan if state.hour > 6 else 0.0]


def a_number(zone, state):
    """Not a vector."""
    return 1.0


def raises(zone, state):
    """A feature with a mistake in it."""
    return state.solution.voltage


@feature(["net power of the zone"], "MW", -3, 3)
def net_power(zone, state):
    """A registered feature of one's own."""
    return [state.setpoints.kw[np.concatenate([zone.loads, zone.units])].sum() / 1000]


def time_of_day(zone, state):
    """A feature of one's own that has the name of a known one."""
    return [0.123]


@cache
def observer(scenario, *names):
    return build_task(load_scenario(scenario).replace(observations=names)).observer


# --- every feature ---------------------------------------------------------------------------------------------------


@every_feature
@every_scenario
def test_one_call_for_all_zones_gives_what_each_gives(name, scenario):
    task, one = task_of(scenario), KNOWN[name]
    built = observer(scenario, name)
    for state in states(scenario):
        rows = built.observe(state)
        for z, zone in enumerate(task.zones):
            alone = np.clip(np.asarray(one.function(zone, state), float), one.low, one.high)
            assert rows[z, : len(alone)] == pytest.approx(alone, rel=1e-6, abs=1e-6)
            assert (rows[z, len(alone) :] == 0).all(), "what a zone lacks is 0"


@pytest.mark.parametrize("name", sorted(ANYWHERE - {"net_power"}))
@every_scenario
def test_many_states_at_once_give_what_each_gives(name, scenario):
    task, several = task_of(scenario), states(scenario)
    function, together = KNOWN[name].function, stacked(states(scenario))
    if name == "time_of_day":  # the hour is one for all states
        several = [replace(state, hour=together.hour) for state in several]
    for zone in (*task.zones, task.all_zones):
        expected = np.stack(
            [np.broadcast_to(function(zone, state), _shape(function, zone, state)) for state in several]
        )
        assert np.broadcast_to(function(zone, together), expected.shape) == pytest.approx(
            expected, rel=1e-12, abs=1e-12
        )


def _shape(function, zone, state):
    own = np.shape(function(zone, state))
    return own if not zone.index.ndim else (*zone.index.shape, own[-1])


@every_feature
@every_scenario
def test_labels_are_as_many_as_entries(name, scenario):
    task, built = task_of(scenario), observer(scenario, name)
    for zone in task.zones:
        labels = built.labels(zone, task.feeder)
        assert len(labels) == built.widths[0] == len(built.low) == len(built.high)
        own = len(np.atleast_1d(KNOWN[name].function(zone, states(scenario)[0])))
        told = [label for label in labels if label != "-"]
        assert all(label.endswith(f"[{KNOWN[name].unit}]") for label in told)
        rows = {"actions": zone.action_weight, "telemetry": zone.telemetry_weight}.get(KNOWN[name].per, np.ones(own))
        assert [label != "-" for label in labels] == [*(rows > 0), *[False] * (len(labels) - own)]


def test_a_label_keeps_the_dots_of_a_name():
    task = task_of("ieee13_volt_var")
    taps = tuple(replace(tap, name=f"transformer.reg.{k}") for k, tap in enumerate(task.feeder.taps))
    built, zone = observer("ieee13_volt_var", "tap_position"), next(zone for zone in task.zones if len(zone.taps))
    labels = built.labels(zone, replace(task.feeder, taps=taps))
    assert all(f" reg.{k} " in label for k, label in zip(zone.taps, labels, strict=False))


@every_scenario
def test_a_zone_with_nothing_of_a_kind_has_no_label_for_it(scenario):
    """Padding is padding also where a zone has none of the things."""
    task = task_of(scenario)
    for name in ("tap_position", "capacitor_closed", "switch_closed", "unit_voltage"):
        built = observer(scenario, name)
        for zone in task.zones:
            rows = {
                "tap_position": zone.taps,
                "capacitor_closed": zone.capacitors,
                "switch_closed": zone.switches,
                "unit_voltage": zone.units,
            }[name]
            assert [label != "-" for label in built.labels(zone, task.feeder)].count(True) == len(rows)


@every_scenario
def test_observations_stay_in_range_when_a_zone_is_dead(scenario):
    task = task_of(scenario)
    for zone in task.zones:
        dead = np.isin(np.arange(len(task.feeder.nodes)), zone.nodes)
        v = np.where(dead, 0.0, 1.0)
        rows = task.observer.observe(with_voltages(states(scenario)[0], v, ~dead))
        assert np.isfinite(rows).all()
        assert (rows >= task.observer.low).all()
        assert (rows <= task.observer.high).all()


@every_scenario
def test_observations_are_fresh_float32(scenario):
    task, state = task_of(scenario), states(scenario)[0]
    first = task.observer.observe(state)
    kept = first.copy()
    assert first.dtype == np.float32
    first[:] = 9
    assert np.array_equal(task.observer.observe(state), kept)


# --- by hand ---------------------------------------------------------------------------------------------------------


def seen(scenario, name, state, z=0):
    return observer(scenario, name).observe(state)[z]


@every_scenario
def test_voltages_by_hand(scenario):
    """One pu is 0, a hundredth is 0.2; a dead node counts as 1 pu."""
    task, state = task_of(scenario), states(scenario)[0]
    zone = task.zones[-1]
    v = np.ones(len(task.feeder.nodes))
    v[zone.scored_nodes[:3]] = 0.95, 1.04, 0.0
    alive = np.ones(len(v), bool)
    alive[zone.scored_nodes[2]] = False
    row = seen(scenario, "zone_voltage", with_voltages(state, v, alive), -1)
    assert row == pytest.approx([-1.0, 20 * -0.01 / len(zone.scored_nodes), 0.8], abs=1e-6)
    outside = with_voltages(state, np.where(np.isin(np.arange(len(v)), zone.nodes), 1.0, 0.9))
    assert seen(scenario, "zone_voltage", outside, -1) == pytest.approx([0, 0, 0], abs=1e-6), "only one's own zone"
    both = np.ones(len(v))
    both[task.zones[0].scored_nodes[0]], both[task.zones[-1].scored_nodes[-1]] = 0.98, 1.03
    for z in range(len(task.zones)):
        assert seen(scenario, "feeder_voltage", with_voltages(state, both), z) == pytest.approx([-0.4, 0.6], abs=1e-6)


@every_scenario
def test_units_by_hand(scenario):
    task, state = task_of(scenario), states(scenario)[0]
    for z, zone in enumerate(task.zones):
        for u, j in enumerate(zone.units):
            unit = task.feeder.injections[j]
            v = np.ones(len(task.feeder.nodes))
            v[list(unit.nodes)] = 1.02 + 0.01 * np.arange(len(unit.nodes))
            mean = 0.02 + 0.005 * (len(unit.nodes) - 1)
            assert seen(scenario, "unit_voltage", with_voltages(state, v), z)[u] == pytest.approx(20 * mean, abs=1e-5)
            points, forecast = state.setpoints.copy(), state.forecast.copy()
            points.kvar[j], forecast[0, j] = -0.5 * unit.kw, 0.7 * unit.kw
            moved = state.replace(setpoints=points, forecast=forecast)
            assert seen(scenario, "unit_kvar", moved, z)[u] == pytest.approx(-0.5)
            if unit.kind == "inverter":
                panel = zone.pv_units.tolist().index(j)
                assert seen(scenario, "pv_available", moved, z)[panel] == pytest.approx(0.7)


@every_scenario
def test_load_clock_taps_states_and_identity_by_hand(scenario):
    task, state = task_of(scenario), states(scenario)[0]
    count = len(task.zones)
    for z, zone in enumerate(task.zones):
        assert seen(scenario, "load", state, z) == pytest.approx([-state.forecast[0, zone.loads].sum() / 100], rel=1e-5)
        points = state.setpoints.copy()
        points.tap = np.arange(len(points.tap)) - 2
        points.closed = np.arange(len(points.closed)) % 2 == 0
        moved = state.replace(setpoints=points)
        assert seen(scenario, "tap_position", moved, z)[: len(zone.taps)] == pytest.approx((zone.taps - 2) / 8)
        v = np.ones(len(task.feeder.nodes))
        behind = [task.feeder.node_index[f"{tap.bus2}.{tap.phases[0]}"] for tap in task.feeder.taps]
        v[behind] = 1.01 + 0.002 * np.arange(len(behind))
        regulated = seen(scenario, "tap_voltage", with_voltages(state, v), z)
        assert regulated[: len(zone.taps)] == pytest.approx(0.2 + 0.04 * zone.taps, abs=1e-5)
        assert seen(scenario, "capacitor_closed", moved, z)[: len(zone.capacitors)] == pytest.approx(
            1.0 - zone.capacitors % 2
        )
        assert seen(scenario, "switch_closed", moved, z)[: len(zone.switches)] == pytest.approx(1.0 - zone.switches % 2)
        assert seen(scenario, "identity", state, z).tolist() == np.eye(count)[z].tolist()
        for hour, sine, cosine in ((0.0, 0, 1), (6.0, 1, 0), (12.0, 0, -1), (18.0, -1, 0)):
            assert seen(scenario, "time_of_day", replace(state, hour=hour), z) == pytest.approx(
                [sine, cosine], abs=1e-6
            )


@every_scenario
def test_forecasts_powers_and_last_actions_by_hand(scenario, rng):
    task = task_of(scenario)
    ahead = rng.uniform(-100, 100, (4, len(task.feeder.injections)))
    price = rng.uniform(0, 1, 4)
    action = rng.uniform(-1, 1, task.agents.action_layout.size)
    served = rng.uniform(-50, 50, len(task.feeder.injections))
    state = states(scenario)[0]
    loading = rng.uniform(0, 2, len(task.feeder.branches))
    alive = rng.random(len(task.feeder.nodes)) < 0.7
    solution = replace(state.solution, served_kw=served, currents=lambda: loading, energised=alive)
    state = state.replace(forecast=ahead, price=price, action=action, solution=solution)
    for z, zone in enumerate(task.zones):
        load = Observer.build(["load_forecast"], task.zones, task.all_zones, state).observe(state)[z]
        assert load == pytest.approx(np.clip(-ahead[:, zone.loads].sum(-1) / 100, 0, 50), rel=1e-5)
        sun = Observer.build(["pv_forecast"], task.zones, task.all_zones, state).observe(state)[z]
        rated = zone.pv_unit_kw.sum() if len(zone.pv_units) else 1.0
        assert sun == pytest.approx(np.clip(ahead[:, zone.pv_units].sum(-1) / rated, 0, 1.2), rel=1e-5)
        prices = Observer.build(["price_forecast"], task.zones, task.all_zones, state).observe(state)[z]
        assert prices == pytest.approx(10 * price, rel=1e-5)
        both = np.concatenate([zone.loads, zone.units])
        assert seen(scenario, "zone_power", state, z) == pytest.approx([served[both].sum() / 100], rel=1e-4)
        power = seen(scenario, "unit_power", state, z)[: len(zone.units)]
        kw = state.setpoints.kw[zone.units] / zone.unit_kw
        assert power == pytest.approx(kw, abs=1e-5)
        last = seen(scenario, "last_action", state, z)
        used = task.agents.action_layout.used[z]
        assert last[used] == pytest.approx(action[task.agents.action_layout.place[z][used]], abs=1e-6)
        assert (last[~used] == 0).all()
        assert seen(scenario, "has_action", state, z).tolist() == used.astype(float).tolist()
        assert seen(scenario, "device_kind", state, z).sum() == len(
            {k for k, g in enumerate(task.device_groups) for bus in g.buses if bus in zone.buses}
        )
        border = seen(scenario, "border_loading", state, z)[: len(zone.borders)]
        assert border == pytest.approx(loading[zone.borders], rel=1e-5)
        crossing = [b for b in task.feeder.branches if (b.bus1 in zone.buses) != (b.bus2 in zone.buses)]
        assert len(zone.borders) == len(crossing)
        share = np.mean(alive[zone.scored_nodes])
        assert seen(scenario, "energised_share", state, z) == pytest.approx([share], abs=1e-5)


# --- one's own -------------------------------------------------------------------------------------------------------


@every_scenario
def test_features_of_ones_own(scenario):
    """Three lines, named module:function; registered or not, also of different length in each zone."""
    task, state = task_of(scenario), states(scenario)[0]
    names = ["time_of_day", "test_observations:lowest_and_count", "net_power", "test_observations:as_many_as_taps"]
    built = observer(scenario, *names)
    most = max(len(zone.taps) for zone in task.zones)
    assert built.widths == (2, 2, 1, most)
    rows = built.observe(state)
    for z, zone in enumerate(task.zones):
        assert rows[z, 2:4] == pytest.approx(lowest_and_count(zone, state), rel=1e-6)
        assert rows[z, 4] == pytest.approx(net_power(zone, state)[0], rel=1e-6)
        expected = np.zeros(most)
        expected[: len(zone.taps)] = as_many_as_taps(zone, state)
        assert rows[z, 5:] == pytest.approx(expected, rel=1e-6)
        labels = built.labels(zone, task.feeder)
        assert labels[2:5] == [
            "lowest_and_count 0 [as given]",
            "lowest_and_count 1 [as given]",
            "net power of the zone [MW]",
        ]
    assert (built.low[4], built.high[4]) == (-3, 3)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("voltages", "unknown observation 'voltages'; did you mean .* known: .*voltage.*'package.module:name'"),
        ("test_observations:nothing", "observation 'test_observations:nothing' cannot be imported"),
        (
            "test_observations:never_finite",
            "'test_observations:never_finite' must return a finite vector for each",
        ),
        ("test_observations:a_number", r"'test_observations:a_number' must return a finite vector .*\(\)"),
        ("test_observations:raises", "'test_observations:raises' fails on the first state.*voltage"),
    ],
)
def test_a_feature_that_cannot_work_is_explained(name, message):
    with pytest.raises(ValueError, match=message):
        observer(SCENARIOS[0], name)


def test_a_feature_that_fails_later_is_named():
    built = observer(SCENARIOS[0], "test_observations:at_times_not_finite")
    late = replace(states(SCENARIOS[0])[0], hour=7.0)
    with pytest.raises(ValueError, match=r"at_times_not_finite.*finite"):
        built.observe(late)


def test_a_feature_of_ones_own_may_have_a_known_name():
    built = observer(SCENARIOS[0], "test_observations:time_of_day")
    assert built.observe(states(SCENARIOS[0])[0])[:, 0] == pytest.approx(0.123)


def test_known_features_are_found_by_name():
    for name in KNOWN:
        assert named_feature(name) is KNOWN[name]
    assert isinstance(observer(SCENARIOS[0], "zone_voltage"), Observer)
