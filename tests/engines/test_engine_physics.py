"""What every engine must find: the voltages, powers, losses and loadings of plain OpenDSS."""

import numpy as np
import pytest
import raw
from common import feeder_with_units, random_setpoints
from engine_cases import FEEDERS, arrays, varied

from dss_marl import read_feeder
from dss_marl.grid.feeder import AddedUnit


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
    with pytest.raises(ValueError, match=rf"'ieee13' must .*\b{shape},?\).*got.*\b{shape - 1},?\)"):
        build(feeder).solve(setpoints)
