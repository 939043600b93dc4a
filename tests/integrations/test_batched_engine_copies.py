"""The batched engine from outside: copies as on OpenDSS within its tolerance, and what is said without numba."""

import functools
import importlib
import sys

import numpy as np
import pytest
from common import task_of

import dss_marl
from dss_marl import ZoneEnv
from dss_marl.integrations.vector import EngineChoice, build_block

TASK = functools.partial(task_of, "ieee13_volt_var")


@pytest.mark.parametrize("without_numba", [False, True])
def test_copies_are_those_of_opendss_within_the_tolerance(without_numba, rng, monkeypatch):
    if without_numba:
        monkeypatch.setattr(
            importlib.import_module("dss_marl.engines.batched.compiled.limits"), "nb", None
        )  # imported already
        monkeypatch.setitem(sys.modules, "numba", None)
        with pytest.warns(UserWarning, match="numba is not installed.*slower"):
            batch = dss_marl.make_batch("ieee13_volt_var", 3, engine="batched")
    else:
        batch = dss_marl.make_batch("ieee13_volt_var", 3, engine="batched")
        if batch.engine.backend != "numba":
            pytest.skip("numba is not installed")
    assert batch.engine.backend == ("numpy" if without_numba else "numba")
    exact = dss_marl.make_batch("ieee13_volt_var", 3)
    for one in (batch, exact):
        one.reset(seed=4)
    for _ in range(6):
        actions = rng.uniform(-1, 1, batch.action_rows.shape).astype(np.float32)
        found, expected = batch.step(actions), exact.step(actions)
        assert batch.after.solution.v_pu == pytest.approx(exact.after.solution.v_pu, abs=5e-5)
        assert np.array_equal(batch.after.setpoints.tap, exact.after.setpoints.tap)
        assert found.rewards == pytest.approx(expected.rewards, abs=5e-2)
        assert found.observations == pytest.approx(expected.observations, abs=5e-3)
    batch.close()
    exact.close()


def test_rows_come_from_it(rng):
    block = build_block(functools.partial(ZoneEnv, TASK()), 3, EngineChoice("batched", lean=True))
    seen, _, _ = block.reset([(k, None) for k in range(3)])
    assert type(block.batch.engine).__name__ == "BatchedEngine"
    before = seen.copy()
    seen, _, numbers, _, _ = block.step(np.zeros((len(seen), *block.layouts()[0].action_space.shape), np.float32))
    assert seen.shape == before.shape
    assert np.isfinite(numbers).all()
    assert block.ask([1], "get_attr", "day") == [int(block.batch.day[1])]
    block.close()
