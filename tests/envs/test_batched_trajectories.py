"""Every scenario on the batched engine: the trajectories of many copies are those on OpenDSS, within its tolerance."""

import numpy as np
import pytest
from common import EVERY, LARGE, load_cached

from dss_marl.envs.batch_env import BatchZoneEnv

# Over what a step of a scenario earns at most, or 1: voltages are within 2e-5 pu of OpenDSS's, and observed 20 times.
OBSERVED, EARNED = 2e-3, 2e-3
COUNTS = "violating"  # shares of nodes beyond a limit jump where a voltage crosses it


@pytest.fixture(autouse=True)
def own_store(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("DSS_MARL_CACHE", str(tmp_path_factory.getbasetemp() / "tables"))


def actions(batch, rng):
    """Random ones: of each entry any level, or a value in [-1, 1]."""
    width, counts = batch.action_rows.shape, batch.task.encoding.counts
    if not counts.any():
        return rng.uniform(-1, 1, width).astype(np.float32)
    found = np.zeros(width, np.int64)
    for a, agent in enumerate(batch.agents):
        space = batch.action_spaces[agent]
        levels = np.atleast_1d(getattr(space, "nvec", getattr(space, "n", 1)))
        for b in range(batch.copies):
            allowed = batch.masks[b, a] if batch.masks is not None else None
            starts = np.concatenate([[0], np.cumsum(levels)])
            for k, count in enumerate(levels):
                part = np.ones(count, bool) if allowed is None else allowed[starts[k] : starts[k + 1]]
                choices = np.flatnonzero(part) if part.any() else np.arange(count)
                found[b, a, k] = rng.choice(choices)
    return found


def compare(name, copies, steps):
    task = load_cached(name)
    batched, exact = BatchZoneEnv(task, copies, engine="batched"), BatchZoneEnv(task, copies)
    for batch in (batched, exact):
        batch.reset(5)
    rng, keys = np.random.default_rng(0), exact.step_info.keys
    smooth = [k for k, key in enumerate(keys) if COUNTS not in key]
    jumps = [k for k, key in enumerate(keys) if COUNTS in key]
    assert np.abs(batched.observations - exact.observations).max() < OBSERVED
    scale = 1.0
    for _ in range(steps):
        chosen = actions(exact, rng)
        ours, theirs = batched.step(chosen), exact.step(chosen)
        assert np.array_equal(ours.terminated, theirs.terminated)
        assert np.array_equal(ours.truncated, theirs.truncated)
        assert np.array_equal(batched.after.setpoints.tap, exact.after.setpoints.tap)
        assert np.array_equal(batched.after.setpoints.closed, exact.after.setpoints.closed)
        if batched.masks is not None:
            assert np.array_equal(batched.masks, exact.masks)
        scale = max(scale, np.abs(theirs.values[:, smooth]).max(), np.abs(theirs.rewards).max())
        assert np.abs(ours.observations - theirs.observations).max() < OBSERVED
        assert np.abs(ours.values - theirs.values)[:, smooth].max() < EARNED * scale
        alike = (np.abs(ours.values - theirs.values)[:, jumps] < 1e-6).all(axis=(1, 2))
        assert alike.mean() >= 0.5
        assert np.abs(ours.rewards - theirs.rewards)[alike].max(initial=0.0) < EARNED * scale
    assert not batched.engine.reasons
    batched.close()
    exact.close()


@pytest.mark.parametrize("name", [name for name in EVERY if name not in LARGE])
def test_trajectories_are_those_on_opendss(name):
    compare(name, 4, 14)


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_trajectories_on_a_large_feeder_are_those_on_opendss(name):
    compare(name, 2, 3)
