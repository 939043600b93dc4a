"""Generators: dispatch, fuel, and the contract of a group."""

import numpy as np
import pytest
from generator_grid import FULL, OFF, RATED, Grid, at, built
from pydantic import ValidationError

from dss_marl import read_feeder
from dss_marl.devices import device_kind

KWH = {"no_load_l_per_kwh": 0.0, "slope_l_per_kwh": 1.0}  # a litre per kWh


def test_power_runs_from_the_least_to_the_rating_and_minus_one_is_off():
    grid = Grid(kw_min=40.0)
    for asked, share in ((OFF, None), (-0.999999, 0.0), (0.0, 0.5), (FULL, 1.0)):
        grid.step({"64": asked})
        wanted = 0.0 if share is None else 40 + share * (545 - 40)
        assert grid.kw("64") == pytest.approx(wanted, abs=1e-3)
    assert grid.forming == set()


def test_reactive_power_stays_within_the_circle_and_the_power_factor():
    grid = Grid(power_factor_min=0.9)
    j = grid.units.injections[0]
    grid.step({"35": (FULL, 1.0)})
    assert grid.setpoints.kvar[j] == pytest.approx(240 * np.tan(np.arccos(0.9)))
    grid = Grid(kva=560.0)
    grid.step({"64": (FULL, -0.5)})
    j = grid.units.injections[grid.units.names.index("dg64")]
    assert grid.setpoints.kvar[j] == pytest.approx(-0.5 * np.sqrt(560**2 - 545**2))


def test_a_ramp_cuts_what_is_asked_and_stopping_takes_as_long():
    """400 kW/h are 100 kW in a quarter of an hour."""
    grid = Grid(ramp_kw_per_h=400.0, kw_min=50.0)
    levels = []
    for asked in (FULL, FULL, FULL, OFF, OFF, OFF, OFF):
        limited, _ = grid.step({"78": asked})
        levels.append(round(float(grid.kw("78")), 3))
        assert bool(limited) == (levels[-1] not in (0.0, 535.0)) and limited <= {"78"}
    assert levels == [100, 200, 300, 200, 100, 0, 0]


# --- fuel ----------------------------------------------------------------------------------------------------------


def test_a_tank_gives_what_the_island_took_and_then_the_unit_stops():
    """The island behind sw3 takes a third of 755 kW, 63 kWh a quarter of an hour: 150 kWh last for two of them."""
    grid = Grid(scale=1 / 3, **KWH, tank_l=150.0)
    d, left = grid.units.names.index("dg48"), [150.0]
    for trips in (set(), set(), {"48"}):
        _, tripped = grid.step({"48": 0.0}, sw3=OFF)
        assert tripped == trips
        left.append(float(grid.units.left_l(grid.state)[d]))
        assert left[-2] - left[-1] == pytest.approx(0 if trips else grid.kw("48") / 4)
    assert left[-1] == pytest.approx(150 - 2 * 63, abs=4)
    assert grid.units.telemetry(grid.state, grid.setpoints, at())[d, 4] == pytest.approx(left[-1] / 150)


def test_a_unit_that_follows_gives_no_more_than_its_fuel():
    """100 kWh are 330 kW for a quarter of an hour and 70 kW for the next."""
    grid = Grid(**KWH, tank_l=100.0)
    for kw, cut in ((330.0, False), (70.0, True), (0.0, True)):
        limited, _ = grid.step({"48": FULL})
        assert grid.kw("48") == pytest.approx(kw, abs=1e-3) and ("48" in limited) == cut


@pytest.mark.parametrize("least", [0.0, 50.0])
def test_a_unit_out_of_fuel_that_is_held_is_not_limited(least):
    """100 kWh at 330 kW: 82.5, 17.5 and nothing in a quarter of an hour each, also below its least power."""
    grid = Grid(**KWH, tank_l=100.0, kw_min=least)
    d = grid.units.names.index("dg48")
    asked = np.array([FULL, 0.0])
    for kw in (330.0, 70.0, 0.0, 0.0):
        limited, _ = grid.step({"48": tuple(asked)})
        assert grid.kw("48") == pytest.approx(kw, abs=1e-3) and not limited
        asked = grid.units.hold_action(grid.state, grid.setpoints, at(1))[d].astype(np.float32)
    limited, _ = grid.step({"48": FULL})
    assert limited == {"48"}


def test_a_unit_that_trips_has_given_nothing():
    grid = Grid(**KWH, tank_l=500.0)
    _, tripped = grid.step({"35": FULL, "48": FULL}, sw3=OFF)
    assert tripped == {"48"} and grid.units.left_l(grid.state).tolist() == [500] * 6


def test_a_unit_that_runs_by_itself_needs_no_agent():
    grid = Grid(scale=0.3, running=True)
    assert grid.state[:, 0].all()
    assert grid.units.hold_action(grid.state, grid.setpoints, at()) == pytest.approx(grid.units.default_action())
    grid.step({"35": OFF}, sw3=OFF)
    assert grid.forming == {"48"} and grid.volts("44").min() > 0.9
    assert grid.kw("64") == pytest.approx(545 / 2, abs=1e-3)
    grid.step({"48": OFF})
    assert grid.forming == {"35"}


# --- the contract of a group ---------------------------------------------------------------------------------------


def random_memory(group, rng):
    runs = rng.integers(0, 2, group.size)
    kw = np.where(runs, group.kw_min + rng.random(group.size) * (group.kw - group.kw_min), 0.0)
    wait = np.where(runs, 0.0, rng.choice([0.0, 0.4], group.size))
    left, none = np.minimum(group.tank_l, rng.uniform(0, 60, group.size)), np.zeros(group.size)
    return np.stack(
        [runs, kw, rng.uniform(-1, 1, group.size), wait, left, left, np.full(group.size, 0.25), none, none], axis=-1
    )


def random_closed(feeder, rng):
    setpoints = feeder.setpoints()
    for s, row in enumerate(feeder.switches):
        if row.kind == "switch":
            setpoints.closed[s] = row.closed and rng.random() < 0.6  # opened only, so no loop
    return setpoints


@pytest.mark.parametrize("tank", [{}, {**KWH, "tank_l": 60.0}])
def test_limited_means_not_legal_and_present_means_hold(rng, tank):
    group, _, feeder, _ = built(ramp_kw_per_h=400.0, kw_min=30.0, **tank)
    verdicts = set()
    for _ in range(40):
        state, setpoints = random_memory(group, rng), random_closed(feeder, rng)
        action = rng.choice([-1.0, -0.99, 0.0, 1.0, rng.uniform(-1, 1)], (group.size, 2))
        feasible = group.feasible(action, state, setpoints, at())
        acted = setpoints.copy()
        kept, limited = group.act(action, state, acted, at())
        assert np.array_equal(limited == 1, ~feasible.all(axis=-1))
        verdicts |= set(limited.tolist())
        held, again = acted.copy(), acted.copy()
        group.hold(kept, held, at(1))
        group.act(group.hold_action(kept, acted, at(1)).astype(np.float32), kept, again, at(1))
        assert again.kw == pytest.approx(held.kw, abs=1e-4)
        assert again.kvar == pytest.approx(held.kvar, abs=1e-2)
        assert np.array_equal(again.closed, held.closed)
    assert verdicts == {0, 1}


def test_a_batch_is_its_rows(rng):
    group, _, feeder, engine = built(kw_min=30.0)
    states = [random_closed(feeder, rng) for _ in range(3)]
    for setpoints in states:
        setpoints.kw[feeder.loads] *= 0.3
    state = np.stack([random_memory(group, rng) for _ in range(3)])
    action = rng.uniform(-1, 1, (3, group.size, 2))
    batch = type(states[0])(*(np.stack([getattr(s, name) for s in states]) for name in ("kw", "kvar", "tap", "closed")))
    kept, limited = group.act(action, state, batch, at())
    for k, setpoints in enumerate(states):
        one_kept, one_limited = group.act(action[k], state[k], setpoints, at())
        assert np.array_equal(kept[k], one_kept) and np.array_equal(limited[k], one_limited)
        assert np.array_equal(batch.kw[k], setpoints.kw) and np.array_equal(batch.closed[k], setpoints.closed)
    solved = [engine.solve(setpoints) for setpoints in states]
    stacked = solved[0].__class__(
        **{
            name: np.stack([getattr(s, name) for s in solved])
            for name in solved[0].__dataclass_fields__
            if name != "currents"
        },
        currents=lambda: None,
    )
    after, tripped = group.check(kept, batch, stacked)
    for k, setpoints in enumerate(states):
        one_after, one_tripped = group.check(kept[k], setpoints, solved[k])
        assert np.array_equal(after[k], one_after) and np.array_equal(tripped[k], one_tripped)
    assert group.telemetry(after, batch, at()).shape == (3, group.size, 4)


def test_generators_act_after_switches():
    assert device_kind("generator").dispatch_order > device_kind("switch").dispatch_order


def test_readings_tell_who_runs_who_feeds_an_island_and_who_waits():
    grid = Grid(restart_h=0.5)
    grid.step({"35": 0.0, "48": FULL}, sw3=OFF)
    coming = grid.setpoints.copy()
    grid.units.hold(grid.state, coming, at(1))
    telemetry = dict(zip(RATED, grid.units.telemetry(grid.state, coming, at(1)).tolist(), strict=True))
    assert telemetry["48"] == [0, 0, 0, 1]
    assert telemetry["35"] == [1, 1, pytest.approx(0.5), 0]


WRONG = {
    "kva": ({"kva": 100}, "is below kw"),
    "kw_min": ({"kw_min": 600}, "is above kw"),
    "restart": ({"restart_h": -1}, "restart_h"),
    "tank": ({"tank_l": -1}, "tank_l"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_is_explained(what):
    changes, words = WRONG[what]
    with pytest.raises(ValidationError, match=words):
        device_kind("generator").Spec.model_validate({"kind": "generator", "bus": "64", "kw": 500, **changes})


def test_a_tank_of_nothing_has_no_end_and_any_other_has():
    kind = device_kind("generator")
    specs = [
        kind.Spec(kind="generator", bus="64", name=f"dg{litres}", kw=100, tank_l=litres)
        for litres in (0.0, 0.25, 500.0)
    ]
    group = kind.build(specs, read_feeder("ieee123", injections=kind.added_units(specs)))
    assert group.tank_l.tolist() == [np.inf, 0.25, 500.0]
    assert kind.Spec(kind="generator", bus="64", kw=100).tank_l == 0.0


# --- fuel curve ----------------------------------------------------------------------------------------------------


def test_a_unit_at_no_load_burns_a_quarter_of_full_load():
    """330 kW: 0.08415 * 330 = 27.77 l/h at no load, 27.77 + 0.246 * 330 = 108.95 l/h at full load."""
    grid = Grid()
    d = grid.units.names.index("dg48")
    for asked, litres_per_h in ((-0.9999999, 27.77), (0.0, 68.36), (FULL, 108.95), (OFF, 0.0)):
        grid.step({"48": asked})
        assert grid.units.fuel_l(grid.state)[d] == pytest.approx(litres_per_h / 4, abs=0.01)


def test_a_forming_unit_below_its_least_power_burns_as_at_it():
    """A tenth of the island's 755 kW is 76 kW; at least 99 kW: (27.77 + 0.246 * 99) / 4 = 13.03 l in a quarter hour."""
    grid = Grid(scale=0.1, kw_min=99.0)
    grid.step({"48": FULL}, sw3=OFF)
    d = grid.units.names.index("dg48")
    assert grid.forming == {"48"} and 70 < grid.kw("48") < 80
    assert grid.units.fuel_l(grid.state)[d] == pytest.approx(13.03, abs=0.01)


def test_a_start_burns_its_own_fuel_once():
    grid = Grid(start_l=10.0)
    d, burned = grid.units.names.index("dg48"), []
    for asked in (FULL, FULL, OFF, FULL):
        grid.step({"48": asked})
        burned.append(round(float(grid.units.fuel_l(grid.state)[d]), 2))
    assert burned == [37.24, 27.24, 0.0, 37.24]


def test_a_unit_on_a_dead_bus_burns_nothing():
    grid = Grid(scale=1 / 3)
    faulted = np.isin(grid.feeder.node_bus, [grid.feeder.bus_index["48"]])
    grid.step({"48": FULL}, faulted, sw3=OFF)
    assert grid.volts("48").max() == 0 and grid.units.fuel_l(grid.state).sum() == 0


def test_no_load_fuel_empties_a_tank_and_leaves_less_for_output():
    """20 l: 80 l/h, of which 27.77 at no load; (80 - 27.77) / 0.246 = 212.3 kW, then nothing."""
    grid = Grid(tank_l=20.0)
    for kw in (212.3, 0.0):
        grid.step({"48": FULL})
        assert grid.kw("48") == pytest.approx(kw, abs=0.1)
    assert grid.units.left_l(grid.state)[grid.units.names.index("dg48")] == pytest.approx(0, abs=1e-9)
