"""Errors of both routes to SB3, in this process and in workers, and workers that end."""

import multiprocessing
import os
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from common import ROOT
from dummies import Closing, Dying, Failing, Locked, Mixed, Modules, OddError, Team, the_only_team
from sb3_routes import both_routes, everywhere, rollout

pytest.importorskip("stable_baselines3")
pytest.importorskip("supersuit")

from stable_baselines3.common.vec_env import VecMonitor

import dss_marl
from dss_marl.integrations.sb3 import to_sb3
from dss_marl.integrations.vector import ParallelCopies, WorkerError

pytestmark = pytest.mark.usefixtures("one_thread")


@both_routes
@pytest.mark.parametrize("kind", ["observation", "action"])
def test_different_spaces_are_refused_by_name(route, kind):
    with pytest.raises(ValueError, match=f"one {kind} space, but 'zone_0' has Box.*'zone_1' has Box.*-2.0"):
        to_sb3(partial(Mixed, kind), route=route)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"route": "fast"}, "unknown route 'fast'; known: native, supersuit"),
        ({"n_envs": 0}, "n_envs must be at least 1"),
        ({"num_cpus": -1}, "num_cpus at least 0"),
        ({"make_env": dict}, "must return a PettingZoo ParallelEnv, not dict"),
        ({"make_env": partial(Team, agents=0)}, "no possible_agents"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        to_sb3(**{"make_env": Team, **arguments})


@both_routes
def test_one_environment_for_all_copies_is_refused(route):
    with pytest.raises(ValueError, match="same environment twice"):
        to_sb3(the_only_team, n_envs=2, route=route)


@pytest.mark.parametrize(("route", "num_cpus"), [("native", 1), ("supersuit", 0)])
def test_a_factory_that_cannot_be_pickled_is_explained(route, num_cpus):
    lock = threading.Lock()
    with pytest.raises(ValueError, match=r"make_env cannot be pickled.*lock.*route='native' with num_cpus=0"):
        to_sb3(lambda: (lock, Team())[1], num_cpus=num_cpus, route=route)


@everywhere
def test_the_environment_itself_need_not_be_picklable(build, route, num_cpus):
    venv = build(Locked, n_envs=2, num_cpus=num_cpus, route=route)
    assert rollout(venv, 6)[2][4].all()
    if num_cpus:
        with pytest.raises(TypeError, match="pickle"):
            venv.get_attr("lock")
        assert venv.get_attr("horizon", 0) == [5], "the workers outlive an answer that cannot be sent"


@everywhere
def test_an_error_in_a_step_surfaces(build, route, num_cpus, capfd):
    venv = build(Failing, n_envs=2, num_cpus=num_cpus, route=route)
    venv.reset()
    venv.step(np.zeros((4, 2), np.float32))
    with pytest.raises(ValueError, match="the feeder burnt down") as caught:
        venv.step(np.zeros((4, 2), np.float32))
    if (route, num_cpus) == ("native", 2):
        assert isinstance(caught.value.__cause__, WorkerError)
        assert "dummies.py" in str(caught.value.__cause__) and "raise self.error" in str(caught.value.__cause__)
        assert venv.get_attr("horizon") == [5] * 4, "no stale answer is left in a pipe"


def test_an_error_that_cannot_travel_comes_as_text(build):
    venv = build(lambda: Failing(OddError("83", 2)), num_cpus=1)
    venv.reset()
    venv.step(np.zeros((2, 2), np.float32))
    with pytest.raises(WorkerError, match=r"OddError: no solution at 83\.2"):
        venv.step(np.zeros((2, 2), np.float32))


def test_an_error_while_building_surfaces_and_leaves_no_worker():
    with pytest.raises(ValueError, match="the feeder burnt down"):
        to_sb3(partial(Failing, early=True), n_envs=2, num_cpus=2)
    assert not multiprocessing.active_children()


def test_a_worker_that_dies_is_reported(build):
    venv = build(Dying, n_envs=3, num_cpus=2)
    venv.reset()
    with pytest.raises(WorkerError, match="the worker of copies 0 to 0 ended without an answer, exit code 3"):
        venv.step(np.zeros((6, 2), np.float32))


@everywhere
def test_close_closes_every_copy_and_ends_the_workers(tmp_path, route, num_cpus):
    path = tmp_path / "closed"
    venv = to_sb3(partial(Closing, str(path)), n_envs=3, num_cpus=num_cpus, route=route)
    venv.reset()
    path.write_text("")  # SuperSuit builds and closes one more, as a pattern
    venv.step_async(np.zeros((6, 2), np.float32))
    if route == "supersuit":
        venv.step_wait()
    venv.close()
    venv.close()
    assert path.read_text() == "closed\n" * 3
    assert not multiprocessing.active_children()


def test_workers_end_though_a_forked_process_holds_their_pipes(build):
    venv = build(Team, num_cpus=1)
    (worker,) = multiprocessing.active_children()
    build(Team, n_envs=2, num_cpus=2, route="supersuit")  # forks
    venv.close()
    assert worker.exitcode == 0, "ended by itself, not killed"


def test_a_closed_one_says_so():
    venv = to_sb3(Team)
    venv.close()
    with pytest.raises(RuntimeError, match="closed"):
        venv.reset()


def test_actions_for_other_rows_are_refused():
    copies = ParallelCopies(Team, 2)
    copies.reset([(0, None), (1, None)])
    with pytest.raises(ValueError, match="3 actions for 4 rows"):
        copies.step_async(np.zeros((3, 2), np.float32))


def test_without_sb3_the_cure_is_named(monkeypatch):
    monkeypatch.delitem(sys.modules, "dss_marl.integrations.sb3.vec_env")
    monkeypatch.setitem(sys.modules, "stable_baselines3.common.vec_env", None)
    with pytest.raises(ImportError, match=r"pip install 'dss_marl\[train\]'"):
        from dss_marl.integrations.sb3 import to_sb3  # noqa: F401
    from dss_marl.integrations.sb3 import SharedPolicy, TrainingSettings

    assert TrainingSettings().algorithm == "ppo" and callable(SharedPolicy.load)


def test_workers_need_neither_torch_nor_sb3(build):
    venv = VecMonitor(build(Modules, num_cpus=1))
    loaded = venv.env_method("modules", indices=0)[0]
    assert "dss_marl.integrations.vector" in loaded
    assert not loaded & {"torch", "stable_baselines3", "supersuit"}


SCRIPT = """
from dss_marl.integrations.vector import ParallelCopies
from dummies import Team

print("the script runs")

class Own(Team):
    pass

copies = ParallelCopies(lambda: Own(agents=3), n_envs=2, num_cpus=2)
copies.reset([(0, None), (1, None)])
print("rows", len(copies.reset_infos))
copies.close()
"""


def test_workers_do_not_run_the_users_script_again(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    paths = os.pathsep.join(str(folder) for folder in (Path(dss_marl.__file__).parents[1], (ROOT / "tests")))
    run = subprocess.run(
        [sys.executable, script], env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True
    )
    assert run.stdout.splitlines() == ["the script runs", "rows 6"], run.stderr
