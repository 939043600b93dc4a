"""Copies of an environment move together or not at all; after an error in between they refuse to go on."""

from functools import partial

import numpy as np
import pytest
from dummies import Team
from sb3_routes import both_routes, everywhere, rollout

pytest.importorskip("stable_baselines3")
pytest.importorskip("supersuit")

import dss_marl
from dss_marl.integrations.sb3 import to_sb3

pytestmark = pytest.mark.usefixtures("one_thread")


class Stumbling(Team):
    """Fails in the step or reset after the one in which ``stumble`` was called."""

    stumbles = ""

    def stumble(self, where):
        self.stumbles = where

    def step(self, actions):
        self._fall("step")
        return super().step(actions)

    def reset(self, seed=None, options=None):
        self._fall("reset")
        return super().reset(seed, options)

    def _fall(self, where):
        if self.stumbles == where:
            self.stumbles = ""
            raise ZeroDivisionError("stumbled")


def zeros(venv):
    return np.zeros((venv.num_envs, 2), np.float32)


@everywhere
def test_one_nan_moves_no_copy(route, num_cpus):
    venv = to_sb3(Team, n_envs=3, num_cpus=num_cpus, route=route, seed=3)
    other = to_sb3(Team, n_envs=3, num_cpus=0, seed=3)
    venv.reset()
    other.reset()
    bad = zeros(venv)
    bad[3, 1] = np.nan
    for _ in range(2):
        with pytest.raises(ValueError, match=r"action of row 3.*no copy has moved"):
            venv.step(bad)
    assert set(venv.get_attr("now")) == {0}
    for ours, theirs in zip(rollout(venv, 4)[:3], rollout(other, 4)[:3], strict=True):
        assert np.array_equal(ours, theirs)
    venv.close()
    other.close()


@both_routes
@pytest.mark.parametrize("choice", [-1, 4])
def test_a_choice_that_there_is_not_moves_no_copy(route, choice):
    venv = to_sb3(partial(Team, n_actions=4), n_envs=2, route=route)
    venv.reset()
    bad = np.zeros(venv.num_envs, np.int64)
    bad[-1] = choice
    with pytest.raises(ValueError, match="no copy has moved"):
        venv.step(bad)
    assert set(venv.get_attr("now")) == {0}
    venv.close()


@everywhere
@pytest.mark.parametrize("where", ["step", "reset"])
def test_after_an_error_in_one_copy_all_refuse_until_a_reset(route, num_cpus, where):
    """SuperSuit's workers end with the first error, so that theirs refuse for good."""
    venv = to_sb3(Stumbling, n_envs=2, num_cpus=num_cpus, route=route, seed=1)
    venv.reset()
    venv.env_method("stumble", where, indices=[2])
    with pytest.raises(ZeroDivisionError, match="stumbled"):
        venv.step(zeros(venv)) if where == "step" else venv.reset()
    final = route == "supersuit" and num_cpus > 0
    cure = "build new ones" if final else "call reset first"
    with pytest.raises(RuntimeError, match=rf"some copies .*ZeroDivisionError: stumbled.*{cure}"):
        venv.step(zeros(venv))
    if final:
        with pytest.raises(RuntimeError, match=cure):
            venv.reset()
    else:
        assert np.isfinite(venv.reset()).all()
        venv.step(zeros(venv))
    venv.close()


@both_routes
def test_one_nan_in_a_grid_moves_no_copy(route):
    venv = to_sb3(partial(dss_marl.make, "ieee13_volt_var", steps=3), n_envs=2, route=route, seed=0)
    venv.reset()
    bad = np.zeros((venv.num_envs, *venv.action_space.shape), np.float32)
    bad[-1, 0] = np.nan
    with pytest.raises(ValueError, match="no copy has moved"):
        venv.step(bad)
    venv.step(np.nan_to_num(bad))
    assert {state.step for state in venv.get_attr("after")} == {0}
    venv.close()
