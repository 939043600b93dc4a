"""Generators: dispatch, islands that one of them feeds, overload and trips; on the circuit, with its switches."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from pydantic import ValidationError

from dss_marl import OpenDSSEngine, read_feeder
from dss_marl.devices import device_kind
from dss_marl.grid.state import Interval

RATED = {"35": 240, "48": 330, "64": 545, "78": 535, "95": 350, "108": 275}  # kW, the sizes of our study
OFF, FULL = -1.0, 1.0


@cache
def built(**changes):
    """Forming units at the six buses, the switches of ieee123, and an engine."""
    kinds = device_kind("generator"), device_kind("switch")
    units = [
        kinds[0].Spec.model_validate(
            {"kind": "generator", "name": f"dg{bus}", "bus": bus, "kw": kw, "forming": True, **changes}
        )
        for bus, kw in RATED.items()
    ]
    lines = [kinds[1].Spec(kind="switch")]
    feeder = read_feeder("ieee123", ["batchedit load..* vminpu=0.5 vmaxpu=1.3"], kinds[0].added_units(units))
    return kinds[0].build(units, feeder), kinds[1].build(lines, feeder), feeder, OpenDSSEngine(feeder, 1e-8)


def at(step=0, faulted=None):
    return Interval(step, 0.0, 0.25, faulted)


class Grid:
    """Switches and generators stepped as the environment does: switches first, one solve, then the check."""

    def __init__(self, scale=1.0, **changes):
        self.units, self.switches, self.feeder, self.engine = built(**changes)
        self.setpoints, self.state = self.feeder.setpoints(), self.units.initial()
        self.setpoints.kw[self.feeder.loads] *= scale
        self.setpoints.kvar[self.feeder.loads] *= scale
        self.step_number = 0

    def step(self, run=(), faulted=None, **lines):
        """Run units at an action (others off), move lines; what was limited in acting, and what tripped."""
        interval = at(self.step_number, faulted)
        self.step_number += 1
        asked = np.zeros((self.switches.size, 1))
        for name, value in lines.items():
            asked[self.switches.names.index(name)] = value
        _, refused = self.switches.act(asked, self.switches.initial(), self.setpoints, interval)
        action = self.units.default_action()
        for bus, value in dict(run).items():
            action[self.units.names.index(f"dg{bus}")] = value if isinstance(value, tuple) else (value, 0.0)
        self.state, limited = self.units.act(action, self.state, self.setpoints, interval)
        self.solution = self.engine.solve(self.setpoints)
        self.state, tripped = self.units.check(self.state, self.setpoints, self.solution)
        assert not refused.any()
        return self.named(limited), self.named(tripped)

    def named(self, flags):
        return {name.removeprefix("dg") for name, flag in zip(self.units.names, flags, strict=True) if flag}

    @property
    def forming(self):
        return self.named(self.setpoints.closed[self.units.grid_forming_units])

    def kw(self, bus):
        return self.solution.served_kw[self.units.injections[self.units.names.index(f"dg{bus}")]]

    def volts(self, bus):
        return self.solution.v_pu[[self.feeder.node_index[f"{bus}.{p}"] for p in (1, 2, 3)]]


# --- dispatch --------------------------------------------------------------------------------------------------------


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


# --- islands -----------------------------------------------------------------------------------------------------


def test_the_largest_running_unit_feeds_an_island_and_the_others_follow():
    """Behind sw3 sit 35 (240 kW) and 48 (330 kW), on 755 kW of load, here a third of it."""
    grid = Grid(scale=1 / 3)
    grid.step({"35": 0.0, "48": 0.0}, sw3=OFF)
    assert grid.forming == {"48"}
    assert grid.volts("48") == pytest.approx(1.0, abs=1e-3)
    assert grid.kw("35") == pytest.approx(120, abs=1e-3)
    assert grid.kw("48") == pytest.approx(755 / 3 - 120, rel=0.05)
    island = np.concatenate([grid.volts(bus) for bus in ("35", "40", "44", "47", "49", "51", "151")])
    assert island.min() > 0.98 and island.max() < 1.02
    grid.step({"35": FULL})  # the larger one stopped
    assert grid.forming == {"35"} and grid.kw("48") == 0


def test_power_balances_over_the_grid_and_its_islands():
    grid = Grid(scale=0.4)
    _, tripped = grid.step({"48": FULL, "64": FULL, "78": FULL, "95": -0.5}, sw2=OFF, sw3=OFF, sw4=OFF)
    assert grid.forming == {"48", "64", "78"} and not tripped
    given = grid.solution.source_kw + grid.solution.grid_forming_kw.sum() + grid.kw("95")
    loads = -grid.solution.served_kw[grid.feeder.loads].sum()
    assert given == pytest.approx(loads + grid.solution.loss_kw, abs=0.01)
    assert 0 < grid.solution.loss_kw < 0.02 * loads
    assert loads == pytest.approx(0.4 * 3490, rel=0.03)


def test_without_a_running_former_an_island_is_dead_and_its_units_give_nothing():
    grid = Grid()
    grid.step({}, sw3=OFF)
    assert grid.volts("48").tolist() == [0, 0, 0] and grid.kw("48") == 0
    group, _, feeder, engine = built(forming=False)
    assert feeder.grid_forming_units.size == 0
    setpoints = feeder.setpoints()
    setpoints.closed[[row.name for row in feeder.switches].index("line.sw3")] = False
    group.act(np.ones((group.size, 2)), group.initial(), setpoints, at())
    assert setpoints.kw[group.injections].tolist() == [0, 0, 545, 535, 350, 275]
    assert setpoints.kvar[group.injections[:2]].tolist() == [0, 0]
    assert engine.solve(setpoints).energised.any()


def test_no_unit_feeds_a_fault():
    grid = Grid(scale=0.3)
    faulted = np.isin(grid.feeder.node_bus, [grid.feeder.bus_index["44"]])
    grid.step({"48": FULL, "64": FULL}, faulted, sw3=OFF, sw2=OFF, sw4=OFF)
    assert grid.forming == {"64"} and grid.volts("48").max() == 0
    grid.step({"48": FULL, "64": FULL})
    assert grid.forming == {"48", "64"}


def test_joining_the_grid_makes_a_follower_in_the_same_step_at_what_it_gave():
    grid = Grid(scale=0.3)
    grid.step({"48": FULL}, sw3=OFF)
    given = float(grid.kw("48"))
    assert grid.forming == {"48"}
    held = grid.units.hold_action(grid.state, grid.setpoints, at(0))[grid.units.names.index("dg48")]
    grid.step({"48": tuple(held)}, sw3=FULL)
    assert grid.forming == set()
    assert grid.kw("48") == pytest.approx(given, abs=1e-3)
    assert grid.solution.source_kw > 400 and grid.solution.energised.sum() == len(grid.feeder.nodes) - 12


def test_two_islands_that_are_joined_have_one_former():
    grid = Grid(scale=0.2)
    grid.step({"48": FULL, "78": 0.0}, sw3=OFF, sw4=OFF)
    assert grid.forming == {"48", "78"}
    grid.step({"48": 0.0, "78": 0.0}, sw7=FULL)  # 151-300
    assert grid.forming == {"78"}
    assert grid.kw("48") == pytest.approx(165, abs=1e-3)
    assert grid.volts("48").min() > 0.9


def test_there_are_never_two_formers_in_an_island_nor_one_on_the_grid(rng):
    """Random switching and dispatch; the engine would refuse, and every live part has one supply."""
    grid = Grid(scale=0.2)
    seen = set()
    for _ in range(40):
        moves = dict(zip(grid.switches.names, rng.uniform(-1, 1, grid.switches.size), strict=True))
        asked = np.array([[moves[name]] for name in grid.switches.names])
        grid.switches.act(asked, grid.switches.initial(), grid.setpoints, at(grid.step_number))
        grid.step({bus: rng.choice([OFF, 0.0, FULL]) for bus in RATED})
        assert np.array_equal(grid.solution.energised, grid.solution.v_pu > 0.5)
        seen.add(len(grid.forming))
    assert {0, 1, 2} <= seen


# --- overload ------------------------------------------------------------------------------------------------------


def test_an_overload_that_opendss_solves_without_a_word_trips_the_unit():
    """The island behind sw3 wants 635 kW of a 330 kW unit beside 120 kW of the other."""
    grid = Grid(restart_h=0.5)
    _, tripped = grid.step({"35": 0.0, "48": FULL}, sw3=OFF)
    assert grid.kw("48") == pytest.approx(635, abs=15) and tripped == {"48"}
    limited, tripped = grid.step({"48": FULL})
    assert limited == {"48"} and grid.forming == set() and grid.volts("48").max() == 0
    limited, _ = grid.step({"48": FULL})
    assert limited == {"48"}
    limited, _ = grid.step({"48": FULL})  # half an hour is over
    assert not limited and grid.forming == {"48"}


def test_a_trip_hands_the_island_to_the_next_unit_or_to_the_dark():
    grid = Grid()
    _, tripped = grid.step({"35": FULL, "48": FULL}, sw3=OFF)
    assert tripped == {"48"}
    coming = grid.setpoints.copy()
    grid.units.hold(grid.state, coming, at(1))
    assert grid.named(coming.closed[grid.units.grid_forming_units]) == {"35"}


@pytest.mark.parametrize(("scale", "trips"), [(1.0, False), (1.1, True)])
def test_one_phase_may_overload_before_the_whole_does(scale, trips):
    """What is behind sw3 on phase a alone, 177 or 194 kVA, is within kW and kva; the phase bears 183."""
    grid = Grid(scale)
    for j in grid.feeder.loads:
        row = grid.feeder.injections[j]
        if row.bus in map(str, range(35, 52)) and row.phases != (1,):
            grid.setpoints.kw[j] = grid.setpoints.kvar[j] = 0.0
    _, tripped = grid.step({"48": FULL}, sw3=OFF)
    d = grid.units.names.index("dg48")
    g = grid.units.places[d]
    phase = np.hypot(grid.solution.grid_forming_kw[g], grid.solution.grid_forming_kvar[g])
    assert grid.kw("48") < 330 and phase.sum() < grid.units.kva[d]
    assert phase[0] == pytest.approx(177 * scale, rel=0.01) and phase[1:].max() < 1
    assert tripped == ({"48"} if trips else set())


@pytest.mark.parametrize(
    ("kw", "kvar", "trips"),
    [(330, 247, False), (331, 0, True), (329, 260, True), (0, 0, False), (-1, 0, True), (200, 360, False)],
)
def test_the_limits_are_kw_kva_and_zero(kw, kvar, trips):
    """A unit of 330 kW and 412.5 kVA, evenly loaded."""
    group, _, feeder, engine = built()
    setpoints, state = feeder.setpoints(), group.initial()
    d = group.names.index("dg48")
    setpoints.closed[group.grid_forming_units[d]] = True
    state[d, :2] = 1, 100
    power = np.zeros((2, len(feeder.grid_forming_units), 3))
    power[:, group.places[d]] = np.array([[kw], [kvar]]) / 3
    solution = replace(engine.solve(feeder.setpoints()), grid_forming_kw=power[0], grid_forming_kvar=power[1])
    after, tripped = group.check(state, setpoints, solution)
    assert bool(tripped[d]) == trips and tripped.sum() == trips
    assert after[d, :4].tolist() == ([0, 0, 0, 0.5] if trips else [1, kw, 0, 0])


def test_a_unit_that_would_have_to_take_power_trips():
    """A follower gives 240 kW to an island of a few: the former would have to absorb the rest."""
    grid = Grid(scale=0.1)
    _, tripped = grid.step({"35": FULL, "48": FULL}, sw3=OFF)
    assert grid.kw("48") < -100 and tripped == {"48"}


# --- fuel ----------------------------------------------------------------------------------------------------------


def test_a_tank_gives_what_the_island_took_and_then_the_unit_stops():
    """The island behind sw3 takes a third of 755 kW, 63 kWh a quarter of an hour: 150 kWh last for two of them."""
    grid = Grid(scale=1 / 3, tank_kwh=150.0)
    d, left = grid.units.names.index("dg48"), [150.0]
    for trips in (set(), set(), {"48"}):
        _, tripped = grid.step({"48": 0.0}, sw3=OFF)
        assert tripped == trips
        left.append(float(grid.units.stored_kwh(grid.state)[d]))
        assert left[-2] - left[-1] == pytest.approx(0 if trips else grid.kw("48") / 4)
    assert left[-1] == pytest.approx(150 - 2 * 63, abs=4)
    assert grid.units.telemetry(grid.state, grid.setpoints, at())[d, 4] == pytest.approx(left[-1] / 150)


def test_a_unit_that_follows_gives_no_more_than_its_fuel():
    """100 kWh are 330 kW for a quarter of an hour and 70 kW for the next."""
    grid = Grid(tank_kwh=100.0)
    for kw, cut in ((330.0, False), (70.0, True), (0.0, True)):
        limited, _ = grid.step({"48": FULL})
        assert grid.kw("48") == pytest.approx(kw, abs=1e-3) and ("48" in limited) == cut


def test_a_unit_that_trips_has_given_nothing():
    grid = Grid(tank_kwh=500.0)
    _, tripped = grid.step({"35": FULL, "48": FULL}, sw3=OFF)
    assert tripped == {"48"} and grid.units.stored_kwh(grid.state).tolist() == [500] * 6


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
    left = np.minimum(group.tank_kwh, rng.uniform(0, 60, group.size))
    return np.stack([runs, kw, rng.uniform(-1, 1, group.size), wait, left, left, np.full(group.size, 0.25)], axis=-1)


def random_closed(feeder, rng):
    setpoints = feeder.setpoints()
    for s, row in enumerate(feeder.switches):
        if row.kind == "switch":
            setpoints.closed[s] = row.closed and rng.random() < 0.6  # opened only, so no loop
    return setpoints


@pytest.mark.parametrize("tank", [{}, {"tank_kwh": 60.0}])
def test_limited_means_not_legal_and_present_means_hold(rng, tank):
    group, _, feeder, _ = built(ramp_kw_per_h=400.0, kw_min=30.0, **tank)
    verdicts = set()
    for _ in range(40):
        state, setpoints = random_memory(group, rng), random_closed(feeder, rng)
        action = rng.choice([-1.0, -0.99, 0.0, 1.0, rng.uniform(-1, 1)], (group.size, 2))
        legal = group.feasible(action, state, setpoints, at())
        acted = setpoints.copy()
        kept, limited = group.act(action, state, acted, at())
        assert np.array_equal(limited == 1, ~legal.all(axis=-1))
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
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_is_explained(what):
    changes, words = WRONG[what]
    with pytest.raises(ValidationError, match=words):
        device_kind("generator").Spec.model_validate({"kind": "generator", "bus": "64", "kw": 500, **changes})
