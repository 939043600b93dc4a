"""What every engine must forget: earlier solves, failures, controls; restarts, processes and copies, bitwise."""

import copy
import multiprocessing
import os
import pickle

import cloudpickle
import numpy as np
import pytest
import raw
from common import feeder_with_units, in_new_process
from engine_cases import FEEDERS, arrays, broken, digest, overload, varied

from dss_marl import PowerFlowError, read_feeder


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
def test_restarting_and_opening_again_are_the_same(build, name):
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


@pytest.mark.parametrize("name", ["ieee34", "ieee123"])
def test_a_new_process_gives_the_same_bits(kind, name):
    assert digest(kind, name) == in_new_process(f"digest({kind!r}, {name!r})", "engine_cases")


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
        fresh = pool.apply_async(_solved, (build(feeder), wanted)).get(timeout=120)
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
