"""ZoneEnv: PettingZoo's contract and our own, for every shipped scenario."""

import copy
import hashlib
import pickle
import types
import warnings
from dataclasses import replace
from functools import partial

import cloudpickle
import numpy as np
import pettingzoo
import pytest
from common import SCENARIOS, in_new_process, task_of
from pettingzoo.test import api_test, max_cycles_test, parallel_api_test, seed_test
from pettingzoo.test.state_test import state_test

import dss_marl
from dss_marl import OpenDSSEngine, PowerFlowError, ZoneEnv, load_scenario
from dss_marl.envs.task import build_task

# --- helpers ---------------------------------------------------------------------------------------------------------


def random_actions(env, rng):
    return {a: rng.uniform(-1, 1, env.action_space(a).shape).astype(np.float32) for a in env.possible_agents}


def still(env):
    return {a: np.zeros(env.action_space(a).shape, np.float32) for a in env.possible_agents}


def bits(*dicts):
    """Every bit of some dicts by agent, keys and order included."""
    parts = []
    for by_agent in dicts:
        for agent, value in by_agent.items():
            parts.append(agent.encode())
            pairs = value.items() if isinstance(value, dict) else [("", value)]
            for key, number in pairs:
                parts += [key.encode(), np.asarray(number).tobytes(), str(np.asarray(number).dtype).encode()]
    return b"|".join(parts)


def play(env, rng, steps=None):
    """The bits of each step under random actions, to the end or for some steps."""
    result = []
    while env.agents and (steps is None or len(result) < steps):
        result.append(bits(*env.step(random_actions(env, rng))) + env.state().tobytes())
    return result


def episode(env, seed):
    """The bits of a whole episode under random actions."""
    first = bits(*env.reset(seed=seed)) + env.state().tobytes()
    return [first, *play(env, np.random.default_rng(seed))]


def digest(name, seed):
    """Fingerprint of an episode."""
    env = ZoneEnv(task_of(name))
    result = hashlib.sha256(b"".join(episode(env, seed))).hexdigest()
    env.close()
    return result


@pytest.fixture(params=[name for name in SCENARIOS if load_scenario(name).actions == "box"])
def scenario(request):
    """Name of each shipped scenario whose actions are numbers; test_conformance has the other encodings."""
    return request.param


@pytest.fixture
def env(task):
    made = ZoneEnv(task)
    yield made
    made.close()


@pytest.fixture
def new_env(task):
    """Makes environments of the scenario, and closes them."""
    made = []

    def make(**options):
        made.append(ZoneEnv(task, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


class Failing:
    """An engine whose n-th solve fails, counted from 0 at the last restart."""

    def __init__(self, engine, at):
        self.engine, self.at, self.count, self.feeder = engine, at, -1, engine.feeder

    def solve(self, setpoints, controls=False):
        self.count += 1
        if self.count == self.at:
            raise PowerFlowError("on purpose")
        return self.engine.solve(setpoints, controls)

    def restart(self):
        self.count = -1
        self.engine.restart()

    def close(self):
        self.engine.close()


# --- PettingZoo's own tests ------------------------------------------------------------------------------------------


def test_parallel_api(env):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="reset ignores the unknown option")
        parallel_api_test(env, num_cycles=200)


def test_aec_api(scenario):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        api_test(dss_marl.env(scenario), num_cycles=300)
    told = [str(w.message) for w in caught if "unknown option" not in str(w.message)]
    assert told == []


def test_same_seed_same_episode_in_aec(scenario):
    seed_test(partial(dss_marl.env, scenario), num_cycles=100)


def test_state(scenario):
    state_test(dss_marl.env(scenario), dss_marl.parallel_env(scenario), num_cycles=100)


def test_max_cycles(scenario):
    module = types.SimpleNamespace(
        parallel_env=partial(dss_marl.parallel_env, scenario), env=partial(dss_marl.env, scenario)
    )
    max_cycles_test(module)


def test_defaults_of_the_module_are_a_pettingzoo_environment():
    max_cycles_test(dss_marl)


@pytest.mark.skipif(not hasattr(pettingzoo, "make"), reason="PettingZoo has a registry from 1.27 on")
def test_pettingzoo_makes_it(scenario):
    name = f"dss_marl/{scenario}-v{load_scenario(scenario).version}"
    made = pettingzoo.make("parallel", name)
    assert isinstance(made.unwrapped, ZoneEnv)
    assert made.unwrapped.task.scenario.name == scenario
    assert len(episode(made.unwrapped, 3)) == made.unwrapped.task.scenario.steps + 1
    short = pettingzoo.make("parallel", name, split="test", max_cycles=7)
    assert (short.unwrapped.task.scenario.steps, short.unwrapped.split) == (7, "test")
    aec = pettingzoo.make("aec", name)
    aec.reset(seed=3)
    assert aec.agents == made.possible_agents


# --- determinism, bitwise --------------------------------------------------------------------------------------------


def test_episodes_repeat_bitwise(new_env):
    """In another environment, in the same one, and after other episodes, whole or broken off."""
    first, other = new_env(), new_env()
    wanted = episode(first, 5)
    assert len(wanted) == first.task.scenario.steps + 1
    assert episode(other, 5) == wanted
    assert episode(first, 5) == wanted
    episode(first, 6)
    first.reset(seed=7)
    play(first, np.random.default_rng(1), steps=10)
    assert episode(first, 5) == wanted


def test_episodes_repeat_bitwise_in_a_new_process(scenario):
    assert digest(scenario, 5) == in_new_process(f"digest({scenario!r}, 5)", "test_env")


def test_environments_side_by_side_do_not_disturb_each_other(new_env):
    alone = episode(new_env(), 5)
    one, other = new_env(), new_env()
    mine = [bits(*one.reset(seed=5)) + one.state().tobytes()]
    rng = np.random.default_rng(5)
    other.reset(seed=6)
    others = np.random.default_rng(6)
    while one.agents:
        mine += play(one, rng, steps=1)
        play(other, others, steps=1)
    assert mine == alone


def test_a_closed_environment_opens_again(env):
    wanted = episode(env, 5)
    env.close()
    env.close()
    assert episode(env, 5) == wanted


COPIES = {
    "pickle": lambda x: pickle.loads(pickle.dumps(x)),
    "cloudpickle": lambda x: cloudpickle.loads(cloudpickle.dumps(x)),
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("way", COPIES)
def test_a_copy_plays_the_same_episode(env, way):
    unused = COPIES[way](env)
    wanted = episode(env, 5)
    used = COPIES[way](env)
    for twin in (unused, used):
        assert episode(twin, 5) == wanted
        twin.close()


@pytest.mark.parametrize("way", COPIES)
def test_a_copy_made_within_an_episode_goes_on_like_the_original(env, way):
    env.reset(seed=5)
    play(env, np.random.default_rng(1), steps=20)
    twin = COPIES[way](env)
    assert twin.agents == env.agents
    assert np.array_equal(twin.state(), env.state())
    rest = play(env, np.random.default_rng(2))
    assert len(rest) == env.task.scenario.steps - 20
    assert play(twin, np.random.default_rng(2)) == rest
    following = [bits(*env.reset()) for _ in range(3)]  # the streams of days go on alike
    assert [bits(*twin.reset()) for _ in range(3)] == following
    twin.close()


# --- days ------------------------------------------------------------------------------------------------------------


def days_of(env, count, seed=None):
    return [env.reset(seed=seed if k == 0 else None)[1][env.possible_agents[0]]["day"] for k in range(count)]


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_days_come_from_the_split_in_a_seeded_stream(new_env, split):
    one, other = new_env(split=split), new_env(split=split)
    days = days_of(one, 12, seed=1)
    assert days == days_of(other, 12, seed=1)
    assert set(days) <= set(one.task.profiles.days(split))
    assert len(set(days)) > 4
    assert days != days_of(other, 12, seed=2)


def test_without_a_seed_environments_draw_different_days(new_env):
    assert len({tuple(days_of(new_env(), 3)) for _ in range(4)}) > 1


def test_starts_differ_by_day(env):
    starts = {env.reset(seed=seed)[1][env.possible_agents[0]]["day"]: env.state().tobytes() for seed in range(12)}
    assert len(starts) > 4
    assert len(set(starts.values())) == len(starts)


def test_a_chosen_day_is_played_and_leaves_the_stream_alone(new_env):
    one, other = new_env(), new_env()
    assert one.reset(seed=1, options={"day": 17})[1][one.possible_agents[0]]["day"] == 17
    other.reset(seed=1)
    assert days_of(one, 4) == days_of(other, 4)
    agent = one.possible_agents[0]
    assert np.array_equal(one.reset(options={"day": 40})[0][agent], other.reset(options={"day": 40})[0][agent])


# --- what comes out --------------------------------------------------------------------------------------------------


def test_everything_that_comes_out_is_well_formed(env):
    """Through whole random episodes: spaces, exact types, one set of agents and keys."""
    agents = env.possible_agents
    what = env.task.scenario.zones["method"].removesuffix("s") if agents[0].startswith("phase") else "zone"
    assert agents == [f"{what}_{z + 1}" for z in range(len(agents))]
    rng = np.random.default_rng(1)
    for seed in range(3):
        observations, infos = env.reset(seed=seed)
        keys = {agent: list(infos[agent]) for agent in agents}
        results = [(observations, dict.fromkeys(agents, 0.0), None, None, infos)]
        while env.agents:
            assert env.agents == agents
            results.append(env.step(random_actions(env, rng)))
        assert len(results) == env.task.scenario.steps + 1
        for observations, rewards, terminations, truncations, infos in results:
            assert list(observations) == list(rewards) == list(infos) == agents
            for agent in agents:
                seen, space = observations[agent], env.observation_space(agent)
                assert (seen.dtype, seen.shape) == (np.float32, space.shape)
                assert space.contains(seen)
                assert type(rewards[agent]) is float
                assert np.isfinite(rewards[agent])
                assert list(infos[agent]) == keys[agent]
                assert all(isinstance(x, bool | int | float) and np.isfinite(x) for x in infos[agent].values())
            for flags in (terminations, truncations):
                assert flags is None or [type(flags[agent]) for agent in agents] == [bool] * len(agents)


def test_rewards_are_the_sum_of_the_named_terms(env):
    """Over terms, and over zones where the team shares them; and never above 0 with these terms."""
    env.reset(seed=1)
    team = env.task.scenario.reward_sharing == "team"
    rng = np.random.default_rng(1)
    terms = [f"reward/{name.split(':')[-1]}" for name in env.task.scenario.rewards]
    least = 0.0
    while env.agents:
        _, rewards, _, _, infos = env.step(random_actions(env, rng))
        own = {agent: sum(infos[agent][term] for term in terms) for agent in infos}
        assert not team or set(rewards.values()) == {rewards[env.possible_agents[0]]}
        for agent, reward in rewards.items():
            assert reward == pytest.approx(sum(own.values()) if team else own[agent], rel=1e-9, abs=1e-12)
        assert [key for key in infos[env.possible_agents[0]] if key.startswith("reward/")] == terms
        least = min(least, env.team_reward)
    assert least < -0.01


def test_weights_scale_the_terms(new_env, scenario):
    plain = load_scenario(scenario)
    double = plain.replace(rewards={name: 2 * weight for name, weight in plain.rewards.items()})
    one, other = new_env(), ZoneEnv(double)
    one.reset(seed=1)
    other.reset(seed=1)
    rng = np.random.default_rng(1)
    for _ in range(5):
        actions = random_actions(one, rng)
        assert other.step(actions)[1][other.possible_agents[0]] == pytest.approx(
            2 * one.step(actions)[1][one.possible_agents[0]], rel=1e-12
        )
    other.close()


def test_episodes_end_by_truncation_at_the_horizon_exactly(new_env, scenario):
    given = load_scenario(scenario)
    for steps in (1, 5, given.steps):
        env = ZoneEnv(given.replace(steps=steps))
        _, infos = env.reset(seed=1)
        assert infos[env.possible_agents[0]]["TimeLimit.truncated"] is False
        for k in range(1, steps + 1):
            assert env.agents == env.possible_agents
            _, _, terminations, truncations, infos = env.step(still(env))
            last = k == steps
            assert set(truncations.values()) == {last}
            assert set(terminations.values()) == {False}
            assert {info["TimeLimit.truncated"] for info in infos.values()} == {last}
            assert {info["failed"] for info in infos.values()} == {0.0}
        assert env.agents == []
        env.close()


def test_steps_outside_an_episode_are_refused(env, scenario):
    with pytest.raises(RuntimeError, match="reset"):
        env.step(still(env))
    env.reset(seed=1)
    play(env, np.random.default_rng(1))
    with pytest.raises(RuntimeError, match="reset"):
        env.step(still(env))


def test_what_comes_out_may_be_changed(new_env):
    """Wrappers write into observations and infos; the environment must not notice."""
    spoilt, clean = new_env(), new_env()
    results = [(env.reset(seed=1)) for env in (spoilt, clean)]
    rng = np.random.default_rng(1)
    for _ in range(4):
        for agent in spoilt.possible_agents:
            results[0][0][agent][:] = 77.0
            results[0][-1][agent].clear()
        assert np.array_equal(spoilt.state(), clean.state())
        spoilt.state()[:] = 77.0
        actions = random_actions(clean, rng)
        results = [env.step({a: x.copy() for a, x in actions.items()}) for env in (spoilt, clean)]
        assert bits(*results[0]) == bits(*results[1])


def test_actions_are_only_read(env):
    env.reset(seed=1)
    actions = random_actions(env, np.random.default_rng(1))
    for action in actions.values():
        action.flags.writeable = False
    kept = {agent: action.copy() for agent, action in actions.items()}
    env.step(actions)
    assert all(np.array_equal(actions[agent], kept[agent]) for agent in actions)


def test_the_state_is_all_observations(env):
    observations, _ = env.reset(seed=1)
    rng = np.random.default_rng(1)
    while env.agents:
        state = env.state()
        assert state.dtype == np.float32
        assert env.state_space.contains(state)
        own = len(env.task.observer.low)  # what others tell comes after
        exact = env.task.observer.observe(env.now)  # the central critic's meters have no noise
        assert np.array_equal(state, exact.ravel())
        if env.sensing is None:
            assert np.array_equal(state, np.concatenate([observations[a][:own] for a in env.possible_agents]))
        observations, *_ = env.step(random_actions(env, rng))


def test_every_entry_has_a_label_and_a_meaning(env):
    """No entry is constant over random episodes but padding, which is 0, and the one-hot; few sit at their limits."""
    agents = env.possible_agents
    seen = {agent: [] for agent in agents}
    rng = np.random.default_rng(1)
    for day in (3, 100, 200, 290):
        observations, _ = env.reset(seed=0, options={"day": day})
        while env.agents:
            for agent in agents:
                seen[agent].append(observations[agent])
            observations, *_ = env.step(random_actions(env, rng))
    for agent in agents:
        labels = env.labels(agent)["observation"]
        x = np.array(seen[agent])
        assert len(labels) == x.shape[1]
        assert len(set(labels) - {"-"}) == len(labels) - labels.count("-"), "labels occur twice"
        space = env.observation_space(agent)
        for column, label in enumerate(labels):
            values = x[:, column]
            if label == "-":
                assert (values == 0).all()
            elif label.startswith(("has kind", "has action")):
                assert np.ptp(values) == 0
            elif label.startswith("is "):
                assert set(values) == {float(label == f"is {agent} [0 or 1]")}
            else:
                assert "[" in label, "a label states its unit"
                assert np.ptp(values) > 0.01, f"{agent}: {label} does not move"
                low, high = space.low[column], space.high[column]
                state = (low, high) == (0.0, 1.0)  # open or closed: the ends are what it means
                outside = ((values >= high) & (not state)) | ((values <= low) & (low != 0.0))
                outside &= "time of day" not in label  # whole hours meet the ends of the circle
                assert outside.mean() < 0.05, f"{agent}: {label} sits at its limits"


def test_actions_have_labels(env):
    for agent in env.possible_agents:
        labels = env.labels(agent)["action"]
        assert len(labels) == env.action_space(agent).shape[0]
        assert len(set(labels) - {"-"}) == len(labels) - labels.count("-")
        assert set(labels) != {"-"}


def test_agents_are_alike_for_a_shared_policy(env):
    agents = env.possible_agents
    assert len({env.observation_space(a).shape for a in agents}) == 1
    assert len({env.action_space(a).shape for a in agents}) == 1
    for agent in agents:
        assert env.observation_space(agent) is env.observation_space(agent)
        assert env.action_space(agent) is env.action_space(agent)
        assert env.action_space(agent).low.min() == -1
        assert env.action_space(agent).high.max() == 1
        assert env.action_space(agent).dtype == np.float32


# --- the step --------------------------------------------------------------------------------------------------------


def test_agents_see_the_interval_they_act_in(env):
    """Its load and sun, and the voltages that these cause with the devices as they are."""
    rng = np.random.default_rng(1)
    env.reset(seed=1, options={"day": 172})
    day = env.task.profiles.day(172)
    fresh = OpenDSSEngine(env.task.feeder)
    loads = env.task.feeder.loads
    first = round(env.task.scenario.start_hour / env.task.scenario.dt_h)
    for step in range(min(30, env.task.scenario.steps - 1)):
        now = env.now
        assert now.step == step
        assert now.hour == pytest.approx(env.task.scenario.start_hour + step * env.task.scenario.dt_h)
        assert np.array_equal(now.setpoints.kw[loads], day.kw[first + step][loads])
        assert np.array_equal(now.forecast[0], day.kw[first + step])
        expected = fresh.solve(replace(now.setpoints, tap=now.solution.tap)).v_pu  # neutral where fed from behind
        assert np.abs(now.solution.v_pu - expected).max() < fresh.tolerance
        env.step(random_actions(env, rng))
        assert env.after.step == step
        assert np.array_equal(env.after.setpoints.kw[loads], day.kw[first + step][loads])
        assert np.array_equal(env.now.setpoints.tap, env.after.setpoints.tap), "devices stay where they were put"
        assert np.array_equal(env.now.setpoints.closed, env.after.setpoints.closed)
        assert np.array_equal(env.now.device_state, env.after.device_state)
    fresh.close()


def test_voltages_may_be_observed_late(scenario):
    """``observed_voltages: last`` shows the voltages of the interval just operated, and saves a solve a step."""
    task = build_task(load_scenario(scenario).replace(observed_voltages="last"))
    counting = Failing(OpenDSSEngine(task.feeder), at=-99)
    env = ZoneEnv(task, engine=counting)
    env.reset(seed=1)
    for k in range(1, 6):
        env.step(random_actions(env, np.random.default_rng(k)))
        assert np.array_equal(env.now.solution.v_pu, env.after.solution.v_pu)
        assert counting.count == k
    env.close()


def test_what_if_commits_nothing(new_env):
    """It tells what the step will bring, and leaves no mark."""
    asked, plain = new_env(), new_env()
    asked.reset(seed=1)
    plain.reset(seed=1)
    tolerance = asked.engine.tolerance
    rng = np.random.default_rng(1)
    for _ in range(10):
        actions, others = random_actions(asked, rng), random_actions(asked, rng)
        now, state, agents = asked.now, asked.state(), list(asked.agents)
        held = now.setpoints.copy(), now.device_state.copy(), now.solution.v_pu.copy(), now.forecast.copy()
        asked.what_if(others)
        promised = asked.what_if(actions)
        assert asked.now is now
        assert asked.agents == agents
        assert np.array_equal(asked.state(), state)
        for name in ("kw", "kvar", "tap", "closed"):
            assert np.array_equal(getattr(now.setpoints, name), getattr(held[0], name))
        assert all(
            np.array_equal(a, b)
            for a, b in zip((now.device_state, now.solution.v_pu, now.forecast), held[1:], strict=True)
        )
        reward, expected = (
            asked.step(actions)[1][asked.possible_agents[0]],
            plain.step(actions)[1][plain.possible_agents[0]],
        )
        assert reward == pytest.approx(expected, abs=1e-3)
        assert np.abs(promised.solution.v_pu - asked.after.solution.v_pu).max() < tolerance
        assert np.array_equal(promised.setpoints.kvar, asked.after.setpoints.kvar)
        assert np.array_equal(promised.setpoints.tap, asked.after.setpoints.tap)
        assert np.abs(asked.now.solution.v_pu - plain.now.solution.v_pu).max() < tolerance


def test_every_slot_with_a_label_moves_the_grid_and_no_other_does(new_env, task):
    env = new_env(engine=OpenDSSEngine(task.feeder, tolerance=1e-9))
    env.attack = None  # whose devices are somebody else's moves nothing
    labels = {agent: env.labels(agent)["action"] for agent in env.possible_agents}
    env.reset(seed=1, options={"day": 172})
    for _ in range(env.task.scenario.steps // 2):
        env.step(still(env))
    at_rest = env.what_if(still(env))
    told = np.concatenate([zone.estimates for zone in task.zones])
    for agent, names in labels.items():
        for slot, label in enumerate(names):
            moved = 0.0
            for value in (-1.0, 1.0):
                actions = still(env)
                actions[agent][slot] = value
                after = env.what_if(actions)
                moved = max(moved, np.abs(after.solution.v_pu - at_rest.solution.v_pu).max())
                moved = max(
                    moved, np.abs(after.device_state - at_rest.device_state)[told].max(initial=0.0)
                )  # by what agents say
            if label == "-":
                assert moved < 1e-7, f"{agent}: padding moves the grid"
            elif moved <= 1e-4:  # a closing that would make a loop, curtailment without the right to it
                place = task.agents.action_layout.place[env.possible_agents.index(agent), slot]
                values = np.tile([-1.0, 1.0], (task.agents.action_layout.size, 1))
                assert not env.simulator.feasible(env.now, values)[place].all(), f"{agent}: {label} moves nothing"


def test_actions_out_of_range_are_clipped_and_counted(new_env):
    wild, tame = new_env(), new_env()
    wild.reset(seed=1)
    tame.reset(seed=1)
    rng = np.random.default_rng(1)
    for k in range(5):
        actions = {a: x * 2 for a, x in random_actions(wild, rng).items()}
        if k == 0:
            actions[wild.possible_agents[0]][0] = np.inf
        results = wild.step(actions), tame.step({a: np.clip(x, -1, 1) for a, x in actions.items()})
        for agent, action in actions.items():
            used = np.array([label != "-" for label in wild.labels(agent)["action"]])
            assert results[0][4][agent]["clipped"] == (np.abs(action[used]) > 1).sum()
            assert results[1][4][agent]["clipped"] == 0
            assert np.array_equal(results[0][0][agent], results[1][0][agent])
        assert results[0][1] == results[1][1]


def test_requests_that_a_limit_cuts_are_counted_in_their_zone(scenario):
    """Regulators pushed up and up reach their end position."""
    task = build_task(load_scenario(scenario))
    regulators = next((g for g in task.device_groups if type(g).__name__ == "Regulators"), None)
    if regulators is None:
        pytest.skip("no regulators in this scenario")
    env = ZoneEnv(task, engine=Calm(task.feeder))
    env.reset(seed=1)
    moves = {agent: [label.endswith("tap moves") for label in env.labels(agent)["action"]] for agent in env.agents}
    counted = []
    while env.agents:
        actions = {agent: np.where(moves[agent], 1.0, 0.0).astype(np.float32) for agent in moves}
        counted.append([info["limited"] for info in env.step(actions)[4].values()])
    assert sum(counted[0]) == 0
    every = 1 if regulators.act_every is None else int(regulators.act_every[0])
    assert counted[(len(counted) - 1) // every * every] == [sum(moves[agent]) for agent in moves]
    assert np.array_equal(env.after.setpoints.tap[regulators.taps], regulators.highest)


class Calm:
    """An engine that finds every voltage at 1 pu: for what should not depend on the grid."""

    def __init__(self, feeder):
        self.feeder = feeder

    def solve(self, setpoints, controls=False):
        n, m = len(self.feeder.nodes), len(self.feeder.branches)
        one = np.float64(1)
        return dss_marl.Solution(
            np.ones(n), one, one, one, setpoints.kw.copy(), np.ones(n, bool), setpoints.tap.copy(),
            setpoints.closed.copy(), lambda: np.zeros(m),
        )  # fmt: skip

    def restart(self):
        pass

    def close(self):
        pass


def test_any_engine_will_do(task):
    """What the environment needs of an engine is solve, restart and close, nothing of OpenDSS."""
    env = ZoneEnv(task, engine=Calm(task.feeder))
    env.reset(seed=1)
    while env.agents:
        _, _, _, _, infos = env.step(still(env))
        assert all(info.get("cost/voltage_violation_sum", 0) == 0 for info in infos.values())


# --- failure ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["operating", "looking ahead"])
def test_a_failed_power_flow_ends_the_episode(scenario, task, moment):
    """With the stated penalty and a finite observation; the next episode is unharmed."""
    failing_step = 4
    at = 1 + 2 * failing_step + (moment == "looking ahead")
    env = ZoneEnv(task, engine=Failing(OpenDSSEngine(task.feeder), at))
    env.reset(seed=5)
    rng = np.random.default_rng(5)
    for _ in range(failing_step):
        *_, flags, _, infos = env.step(random_actions(env, rng))
        assert not any(flags.values())
    observations, rewards, terminations, truncations, infos = env.step(random_actions(env, rng))
    assert set(terminations.values()) == {True}
    assert set(truncations.values()) == {False}
    assert set(rewards.values()) == {-task.scenario.failure_penalty}
    assert env.agents == []
    for agent, seen in observations.items():
        assert env.observation_space(agent).contains(seen)
        assert np.isfinite(seen).all()
        assert infos[agent]["failed"] == 1.0
        assert infos[agent]["TimeLimit.truncated"] is False
        assert all(np.isfinite(x) for x in infos[agent].values())
    assert env.state_space.contains(env.state())
    with pytest.raises(RuntimeError, match="reset"):
        env.step(still(env))
    env.engine.at = -99
    healthy = ZoneEnv(task)
    assert episode(env, 5) == episode(healthy, 5)
    env.close()
    healthy.close()


def test_a_failure_in_the_last_step_terminates_and_does_not_truncate(task, scenario):
    short = build_task(load_scenario(scenario).replace(steps=3))
    env = ZoneEnv(short, engine=Failing(OpenDSSEngine(short.feeder), at=5))
    env.reset(seed=5)
    for _ in range(3):
        _, _, terminations, truncations, infos = env.step(still(env))
    assert set(terminations.values()) == {True}
    assert set(truncations.values()) == {False}
    assert infos[env.possible_agents[0]]["TimeLimit.truncated"] is False
    env.close()


def test_a_grid_that_collapses_is_a_failure(scenario):
    """A real one: everything times fifty."""
    task = build_task(load_scenario(scenario).replace(profiles={"load_scale": (0.4, 0.4)}, failure_penalty=12.5))
    env = ZoneEnv(task)
    env.reset(seed=1)
    env.simulator.conditions.day.kw[3:] *= 50
    env.simulator.conditions.day.kvar[3:] *= 50
    rewards = {}
    while env.agents:
        _, rewards, terminations, _, _ = env.step(still(env))
    assert set(terminations.values()) == {True}
    assert set(rewards.values()) == {-12.5}
    env.close()


# --- the task is one -------------------------------------------------------------------------------------------------


def in_trouble(env):
    """Whether a scored node is outside 0.95 to 1.05 pu in the interval just operated."""
    judged = np.concatenate([zone.scored_nodes for zone in env.task.zones])
    v = env.after.solution.v_pu[judged][env.after.solution.energised[judged]]
    return bool((v < 0.95).any() or (v > 1.05).any())


def about_voltages(env):
    """The reward terms of voltages out of band; skips where the task is another one."""
    terms = [name for name in env.task.scenario.rewards if name in ("voltage_violation", "violating_share")]
    if not terms:
        pytest.skip("the task rewards no voltages")
    return terms


def test_doing_nothing_violates_the_band_or_the_import_limit_on_most_days(new_env):
    about_voltages(new_env())
    env = new_env(split="test")
    violated = 0
    for day in env.days[::2][:20]:
        env.reset(options={"day": day})
        while env.agents:
            env.step(still(env))
            if in_trouble(env) or env.after.solution.source_kw > env.after.import_limit_kw:
                violated += 1
                break
    assert violated > 10


def test_the_trouble_is_where_agents_can_do_something(env):
    """A scored node that no action moves, such as one just behind the source, is never outside the band."""
    about_voltages(env)
    judged = np.concatenate([zone.scored_nodes for zone in env.task.zones])
    low, high = ({a: np.full(x.shape, s, np.float32) for a, x in still(env).items()} for s in (-1, 1))
    worst = np.zeros(len(judged))
    moved = np.zeros(len(judged))
    for day in env.days[:120:20]:
        env.reset(seed=1, options={"day": day})
        while env.agents:
            if env.now.step % 12 == 0:
                change = env.what_if(high).solution.v_pu - env.what_if(low).solution.v_pu
                moved = np.maximum(moved, np.abs(change)[judged])
            env.step(still(env))
            v = env.after.solution.v_alive[judged]
            worst = np.maximum(worst, np.maximum(v - 1.05, 0.95 - v))
    assert (worst > 0).any()
    assert (moved[worst > 0] > 0.01).all()


def test_voltage_trouble_shows_in_reward_and_cost(env):
    """In every interval they agree with the voltages on whether there is any."""
    terms = about_voltages(env)
    troubled = []
    for day in env.days[:90:15]:
        env.reset(seed=1, options={"day": day})
        while env.agents:
            _, _, _, _, infos = env.step(still(env))
            cost = sum(info["cost/voltage_violation_sum"] for info in infos.values())
            assert (cost > 0) == in_trouble(env)
            for term in terms:
                assert (sum(info[f"reward/{term}"] for info in infos.values()) < 0) == (cost > 0)
            troubled.append(cost > 0)
    assert 0 < sum(troubled) < len(troubled)


def test_under_the_circuits_own_controls(scenario):
    """The variant without regulators and capacitors as actions: taps move by themselves and voltages get better."""
    plain = load_scenario(scenario)
    ruled = plain.under_circuit_controls()
    kinds = {spec["kind"] for spec in ruled.devices}
    assert not kinds & {"regulator", "capacitor"}
    env = ZoneEnv(ruled)
    if not env.task.feeder.taps:
        pytest.skip("the scenario blocks the circuit's regulators")
    assert all("tap moves" not in label for a in env.possible_agents for label in env.labels(a)["action"])
    env.reset(seed=1, options={"day": env.days[0]})
    taps = [env.now.setpoints.tap]
    while env.agents:
        env.step(still(env))
        taps.append(env.after.setpoints.tap)
        assert np.array_equal(env.after.setpoints.tap, env.after.solution.tap)
        assert np.array_equal(env.now.setpoints.tap, env.after.setpoints.tap)
    if env.task.feeder.taps:  # balanced and low-voltage feeders have none
        assert len({tuple(tap) for tap in taps}) > 2
    env.close()


# --- render ----------------------------------------------------------------------------------------------------------


def test_render_tells_every_zones_voltages(new_env):
    env = new_env(render_mode="ansi")
    env.reset(seed=1)
    env.step(still(env))
    text = env.render()
    for zone in env.task.zones:
        v = env.after.solution.v_pu[zone.nodes]
        assert f"{zone.name}: {v.min():.4f} to {v.max():.4f} pu" in text


def test_render_without_a_mode_gives_nothing(env):
    env.reset(seed=1)
    assert env.render() is None
