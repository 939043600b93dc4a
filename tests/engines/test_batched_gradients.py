"""Slopes by the adjoint against differences of the reference solver: 1e-6 of the largest slope of a copy."""

from dataclasses import fields, replace
from functools import cache

import numpy as np
import pytest
from common import feeder_with_units, random_setpoints
from own_circuits import CIRCUITS

from dss_marl import read_feeder
from dss_marl.engines import open_batch_engine, setpoint_gradients
from dss_marl.engines.batched.factors import factorised
from dss_marl.engines.batched.gradients import flow_gradients as module
from dss_marl.engines.batched.gradients.flow_gradients import FlowSlopes, Gradients
from dss_marl.engines.batched.gradients.ports import Ports
from dss_marl.engines.batched.reference import Reference
from dss_marl.engines.batched.solver import Demand
from dss_marl.engines.batched.store import network_of
from dss_marl.grid.feeder import AddedUnit
from dss_marl.grid.solution_slopes import SolutionSlopes
from dss_marl.grid.state import Setpoints

COPIES, TRIED = 2, 8  # copies, and injections that are differenced
SMALL = ["ieee13", "ieee34", "ieee37", "ieee123", "case33", "case69", "case141", "eulv"]
EVERY = 1e-6  # of the largest slope
POINTS = ("kw", "kvar", "tap", "closed")


@cache
def feeder_of(name):
    """A shipped feeder, or the circuit of all load models, in wye and delta, at voltages within their limits."""
    if name != "load_models":
        return feeder_with_units(name)
    others = ["edit load.m6 model=1", "edit load.m7 model=5", "batchedit load..* vminpu=0.8 vmaxpu=1.2"]
    return read_feeder(CIRCUITS[name], others)


def stacked(points):
    return Setpoints(*(np.stack([getattr(one, name) for one in points]) for name in POINTS))


def differences(value, kw, kvar, injections, step):
    """(2, B, tried) slopes with respect to kW and kvar, by four-point differences."""
    found = np.zeros((2, len(kw), len(injections)))
    for k, j in enumerate(injections):
        for row in range(2):

            def at(steps, j=j, row=row):
                changed = [kw.copy(), kvar.copy()]
                changed[row][:, j] += steps * step
                return value(*changed)

            found[row, :, k] = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * step)
    return found


def exactly(network, states, flow):
    """The flow with the sources' powers from the currents of what they feed.

    Those from their own admittances, which are 1e9 S in the balanced feeders, leave 1e-4 kW of rounding in differences.
    """
    volts, kva = flow.volts()[:, 1:], flow.source_kva.copy()
    for b, own in enumerate(states):
        fed, start = network.assembled(own).tolil(), 0
        for source in network.sources:
            fed[np.ix_(source.nodes, source.nodes)] -= source.admittance
        currents = fed.tocsr() @ volts[b]
        for source in network.sources:
            end = start + len(source.nodes)
            kva[b, start:end] = volts[b, source.nodes] * currents[source.nodes].conj() * source.counted / 1000
            start = end
    return replace(flow, source_kva=kva, loss_kw=flow.served_kw.sum(axis=-1) + kva.real.sum(axis=-1))


def assert_close(found, differenced, injections):
    scale = np.abs(found).max(axis=(0, 2), keepdims=True)
    off = np.abs(found[:, :, injections] - differenced) / scale
    assert off.max() < EVERY


@pytest.mark.parametrize("what", ["v_pu", "served_kw", "loss_kw", "source_kva"])
@pytest.mark.parametrize("name", [*SMALL, "load_models"])
def test_slopes_of_a_flow(name, what, rng):
    feeder = feeder_of(name)
    network, points = network_of(feeder), stacked([random_setpoints(feeder, rng) for _ in range(COPIES)])
    reference, states = Reference(factorised(network)), network.states(points.tap, points.closed)

    def solved(kw, kvar):
        return reference.solve(Demand(kw, kvar, states), 1e-13, 300)

    flow = solved(points.kw, points.kvar)
    assert (flow.residual < 1e-12).all()
    shape = np.shape(getattr(flow, what))
    weights = rng.normal(size=shape) + (1j * rng.normal(size=shape) if what == "source_kva" else 0)
    found = Gradients(reference)(Demand(points.kw, points.kvar, states), flow.volts(), FlowSlopes(**{what: weights}))

    def value(kw, kvar):
        flow = exactly(network, states, solved(kw, kvar))
        return (weights.conj() * getattr(flow, what)).real.reshape(COPIES, -1).sum(axis=-1)

    tried = rng.choice(len(feeder.injections), min(TRIED, len(feeder.injections)), replace=False)
    differenced = differences(value, points.kw, points.kvar, tried, 0.004 * np.abs(feeder.nominal_kw).sum())
    assert_close(np.array(found), differenced, tried)


def test_dense_and_sparse_agree(rng, monkeypatch):
    """What small feeders take, and what large ones do; and a slope with respect to complex voltages."""
    feeder = feeder_of("ieee123")
    network, points = network_of(feeder), stacked([random_setpoints(feeder, rng) for _ in range(COPIES)])
    reference = Reference(factorised(network))
    demand = Demand(points.kw, points.kvar, network.states(points.tap, points.closed))
    volts = reference.solve(demand, 1e-10, 300).volts()
    slopes = FlowSlopes(volts=rng.normal(size=volts.shape) + 1j * rng.normal(size=volts.shape))
    dense = Gradients(reference)(demand, volts, slopes)
    monkeypatch.setattr(module, "_MOST_DENSE", 0)
    np.testing.assert_allclose(Gradients(reference)(demand, volts, slopes), dense, rtol=1e-8, atol=1e-11)


def test_ports_are_symmetric():
    """As the admittances are: so that the adjoint takes the same matrices."""
    ports = Ports.of(Reference(factorised(network_of(feeder_of("ieee13")))))
    np.testing.assert_allclose(ports.inner, ports.inner.T, rtol=1e-9, atol=1e-12)


def test_nan_where_there_is_no_solution():
    feeder = feeder_of("ieee13")
    points = stacked([feeder.setpoints()] * 2)
    points.kw[1] *= 40
    slopes = random_slopes(feeder, np.random.default_rng(0))
    kw, kvar = setpoint_gradients(feeder)(points, slopes)
    assert np.isfinite(kw[0]).all() and np.isfinite(kvar[0]).all()
    assert np.isnan(kw[1]).all() and np.isnan(kvar[1]).all()


# --- of solutions ----------------------------------------------------------------------------------------------------


def random_slopes(feeder, rng, copies=COPIES):
    wide = len(feeder.nodes), len(feeder.injections), len(feeder.branches)
    return SolutionSlopes(*(rng.normal(size=(copies, n)) for n in wide), *(rng.normal(size=copies) for _ in range(3)))


def weighted(solution, slopes, times):
    total = 0.0
    for field in fields(SolutionSlopes):
        product = getattr(slopes, field.name) * getattr(solution, field.name) * times[field.name]
        total = total + (product.sum(axis=-1) if product.ndim > 1 else product)
    return total


TIMES = {"v_pu": 1, "served_kw": 1e-3, "loading": 0.1, "loss_kw": 1e-2, "source_kw": 1e-3, "source_kvar": 1e-3}


@cache
def islands():
    """ieee123 with two units that may form islands."""
    units = [AddedUnit(f"dg{bus}", bus, kw, kind="generator", forms=True) for bus, kw in (("48", 900), ("78", 900))]
    return read_feeder("ieee123", ["batchedit load..* vminpu=0.5 vmaxpu=1.3"], units)


def island_points(rng):
    """An island of a unit's own, a dead part, and the rest on the grid."""
    feeder = islands()
    row = {switch.name.split(".")[1]: s for s, switch in enumerate(feeder.switches)}
    points = stacked([random_setpoints(feeder, rng) for _ in range(COPIES)])
    points.closed[:, [row["sw3"], row["sw4"]]] = False
    points.closed[0, row["dg48"]] = True
    units = [row_.name for row_ in feeder.injections]
    points.kw[:, [units.index("generator.dg48"), units.index("generator.dg78")]] = 0.0
    return feeder, points


@pytest.mark.parametrize("name", ["ieee13", "ieee34", "islands"])
def test_slopes_of_a_solution(name, rng):
    """Loadings, sources, grid-forming units and dead parts too, by way of the engine."""
    if name == "islands":
        feeder, points = island_points(rng)
    else:
        feeder = feeder_of(name)
        points = stacked([random_setpoints(feeder, rng) for _ in range(COPIES)])
    slopes = random_slopes(feeder, rng)
    engine = open_batch_engine(feeder, COPIES, "batched", tolerance=1e-11, backend="numpy", validate=False)
    scaled = SolutionSlopes(*(getattr(slopes, key) * times for key, times in TIMES.items()))
    kw, kvar = engine.gradient(points, scaled)

    def value(*powers):
        solution, failed = engine.solve(Setpoints(*powers, points.tap, points.closed))
        assert not failed.any()
        return weighted(solution, slopes, TIMES)

    tried = rng.choice(len(feeder.injections), 2 * TRIED)
    step = 1e-4 * np.abs(feeder.nominal_kw).sum()
    differenced = differences(value, points.kw, points.kvar, tried, step)
    scale = np.abs([kw, kvar]).max(axis=(0, 2), keepdims=True)
    assert (np.abs(np.array([kw, kvar])[:, :, tried] - differenced) < 2e-6 * scale).all()
    if name == "islands":
        dead = (engine.solve(points)[0].served_kw == 0) & (points.kw != 0)
        assert dead.sum(axis=-1).min() > 5 and (kw[dead] == 0).all() and (kvar[dead] == 0).all()
    engine.close()


def test_fixed_parts_follow_when_taps_move(rng):
    """The first call takes what is alike in all copies as fixed; a later one that moves it gets other factors."""
    feeder = feeder_of("ieee13")
    points, slopes = stacked([feeder.setpoints()] * COPIES), random_slopes(feeder, rng)
    one, fresh = setpoint_gradients(feeder), setpoint_gradients(feeder)
    one(points, slopes)
    moved = points.copy()
    moved.tap[1, 0] += 5
    np.testing.assert_allclose(one(moved, slopes), fresh(moved, slopes), rtol=1e-5, atol=1e-6)
    few = Setpoints(*(getattr(moved, name)[1:] for name in POINTS))
    part = SolutionSlopes(*(getattr(slopes, field.name)[1:] for field in fields(SolutionSlopes)))
    np.testing.assert_allclose(np.array(one(few, part))[:, 0], np.array(fresh(moved, slopes))[:, 1], rtol=1e-5)
