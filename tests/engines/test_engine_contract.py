"""What every engine must do. To add an engine, add it to ENGINES."""

import copy
import hashlib
import multiprocessing
import os
import pickle
import textwrap
from dataclasses import fields

import cloudpickle
import numpy as np
import pytest
import raw
from common import feeder_with_units, in_new_process, random_setpoints

from dss_marl import OpenDSSEngine, PowerFlowError, read_feeder
from dss_marl.engines.opendss import context as contexts
from dss_marl.grid.feeder import AddedSwitch, AddedUnit

ENGINES = {"opendss": OpenDSSEngine}  # name: feeder, tolerance -> engine
FEEDERS = ["ieee13", "ieee34", "ieee37", "ieee123"]
SWITCHED = ["ieee13", "case33", "ieee123"]
TIGHT = 1e-9

pytestmark = pytest.mark.parametrize("kind", ENGINES)


@pytest.fixture
def build(kind):
    """Makes engines of the kind, and closes them."""
    made = []

    def make(feeder, tolerance=TIGHT):
        made.append(ENGINES[kind](feeder, tolerance=tolerance))
        return made[-1]

    yield make
    for engine in made:
        engine.close()


def arrays(solution):
    """Every number in a solution, as one vector."""
    named = [getattr(solution, f.name) for f in fields(solution) if f.name != "currents"]
    return np.concatenate([np.ravel(x).astype(float) for x in (*named, solution.loading)])


def switch_indices(feeder):
    return [s for s, row in enumerate(feeder.switches) if row.kind == "switch"]


def varied(feeder, seed, count=12):
    """Set points whose powers, taps, capacitors and switches all change from one to the next."""
    rng = np.random.default_rng(seed)
    result = []
    for k in range(count):
        setpoints = random_setpoints(feeder, rng)
        switches = switch_indices(feeder)
        if switches and k % 3 == 2:
            flip = switches[rng.integers(len(switches))]
            setpoints.closed[flip] = ~setpoints.closed[flip]
        result.append(setpoints)
    return result


def overload(feeder, factor=50.0):
    setpoints = feeder.setpoints()
    setpoints.kw, setpoints.kvar = setpoints.kw * factor, setpoints.kvar * factor
    return setpoints


def broken(feeder):
    setpoints = feeder.setpoints()
    setpoints.kw = setpoints.kw.copy()
    setpoints.kw[0] = np.nan
    return setpoints


# --- the physics, against plain OpenDSS ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FEEDERS)
def test_voltages_powers_and_losses_are_those_of_plain_opendss(build, name):
    feeder = feeder_with_units(name)
    engine = build(feeder)
    rng = np.random.default_rng(3)
    for _ in range(4):
        setpoints = random_setpoints(feeder, rng)
        solution, truth = engine.solve(setpoints), raw.solve(feeder, setpoints)
        assert np.abs(solution.v_pu - truth.v_pu).max() < 1e-7
        assert np.abs(solution.served_kw - truth.served_kw).max() < 1e-3
        assert solution.loss_kw == pytest.approx(truth.loss_kw, abs=2e-3)
        assert solution.source_kw == pytest.approx(truth.source_kw, abs=2e-3)
        assert solution.source_kvar == pytest.approx(truth.source_kvar, abs=2e-3)


@pytest.mark.parametrize("name", FEEDERS)
def test_power_is_balanced(build, name):
    """What the source and the units give is what the loads take and the branches lose."""
    feeder = feeder_with_units(name)
    engine = build(feeder)
    rng = np.random.default_rng(4)
    for _ in range(4):
        setpoints = random_setpoints(feeder, rng)
        solution = engine.solve(setpoints)
        assert solution.source_kw + solution.served_kw.sum() - solution.loss_kw == pytest.approx(0, abs=1e-6)
        assert solution.source_kw + solution.served_kw.sum() == pytest.approx(
            raw.solve(feeder, setpoints).loss_kw, abs=2e-3
        )
        assert solution.loss_kw > 0


def test_units_deliver_what_they_are_asked(build):
    """Also where a load would have turned into an impedance."""
    feeder = feeder_with_units("ieee34")
    setpoints = feeder.setpoints()
    setpoints.tap[:] = -16  # voltages down to about 0.7 pu
    units = np.setdiff1d(np.arange(len(feeder.injections)), feeder.loads)
    setpoints.kw[units] = [20.0, 30.0, 10.0, 5.0]
    solution = build(feeder).solve(setpoints)
    assert solution.v_pu.min() < 0.8
    assert solution.served_kw[units] == pytest.approx(setpoints.kw[units], abs=1e-3)


def test_a_three_phase_unit_works_on_an_ungrounded_feeder(build):
    """ieee37 is a delta: what a unit gives may not return through ground."""
    feeder = read_feeder("ieee37", injections=[AddedUnit("pv", "741", 150.0)])
    setpoints = feeder.setpoints()
    setpoints.kw[-1], setpoints.kvar[-1] = 100.0, 40.0
    engine = build(feeder)
    solution = engine.solve(setpoints)
    assert solution.served_kw[-1] == pytest.approx(100, abs=1e-3)
    assert solution.source_kw < engine.solve(feeder.setpoints()).source_kw - 90


def test_injecting_power_raises_the_local_voltage(build):
    """Reactive as well as active, and the other way round."""
    feeder = feeder_with_units("ieee34")
    engine, setpoints = build(feeder), feeder.setpoints()
    unit = next(j for j, row in enumerate(feeder.injections) if row.bus == "848" and row.kind != "load")
    nodes = list(feeder.injections[unit].nodes)
    at_rest = engine.solve(setpoints).v_pu[nodes]
    for column in ("kw", "kvar"):
        for amount in (60.0, -60.0):
            moved = setpoints.copy()
            getattr(moved, column)[unit] = amount
            change = engine.solve(moved).v_pu[nodes] - at_rest
            assert (np.sign(change) == np.sign(amount)).all()


@pytest.mark.parametrize("name", ["ieee13", "ieee34", "ieee123"])
def test_a_tap_up_raises_the_bus_it_regulates(build, name):
    feeder = read_feeder(name)
    engine, setpoints = build(feeder), feeder.setpoints()
    before = engine.solve(setpoints).v_pu
    for r, tap in enumerate(feeder.taps):
        raised = setpoints.copy()
        raised.tap[r] += 1
        after = engine.solve(raised).v_pu
        regulated = [feeder.node_index[f"{tap.bus2}.{phase}"] for phase in tap.phases]
        rise = after[regulated] - before[regulated]
        assert (rise > 0.6 * tap.step_pu).all(), tap.name  # less than a step: more is drawn, so more is lost on the way
        assert (rise < 1.2 * tap.step_pu).all(), tap.name


def test_closing_a_capacitor_raises_its_bus_and_relieves_the_source(build):
    feeder = read_feeder("ieee34")
    engine, with_banks = build(feeder), feeder.setpoints()
    assert with_banks.closed.all()
    without = with_banks.copy()
    without.closed[:] = False
    on, off = engine.solve(with_banks), engine.solve(without)
    for bank in feeder.switches:
        nodes = [feeder.node_index[f"{bank.bus}.{phase}"] for phase in bank.phases]
        assert (on.v_pu[nodes] > off.v_pu[nodes]).all()
    assert on.source_kvar < off.source_kvar - 300


@pytest.mark.parametrize("name", FEEDERS)
def test_loading_is_the_current_of_every_branch_over_its_rating(build, name):
    feeder = feeder_with_units(name)
    engine = build(feeder)
    rng = np.random.default_rng(5)
    ratings = np.array([branch.normal_amps for branch in feeder.branches])
    assert (ratings > 0).all()
    for _ in range(3):
        setpoints = random_setpoints(feeder, rng)
        setpoints.tap[:] = rng.choice([-7, -3, 4, 11], len(setpoints.tap))
        assert engine.solve(setpoints).loading * ratings == pytest.approx(
            raw.solve(feeder, setpoints).amps, rel=1e-5, abs=2e-3
        )


def test_loading_belongs_to_its_own_solution(build):
    """It is worked out when asked for, which may be after later solves and after the engine is closed."""
    feeder = feeder_with_units("ieee13")
    engine = build(feeder)
    first, second = varied(feeder, 6, 2)
    late = engine.solve(first)
    engine.solve(second)
    engine.close()
    prompt = build(feeder).solve(first).loading
    assert late.loading == pytest.approx(prompt, rel=1e-9)


def test_a_solution_does_not_change_afterwards(build):
    feeder = feeder_with_units("ieee123")
    engine = build(feeder)
    setpoints = varied(feeder, 8)
    first = engine.solve(setpoints[2])
    kept = arrays(first).copy()
    for other in setpoints:
        engine.solve(other)
    assert np.array_equal(arrays(first), kept)


def test_set_points_are_only_read(build):
    feeder = feeder_with_units("ieee123")
    engine = build(feeder)
    for setpoints in varied(feeder, 9, 3):
        kept = setpoints.copy()
        solution = engine.solve(setpoints)
        engine.solve(setpoints, controls=True)
        for name in ("kw", "kvar", "tap", "closed"):
            assert np.array_equal(getattr(setpoints, name), getattr(kept, name)), name
        assert np.array_equal(solution.tap, kept.tap)
        assert np.array_equal(solution.closed, kept.closed)


def test_every_array_has_the_feeders_shape(build):
    feeder = feeder_with_units("ieee123")
    solution = build(feeder).solve(feeder.setpoints())
    j, r, s = len(feeder.injections), len(feeder.taps), len(feeder.switches)
    assert solution.v_pu.shape == solution.energised.shape == (len(feeder.nodes),)
    assert solution.loading.shape == (len(feeder.branches),)
    assert (solution.served_kw.shape, solution.tap.shape, solution.closed.shape) == ((j,), (r,), (s,))
    assert np.shape(solution.loss_kw) == np.shape(solution.source_kw) == np.shape(solution.source_kvar) == ()
    assert (solution.energised.dtype, solution.closed.dtype) == (np.dtype(bool), np.dtype(bool))


@pytest.mark.parametrize(("name", "shape"), [("kw", 15), ("kvar", 15), ("tap", 3), ("closed", 3)])
def test_set_points_of_another_shape_are_refused(build, name, shape):
    feeder = read_feeder("ieee13")
    setpoints = feeder.setpoints()
    setattr(setpoints, name, getattr(setpoints, name)[:-1])
    with pytest.raises(ValueError, match=rf"'ieee13' must be.*\({shape},\).*got.*\({shape - 1},\)"):
        build(feeder).solve(setpoints)


# --- history ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tolerance", [1e-5, 1e-8])
@pytest.mark.parametrize("name", [*FEEDERS, "case33"])
def test_history_does_not_show(build, name, tolerance):
    """Within the engine's stated tolerance, after other powers, taps, capacitors and switches."""
    feeder = feeder_with_units(name)
    engine = build(feeder, tolerance)
    wanted = varied(feeder, 11)
    first = [build(feeder, tolerance).solve(setpoints) for setpoints in wanted]
    for turn in range(2):
        for k in np.random.default_rng(turn).permutation(len(wanted)):
            again = engine.solve(wanted[k])
            assert np.abs(again.v_pu - first[k].v_pu).max() < tolerance
            assert np.array_equal(again.energised, first[k].energised)
            assert again.loss_kw == pytest.approx(first[k].loss_kw, abs=10_000 * tolerance)  # of 2 to 4 MW


@pytest.mark.parametrize("trouble", [overload, broken])
@pytest.mark.parametrize("name", ["ieee13", "ieee34", "ieee123"])
def test_a_failed_power_flow_leaves_no_trace(build, name, trouble):
    feeder = feeder_with_units(name)
    engine = build(feeder, 1e-8)
    wanted = varied(feeder, 12, 6)
    first = [build(feeder, 1e-8).solve(setpoints) for setpoints in wanted]
    engine.solve(wanted[0])
    for k, setpoints in enumerate(wanted):
        with pytest.raises(PowerFlowError, match=name):
            engine.solve(trouble(feeder))
        assert np.abs(engine.solve(setpoints).v_pu - first[k].v_pu).max() < 1e-8


def test_a_failure_says_what_is_wrong(build):
    feeder = read_feeder("ieee34")
    engine = build(feeder)
    with pytest.raises(PowerFlowError, match=r"'ieee34'.*not finite.*NaN"):
        engine.solve(broken(feeder))
    with pytest.raises(
        PowerFlowError, match=r"'ieee34'.*(no convergence within \d+ iterations|node \S+ is at 0\.\d+ pu)"
    ):
        engine.solve(overload(feeder))


def test_a_voltage_below_the_floor_fails_even_if_it_converges(build):
    """Loads turn into impedances at low voltage, so OpenDSS converges happily at 0.2 pu."""
    feeder = read_feeder("ieee34", ["batchedit load..* model=2"])
    assert raw.solve(feeder, overload(feeder)).v_pu.min() < 0.3
    with pytest.raises(PowerFlowError, match="below the floor"):
        build(feeder).solve(overload(feeder))


def test_controls_leave_no_trace(build):
    feeder = feeder_with_units("ieee34")
    engine = build(feeder, 1e-8)
    wanted = varied(feeder, 13, 6)
    first = [build(feeder, 1e-8).solve(setpoints) for setpoints in wanted]
    for k, setpoints in enumerate(wanted):
        moved = engine.solve(wanted[k - 1], controls=True)
        assert not np.array_equal(moved.tap, wanted[k - 1].tap)
        again = engine.solve(setpoints)
        assert np.array_equal(again.tap, setpoints.tap)
        assert np.abs(again.v_pu - first[k].v_pu).max() < 1e-8


def test_controls_are_history_free_too(build):
    feeder = feeder_with_units("ieee34")
    engine = build(feeder, 1e-8)
    wanted = varied(feeder, 14, 8)
    first = [build(feeder, 1e-8).solve(setpoints, controls=True) for setpoints in wanted]
    for k in (5, 2, 7, 0, 3, 6, 1, 4):
        engine.solve(wanted[k - 3])
        again = engine.solve(wanted[k], controls=True)
        assert np.array_equal(again.tap, first[k].tap)
        assert np.abs(again.v_pu - first[k].v_pu).max() < 1e-8


@pytest.mark.parametrize("name", ["ieee13", "ieee34", "ieee37", "ieee123"])
def test_controls_settle_where_plain_opendss_does(build, name):
    """From neutral; and where they have settled they stay."""
    feeder = read_feeder(name)
    engine, setpoints = build(feeder), feeder.setpoints()
    setpoints.tap[:] = 0
    solution = engine.solve(setpoints, controls=True)
    truth = raw.solve(feeder, setpoints, settle=True)
    assert (setpoints.tap == 0).all()
    assert np.array_equal(solution.tap, truth.taps)
    assert np.abs(solution.v_pu - truth.v_pu).max() < 1e-6
    settled = setpoints.copy()
    settled.tap = solution.tap
    assert np.array_equal(engine.solve(settled, controls=True).tap, settled.tap)
    assert np.abs(engine.solve(settled).v_pu - solution.v_pu).max() < 1e-8


@pytest.mark.parametrize("name", ["ieee13", "ieee34", "ieee123"])
def test_taps_that_controls_moved_are_exact(build, name):
    """A control adds steps up, with rounding errors; a restarted engine must not carry them on."""
    feeder = feeder_with_units(name)
    engine = build(feeder, 1e-5)
    for setpoints in varied(feeder, 25, 8):
        moved = setpoints.copy()
        moved.tap = engine.solve(setpoints, controls=True).tap.copy()
        assert not np.array_equal(moved.tap, setpoints.tap)
        engine.restart()
        assert np.array_equal(arrays(engine.solve(moved)), arrays(build(feeder, 1e-5).solve(moved)))


def test_two_engines_at_once_do_not_disturb_each_other(build):
    one, other = feeder_with_units("ieee13"), feeder_with_units("ieee123")
    alone = [arrays(s) for s in map(build(one).solve, varied(one, 15))]
    also_alone = [arrays(s) for s in map(build(other).solve, varied(other, 16))]
    first, second, third = build(one), build(other), build(one)
    for k, (mine, others) in enumerate(zip(varied(one, 15), varied(other, 16), strict=True)):
        assert np.array_equal(arrays(first.solve(mine)), alone[k])
        assert np.array_equal(arrays(second.solve(others)), also_alone[k])
        third.solve(varied(one, 17)[k])


@pytest.mark.parametrize("name", ["ieee34", "ieee123", "case33"])
def test_a_restarted_engine_repeats_itself_bitwise(build, name):
    """A whole sequence, with taps, capacitors, switches, failures and controls in it, whatever came before."""
    feeder = feeder_with_units(name)
    engine = build(feeder, 1e-5)
    wanted = varied(feeder, 18, 20)
    first = [arrays(engine.solve(setpoints)) for setpoints in wanted]
    for setpoints in varied(feeder, 19, 7):
        engine.solve(setpoints)
    engine.solve(wanted[3], controls=True)
    with pytest.raises(PowerFlowError):
        engine.solve(overload(feeder))
    engine.solve(wanted[5])
    engine.restart()
    for k, setpoints in enumerate(wanted):
        assert np.array_equal(arrays(engine.solve(setpoints)), first[k]), f"solve {k} after the restart"


@pytest.mark.parametrize("name", ["ieee34", "ieee123", "case33"])
def test_restarting_and_opening_anew_are_the_same(build, name):
    feeder = feeder_with_units(name)
    engine = build(feeder, 1e-5)
    for setpoints in varied(feeder, 20, 5):
        engine.solve(setpoints)
    engine.restart()
    new, wanted = build(feeder, 1e-5), [feeder.setpoints(), *varied(feeder, 21), feeder.setpoints()]
    for setpoints in wanted:
        assert np.array_equal(arrays(engine.solve(setpoints)), arrays(new.solve(setpoints)))
    engine.restart()
    new.close()  # opens again by itself
    for setpoints in wanted:
        assert np.array_equal(arrays(engine.solve(setpoints)), arrays(new.solve(setpoints)))


def test_a_restart_between_two_solves_changes_the_last_digits_only(build):
    feeder = feeder_with_units("ieee34")
    engine = build(feeder, 1e-5)
    for setpoints in varied(feeder, 22, 4):
        warm = engine.solve(setpoints)
        engine.restart()
        assert np.abs(engine.solve(setpoints).v_pu - warm.v_pu).max() < 1e-5


def digest(kind, name):
    """Fingerprint of a sequence of solutions."""
    feeder = feeder_with_units(name)
    engine = ENGINES[kind](feeder, tolerance=1e-5)
    total = hashlib.sha256()
    for k, setpoints in enumerate(varied(feeder, 23, 10)):
        total.update(arrays(engine.solve(setpoints, controls=k == 7)).tobytes())
    engine.close()
    return total.hexdigest()


@pytest.mark.parametrize("name", ["ieee34", "ieee123"])
def test_a_new_process_gives_the_same_bits(kind, name):
    assert digest(kind, name) == in_new_process(f"digest({kind!r}, {name!r})", "test_engine_contract")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_solves_alike(build):
    """The parent's open engine and its idle contexts are the child's too; neither may suffer."""
    feeder = feeder_with_units("ieee34")
    running, wanted = build(feeder), varied(feeder, 27, 3)
    expected = [arrays(running.solve(setpoints)).tolist() for setpoints in wanted]
    build(read_feeder("ieee13")).close()
    running.restart()
    with multiprocessing.get_context("fork").Pool(1) as pool:
        inherited = pool.apply_async(_solved, (running, wanted)).get(timeout=120)
        fresh = pool.apply_async(_solved, (OpenDSSEngine(feeder, tolerance=TIGHT), wanted)).get(timeout=120)
    assert inherited == fresh == expected
    assert [arrays(running.solve(setpoints)).tolist() for setpoints in wanted] == expected


def _solved(engine, wanted):
    return [arrays(engine.solve(setpoints)).tolist() for setpoints in wanted]


@pytest.mark.parametrize(
    "copied",
    [lambda x: pickle.loads(pickle.dumps(x)), lambda x: cloudpickle.loads(cloudpickle.dumps(x)), copy.deepcopy],
    ids=["pickle", "cloudpickle", "deepcopy"],
)
def test_a_copy_solves_like_a_new_engine(build, copied):
    feeder = feeder_with_units("ieee123")
    engine = build(feeder, 1e-6)
    unused = copied(engine)
    wanted = varied(feeder, 24, 6)
    for setpoints in wanted:
        engine.solve(setpoints)
    twin = copied(engine)
    engine.restart()
    try:
        for setpoints in wanted:
            expected = arrays(engine.solve(setpoints))
            assert np.array_equal(arrays(twin.solve(setpoints)), expected)
            assert np.array_equal(arrays(unused.solve(setpoints)), expected)
        assert twin.tolerance == engine.tolerance
    finally:
        twin.close()
        unused.close()


# --- switches --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SWITCHED)
def test_every_switch_does_what_taking_the_line_out_does(build, name):
    """Opened where it is closed, closed where it is open; against a circuit without the open lines."""
    feeder = feeder_with_units(name)
    engine = build(feeder)
    for s in switch_indices(feeder):
        setpoints = feeder.setpoints()
        setpoints.closed[s] = not setpoints.closed[s]
        solution, truth = engine.solve(setpoints), raw.solve(feeder, setpoints)
        label = feeder.switches[s].name
        assert np.array_equal(solution.energised, truth.v_pu > 0.05), label
        assert np.abs(solution.v_pu - truth.v_pu)[solution.energised].max() < 1e-7, label
        assert solution.loss_kw == pytest.approx(truth.loss_kw, abs=2e-3), label
        assert solution.loading * [b.normal_amps for b in feeder.branches] == pytest.approx(
            truth.amps, rel=1e-5, abs=2e-3
        ), label


@pytest.mark.parametrize(("name", "switch", "dark"), [("ieee13", "671692", "692 675"), ("ieee123", "sw2", "152 52 53")])
def test_behind_an_open_switch_all_is_dead(build, name, switch, dark):
    """Voltage 0, nothing served, units off; and all comes back when it closes."""
    feeder = feeder_with_units(name)
    engine, setpoints = build(feeder, 1e-8), feeder.setpoints()
    units = np.setdiff1d(np.arange(len(feeder.injections)), feeder.loads)
    setpoints.kw[units] = feeder.nominal_kw[units]
    whole = engine.solve(setpoints)
    opened = setpoints.copy()
    opened.closed[[row.name for row in feeder.switches].index(f"line.{switch}")] = False
    solution = engine.solve(opened)
    on_dark = np.array([node.split(".")[0] in dark.split() for node in feeder.nodes])
    assert not solution.energised[on_dark].any()
    assert (solution.v_pu[~solution.energised] == 0).all()
    assert (solution.v_pu[solution.energised] > 0.8).all()
    dead = np.array([not solution.energised[list(row.nodes)].all() for row in feeder.injections])
    assert dead.any()
    assert solution.served_kw[dead] == pytest.approx(0, abs=1e-6)
    assert solution.served_kw[~dead] == pytest.approx(whole.served_kw[~dead], rel=0.1)
    open_branch = [b.name for b in feeder.branches].index(f"line.{switch}")
    assert solution.loading[open_branch] == 0
    again = engine.solve(setpoints)
    assert again.energised.all() == whole.energised.all()
    assert np.abs(again.v_pu - whole.v_pu).max() < 1e-8


def test_a_unit_on_a_dead_node_is_off(build):
    feeder = feeder_with_units("ieee13")
    setpoints = feeder.setpoints()
    unit = next(j for j, row in enumerate(feeder.injections) if row.kind != "load" and row.bus == "675")
    setpoints.kw[unit], setpoints.kvar[unit] = 400.0, 200.0
    setpoints.closed[[row.name for row in feeder.switches].index("line.671692")] = False
    solution = build(feeder).solve(setpoints)
    assert solution.served_kw[unit] == pytest.approx(0, abs=1e-6)
    assert (setpoints.kw[unit], setpoints.kvar[unit]) == (400.0, 200.0)


def test_nodes_dead_by_design_are_reported(build):
    """ieee123 has four buses behind open switches to other feeders."""
    feeder = read_feeder("ieee123")
    solution = build(feeder).solve(feeder.setpoints())
    dead = {node.split(".")[0] for node, alive in zip(feeder.nodes, solution.energised, strict=True) if not alive}
    assert dead == {"251", "451", "350", "195"}


def test_closing_a_tie_carries_power_the_other_way(build):
    """Two ways of feeding a part of case33; the meshed case must be right too."""
    feeder = read_feeder("case33")
    engine, setpoints = build(feeder), feeder.setpoints()
    radial = engine.solve(setpoints)
    meshed_setpoints = setpoints.copy()
    meshed_setpoints.closed[:] = True
    meshed = engine.solve(meshed_setpoints)
    ties = [b for b, row in enumerate(feeder.branches) if row.switch >= 0]
    opened = [b for b in ties if not setpoints.closed[feeder.branches[b].switch]]
    assert len(opened) == 5
    assert (radial.loading[opened] == 0).all()
    assert (meshed.loading[opened] > 0).all()
    assert meshed.loss_kw < 0.75 * radial.loss_kw  # 123.3 kW with all ties closed, 202.7 radial
    assert meshed.v_pu.min() > radial.v_pu.min() + 0.02


def test_a_load_with_a_dead_phase_is_off(build):
    """54-94 on phase a alone: a three-phase or delta load behind it would draw from phases that float."""
    feeder = read_feeder("ieee123")
    names = [row.name for row in feeder.switches]
    setpoints = feeder.setpoints()
    setpoints.closed[[names.index(f"line.sw{k}") for k in (2, 4)]] = False
    setpoints.closed[[names.index(f"line.sw{k}") for k in (7, 8)]] = True
    solution = build(feeder).solve(setpoints)
    alive = [solution.energised[list(row.nodes)] for row in feeder.injections]
    whole, partly = np.array([a.all() for a in alive]), np.array([a.any() and not a.all() for a in alive])
    assert partly.sum() >= 2
    assert solution.served_kw[~whole] == pytest.approx(0, abs=1e-6)
    assert solution.served_kw[whole] == pytest.approx(feeder.nominal_kw[whole], rel=0.25)
    assert (setpoints.kw == feeder.nominal_kw).all()  # the set points stay as they were


def test_random_switching_always_solves_and_the_live_nodes_are_those_with_a_voltage(build, rng):
    """Dead phases float up to 0.34 pu behind capacitors and delta loads, so 0.5 parts the two."""
    sections = ["l13", "l19", "l24", "l36", "l45", "l53", "l67", "l77", "l88", "l92", "l101", "l105"]
    feeder = read_feeder("ieee123", switches=[*map(AddedSwitch, sections), AddedSwitch("t", "54", "93")])
    engine, lines = build(feeder, 1e-5), switch_indices(feeder)
    for share in rng.choice([0.5, 0.8, 0.95], 60):
        setpoints = feeder.setpoints()
        setpoints.closed[lines] = rng.random(len(lines)) < share
        solution = engine.solve(setpoints)
        volts = raw_v_pu(engine)
        assert (volts[solution.energised] > 0.5).all()
        assert (volts[~solution.energised] < 0.5).all()


def raw_v_pu(engine):
    """(N) OpenDSS's own voltages, dead nodes as they float."""
    context, feeder = engine._context, engine.feeder
    names = [name.lower() for name in context.Circuit.AllNodeNames()]
    volts = dict(zip(names, context.Circuit.AllBusVMag(), strict=True))
    return np.array([volts[node] for node in feeder.nodes]) / feeder.kv_base / 1000


# --- formers ---------------------------------------------------------------------------------------------------------

RATED = {"35": 240, "48": 330, "64": 545, "78": 535, "95": 350, "108": 275}  # forming units of ieee123 [kW]


@pytest.fixture(scope="module")
def forming():
    """ieee123 with units that may form islands, its loads at constant power as far as 0.5 pu."""
    units = [AddedUnit(f"dg{bus}", bus, kw, kind="generator", forms=True) for bus, kw in RATED.items()]
    return read_feeder("ieee123", ["batchedit load..* vminpu=0.5 vmaxpu=1.3"], units)


def switched(feeder, opened=(), grid_forming_units=(), kw=()):
    """Set points with these lines open, these formers on and these followers at (kW, kvar)."""
    setpoints = feeder.setpoints()
    row = {switch.name.split(".")[1]: s for s, switch in enumerate(feeder.switches)}
    setpoints.closed[[row[name] for name in opened]] = False
    setpoints.closed[[row[f"dg{bus}"] for bus in grid_forming_units]] = True
    for bus, (p, q) in dict(kw).items():
        j = [unit.name for unit in feeder.injections].index(f"generator.dg{bus}")
        setpoints.kw[j], setpoints.kvar[j] = p, q
    return setpoints


def test_a_feeder_in_four_parts_balances_in_each(build, forming):
    """The three islands of our study (sw2, sw3, sw4 open, nothing shed): 635, 551 and 887 kW; the grid the rest."""
    setpoints = switched(
        forming, ["sw2", "sw3", "sw4"], ["48", "64", "78"], {"35": (120, 60), "95": (300, 0), "108": (240, 0)}
    )
    solution, truth = build(forming).solve(setpoints), raw.solve(forming, setpoints)
    given = dict(zip(RATED, solution.grid_forming_kw.sum(axis=-1), strict=True))
    assert given == pytest.approx({"35": 0, "48": 635, "64": 551, "78": 887, "95": 0, "108": 0}, abs=0.5)
    assert solution.source_kw == pytest.approx(781.7, abs=0.5)
    assert solution.source_kw + solution.grid_forming_kw.sum() == pytest.approx(truth.source_kw, abs=0.01)
    assert solution.source_kvar + solution.grid_forming_kvar.sum() == pytest.approx(truth.source_kvar, abs=0.01)
    assert solution.source_kw + solution.served_kw.sum() == pytest.approx(truth.loss_kw, abs=0.01)
    assert solution.loss_kw == pytest.approx(truth.loss_kw, abs=0.01)
    assert np.abs(solution.v_pu - truth.v_pu)[solution.energised].max() < 1e-6
    for bus in ("48", "64", "78"):
        j = [unit.name for unit in forming.injections].index(f"generator.dg{bus}")
        assert solution.served_kw[j] == pytest.approx(given[bus])
        at = [forming.node_index[f"{bus}.{p}"] for p in (1, 2, 3)]
        assert solution.v_pu[at] == pytest.approx(1.0, abs=1e-3)
    assert solution.energised.sum() == len(forming.nodes) - 12  # all but the buses of other feeders


def test_a_former_beside_another_source_fails(build, forming):
    """OpenDSS would solve it, and circulate as much as the impedance between the two lets pass."""
    engine = build(forming)
    with pytest.raises(PowerFlowError, match=r"grid_forming.dg48 is on"):
        engine.solve(switched(forming, grid_forming_units=["48"]))
    with pytest.raises(PowerFlowError, match=r"grid_forming.dg48 is on"):
        engine.solve(switched(forming, ["sw3"], ["35", "48"]))
    assert engine.solve(switched(forming, ["sw3"], ["35"])).grid_forming_kw[0].sum() > 100


def test_formers_leave_no_trace(build, forming):
    """An island, another, the grid again: each as in a new engine; after a restart bitwise."""
    cases = [
        switched(forming),
        switched(forming, ["sw3"], ["48"], {"35": (100, 0)}),
        switched(forming, ["sw3"]),
        switched(forming, ["sw4", "sw3"], ["78", "48"]),
        switched(forming, kw={"48": (300, 50)}),
    ]
    engine = build(forming)
    expected = [arrays(build(forming).solve(case)) for case in cases]
    for case, wanted in zip(cases, expected, strict=True):
        assert np.abs(arrays(engine.solve(case)) - wanted).max() < 1e-4  # kW too
    for case, wanted in zip(cases[::-1], expected[::-1], strict=True):
        engine.restart()
        assert np.array_equal(arrays(engine.solve(case)), wanted)


def test_without_formers_there_are_none(build):
    feeder = feeder_with_units("ieee13")
    solution = build(feeder).solve(feeder.setpoints())
    assert solution.grid_forming_kw.shape == solution.grid_forming_kvar.shape == (0, 3)


# --- resources and errors --------------------------------------------------------------------------------------------


def test_the_working_directory_stays_where_it_is(build, tmp_path, monkeypatch):
    """eulv has redirects and coordinates, so compiling it reads several files of its folder."""
    monkeypatch.chdir(tmp_path)
    feeder = read_feeder("eulv")
    before = set(feeder.path.parent.iterdir())
    build(feeder).solve(feeder.setpoints())
    assert os.getcwd() == str(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert set(feeder.path.parent.iterdir()) == before


def test_contexts_are_pooled(kind, monkeypatch):
    """A dropped context leaks more than a megabyte."""
    made, new_context = [], contexts._new_context

    def counted():
        made.append(new_context())
        return made[-1]

    monkeypatch.setattr(contexts, "_new_context", counted)
    monkeypatch.setattr(contexts, "_idle", [])
    feeder = read_feeder("ieee13")
    for _ in range(30):
        engine = ENGINES[kind](feeder)
        engine.solve(feeder.setpoints())
        engine.close()
    for _ in range(30):
        ENGINES[kind](feeder).solve(feeder.setpoints())  # dropped without close
    assert 1 <= len(made) <= 2


def test_closing_twice_or_unopened_is_harmless(build):
    feeder = read_feeder("ieee13")
    engine = build(feeder)
    engine.close()
    first = arrays(engine.solve(feeder.setpoints()))
    engine.close()
    engine.close()
    engine.restart()
    assert np.array_equal(arrays(engine.solve(feeder.setpoints())), first)


BAD = {
    "unknown class": ("new circuit.a basekv=1\nnew lime.x bus1=sourcebus bus2=b\n", "lime"),
    "unknown line code": ("new circuit.a basekv=1\nnew line.x bus1=sourcebus bus2=b linecode=nothere\n", "nothere"),
    "not a number": ("new circuit.a basekv=1\nnew load.x bus1=sourcebus kv=1 kw=twelve\n", "twelve"),
    "missing file": ("new circuit.a basekv=1\nredirect nothere.dss\n", "nothere"),
    "no circuit": ("! nothing\n", "circuit"),
    "empty": ("", "circuit"),
    "unknown property": ("new circuit.a basekv=1\nnew load.x bus1=sourcebus colour=red\n", "colour"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_circuit_that_does_not_compile_is_explained_and_harms_nothing(build, what, tmp_path):
    text, culprit = BAD[what]
    good = read_feeder("ieee13")
    running = build(good)
    expected = arrays(running.solve(good.setpoints()))
    path = tmp_path / "wrong.dss"
    path.write_text(f"clear\n{text}")
    for _ in range(3):  # each context of the pool may be hit
        with pytest.raises(ValueError, match=r"wrong\.dss") as caught:
            read_feeder(path)
        assert culprit in str(caught.value).lower()
    running.restart()
    assert np.array_equal(arrays(running.solve(good.setpoints())), expected)
    for _ in range(2):
        again = read_feeder("ieee13")
        assert np.array_equal(arrays(build(again).solve(again.setpoints())), expected)


def test_a_command_that_opendss_refuses_is_named(build):
    with pytest.raises(ValueError, match=r"'load\.nothere\.kw=1'.*ieee13.*nothere"):
        read_feeder("ieee13", ["load.nothere.kw=1"])
    feeder = read_feeder("ieee13")
    assert build(feeder).solve(feeder.setpoints()).energised.all()


def test_own_circuit_from_a_file(build, tmp_path):
    """Two buses, by hand: V2 = V1 - I Z with a constant-impedance load is a voltage divider."""
    path = tmp_path / "My Feeder.dss"  # a space, and capitals
    path.write_text(
        textwrap.dedent("""\
        clear
        new circuit.two phases=3 basekv=10 pu=1.0 mvasc3=1e9 mvasc1=1e9
        new line.l bus1=sourcebus bus2=End r1=1 x1=2 r0=1 x0=2 c1=0 c0=0 length=1 units=km normamps=100
        new load.L bus1=End phases=3 kv=10 kw=1000 kvar=500 model=2
        set voltagebases=[10]
        calcvoltagebases
        """)
    )
    feeder = read_feeder(path)
    solution = build(feeder).solve(feeder.setpoints())
    load = 10e3**2 / (1000e3 - 500e3j)
    expected = abs(load / (load + 1 + 2j))
    ends = [feeder.node_index[f"end.{phase}"] for phase in (1, 2, 3)]
    assert solution.v_pu[ends] == pytest.approx(expected, abs=1e-6)
    amps = 10e3 / 3**0.5 / abs(load + 1 + 2j)
    assert solution.loading == pytest.approx([amps / 100], rel=1e-5)
    assert solution.loss_kw == pytest.approx(3 * amps**2 * 1 / 1000, rel=1e-4)


RICH = """\
clear
new circuit.rich phases=3 basekv=12.47 pu=1.03 mvasc3=300 mvasc1=250
new transformer.reg phases=3 windings=2 buses=[sourcebus r] kvs=[12.47 12.47] kvas=[5000 5000]
~ xhl=0.1 %rs=[0.05 0.05] taps=[0.98125 1]
new regcontrol.reg transformer=reg winding=1 vreg=120 band=2 ptratio=60
new line.a bus1=r bus2=a r1=0.6 x1=1.1 r0=1.2 x0=3 c1=9 c0=4 length=2 units=km normamps=300
new line.b bus1=a bus2=b r1=0.6 x1=1.1 r0=1.2 x0=3 c1=9 c0=4 length=3 units=km normamps=200
new line.c bus1=a.2 bus2=c.2 phases=1 r1=0.9 x1=1.2 r0=0.9 x0=1.2 c1=9 c0=9 length=1.5 units=km normamps=100
new line.gone bus1=b bus2=gone r1=1 x1=1 length=1 units=km enabled=no
new reactor.series bus1=b bus2=d phases=3 r=0.4 x=0.7 normamps=150
new transformer.split phases=1 windings=3 buses=[c.2 e.1.0 e.0.2] kvs=[7.2 0.12 0.12] kvas=[50 50 50]
~ xhl=2 xht=2 xlt=1.5 %rs=[0.6 1.2 1.2]
new loadshape.old npts=24 interval=1 mult=[0.5]
new load.aa bus1=a phases=3 kv=12.47 kw=900 pf=0.92 model=1 daily=old
new load.bb bus1=b.1.3 phases=1 conn=delta kv=12.47 kw=300 kvar=90 model=5 status=fixed
new load.off bus1=b phases=3 kv=12.47 kw=500 kvar=100 enabled=no
new load.dd bus1=d phases=3 kv=12.47 kw=400 kvar=150 model=2
new load.cc bus1=c.2 phases=1 kv=7.2 kw=120 kvar=40 model=4 cvrwatts=0.8 cvrvars=2
new load.e1 bus1=e.1.0 phases=1 kv=0.12 kw=9 kvar=2 model=1
new load.e2 bus1=e.2.0 phases=1 kv=0.12 kw=4 kvar=1 model=1
new capacitor.bank bus1=b phases=3 kv=12.47 kvar=450 numsteps=3 states=[1 1 0]
new reactor.shunt bus1=d phases=3 kv=12.47 kvar=60
{extra}
set voltagebases=[12.47 0.208]
calcvoltagebases
set loadmult=0.9
"""
OWN_POWER = "new generator.own bus1=b phases=3 kv=12.47 kw=250 kvar=60 model=1\n"


@pytest.fixture(params=["", OWN_POWER], ids=["passive", "with a generator of its own"])
def rich(request, tmp_path):
    """A circuit with what the published ones lack: see the script."""
    (tmp_path / "rich.dss").write_text(RICH.format(extra=request.param))
    wide = "batchedit load..* vminpu=0.8 vmaxpu=1.2"
    return read_feeder(tmp_path / "rich.dss", [wide], [AddedUnit("pv", "d", 300.0), AddedUnit("roof", "c", 40.0)])


def test_an_odd_circuit_is_solved_like_any(build, rich):
    """Load multiplier, shapes, fixed and disabled elements, three windings, series reactor, bank of three steps."""
    engine = build(rich)
    rng = np.random.default_rng(26)
    assert rich.nominal_kw[0] == pytest.approx(-810)
    assert [row.name for row in rich.injections if row.kind == "load"] == [
        f"load.{n}" for n in ("aa", "bb", "dd", "cc", "e1", "e2")
    ]
    assert rich.uncontrolled in ((), ("generator.own",))
    for setpoints in [rich.setpoints(), *(random_setpoints(rich, rng) for _ in range(5))]:
        solution, truth = engine.solve(setpoints), raw.solve(rich, setpoints)
        assert np.abs(solution.v_pu - truth.v_pu).max() < 1e-7
        assert np.abs(solution.served_kw - truth.served_kw).max() < 1e-3
        assert solution.loss_kw == pytest.approx(truth.loss_kw, abs=2e-3)
        assert solution.source_kw == pytest.approx(truth.source_kw, abs=2e-3)
        assert solution.loading * [b.normal_amps for b in rich.branches] == pytest.approx(
            truth.amps, rel=1e-4, abs=2e-3
        )


def test_a_tap_of_winding_one_works_the_other_way(build, rich):
    """More turns on the source's side: less voltage behind it. The start is three steps down, as in the file."""
    (tap,) = rich.taps
    assert (tap.winding, tap.initial, tap.bus1, tap.bus2) == (1, -3, "r", "sourcebus")
    engine, setpoints = build(rich), rich.setpoints()
    before = engine.solve(setpoints).v_pu[rich.node_index["r.1"]]
    setpoints.tap[0] += 2
    assert engine.solve(setpoints).v_pu[rich.node_index["r.1"]] < before - 0.008


def test_a_bank_that_its_control_opened_closes_again(build, tmp_path):
    """A CapControl opens the terminal too, which the bank's states do not close; and what we open it can close."""
    lines = [
        "clear",
        "new circuit.c basekv=12.47 pu=1.06",
        "new line.b bus1=sourcebus bus2=b r1=0.5 x1=2 length=1",
        "new load.l bus1=b kv=12.47 kw=900 kvar=100",
        "new capacitor.bank bus1=b kv=12.47 kvar=900",
        "new capcontrol.cc capacitor=bank element=line.b terminal=2 type=voltage ptratio=60",
        "~ onsetting=118 offsetting=120",
    ]
    (tmp_path / "bank.dss").write_text("\n".join(lines))
    feeder = read_feeder(tmp_path / "bank.dss")
    engine, setpoints = build(feeder), feeder.setpoints()
    closed = build(feeder).solve(setpoints).v_pu
    opened = engine.solve(setpoints, controls=True)
    assert not opened.closed.any() and opened.v_pu.mean() < closed.mean() - 0.002
    assert np.abs(engine.solve(setpoints).v_pu - closed).max() < 1e-7
    low = setpoints.copy()
    low.closed[:] = False
    low.kw[:], low.kvar[:] = -9000, -4500
    engine.solve(low)
    assert engine.solve(low, controls=True).closed.all()


def test_capacitor_controls_act_and_are_reported(build, tmp_path):
    """A CapControl on voltage closes the steps that it needs; without controls they stay."""
    control = (
        "new capcontrol.cc capacitor=bank element=line.b terminal=2 type=voltage "
        "ptratio=60 onsetting=119 offsetting=124\n"
    )
    (tmp_path / "rich.dss").write_text(
        RICH.format(extra=control).replace("pu=1.03", "pu=0.97").replace("new regcontrol", "!")
    )
    feeder = read_feeder(tmp_path / "rich.dss")
    engine, setpoints = build(feeder), feeder.setpoints()
    setpoints.closed[:] = False
    for _ in range(2):
        moved = engine.solve(setpoints, controls=True)
        assert moved.closed.any()
        still = engine.solve(setpoints)
        assert not still.closed.any()
        assert moved.v_pu.mean() > still.v_pu.mean()
    settled = setpoints.copy()
    settled.closed = moved.closed.copy()
    assert np.abs(engine.solve(settled).v_pu - moved.v_pu).max() < 1e-7
