"""Islands that one generator feeds, overload and trips; on the circuit, with its switches."""

from dataclasses import replace

import numpy as np
import pytest
from generator_grid import FULL, OFF, RATED, Grid, at, built

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
    """The island behind sw3 draws 635 kW from a 330 kW unit in addition to 120 kW from the other."""
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
    """A follower gives 240 kW to an island of a few: the grid-forming unit would have to absorb the rest."""
    grid = Grid(scale=0.1)
    _, tripped = grid.step({"35": FULL, "48": FULL}, sw3=OFF)
    assert grid.kw("48") < -100 and tripped == {"48"}
