"""The compiled power flow against the reference; and its lanes know nothing of each other, to the bit."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from common import feeder_with_units, random_setpoints

from dss_marl.engines.batched.factors import factorised
from dss_marl.engines.batched.reference import Reference
from dss_marl.engines.batched.solver import Demand
from dss_marl.engines.opendss.network import read_network

pytest.importorskip("numba")

from dss_marl.engines.batched.compiled.compiled_solver import Compiled, unloaded
from dss_marl.engines.batched.compiled.lanes import W
from dss_marl.engines.batched.compiled.precision import single_is_enough
from dss_marl.engines.batched.compiled.symmetry import third

FEEDERS = ["ieee13", "ieee34", "ieee37", "ieee123", "case33"]


@cache
def case(name, copies=2 * W + 3, load=1.0):
    """(Factors, Demand) of random states of a feeder; dead elements draw nothing."""
    feeder = feeder_with_units(name)
    network = read_network(feeder)
    rng = np.random.default_rng(5)
    points = [random_setpoints(feeder, rng) for _ in range(copies)]
    closed = np.array([point.closed for point in points])
    alive = feeder.energised(closed)
    served = np.array([[row[list(injection.nodes)].all() for injection in feeder.injections] for row in alive])
    kw = np.where(served, [point.kw for point in points], 0.0) * load
    kvar = np.where(served, [point.kvar for point in points], 0.0) * load
    return factorised(network), Demand(kw, kvar, network.states(np.array([point.tap for point in points]), closed))


@cache
def exact(name, load=1.0):
    factors, demand = case(name, load=load)
    return Reference(factors).solve(demand, 1e-10, 200)


def same(one, other, rows=slice(None)):
    """Every result is the same bits."""
    for name in ("v_pu", "served_kw", "loss_kw", "source_kva", "residual", "iterations"):
        np.testing.assert_array_equal(getattr(one, name)[rows], getattr(other, name)[rows], name)
    np.testing.assert_array_equal(one.volts()[rows], other.volts()[rows])


def picked(demand, rows):
    return Demand(demand.kw[rows], demand.kvar[rows], demand.states[rows])


@pytest.mark.parametrize("name", FEEDERS)
@pytest.mark.parametrize(("single", "tolerance", "error"), [(True, 1e-4, 2e-5), (False, 1e-6, 1e-6)])
def test_compiled_agrees_with_the_reference(name, single, tolerance, error):
    factors, demand = case(name)
    single = single and single_is_enough(factors.network, np.abs(demand.kw + 1j * demand.kvar).sum(axis=-1).max())
    want, got = exact(name), Compiled(factors, len(demand.kw), single).solve(demand, tolerance, 100)
    assert (want.residual < 1e-10).all()
    assert (got.residual < tolerance).all()
    np.testing.assert_allclose(got.v_pu, want.v_pu, atol=error)
    throughput = np.abs(want.source_kva).sum(axis=-1) + np.abs(demand.kw).sum(axis=-1)
    for ours, theirs in (
        (got.loss_kw, want.loss_kw),
        (got.served_kw.T, want.served_kw.T),
        (got.source_kva.T, want.source_kva.T),
    ):
        assert (np.abs(ours - theirs) / throughput).max() < 2 * error
    np.testing.assert_allclose(got.loading(), want.loading(), atol=2 * error, rtol=2 * error)
    np.testing.assert_array_equal(got.highest(), got.loading().max(axis=-1))
    base = np.append(1.0, factors.network.volts)
    assert (np.abs(got.volts() - want.volts()) / base).max() < 2 * error


def with_mixed_laws(factors, rng):
    """The factors of a network whose phases follow laws drawn at random, with limits within reach of the voltages."""
    phases = factors.network.phases
    count = len(phases)
    v_min = rng.uniform(0.85, 0.99, count)
    shares = rng.dirichlet(np.ones(3), (count, 2)).reshape(count, 6)
    drop_out = np.where(rng.random(count) < 0.5, rng.uniform(0.8, 0.97, count), 0.0)
    mixed = replace(
        phases,
        model=rng.choice([1, 2, 3, 4, 5, 8], count),
        v_min=v_min,
        v_max=rng.uniform(1.0, 1.08, count),
        v_low=v_min - rng.uniform(0.0, 0.2, count),
        low=rng.uniform(0.8, 1.2, count),
        exponents=rng.uniform(0.3, 2.5, (count, 2)),
        zip=np.column_stack([shares, drop_out]),
    )
    return factorised(replace(factors.network, phases=mixed))


@pytest.mark.parametrize("seed", range(6))
def test_all_laws_of_loads_within_and_beyond_their_limits(seed):
    factors, demand = case("ieee13")
    mixed = with_mixed_laws(factors, np.random.default_rng(seed))
    reference, solver = Reference(mixed), Compiled(mixed, len(demand.kw), single=False)
    # Loads that drop out may leave no solution: one sweep from where the compiled solver starts is compared.
    skeleton = np.linalg.inv(reference.skeletons(demand.states))
    idle = skeleton @ reference._source
    v = np.tile(solver.start, (len(demand.kw), 1)) * np.random.default_rng(seed).uniform(0.99, 1.01)
    v[:, mixed.order[mixed.eliminated :]] = idle
    draw = reference.admittances(demand.kw, demand.kvar)
    want = reference._flow(demand, reference._iterate(v, draw, skeleton, idle), np.zeros(len(v)), np.zeros(len(v)))
    got = Compiled(mixed, len(v), False, start=v[0]).solve(demand, 0.0, 0)
    np.testing.assert_allclose(got.v_pu, want.v_pu, atol=1e-9)
    np.testing.assert_allclose(Compiled(mixed, len(v), start=v[0]).solve(demand, 0.0, 0).v_pu, want.v_pu, atol=1e-5)
    phases = mixed.network.phases
    taken = ((reference.across @ v.T).T * reference.currents(v, draw).conj()).real / 1000
    by_injection = np.stack([taken[:, phases.injection == j].sum(axis=-1) for j in range(demand.kw.shape[1])], axis=-1)
    np.testing.assert_allclose(got.served_kw, -by_injection, atol=1e-6)


def test_the_phases_of_a_balanced_feeder_are_solved_once():
    thirds = {name: third(case(name)[0].network, unloaded(case(name)[0])) for name in FEEDERS}
    assert {name for name, found in thirds.items() if found is not None} == {"case33"}
    whole, one = case("case33")[0].network, thirds["case33"].network
    assert 3 * one.count == whole.count
    phases = whole.phases
    lame = replace(whole, phases=replace(phases, volts=phases.volts * (1 + 0.01 * (np.arange(len(phases)) == 0))))
    assert third(lame, unloaded(factorised(lame))) is None


def test_float32_is_enough_but_where_all_is_in_delta():
    enough = {}
    for name in FEEDERS:
        factors, demand = case(name)
        enough[name] = single_is_enough(factors.network, np.abs(demand.kw + 1j * demand.kvar).sum(axis=-1).max())
    assert enough == {name: name != "ieee37" for name in FEEDERS}


@pytest.mark.parametrize("single", [True, False])
def test_a_copys_solution_is_the_same_bits_whatever_the_others_do(single):
    factors, demand = case("ieee13")
    copies = len(demand.kw)
    whole = Compiled(factors, copies, single).solve(demand, 1e-5, 60)
    order = np.random.default_rng(1).permutation(copies)
    shuffled = Compiled(factors, copies, single).solve(picked(demand, order), 1e-5, 60)
    back = np.argsort(order)
    for name in ("v_pu", "served_kw", "loss_kw", "source_kva", "residual", "iterations"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(shuffled, name)[back], name)
    for b in (0, W, copies - 1):
        alone = Compiled(factors, 1, single).solve(picked(demand, [b]), 1e-5, 60)
        same(alone, Compiled(factors, 1, single).solve(picked(demand, [b]), 1e-5, 60))
        np.testing.assert_array_equal(alone.v_pu[0], whole.v_pu[b])
        np.testing.assert_array_equal(alone.volts()[0], whole.volts()[b])


def test_a_copy_that_collapses_is_told_and_leaves_its_neighbours_alone():
    factors, demand = case("ieee13")
    kw = demand.kw.copy()
    kw[3] *= 200
    solver = Compiled(factors, len(kw))
    want = solver.solve(demand, 1e-4, 50)
    got = solver.solve(Demand(kw, demand.kvar, demand.states), 1e-4, 50)
    others = np.arange(len(kw)) != 3
    same(got, want, others)
    assert not got.residual[3] < 1e-4
    assert np.isfinite(got.v_pu).all() and np.isfinite(got.loss_kw).all()


def test_only_the_wanted_copies_count_and_theirs_are_the_same_bits():
    factors, demand = case("ieee13")
    solver = Compiled(factors, len(demand.kw))
    want = solver.solve(demand, 1e-4, 50)
    which = np.random.default_rng(2).random(len(demand.kw)) < 0.4
    which[W : 2 * W] = False
    kw = np.where(which[:, None], demand.kw, np.nan)
    got = solver.solve(Demand(kw, demand.kvar, demand.states, which), 1e-4, 50)
    same(got, want, which)
    assert np.isfinite(got.v_pu).all() and (got.residual[~which] == 0).all()


def test_threads_change_nothing():
    factors, demand = case("ieee34")
    one, two = Compiled(factors, len(demand.kw)), Compiled(factors, len(demand.kw), threads=2)
    same(two.solve(demand, 1e-4, 50), one.solve(demand, 1e-4, 50))
    two.close()


def test_factors_follow_the_states_and_a_flow_outlives_the_next():
    factors, demand = case("ieee34")
    moved = Demand(demand.kw, demand.kvar, demand.states[::-1].copy())
    solver = Compiled(factors, len(demand.kw))
    first = solver.solve(demand, 1e-4, 50)
    v_pu, volts = first.v_pu.copy(), first.volts()
    second = solver.solve(moved, 1e-4, 50)
    same(second, Compiled(factors, len(demand.kw)).solve(moved, 1e-4, 50))
    np.testing.assert_array_equal(first.v_pu, v_pu)
    np.testing.assert_array_equal(first.volts(), volts)
    same(solver.solve(demand, 1e-4, 50), first)


@pytest.mark.parametrize(("name", "load"), [("ieee34", 1.5), ("ieee123", 2.0)])
def test_what_the_reference_solves_under_heavy_load_is_solved(name, load):
    factors, demand = case(name, load=load)
    want = Reference(factors).solve(demand, 1e-6, 100)
    got = Compiled(factors, len(demand.kw)).solve(demand, 1e-4, 100)
    solved = want.residual < 1e-6
    assert solved.any()
    assert (got.residual[solved] < 1e-4).all()
    np.testing.assert_allclose(got.v_pu[solved], want.v_pu[solved], atol=1e-4)


def test_float32_set_points_need_no_conversion():
    factors, demand = case("ieee13")
    kw, kvar = demand.kw.astype(np.float32), demand.kvar.astype(np.float32)
    solver = Compiled(factors, len(kw))
    low = solver.solve(Demand(kw, kvar, demand.states), 1e-4, 50)
    same(low, solver.solve(Demand(kw.astype(float), kvar.astype(float), demand.states), 1e-4, 50))
