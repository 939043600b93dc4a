"""Copies on one batch engine: the same rows as on engines of their own, and what they refuse."""

import functools

import gymnasium
import numpy as np
import pytest
from common import load_cached, task_of
from stub_engines import Nearby
from test_batched_copies import alike, random_rows, starts

import dss_marl
from dss_marl import ZoneEnv
from dss_marl.engines import open_batch_engine
from dss_marl.integrations.vector import (
    BatchBlock,
    EngineBlock,
    EngineChoice,
    FlattenedEnv,
    ParallelCopies,
    UniformSpaces,
    build_block,
)
from dss_marl.integrations.vector.engine_block import SpreadBatch

CASES = {
    "numbers": ("ieee13_volt_var", {}),
    "choices": ("ieee13_volt_var", {"actions": "multidiscrete", "agents": "device"}),
    "faults": ("ieee123_restoration", {}),
}


def short(name, **changes):
    return dss_marl.build_task(task_of(name).scenario.replace(steps=3, **changes))


def pair(task, n=3, wrap=lambda env: env, **options):
    def make():
        return wrap(ZoneEnv(task))

    return build_block(make, n), build_block(make, n, EngineChoice("opendss", **options))


@pytest.mark.parametrize("what", CASES)
def test_rows_infos_masks_and_ends_are_those_of_copies_with_engines_of_their_own(what, rng):
    name, changes = CASES[what]
    own, one = pair(short(name, **changes))
    assert isinstance(own, BatchBlock)
    assert isinstance(one, EngineBlock)
    assert own.layouts() == one.layouts()
    alike(own.reset(starts(3)), one.reset(starts(3)))
    for _ in range(5):
        actions = random_rows(own, rng)
        found, expected = one.step(actions), own.step(actions)
        alike(list(expected[3]), list(found[3]))
        alike(expected[:3] + expected[4:], found[:3] + found[4:])
    own.close()
    one.close()


def test_lean_infos_are_of_copies_that_ended(rng):
    own, lean = pair(short("ieee13_volt_var"), lean=True)
    own.reset(starts(3))
    lean.reset(starts(3))
    for step in range(3):
        actions = random_rows(own, rng)
        expected, found = list(own.step(actions)[3]), list(lean.step(actions)[3])
        assert len(found) == len(expected)
        if step == 2:
            alike(expected, found)
        else:
            assert found == [{}] * len(expected)
    own.close()
    lean.close()


def test_lean_infos_stand_in_the_rows_of_their_copies(rng):
    """Where some copies end and others do not."""
    _, lean = pair(dss_marl.build_task(task_of("ieee13_volt_var").scenario.replace(steps=4)), lean=True, spread=True)
    lean.reset(starts(3))
    team = len(lean.layouts()[0].agents)
    for expected in ((True, False, False), (False, True, False), (False, False, False), (False, False, True)):
        _, _, (_, _, truncated), infos, fresh = lean.step(random_rows(lean, rng))
        infos = list(infos)
        assert [bool(x) for x in truncated] == [end for end in expected for _ in range(team)]
        assert [bool(info) for info in infos] == [end for end in expected for _ in range(team)]
        assert sorted(fresh) == [b for b in range(3) if expected[b]]
        assert all(info["TimeLimit.truncated"] and "terminal_observation" in info for info in infos if info)
    lean.close()


# --- copies at different hours ----------------------------------------------------------------------------------------


def test_a_spread_batch_is_at_hours_spread_over_the_day(rng):
    task = dss_marl.build_task(task_of("ieee13_volt_var").scenario.replace(steps=8))
    batch, plain = (kind(task, 4) for kind in (SpreadBatch, dss_marl.BatchZoneEnv))
    batch.reset(seed=1)
    plain.reset(seed=1)
    own_days = [plain.day.copy()]
    for _ in range(8):
        done = batch.step(np.zeros(batch.action_rows.shape, np.float32))
        assert done.truncated.any() == (done.final_observations is not None)
    assert sorted(batch.now.step.tolist()) == [0, 2, 4, 6]
    assert batch.observations.tolist() == done.observations.tolist()
    plain.reset()
    own_days.append(plain.day)
    assert batch.day.tolist() == own_days[1].tolist()  # each copy's stream goes on as without
    batch.reset(seed=1)
    done = batch.step(np.zeros(batch.action_rows.shape, np.float32))
    assert not done.truncated.any()
    batch.close()
    plain.close()


def test_a_copy_cut_early_shows_its_last_observation(rng):
    task = dss_marl.build_task(task_of("ieee13_volt_var").scenario.replace(steps=8))
    batch, plain = (kind(task, 4) for kind in (SpreadBatch, dss_marl.BatchZoneEnv))
    batch.reset(seed=1)
    plain.reset(seed=1)
    for _ in range(2):
        actions = rng.uniform(-1, 1, batch.action_rows.shape).astype(np.float32)
        cut, going_on = batch.step(actions), plain.step(actions)
    assert cut.truncated.tolist() == [True, False, False, False]
    assert not cut.terminated.any()
    assert np.array_equal(cut.final_observations[0], going_on.observations[0])
    assert not np.array_equal(cut.observations[0], going_on.observations[0])
    assert np.array_equal(cut.observations[1:], going_on.observations[1:])
    assert np.array_equal(cut.rewards, going_on.rewards)
    batch.close()
    plain.close()


# --- questions --------------------------------------------------------------------------------------------------------


def test_questions_are_answered_without_moving_the_copies(rng):
    own, one = pair(short("ieee13_volt_var"))
    for block in (own, one):
        block.reset(starts(3))
    alike(own.ask([0, 2], "get_attr", "day"), one.ask([0, 2], "get_attr", "day"))
    default = ZoneEnv(load_cached("ieee13_volt_var")).task
    neutral = default.encoding.encode(default.default_action)
    tried = [block.ask([1], "env_method", "what_if", (neutral,), {}) for block in (own, one)]
    assert tried[0][0].solution.v_pu == pytest.approx(tried[1][0].solution.v_pu, abs=1e-6)
    with pytest.raises(RuntimeError, match="reset would change"):
        one.ask([1], "env_method", "reset", (), {})
    with pytest.raises(RuntimeError, match="set_attr would change"):
        one.ask([1], "set_attr", "split", "test")
    for _ in range(4):
        actions = random_rows(own, rng)
        alike(own.step(actions)[0], one.step(actions)[0])
    own.close()
    one.close()
    with pytest.raises(RuntimeError, match="closed"):
        one.masks()


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("engine", "n", "message"),
    [
        ("batchd", 2, "unknown engine 'batchd'"),
        ("stub_engines:Refusing", 2, "load.671.*model 7"),
        ("stub_engines:Nearby", 0, "at least 1"),
        ("stub_engines:Nearby", 100_001, "from 1 to 100000"),
    ],
)
def test_an_engine_or_a_number_is_refused_at_once(engine, n, message):
    pytest.importorskip("stable_baselines3")
    from dss_marl.integrations.sb3 import to_sb3

    with pytest.raises(ValueError, match=message):
        to_sb3(functools.partial(ZoneEnv, task_of("ieee13_volt_var")), n_envs=n, engine=engine)
    for make in (dss_marl.make_batch, dss_marl.make_vec):
        with pytest.raises(ValueError, match="from 1 to 100000" if n < 1 else message):
            make("ieee13_volt_var", n, engine=engine)


def test_other_environments_and_ways_to_step_are_refused():
    pytest.importorskip("stable_baselines3")
    from dummies import Team

    from dss_marl.integrations.sb3 import to_sb3

    with pytest.raises(ValueError, match=r"make_env must return what dss_marl.make does"):
        to_sb3(Team, n_envs=2, engine="opendss")
    make = functools.partial(ZoneEnv, task_of("ieee13_volt_var"))
    with pytest.raises(ValueError, match="route 'supersuit' steps copies one by one"):
        to_sb3(make, 2, route="supersuit", engine="opendss")
    opened = open_batch_engine(task_of("ieee13_volt_var").feeder, 2)
    with pytest.raises(ValueError, match="stays in this process"):
        to_sb3(make, 2, num_cpus=1, engine=opened)
    with pytest.raises(ValueError, match="solves 2 copies, not 3"):
        to_sb3(make, 3, engine=opened)
    opened.close()


# --- interfaces -------------------------------------------------------------------------------------------------------


def test_one_engine_is_opened_for_all_copies_and_environments_are_built_once():
    built = []

    def make():
        built.append(FlattenedEnv(ZoneEnv(task_of("ieee13_volt_var"))))
        return built[-1]

    before = Nearby.opened
    copies = ParallelCopies(make, 5, None, EngineChoice("stub_engines:Nearby"))
    copies.reset(starts(3, 5))
    assert Nearby.opened == before + 1
    assert len(built) == 1
    copies.close()


def test_workers_hold_a_batch_each(rng):
    make = functools.partial(ZoneEnv, short("ieee13_volt_var"))
    here, there = (ParallelCopies(make, 4, cpus, EngineChoice("opendss")) for cpus in (0, 2))
    try:
        alike(here.reset(starts(3, 4)), there.reset(starts(3, 4)))
        for _ in range(4):
            actions = rng.uniform(-1, 1, (4 * len(here.layout.agents), *here.layout.action_space.shape))
            here.step_async(actions.astype(np.float32))
            there.step_async(actions.astype(np.float32))
            alike(here.step_wait(), there.step_wait())
    finally:
        here.close()
        there.close()


def test_native_actions_come_in_rows_of_the_widest_agent(rng):
    own, one = pair(short("ieee13_volt_var", actions="native", agents="device"), wrap=UniformSpaces)
    alike(own.reset(starts(3)), one.reset(starts(3)))
    actions = np.zeros((3 * len(own.layouts()[0].agents), 1))
    for _ in range(2):
        alike(own.step(actions)[0], one.step(actions)[0])
    own.close()
    one.close()


@pytest.mark.parametrize("view", ["central", "agents"])
def test_gymnasiums_vectors_take_the_engine(view):
    smooth = {"steps": 3, "rewards": {"voltage_violation": 100, "loss": 2}}  # without a step at the band's limit
    near = dss_marl.make_vec("ieee13_volt_var", 3, view, engine="stub_engines:Nearby", **smooth)
    name = next(name for name in gymnasium.registry if name.startswith("dss_marl/ieee13_volt_var-"))
    plain = gymnasium.make_vec(name, num_envs=3, view=view, **smooth)
    assert isinstance(near.batch.engine, Nearby)
    assert isinstance(plain.unwrapped, dss_marl.BatchVectorEnv)
    for envs in (near, plain):
        envs.reset(seed=5)
        envs.action_space.seed(0)
    for _ in range(3):
        actions = near.action_space.sample()
        one, two = near.step(actions), plain.step(actions)
        assert one[1] == pytest.approx(two[1], abs=0.05)
        assert one[0] == pytest.approx(two[0], abs=1e-3)
        assert (one[3] == two[3]).all()
    near.close()
    plain.close()


def test_values_at_time_limits_are_those_that_sb3_adds(one_thread):
    """Rewards of a rollout with time limits in it: with one call of the network for all rows, and as SB3 does."""
    pytest.importorskip("stable_baselines3")
    from stable_baselines3 import PPO

    from dss_marl.integrations.sb3 import to_sb3
    from dss_marl.integrations.sb3.time_limits import ValuedTimeLimits

    make = functools.partial(ZoneEnv, short("ieee13_volt_var"))
    rewards = []
    for choice in (EngineChoice("opendss"), EngineChoice("opendss", lean=True)):
        venv = to_sb3(make, 2, engine=choice)
        ends = ValuedTimeLimits(venv) if choice.lean else None
        model = PPO("MlpPolicy", ends or venv, n_steps=5, batch_size=6, n_epochs=1, seed=3, device="cpu")
        if ends is not None:
            ends.model = model
        model.learn(30)
        rewards.append(model.rollout_buffer.rewards.copy())
        venv.close()
    assert rewards[0] == pytest.approx(rewards[1], rel=1e-5)


@pytest.mark.parametrize("policies", ["shared", "per_kind"])
def test_one_policy_per_kind_takes_the_engine_too(policies):
    pytest.importorskip("stable_baselines3")
    from stable_baselines3 import PPO

    from dss_marl.integrations.sb3 import PerKindGame, to_sb3

    make = functools.partial(ZoneEnv, short("ieee13_volt_var", agents="kind"))
    if policies == "shared":
        venv = to_sb3(make, 2, engine="opendss")
        PPO("MlpPolicy", venv, n_steps=4, batch_size=4, device="cpu").learn(8)
        venv.close()
        return
    game = PerKindGame(make, 2, engine=EngineChoice("opendss", lean=True))
    for kind, view in game.views.items():
        game.models[kind] = PPO("MlpPolicy", view, n_steps=4, batch_size=4, device="cpu")
    for model in game.models.values():
        model.learn(8)
    game.close()
