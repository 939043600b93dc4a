"""The torch solver against the NumPy reference, and its gradients against the adjoint in NumPy."""

import re

import numpy as np
import pytest
from common import feeder_with_units, random_setpoints
from test_batched_gradients import feeder_of, island_points, stacked

from dss_marl.engines import open_batch_engine
from dss_marl.engines.batched.factors import factorised
from dss_marl.engines.batched.gradients.flow_gradients import FlowSlopes, Gradients
from dss_marl.engines.batched.reference import Reference
from dss_marl.engines.batched.solver import Demand
from dss_marl.engines.batched.store import network_of

torch = pytest.importorskip("torch")

from dss_marl.engines.batched.torch_backend.torch_power_flow import TorchPowerFlow  # noqa: E402
from dss_marl.engines.batched.torch_backend.torch_skeletons import Skeletons  # noqa: E402
from dss_marl.engines.batched.torch_backend.torch_solver import TorchSolver  # noqa: E402

COPIES = 20
FEEDERS = ["ieee13", "ieee34", "ieee37", "ieee123", "case33", "load_models"]
# Largest deviations of voltages [pu] and powers [kW] from the reference, by precision: tolerance, both.
LEVELS = {True: (1e-4, 1e-5, 0.1), False: (1e-8, 1e-7, 1e-3)}


def demand_of(feeder, rng, copies=COPIES):
    points = stacked([random_setpoints(feeder, rng) for _ in range(copies)])
    return Demand(points.kw, points.kvar, network_of(feeder).states(points.tap, points.closed))


@pytest.mark.parametrize("single", [True, False], ids=["single", "double"])
@pytest.mark.parametrize("name", FEEDERS)
def test_same_flow_as_the_reference(name, single, rng):
    feeder = feeder_of(name)
    factors, demand = factorised(network_of(feeder)), demand_of(feeder, rng)
    exact = Reference(factors).solve(demand, 1e-10, 300)
    tolerance, off_pu, off_kw = LEVELS[single]
    found = TorchSolver(factors, single, "cpu").solve(demand, tolerance, 100)
    assert (found.residual < tolerance).all()
    assert np.abs(found.v_pu - exact.v_pu).max() < off_pu
    for what in ("served_kw", "loss_kw", "source_kva"):
        assert np.abs(getattr(found, what) - getattr(exact, what)).max() < off_kw, what
    assert np.abs(np.abs(found.volts()) - np.abs(exact.volts())).max() < off_pu * network_of(feeder).volts.max()
    assert found.iterations.max() < 60


@pytest.mark.parametrize("name", FEEDERS)
def test_gradients_are_those_of_numpy(name, rng):
    feeder = feeder_of(name)
    factors, demand = factorised(network_of(feeder)), demand_of(feeder, rng, 4)
    reference, solver = Reference(factors), TorchSolver(factors, False, "cpu")
    flow = reference.solve(demand, 1e-11, 300)
    weights = {
        "v_pu": rng.normal(size=flow.v_pu.shape),
        "served_kw": rng.normal(size=demand.kw.shape) / 100,
        "loss_kw": rng.normal(size=4) / 100,
        "source_kva": (rng.normal(size=flow.source_kva.shape) + 1j * rng.normal(size=flow.source_kva.shape)) / 100,
    }
    wanted = Gradients(reference)(demand, flow.volts(), FlowSlopes(**weights))
    kw, kvar = (torch.tensor(x, requires_grad=True) for x in (demand.kw, demand.kvar))
    found = solver.flow(kw, kvar, torch.tensor(demand.states), 1e-11, 300)
    total = sum((torch.tensor(w).conj() * getattr(found, name)).real.sum() for name, w in weights.items())
    total.backward()
    for got, expected in zip((kw.grad, kvar.grad), wanted, strict=True):
        np.testing.assert_allclose(got.numpy(), expected, atol=1e-7 * np.abs(wanted).max())


def test_skeletons_are_inverted(rng):
    """By levels, for states that differ and for one that all share."""
    feeder = feeder_with_units("ieee123")
    factors, demand = factorised(network_of(feeder)), demand_of(feeder, rng, 5)
    reference, skeletons = Reference(factors), Skeletons(factors, torch.device("cpu"))
    x = rng.normal(size=(5, factors.skeleton_size)) + 0j
    for states in (demand.states, np.repeat(demand.states[:1], 5, axis=0)):
        found = skeletons.inverse(torch.tensor(states))(torch.tensor(x)).numpy()
        exact = np.linalg.solve(reference.skeletons(states), x[..., None])[..., 0]
        np.testing.assert_allclose(found, exact, rtol=1e-6, atol=1e-9 * np.abs(exact).max())


def test_only_wanted_copies_are_solved(rng):
    feeder = feeder_with_units("ieee13")
    factors, demand = factorised(network_of(feeder)), demand_of(feeder, rng, 6)
    solver, which = TorchSolver(factors, False, "cpu"), np.array([True, False, True, True, False, False])
    some = solver.solve(Demand(demand.kw, demand.kvar, demand.states, which), 1e-8, 100)
    every = solver.solve(demand, 1e-8, 100)
    np.testing.assert_allclose(some.v_pu[which], every.v_pu[which], atol=1e-12)
    assert not some.v_pu[~which].any() and not some.residual[~which].any()


def test_a_copy_without_solution_leaves_the_others_alone(rng):
    feeder = feeder_with_units("ieee13")
    factors, demand = factorised(network_of(feeder)), demand_of(feeder, rng, 3)
    demand.kw[1] *= 50
    found = TorchSolver(factors, True, "cpu").solve(demand, 1e-4, 100)
    exact = Reference(factors).solve(demand, 1e-8, 100)
    assert found.residual[1] > 1e-4 and (found.residual[[0, 2]] < 1e-4).all()
    assert np.abs(found.v_pu - exact.v_pu)[[0, 2]].max() < 1e-5


def test_as_a_backend_of_the_batched_engine():
    """Which compares itself with OpenDSS when it is opened."""
    engine = open_batch_engine(feeder_with_units("ieee34"), 8, "batched", backend="torch")
    assert re.search(r"torch, single precision, [\d.e-]+ pu from OpenDSS", repr(engine))
    engine.close()


def test_gradient_of_tensors_through_islands_and_dead_parts(rng):
    """Losses fall against their slope; dead injections have none."""
    feeder, points = island_points(rng)
    flow = TorchPowerFlow(feeder, device="cpu")
    kw, kvar = (torch.tensor(x, requires_grad=True) for x in (points.kw, points.kvar))
    loss_kw = flow(kw, kvar, points.tap, points.closed).loss_kw
    loss_kw.sum().backward()
    moved = torch.tensor(points.kvar) - 20 * kvar.grad / kvar.grad.abs().amax(1, keepdim=True)
    lower = flow(kw.detach(), moved, points.tap, points.closed).loss_kw
    assert (lower < loss_kw).all()
    engine = open_batch_engine(feeder, len(points.kw), "batched", backend="numpy", validate=False)
    dead = (engine.solve(points)[0].served_kw == 0) & (points.kw != 0)
    assert dead.any() and not kw.grad.numpy()[dead].any() and not kvar.grad.numpy()[dead].any()
