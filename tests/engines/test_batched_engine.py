"""The batched engine against OpenDSS on random states; what it refuses, repeats, keeps and says."""

import os
import pickle

import numpy as np
import pytest
from common import feeder_with_units, task_of

from dss_marl import OpenDSSEngine, PowerFlowError, read_feeder
from dss_marl.engines import open_batch_engine, open_engine
from dss_marl.engines.batched import engine as engines
from dss_marl.engines.batched import store
from dss_marl.engines.batched.engine import BatchedEngine
from dss_marl.engines.batched.validation import Means, compare, random_states
from dss_marl.grid.copies import rows_of

numba = pytest.mark.skipif(engines.backend_of(None) != "numba", reason="needs numba")
FEEDERS = {
    "ieee13": lambda: task_of("ieee13_volt_var").feeder,
    "ieee13, an island with its own source": lambda: task_of("ieee13_microgrid").feeder,
    "ieee34": lambda: task_of("ieee34_volt_var").feeder,
    "ieee37": lambda: read_feeder("ieee37"),
    "ieee123": lambda: task_of("ieee123_hybrid").feeder,
    "ieee123, six sources and ties": lambda: task_of("ieee123_restoration").feeder,
    "case33, loops": lambda: task_of("case33_reconfiguration").feeder,
    "case69": lambda: read_feeder("case69"),
    "case141": lambda: task_of("case141_volt_var").feeder,
    "eulv": lambda: task_of("eulv_volt_var").feeder,
}
SLOW = {"ieee8500": lambda: task_of("ieee8500_restoration").feeder}


@pytest.fixture(autouse=True)
def own_store(tmp_path_factory, monkeypatch):
    """Nothing from an earlier run."""
    monkeypatch.setenv("DSS_MARL_CACHE", str(tmp_path_factory.getbasetemp() / "tables"))


def agrees(feeder, tolerance, count, voltage, rest):
    engine = BatchedEngine(feeder, 2, tolerance=tolerance)
    found = compare(engine, engine.means, count, seed=5)
    assert found.states + found.ambiguous + found.unsolved == count
    assert found.states >= 0.6 * count
    assert found.v_pu < voltage, found.node
    assert max(found.loss, found.source, found.loading) < rest, found
    engine.close()


@numba
@pytest.mark.parametrize("name", FEEDERS)
def test_random_states_agree_with_opendss(name):
    """Any taps and banks, open and closed switches, dead parts; voltages in pu, the rest over the source's power."""
    agrees(FEEDERS[name](), 1e-4, 100, 2e-5, 4e-4)
    agrees(FEEDERS[name](), 1e-6, 100, 1e-6, 1e-5)


@numba
@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_random_states_of_a_large_feeder_agree_with_opendss(name):
    agrees(SLOW[name](), 1e-4, 40, 2e-5, 1e-3)


def test_numpy_alone_agrees_with_opendss():
    feeder = task_of("ieee13_volt_var").feeder
    engine = BatchedEngine(feeder, 40, backend="numpy", tolerance=1e-6)
    assert engine.precision is np.float64
    assert compare(engine, engine.means, 40, seed=6).v_pu < 1e-6


def test_an_engine_says_how_far_it_is_from_opendss():
    engine = open_batch_engine(feeder_with_units("ieee13"), 3, "batched")
    assert engine.validation.states > 20
    assert engine.validation.v_pu < 2e-5
    words = repr(engine)
    assert "'ieee13': 3 copies" in words
    assert f"{engine.validation.v_pu:.1e} pu from OpenDSS at most in {engine.validation.states} random states" in words


def test_solutions_that_differ_from_opendss_are_refused(monkeypatch):
    """The last of all means is the one that is told of."""
    tried = []

    def wrong(engine, means, count=32, seed=0):
        tried.append(means)
        return engines.Validation(32, 0, 0, 1e-3, "671.1", 0.0, 0.0, 0.0)

    monkeypatch.setattr("dss_marl.engines.batched.validation.compare", wrong)
    monkeypatch.setattr("dss_marl.engines.batched.validation.recalled", lambda key, made: made())
    with pytest.raises(
        ValueError, match=r"'ieee13': the batched engine's voltage of node 671\.1 differs .* by 0\.001 pu"
    ):
        BatchedEngine(feeder_with_units("ieee13"), 2)
    assert tried == [Means(p, stop) for p in ("single", "double") for stop in (1e-4, 1e-5)]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"copies": 0}, "copies must be at least 1; got 0"),
        ({"precision": "half"}, "precision must be 'single', 'double' or None; got 'half'"),
        ({"tolerance": 0.0}, "tolerance must be above 0"),
        ({"floor_pu": 0.3}, r"between 0\.4 and 1\.6; got 0\.3"),
        ({"backend": "fortran"}, "backend must be one of numba, numpy.*; got 'fortran'"),
    ],
)
def test_wrong_options_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        BatchedEngine(feeder_with_units("ieee13"), **{"copies": 2, **given})


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("new pvsystem.roof bus1=b kv=10 pmpp=20 kva=20\nnew upfc.u bus1=b bus2=e element=line.a", "cannot model"),
        ("new generator.own bus1=b kv=10 kw=20 model=1", r"cannot model: generator\.own; .* use the engine 'opendss'"),
        (
            "new loadshape.y npts=2 interval=1 mult=[1 1]\nnew load.l bus1=b kv=10 kw=5 model=4 cvrcurve=y",
            "a CVR curve",
        ),
    ],
)
def test_what_has_no_model_is_refused_by_name(tmp_path, extra, message):
    (tmp_path / "c.dss").write_text(
        "clear\nnew circuit.c basekv=10 mvasc3=100 mvasc1=100\nnew line.a bus1=sourcebus bus2=b length=1\n"
        f"new line.s bus1=b bus2=e length=1\n{extra}\nset voltagebases=[10]\ncalcvoltagebases\n"
    )
    feeder = read_feeder(tmp_path / "c.dss")
    with pytest.raises(ValueError, match=message):
        BatchedEngine(feeder, 2)


# --- what the solver does not find -----------------------------------------------------------------------------------


def lost(monkeypatch, engine, which):
    """The solver says that it has not converged in these copies."""
    solver_for = type(engine)._solver_for

    class Lost:
        def __init__(self, solver):
            self.solver = solver

        def solve(self, demand, tolerance, iterations):
            flow = self.solver.solve(demand, tolerance, iterations)
            residual, v_pu = flow.residual.copy(), flow.v_pu.copy()
            residual[which], v_pu[which] = np.inf, 0.9
            return engines.Flow(**{**vars(flow), "residual": residual, "v_pu": v_pu})

    monkeypatch.setattr(type(engine), "_solver_for", lambda self, states: Lost(solver_for(self, states)))


def batch_of(feeder, count, seed=1):
    return random_states(feeder, count, seed)


def test_copies_that_do_not_converge_are_solved_again(monkeypatch):
    feeder = task_of("ieee13_volt_var").feeder
    engine, points = BatchedEngine(feeder, 4, tolerance=1e-6), batch_of(feeder, 4)
    expected, _ = engine.solve(points)
    lost(monkeypatch, engine, [1, 3])
    monkeypatch.setattr(engines, "OpenDSSEngine", lambda *_: pytest.fail("asked OpenDSS"))
    found, failed = engine.solve(points)
    assert not failed.any()
    assert np.abs(found.v_pu - expected.v_pu).max() < 1e-6
    assert np.abs(found.loading - expected.loading).max() < 1e-5
    assert found.loss_kw == pytest.approx(expected.loss_kw, abs=1e-2)
    assert found.served_kw == pytest.approx(expected.served_kw, abs=1e-2)


def test_what_float64_does_not_solve_is_solved_by_opendss(monkeypatch):
    feeder = task_of("ieee13_volt_var").feeder
    engine, points = BatchedEngine(feeder, 3, tolerance=1e-6), batch_of(feeder, 3)
    expected, _ = engine.solve(points)
    lost(monkeypatch, engine, [2])
    reserve = engines.ExactSolver.solve

    def stuck(self, demand, tolerance, iterations):
        flow = reserve(self, demand, tolerance, iterations)
        return engines.Flow(**{**vars(flow), "residual": np.full(len(demand.kw), np.inf)})

    monkeypatch.setattr(engines.ExactSolver, "solve", stuck)
    found, failed = engine.solve(points)
    assert not failed.any()
    assert engine._reserve is not None
    assert np.abs(found.v_pu - expected.v_pu).max() < 1e-6
    assert np.abs(found.loading - expected.loading).max() < 1e-5
    assert found.source_kw == pytest.approx(expected.source_kw, abs=1e-2)


def test_a_copy_without_solution_has_failed_and_the_others_have_not():
    feeder = task_of("ieee34_volt_var").feeder
    engine, points = BatchedEngine(feeder, 5, tolerance=1e-6), batch_of(feeder, 5)
    alone, _ = engine.solve(points)
    points.kw[2] *= 40
    points.kw[4, 0] = np.nan
    found, failed = engine.solve(points)
    assert failed.tolist() == [False, False, True, False, True]
    assert sorted(engine.reasons) == [2, 4]
    assert "NaN" in engine.reasons[4]
    assert np.isfinite(found.v_pu).all()
    assert np.array_equal(found.v_pu[[0, 1, 3]], alone.v_pu[[0, 1, 3]])
    assert np.array_equal(found.loss_kw[[0, 1, 3]], np.asarray(alone.loss_kw)[[0, 1, 3]])


@pytest.mark.parametrize(
    ("limit", "reason"), [({"floor_pu": 0.99}, "below the floor"), ({"ceiling_pu": 1.02}, "above")]
)
def test_voltages_beyond_the_limits_are_a_failed_power_flow(limit, reason):
    """Though the power flow converges."""
    feeder = feeder_with_units("ieee13")
    one = feeder.setpoints()
    points = batch_of(feeder, 2)
    points.closed[:], points.tap[:], points.kw[:], points.kvar[:] = one.closed, one.tap, one.kw, one.kvar
    engine = BatchedEngine(feeder, 2, validate=False, **limit)
    _, failed = engine.solve(points)
    assert failed.all()
    assert reason in engine.reasons[0]
    engine.close()


@pytest.mark.parametrize("alike", [True, False])
def test_dead_parts_have_no_voltage_and_draw_nothing(alike):
    """Whether the same part is dead in all copies or not."""
    feeder = feeder_with_units("ieee123")
    one = feeder.setpoints()
    lines = [s for s, row in enumerate(feeder.switches) if row.kind == "switch" and one.closed[s]]
    points = batch_of(feeder, 2)
    points.closed[:], points.tap[:], points.kw[:], points.kvar[:] = one.closed, one.tap, one.kw, one.kvar
    points.closed[:, lines[1]] = False
    points.closed[1, lines[2]] = alike
    engine, judge = BatchedEngine(feeder, 2, tolerance=1e-6, validate=False), OpenDSSEngine(feeder, tolerance=1e-9)
    found, failed = engine.solve(points)
    assert not failed.any()
    for b in range(2):
        truth = judge.solve(rows_of(points, b))
        assert not truth.energised.all()
        assert (found.v_pu[b][~truth.energised] == 0).all()
        assert np.abs(found.v_pu[b] - truth.v_pu).max() < 1e-6
        assert np.abs(found.served_kw[b] - truth.served_kw).max() < 1e-2
    judge.close()


def test_sources_in_parallel_are_a_failed_power_flow():
    feeder = task_of("ieee13_microgrid").feeder
    engine, one = BatchedEngine(feeder, 2), feeder.setpoints()
    points = batch_of(feeder, 2)
    points.closed[:], points.tap[:], points.kw[:], points.kvar[:] = one.closed, one.tap, one.kw, one.kvar
    lines = [row.kind == "switch" for row in feeder.switches]
    points.closed[:, lines] = True
    points.closed[1, feeder.grid_forming_units] = True
    _, failed = engine.solve(points)
    assert failed.tolist() == [False, True]
    assert "is on, but another source feeds its bus" in engine.reasons[1]


def test_copies_that_are_not_wanted_are_left_alone():
    feeder = task_of("ieee13_volt_var").feeder
    engine, points = BatchedEngine(feeder, 3), batch_of(feeder, 3)
    whole, _ = engine.solve(points)
    points.kw[1] = np.nan
    found, failed = engine.solve(points, wanted=np.array([True, False, True]))
    assert not failed.any()
    assert np.array_equal(found.v_pu[[0, 2]], whole.v_pu[[0, 2]])


# --- what stands still -----------------------------------------------------------------------------------------------


def test_what_cannot_move_is_part_of_the_tables_until_it_does():
    feeder = task_of("ieee123_hybrid").feeder
    moving = np.ones(len(feeder.taps), bool), np.array([row.kind == "capacitor" for row in feeder.switches])
    still = BatchedEngine(feeder, 3, tolerance=1e-6, moving=moving, validate=False)
    free = BatchedEngine(feeder, 3, tolerance=1e-6, validate=False)
    points = batch_of(feeder, 3)
    points.closed[:] = feeder.setpoints().closed
    for _ in range(2):
        one, two = still.solve(points)[0], free.solve(points)[0]
        assert np.abs(one.v_pu - two.v_pu).max() < 1e-6
        assert np.abs(one.loading - two.loading).max() < 1e-5
        assert still._solver.factors.skeleton_size < free._solver.factors.skeleton_size
        line = next(s for s, row in enumerate(feeder.switches) if row.kind == "switch" and row.closed)
        points.tap[0] += 1
    points.closed[1, line] = False
    one, two = still.solve(points)[0], free.solve(points)[0]
    assert np.abs(one.v_pu - two.v_pu).max() < 1e-6
    assert still._solver.factors.skeleton_size == free._solver.factors.skeleton_size


# --- what is kept ----------------------------------------------------------------------------------------------------


def emptied(monkeypatch, tmp_path):
    monkeypatch.setenv("DSS_MARL_CACHE", str(tmp_path / "tables"))
    monkeypatch.setattr(store, "_kept", {})
    return tmp_path / "tables"


def test_tables_are_kept_whole_for_later_processes(monkeypatch, tmp_path):
    place, feeder = emptied(monkeypatch, tmp_path), feeder_with_units("ieee13")
    first = BatchedEngine(feeder, 2)
    names = sorted(path.name for path in place.iterdir())
    assert [name.split("-")[0] for name in names] == ["network", "validation"]
    monkeypatch.setattr(store, "_kept", {})
    monkeypatch.setattr(store, "read_network", lambda *_: pytest.fail("read again"))
    again = BatchedEngine(feeder, 2)
    assert again.validation == first.validation
    points = batch_of(feeder, 2)
    assert np.array_equal(again.solve(points)[0].v_pu, first.solve(points)[0].v_pu)


def test_a_table_that_was_cut_short_is_made_again(monkeypatch, tmp_path):
    place, feeder = emptied(monkeypatch, tmp_path), feeder_with_units("ieee13")
    BatchedEngine(feeder, 2)
    for path in place.iterdir():
        path.write_bytes(path.read_bytes()[:100])
    monkeypatch.setattr(store, "_kept", {})
    assert BatchedEngine(feeder, 2).validation.v_pu < 2e-5
    assert all(len(path.read_bytes()) > 100 for path in place.iterdir())


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_no_error(monkeypatch, tmp_path):
    emptied(monkeypatch, tmp_path).mkdir(mode=0o500)
    assert BatchedEngine(feeder_with_units("ieee13"), 2).validation


def test_another_circuit_has_other_tables(tmp_path):
    text = "clear\nnew circuit.c basekv=10\nnew line.a bus1=sourcebus bus2=b length={}\nset voltagebases=[10]\ncalcv\n"
    keys = []
    for length in (1, 2):
        (tmp_path / "c.dss").write_text(text.format(length))
        keys.append(store.digest(read_feeder(tmp_path / "c.dss")))
    assert keys[0] != keys[1]
    assert store.digest(read_feeder(tmp_path / "c.dss", ["edit line.a r1=3"])) not in keys


def test_a_copy_of_an_engine_solves_alike():
    feeder = feeder_with_units("ieee13")
    engine, points = BatchedEngine(feeder, 2), batch_of(feeder, 2)
    twin = pickle.loads(pickle.dumps(engine))
    assert (twin.copies, twin.means, twin.validation) == (engine.copies, engine.means, engine.validation)
    assert np.array_equal(twin.solve(points)[0].v_pu, engine.solve(points)[0].v_pu)
    assert np.array_equal(rows_of(twin.solve(points)[0], 1).loading, engine.solve(points)[0].loading[1])


def test_without_numba_it_runs_in_numpy_and_says_so(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "numba", None)
    with pytest.warns(UserWarning, match=r"numba is not installed.*pip install 'dss_marl\[fast\]'"):
        engine = BatchedEngine(feeder_with_units("ieee13"), 2)
    assert engine.backend == "numpy"
    with pytest.raises(ValueError, match=r"backend 'numba' needs numba: pip install 'dss_marl\[fast\]'"):
        BatchedEngine(feeder_with_units("ieee13"), 2, backend="numba")


def test_controls_that_find_no_rest_are_asked_of_opendss(monkeypatch):
    feeder = feeder_with_units("ieee13")
    engine, points = BatchedEngine(feeder, 2, tolerance=1e-6), batch_of(feeder, 2)
    expected, _ = engine.solve(points, controls=True)
    assert not np.array_equal(expected.tap, points.tap)
    monkeypatch.setattr("dss_marl.engines.batched.controls.circuit_controls.MOST_SOLVES", 1)
    found, failed = engine.solve(points, controls=True)
    assert not failed.any()
    assert np.array_equal(found.tap, expected.tap)
    assert np.abs(found.v_pu - expected.v_pu).max() < 1e-6


def test_errors_name_the_engines_that_there_are():
    feeder = feeder_with_units("ieee13")
    with pytest.raises(ValueError, match="unknown engine 'fortran'; known: batched, opendss"):
        open_batch_engine(feeder, 2, "fortran")
    with pytest.raises(ValueError, match="engine 'batched' solves many copies at once: use it with make_batch"):
        open_engine(feeder, "batched")


def test_errors_of_opendss_are_the_reasons():
    feeder = feeder_with_units("ieee13")
    engine, points = BatchedEngine(feeder, 2), batch_of(feeder, 2)
    points.kw[0] *= 60
    _, failed = engine.solve(points, controls=True)
    assert failed[0]
    assert "failed" in engine.reasons[0]
    assert issubclass(PowerFlowError, RuntimeError)
