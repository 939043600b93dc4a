"""Single precision: what is compiled, looked up in advance or rounded agrees with double precision."""

import pickle

import numpy as np
import pytest
from batch_engines import Recording, Single, Still
from common import EVERY, LARGE, load_cached

import dss_marl
from dss_marl import build_task, load_scenario
from dss_marl.envs.batch_env import BatchZoneEnv
from dss_marl.grid import compiled
from dss_marl.mdp.observations import KNOWN

REL, ABS = 1e-5, 5e-6  # an observed voltage of 0 is 1 pu, whose last digit is 6e-8 pu, times 20


def played(task, engine, steps):
    """Random episodes: observations, rewards, terms, infos and states of each step."""
    batch = BatchZoneEnv(task, engine.copies, engine=engine)
    batch.reset(3)
    rng, found = np.random.default_rng(0), []
    for _ in range(steps):
        result = batch.step(actions(batch, rng))
        states = (batch.after.solution.v_pu, batch.after.setpoints.tap, batch.now.forecast, batch.now.price)
        found.append((result.observations, result.rewards, batch.terms, result.values, batch.state(), *states))
        assert result.observations.dtype == np.float32
    batch.close()
    return found, batch


def actions(batch, rng):
    counts = batch.task.encoding.counts
    if counts.any():  # the lowest level of each entry is never NaN
        return np.zeros(batch.action_rows.shape, np.int64)
    return rng.uniform(-1.05, 1.05, batch.action_rows.shape).astype(np.float32)


def agree(one, two):
    for step, pair in enumerate(zip(one, two, strict=True)):
        for k, (x, y) in enumerate(zip(*pair, strict=True)):
            assert x == pytest.approx(y, rel=REL, abs=ABS), (step, k)


@pytest.mark.parametrize("name", [name for name in EVERY if name not in LARGE])
def test_single_precision_agrees(name):
    task = load_cached(name, steps=2)
    recording = Recording(task.feeder, 3)
    exact, _ = played(task, recording, 3)
    single, batch = played(task, Single(recording), 3)
    assert batch.now.setpoints.kw.dtype == batch.now.solution.v_pu.dtype == np.float32
    agree(single, exact)


def test_a_task_can_be_pickled_after_its_steps():
    task = load_cached("ieee34_volt_var", steps=2)
    played(task, Still(task.feeder, 2, np.float32), 2)
    assert len(pickle.loads(pickle.dumps(task)).zones) == len(task.zones)


def worst(zone, before, after):
    """A term that is not written for leading axes."""
    return -max(after.solution.v_pu[zone.scored_nodes]) - float(after.forecast[0].sum()) / 1e4


@dss_marl.feature(["hour", "forecast"], "1", 0, 1, exogenous=True)
def hour(zone, state):
    """Neither is this feature, which follows from the day and the step."""
    return [state.hour / 24, float(state.forecast[-1].sum()) / 1e5]


KNOWN.pop("hour")  # other tests take all that are known by name


def test_terms_and_features_of_ones_own_are_the_same():
    task = build_task(
        load_scenario("ieee13_legacy").replace(
            steps=2,
            rewards={"voltage_violation": 100, "test_batch_single_precision:worst": 1},
            observations=["zone_voltage", "test_batch_single_precision:hour", "unit_voltage"],
            messages={"hops": 1, "share": ["zone_voltage", "test_batch_single_precision:hour"]},
        )
    )
    recording = Recording(task.feeder, 3)
    exact, _ = played(task, recording, 3)
    agree(played(task, Single(recording), 3)[0], exact)


class Varied(Still):
    """Voltages that differ from node to node, some of them none."""

    def solve(self, setpoints, controls=False, wanted=None):
        found, failed = super().solve(setpoints, controls, wanted)
        v = np.random.default_rng(0).normal(1.0, 0.04, found.v_pu.shape).astype(np.float32)
        alive = np.random.default_rng(1).random(v.shape) > 0.01
        found.v_pu[...] = np.where(alive, v, 0)
        found.energised[...] = alive
        return found, failed


@pytest.mark.parametrize("copies", [1, 31, 33, 70])
@pytest.mark.parametrize("name", ["ieee13_legacy", "ieee34_volt_var", "ieee123_legacy"])
def test_compiled_or_not_it_is_the_same(name, copies, monkeypatch):
    """Numbers of copies around the number that is done at once, and nodes without voltage."""
    pytest.importorskip("numba")
    task = load_cached(name, steps=3)
    ways = {}
    for way in ("compiled", "numpy", "double"):
        if way == "numpy":
            monkeypatch.setattr(compiled, "_kernels", lambda: None)
        precision = np.float64 if way == "double" else np.float32
        ways[way] = played(task, Varied(task.feeder, copies, precision), 4)[0]
    agree(ways["compiled"], ways["double"])
    agree(ways["numpy"], ways["double"])
