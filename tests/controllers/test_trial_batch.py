"""Trials on the batched engine: what OpenDSS finds, and the choices of searches that use them."""

import pickle

import numpy as np
import pytest
from common import scenario_of

import dss_marl
from dss_marl.controllers import Greedy
from dss_marl.controllers.planning.reconfiguration import plan as reconfiguration
from dss_marl.controllers.planning.reconfiguration.plan import plan_day
from dss_marl.controllers.search import trial_batch
from dss_marl.controllers.search.branch_exchange import BranchExchange
from dss_marl.controllers.search.radial_configurations import RadialConfigurations
from dss_marl.controllers.search.spanning_trees import all_trees, ring_table
from dss_marl.controllers.search.trial_batch import COPIES, TrialBatch
from dss_marl.controllers.search.trial_solves import TrialSolver
from dss_marl.engines import open_batch_engine, open_engine
from dss_marl.envs.task import build_task
from dss_marl.envs.trial_simulator import TrialSimulator

pytest.importorskip("numba")
SUMMER = 175


@pytest.fixture(autouse=True)
def own_store(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("DSS_MARL_CACHE", str(tmp_path_factory.getbasetemp() / "tables"))


def begun(name, steps=0, **changes):
    """An environment on an engine with little noise, some intervals into a day."""
    task = build_task(scenario_of(name).replace(**changes))
    env = dss_marl.ZoneEnv(task, "test", open_engine(task.feeder, tolerance=1e-7))
    env.reset(seed=3, options={"day": SUMMER})
    for _ in range(steps):
        env.step(env.task.encoding.encode(env.simulator.hold_action(env.now)))
    return env


@pytest.mark.parametrize(
    ("name", "steps", "changes"),
    [
        ("ieee13_volt_var", 40, {}),
        ("ieee34_volt_var", 50, {}),
        ("ieee123_volt_var_attack", 45, {}),
        ("ieee123_hybrid", 30, {}),
        ("ieee123_restoration", 3, {}),
        ("ieee13_microgrid", 2, {}),
        ("eulv_ev", 30, {}),
        ("case33_reconfiguration", 12, {}),
        ("ieee13_volt_var", 40, {"observed_voltages": "last"}),
    ],
)
def test_rewards_are_those_of_opendss(name, steps, changes, rng):
    env = begun(name, steps, **changes)
    now, trials = env.now, TrialSolver(env.simulator, env.attack)
    held = env.simulator.hold_action(now)
    shape = (COPIES + 5, len(held))  # more than are solved at once
    tried = np.where(rng.random(shape) < 0.4, rng.uniform(-1, 1, shape), held)
    batch = TrialBatch.opened(trials)
    found = batch.rewards(trials, now, tried)
    expected = np.array([trials.reward(now, row) for row in tried])
    assert np.array_equal(np.isfinite(found), np.isfinite(expected))
    alive = np.isfinite(expected)
    assert alive.any()
    np.testing.assert_allclose(found[alive], expected[alive], rtol=1e-5, atol=3e-4)
    assert np.ptp(expected[alive]) > 1e-3  # the trials differ
    assert env.now is now
    assert trials.reward(now, tried[0]) == pytest.approx(expected[0], abs=1e-4)
    batch.close()


@pytest.mark.parametrize("name", ["case33_reconfiguration", "ieee123_reconfiguration"])
def test_no_configuration_earns_more_on_opendss_than_its_bound(name, rng):
    env = begun(name, 12)
    trials = TrialSolver(env.simulator)
    search = RadialConfigurations(trials)
    trees = all_trees(ring_table(search.group, env.task.start.closed))
    some = trees[rng.choice(len(trees), 80, replace=False)]
    bounds = search.bounds(TrialBatch.opened(trials), env.now, some)
    earned = np.array([search.reward(env.now, places) for places in some])
    assert (bounds >= earned).all()
    assert np.median(bounds - earned) < 1e-3


@pytest.mark.parametrize(("name", "hour"), [("ieee13_volt_var", 10), ("ieee34_volt_var", 11)])
def test_greedy_chooses_as_on_opendss_alone(name, hour):
    """On an engine with little noise; at the default tolerance what OpenDSS solved before decides between ties."""
    env = begun(name, start_hour=hour, steps=24)
    env.reset(seed=0, options={"day": SUMMER})
    trials = TrialSolver(env.simulator)
    alone, batched = Greedy(), Greedy(batched=True)
    for controller in (alone, batched):
        controller.reset(env)
    chosen, lost = [], []
    while env.agents:
        chosen.append([controller.best(env) for controller in (alone, batched)])
        lost.append(trials.reward(env.now, chosen[-1][0]) - trials.reward(env.now, chosen[-1][1]))
        env.step(env.task.encoding.encode(chosen[-1][0]))
    one, other = np.array(chosen).swapaxes(0, 1)
    same = np.isclose(one, other, atol=1e-9).all(axis=1)
    assert same.mean() >= 0.9  # but for ties
    assert max(lost) < 1e-3
    assert np.ptp(one, axis=0).max() > 0.1


def test_greedy_solves_little_on_opendss(monkeypatch):
    spent = []
    original = TrialSolver.reward
    monkeypatch.setattr(TrialSolver, "reward", lambda self, *given: spent.append(1) or original(self, *given))
    env = begun("ieee13_volt_var", 40)
    greedy = Greedy(batched=True)
    greedy.reset(env)
    env.step(env.task.encoding.encode(greedy.best(env)))
    assert len(spent) <= 4


@pytest.mark.parametrize("name", ["case33_reconfiguration", "ieee123_reconfiguration"])
def test_branch_exchange_ends_where_it_does_on_opendss_alone(name, monkeypatch):
    solves, ends = [], []
    original = TrialSolver.reward
    monkeypatch.setattr(TrialSolver, "reward", lambda self, *given: solves.append(1) or original(self, *given))
    for batched in (False, True):
        env, controller = begun(name, start_hour=9, steps=6), BranchExchange(batched=batched)
        observations, _ = env.reset(seed=0, options={"day": SUMMER})
        controller.reset(env)
        closed, before = [], len(solves)
        while env.agents:
            observations, *_ = env.step(controller.act(env, observations))
            closed.append(env.after.setpoints.closed)
        ends.append((np.array(closed), len(solves) - before))
    (one, many), (other, few) = ends
    assert np.array_equal(one, other)
    assert (one != env.task.start.closed).any()
    assert few < 0.1 * many


def test_controllers_are_copied_without_the_engine():
    env = begun("ieee13_volt_var", 40)
    greedy = Greedy(solves=60, batched=True)
    greedy.reset(env)
    chosen = greedy.best(env)
    np.testing.assert_allclose(pickle.loads(pickle.dumps(greedy)).best(env), chosen)
    other = begun("ieee34_volt_var", 40)  # and it opens another one for another task
    greedy.reset(other)
    assert greedy.best(other).shape == other.task.default_action.shape


@pytest.mark.parametrize(("name", "most"), [("case33_reconfiguration", 0.2), ("ieee123_reconfiguration", 0.1)])
def test_a_plan_of_switching_is_the_same(name, most, monkeypatch):
    """With and without screening by the linear model; OpenDSS solves a small part."""
    task = build_task(scenario_of(name).replace(start_hour=9, steps=6))
    plans, solves = [], []
    original = TrialSolver.reward
    monkeypatch.setattr(TrialSolver, "reward", lambda self, *given: solves.append(1) or original(self, *given))
    opened = TrialBatch.opened
    counts = []
    for open_batch in (lambda trials: None, opened):
        monkeypatch.setattr(reconfiguration.TrialBatch, "opened", open_batch)
        solves.clear()
        plans.append(plan_day(task, SUMMER))
        counts.append(len(solves))
    assert np.array_equal(*plans)
    assert counts[1] < most * counts[0]


def test_where_the_batched_engine_cannot_be_used(monkeypatch):
    env = begun("ieee13_volt_var")
    trials = TrialSolver(env.simulator)
    own = TrialSolver(begun("ieee13_volt_var", circuit_controls=True).simulator)
    assert TrialBatch.opened(own) is None

    def refuse(*given, **options):
        raise ValueError("transformer 't1' has no model here")

    with monkeypatch.context() as patch:
        patch.setattr(trial_batch, "open_batch_engine", refuse)
        assert TrialBatch.opened(trials) is None
        greedy = Greedy(solves=20, batched=True)
        greedy.reset(env)
        assert greedy.best(env).shape == env.task.default_action.shape
    with monkeypatch.context() as patch:
        patch.setattr(trial_batch, "find_spec", lambda name: None)
        assert TrialBatch.opened(trials) is None
    env.simulator.engine = object()
    assert TrialBatch.opened(trials) is None


def test_trials_that_do_not_fit_are_refused():
    env = begun("ieee13_volt_var")
    simulator = TrialSimulator(env.task, open_batch_engine(env.task.feeder, 2, "opendss"))
    held = env.simulator.hold_action(env.now)
    with pytest.raises(ValueError, match="up to 2 trials at once; got 3"):
        simulator.trials(env.simulator.conditions, env.now, np.tile(held, (3, 1)))
    with pytest.raises(ValueError, match="differ in their joint actions or in their switches"):
        simulator.trials(env.simulator.conditions, env.now)
