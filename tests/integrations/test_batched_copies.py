"""Copies stepped as one batch give the rows that they give one by one, and answer as they do."""

from functools import partial

import numpy as np
import pytest
from common import task_of
from stub_engines import Failing

from dss_marl import OpenDSSEngine, ZoneEnv, build_task
from dss_marl.engines import open_engine
from dss_marl.envs.flattening import FlattenedEnv, n_choices
from dss_marl.integrations.vector import (
    BatchBlock,
    Block,
    ParallelCopies,
    UniformSpaces,
    build_block,
    shared_arrays,
    workers,
)
from dss_marl.integrations.vector.batched import RowInfos
from dss_marl.integrations.vector.shared_arrays import SharedArrays

SENSED = {"sensing": {"noise_v_pu": 0.01, "missing": 0.2, "delay": 1}, "messages": {"hops": 1, "loss": 0.3}}
CASES = {
    "numbers": ("ieee13_volt_var", {}),
    "choices": ("ieee13_volt_var", {"actions": "multidiscrete", "agents": "device"}),
    "faults": ("ieee123_restoration", {}),
    "attack": ("ieee123_volt_var_attack", SENSED),
}


def pair(make, n=3):
    plain, batch = Block(make, n), build_block(make, n)
    assert type(plain) is Block
    assert isinstance(batch, BatchBlock)
    return plain, batch


def starts(seed, n=3, **options):
    return [(None if seed is None else seed + k, options or None) for k in range(n)]


def alike(one, two):
    """Two answers of a block, numbers to the last digits."""
    if isinstance(two, RowInfos):
        two = list(two)
    if isinstance(one, dict):
        assert list(one) == list(two)
        for key in one:
            alike(one[key], two[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(two)
        for a, b in zip(one, two, strict=True):
            alike(a, b)
    elif isinstance(one, np.ndarray) and one.dtype == np.float32:
        assert np.array_equal(one, two)
    else:
        assert type(one) is type(two)
        assert two == (one if isinstance(one, str | None) else pytest.approx(one, rel=1e-14, abs=1e-14))


def random_rows(block, rng, n=3):
    layout = block.layouts()[0]
    space, rows = layout.action_space, n * len(layout.agents)
    if n_choices(space):
        shape = (rows, *np.shape(getattr(space, "nvec", 0)))
        return rng.integers(getattr(space, "nvec", n_choices(space)), size=shape)
    return rng.uniform(-1.1, 1.1, (rows, *space.shape)).astype(space.dtype)


def play(plain, batch, rng, steps):
    for _ in range(steps):
        actions = random_rows(plain, rng)
        alike(plain.step(actions), batch.step(actions))


@pytest.mark.parametrize("what", CASES)
def test_rows_infos_and_ends_are_the_same(what, rng):
    name, changes = CASES[what]
    task = build_task(task_of(name).scenario.replace(steps=3, **changes))
    plain, batch = pair(partial(ZoneEnv, task))
    alike(plain.reset(starts(3)), batch.reset(starts(3)))
    play(plain, batch, rng, 5)
    alike(plain.reset(starts(None)), batch.reset(starts(None)))
    alike(plain.reset(starts(4, day=17)), batch.reset(starts(4, day=17)))
    play(plain, batch, rng, 2)
    plain.close()
    batch.close()


def failing(task, ats):
    return ZoneEnv(task, engine=Failing(OpenDSSEngine(task.feeder), ats.pop()))


def test_copies_that_fail_end_alone(rng):
    task = build_task(task_of("ieee13_volt_var").scenario.replace(steps=4))
    plain = Block(partial(failing, task, [4, 99, 1]), 3)
    batch = build_block(partial(failing, task, [4, 99, 1]), 3)
    assert isinstance(batch, BatchBlock)
    alike(plain.reset(starts(3)), batch.reset(starts(3)))
    play(plain, batch, rng, 9)
    plain.close()
    batch.close()


def test_native_actions_in_rows_of_the_widest_agent(rng):
    task = build_task(task_of("ieee13_volt_var").scenario.replace(steps=3, actions="native", agents="device"))
    plain, batch = pair(lambda: UniformSpaces(ZoneEnv(task)))
    alike(plain.reset(starts(3)), batch.reset(starts(3)))
    own = plain.copies[0].env.own_spaces()
    for _ in range(4):
        actions = np.zeros((3 * len(own), 1))
        for row, (_, space) in zip(actions, [*own.values()] * 3, strict=True):
            row[0] = rng.integers(space.n) if n_choices(space) else rng.uniform(-1, 1)
        alike(plain.step(actions), batch.step(actions))
    plain.close()
    batch.close()


def test_the_environments_answer_as_if_they_had_stepped(rng):
    task = build_task(task_of("ieee13_volt_var").scenario.replace(steps=3, actions="multidiscrete", **SENSED))
    plain, batch = pair(partial(ZoneEnv, task))
    alike(plain.ask([1], "get_attr", "agents"), batch.ask([1], "get_attr", "agents"))
    alike(plain.reset(starts(3)), batch.reset(starts(3)))
    for step in range(5):
        for name in ("agents", "day", "team_reward", "split"):
            alike(plain.ask([0, 2], "get_attr", name), batch.ask([0, 2], "get_attr", name))
        for name in ("before", "after", "now"):
            (one,), (two,) = (block.ask([1], "get_attr", name) for block in (plain, batch))
            assert (one is None) == (two is None) == (name != "now" and step in (0, 3))
            if one is not None:
                assert (one.step, one.hour) == (two.step, two.hour)
                assert np.array_equal(one.solution.v_pu, two.solution.v_pu)
                assert np.array_equal(one.solution.loading, two.solution.loading)
        alike(plain.ask([1], "env_method", "state", (), {}), batch.ask([1], "env_method", "state", (), {}))
        alike(plain.ask([0], "env_is_wrapped", FlattenedEnv), batch.ask([0], "env_is_wrapped", FlattenedEnv))
        play(plain, batch, rng, 1)
    assert batch._batch is not None, "reading leaves the batch as it is"
    plain.close()
    batch.close()


def test_what_changes_an_environment_is_not_lost(rng):
    """Saved and loaded, reset alone, or with another attribute: the copies go on one by one, with the same rows."""
    task = build_task(task_of("ieee13_volt_var").scenario.replace(steps=4, actions="multidiscrete", **SENSED))

    def loaded(block):
        block.ask([2], "env_method", "load_state", tuple(block.ask([0], "env_method", "save_state", (), {})), {})

    def begun(block):
        block.ask([1], "env_method", "reset", (), {"seed": 9})

    def other_days(block):
        block.ask([0, 1], "set_attr", "days", (3, 4))

    for change in (loaded, begun, other_days):
        plain, batch = pair(partial(ZoneEnv, task))
        alike(plain.reset(starts(3)), batch.reset(starts(3)))
        play(plain, batch, rng, 2)
        change(plain)
        change(batch)
        play(plain, batch, rng, 7)
        alike(plain.reset(starts(5)), batch.reset(starts(5)))
        plain.close()
        batch.close()


class Other(ZoneEnv):
    """Not the scenario's environment itself."""


def test_what_is_not_of_one_scenario_is_stepped_one_by_one():
    task = task_of("ieee13_volt_var")
    tasks = iter([task, build_task(task.scenario.replace(steps=5))])
    splits = iter(["train", "test"])
    for make, n in [
        (lambda: ZoneEnv(task), 1),
        (lambda: Other(task), 2),
        (lambda: ZoneEnv(task, render_mode="ansi"), 2),
        (lambda: ZoneEnv(next(tasks)), 2),
        (lambda: ZoneEnv(task, next(splits)), 2),
    ]:
        assert type(build_block(make, n)) is Block
    engines = [open_engine(task.feeder, tolerance=x) for x in (1e-5, 1e-7)]
    block = build_block(lambda: ZoneEnv(task, engine=engines.pop(0)), 2)
    assert isinstance(block, BatchBlock)
    assert [engine.tolerance for engine in block._batch.engine.engines] == [1e-5, 1e-7]


# --- processes --------------------------------------------------------------------------------------------------------


def test_batches_in_processes_give_the_rows_of_one_batch(rng):
    task = build_task(task_of("ieee13_volt_var").scenario.replace(steps=3, actions="multidiscrete", **SENSED))
    here, spread = (ParallelCopies(partial(ZoneEnv, task), 4, cpus) for cpus in (0, 2))
    alike(here.reset(starts(3, 4)), spread.reset(starts(3, 4)))
    for _ in range(4):
        actions = random_rows(here._blocks[0]._block, rng, 4)
        for copies in (here, spread):
            copies.step_async(actions)
        alike(here.step_wait(), spread.step_wait())
        assert np.array_equal(here.masks, spread.masks)
        alike(here.reset_infos, spread.reset_infos)
    here.close()
    spread.close()


class Memory:
    """Of one process, as RawArray."""

    def RawArray(self, kind, size):  # noqa: N802
        return np.zeros(size, np.int8)


@pytest.mark.parametrize("size", [0, 10, shared_arrays._SIZE // 8 - 8, shared_arrays._SIZE])
def test_arrays_pass_through_shared_memory_or_the_pipe(size, rng):
    shelf = SharedArrays(Memory())
    message = {
        "large": rng.random(size),
        "small": [np.arange(3), "text", None],
        "fortran": np.asfortranarray(rng.random((4, 5))),
    }
    packed = shelf.put(message)
    taken = shelf.take(packed)
    assert (len(packed) < 8 * size) == (10 < size < shared_arrays._SIZE)
    again = shelf.take(shelf.put([np.full(size, 7.0)]))
    assert np.array_equal(taken["large"], message["large"]), "not what came after it"
    assert np.array_equal(again[0], np.full(size, 7.0))
    assert np.array_equal(taken["fortran"], message["fortran"])
    taken["large"][...] = 0.0
    alike(message["small"], taken["small"])


@pytest.mark.parametrize(("worth_s", "cores", "expected"), [(0.0, 4, 3), (0.0, 1, 0), (60.0, 4, 0)])
def test_workers_are_taken_where_a_step_takes_longer_than_handing_it_over(worth_s, cores, expected, monkeypatch):
    monkeypatch.setattr(workers, "_WORTH_S", worth_s)
    monkeypatch.setattr(workers.os, "sched_getaffinity", lambda pid: range(cores), raising=False)
    make = partial(ZoneEnv, task_of("ieee13_volt_var"))
    block = build_block(make, 3)
    assert workers.worthwhile_workers(make, block) == expected
    unpicklable = partial(ZoneEnv, task_of("ieee13_volt_var"), renderer=(x for x in ()))
    assert workers.worthwhile_workers(unpicklable, block) == 0
    block.close()


def test_left_open_a_quick_step_stays_in_this_process():
    copies = ParallelCopies(partial(ZoneEnv, task_of("ieee13_volt_var")), 2, None)
    assert [type(block) for block in copies._blocks] == [workers._Here]
    assert np.isfinite(copies.reset(starts(1, 2))).all()
    copies.close()
