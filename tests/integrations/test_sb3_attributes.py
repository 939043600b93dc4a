"""Both routes to SB3 reach the copies: attributes, methods, pictures and masks."""

from functools import partial

import numpy as np
import pytest
from dummies import Bare, Masked, Team
from pettingzoo.utils import BaseParallelWrapper
from sb3_routes import both_routes, everywhere, in_place, rollout

pytest.importorskip("stable_baselines3")
pytest.importorskip("supersuit")

from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecMonitor

pytestmark = pytest.mark.usefixtures("one_thread")


@everywhere
def test_rows_reach_the_copy_that_holds_them(build, route, num_cpus):
    venv = build(Team, n_envs=3, num_cpus=num_cpus, route=route)
    assert venv.has_attr("horizon") and not venv.has_attr("nothing")
    assert venv.get_attr("horizon") == [5] * 6
    with pytest.raises(AttributeError, match="nothing"):
        venv.get_attr("nothing")
    venv.set_attr("horizon", 9, indices=[2, 5])
    assert venv.get_attr("horizon") == [5, 5, 9, 9, 9, 9]
    assert venv.get_attr("horizon", indices=-1) == [9] and venv.get_attr("horizon", indices=1) == [5]
    assert venv.env_method("count_up") == [1] * 6, "each copy once, not once per agent"
    assert venv.env_method("count_up", by=5, indices=[4, 0]) == [6, 6]
    assert venv.get_attr("count") == [6, 6, 1, 1, 6, 6]
    with pytest.raises(TypeError, match="amount"):
        venv.env_method("count_up", amount=1)
    assert venv.env_is_wrapped(Monitor) == [False] * 6
    assert venv.get_attr("horizon", indices=[0]) == [5], "still serves after errors"


@both_routes
def test_attributes_pass_through_wrappers(build, route):
    venv = build(lambda: BaseParallelWrapper(BaseParallelWrapper(Team())), route=route)
    assert venv.env_is_wrapped(BaseParallelWrapper, indices=0) == [True]
    assert venv.get_attr("horizon", 0) == [5]
    venv.set_attr("horizon", 2)
    _, _, dones, _ = rollout(venv, 2)
    assert dones[-1].all(), "the environment itself has the new horizon"


@in_place
def test_pictures_are_one_per_copy(build, route, num_cpus):
    venv = build(partial(Team, render_mode="rgb_array"), n_envs=2, num_cpus=num_cpus, route=route)
    venv.reset()
    venv.step(np.zeros((4, 2), np.float32))
    assert venv.render_mode == "rgb_array"
    assert np.array_equal(venv.get_images(), np.ones((2, 4, 4, 3)))
    assert venv.render().shape == (8, 4, 3) or venv.render().shape == (4, 8, 3)


@both_routes
def test_an_environment_without_render_mode_is_fine(build, route, recwarn):
    venv = VecMonitor(build(Bare, route=route))
    assert venv.render_mode is None
    assert not [w for w in recwarn if "render_mode" in str(w.message)]


@everywhere
def test_masks_stand_beside_plain_observations(build, route, num_cpus):
    venv = build(Masked, n_envs=2, num_cpus=num_cpus, route=route)
    assert venv.reset().shape == (4, 3)
    assert venv.has_attr("action_masks") and not build(Team, route=route).has_attr("action_masks")
    for _ in range(5):
        seen, _, dones, infos = venv.step(np.array([0, 1, 2, 0]))
    assert dones.all() and seen.shape == (4, 3)
    masks = venv.env_method("action_masks")
    assert np.array_equal(masks, [[True, False, True]] * 4) and masks[0].dtype == bool
    assert len(venv.env_method("action_masks", indices=[3])) == 1
    assert np.array_equal(infos[3]["terminal_observation"][1:], [1, 1])
