"""BatchZoneEnv: each copy is, step by step and bit by bit, the environment alone that has its seed."""

from functools import partial

import numpy as np
import pytest
from common import EVERY, LARGE, load_cached, task_of
from stub_engines import Failing

from dss_marl import OpenDSSEngine, PowerFlowError, ZoneEnv, build_task, load_scenario
from dss_marl.engines import open_batch_engine
from dss_marl.engines.engine_loop import EngineLoop
from dss_marl.envs.batch_env import BatchZoneEnv, copy_seeds
from dss_marl.envs.flattening import FlattenedEnv, action_in, n_choices, width
from dss_marl.profiles import Outage

POINTS = ("kw", "kvar", "tap", "closed")


class Twins:
    """A batch, and its copies one by one, under the same random actions."""

    def __init__(self, task, copies=3, seed=5, engines=None):
        engine = None if engines is None else EngineLoop([make() for make in engines])
        self.batch = BatchZoneEnv(task, copies, engine=engine)
        alone = [None] * copies if engines is None else [make() for make in engines]
        self.envs = [FlattenedEnv(ZoneEnv(task, engine=own)) for own in alone]
        self.spaces = [self.envs[0].env.action_space(agent) for agent in self.batch.agents]
        self.rng, self.ends = np.random.default_rng(seed), []
        seeds = copy_seeds(seed, copies)
        seen, infos = self.batch.reset(seed)
        for b, env in enumerate(self.envs):
            own, own_infos = env.reset(seed=seeds[b])
            self.compare(b, seen, own)
            self.compare_infos(b, infos, own_infos)

    def actions(self):
        """(B, A, W), each agent's in the first entries of its row."""
        rows = np.zeros(self.batch.action_rows.shape)
        for row in rows.reshape(-1, len(self.spaces), rows.shape[-1]):
            for own, space in zip(row, self.spaces, strict=True):
                own[: width(space)] = self.numbers(space)
        return rows.astype(np.float32 if self.batch.task.encoding.counts.sum() == 0 else np.int64)

    def numbers(self, space):
        if n_choices(space):
            return self.rng.integers(getattr(space, "nvec", n_choices(space)))
        return self.rng.uniform(-1.1, 1.1, space.shape)

    def play(self, steps):
        for _ in range(steps):
            rows = self.actions()
            result = self.batch.step(rows)
            assert np.isfinite(result.rewards).all()
            self.ends.append((result.terminated, result.truncated))
            for b, env in enumerate(self.envs):
                given = zip(self.batch.agents, self.spaces, rows[b], strict=True)
                own = env.env.step({agent: action_in(space, row[: width(space)]) for agent, space, row in given})
                self.compare_step(b, result, own)
                seen = env.see(own[0])
                if own[2][self.batch.agents[0]] or own[3][self.batch.agents[0]]:
                    assert np.array_equal(result.final_observations[b], np.stack(list(seen.values())))
                    seen, infos = env.reset()
                    self.compare_infos(b, self.batch.reset_infos, infos)
                self.compare(b, result.observations, seen)
        self.batch.close()
        for env in self.envs:
            env.close()

    def compare_step(self, b, result, own):
        _, rewards, terminated, truncated, infos = own
        for a, agent in enumerate(self.batch.agents):
            assert result.rewards[b, a] == pytest.approx(rewards[agent], rel=1e-14, abs=1e-14)
            assert (result.terminated[b], result.truncated[b]) == (terminated[agent], truncated[agent])
        self.compare_infos(b, result.infos, infos)

    def compare_infos(self, b, infos, own):
        for a, agent in enumerate(self.batch.agents):
            for key, values in infos.items():
                assert values[b, a] == pytest.approx(own[agent][key], rel=1e-12, abs=1e-14), key

    def compare(self, b, seen, own):
        """All that a copy is now: what is observed, allowed and solved."""
        env, now = self.envs[b].unwrapped, self.batch.now
        assert np.array_equal(seen[b], np.stack([own[agent] for agent in self.batch.agents]))
        assert np.array_equal(self.batch.state()[b], env.state())
        masks = self.envs[b].masks()
        assert (self.batch.masks is None) == (masks is None)
        assert masks is None or np.array_equal(self.batch.masks[b], masks)
        assert np.array_equal(now.solution.v_pu[b], env.now.solution.v_pu)
        assert np.array_equal(now.device_state[b], env.now.device_state)
        assert (int(now.step[b]), float(now.hour[b])) == (env.now.step, env.now.hour)
        for name in POINTS:
            assert np.array_equal(getattr(now.setpoints, name)[b], getattr(env.now.setpoints, name))


def test_every_scenario_is_here():
    assert len(EVERY) == 40


@pytest.mark.parametrize("name", [name for name in EVERY if name not in LARGE])
def test_copies_are_as_alone(name):
    """Two whole episodes of three steps, at different times of day where days are long, and a step of the third."""
    Twins(load_cached(name, steps=3)).play(7)


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_copies_of_large_feeders_are_as_alone(name):
    Twins(load_cached(name, steps=1), copies=2).play(2)


CHANGES = {
    "difference rewards": ("ieee34_volt_var", {"reward_sharing": "difference"}),
    "difference rewards with trips": ("ieee123_restoration", {"reward_sharing": "difference"}),
    "own view": ("ieee34_volt_var", {"agents": "device", "reward_sharing": "agent"}),
    "native": ("ieee13_volt_var", {"actions": "native", "agents": "device"}),
    "choices": ("ieee13_volt_var", {"actions": "multidiscrete"}),
    "an encoding of one's own": ("ieee13_volt_var", {"actions": "own_plugins:SquaredBox"}),
    "old voltages": ("ieee123_hybrid", {"observed_voltages": "last", "reward_sharing": "zone"}),
}


@pytest.mark.parametrize("what", CHANGES)
def test_other_ways_to_play_are_as_alone(what):
    name, changes = CHANGES[what]
    Twins(load_cached(name, steps=3, **changes)).play(5)


CURVES = [{"kind": "inverter", "bus": bus, "kw": 300, "mode": "volt_var"} for bus in ("812", "830", "890", "840")]


def test_settling_inverters_are_solved_as_often_as_alone():
    """Copies settle after different numbers of power flows; a further one would change the last digits."""
    task = load_cached("ieee34_volt_var", steps=3, agents="kind")
    scenario = task.scenario.replace(devices=CURVES, zones={"method": "balanced", "count": 1})
    Twins(build_task(scenario), copies=4).play(5)


# The n-th power flow after a reset that fails, for each copy: one of an interval as operated, or as observed.
FAILURES = {"copies fall out of step": (4, 99, 7, 1), "none but one": (1, 1, 99, 1), "all at once": (1, 1, 1, 1)}


@pytest.mark.parametrize("sharing", ["team", "difference"])
@pytest.mark.parametrize("what", FAILURES)
@pytest.mark.parametrize("name", ["ieee13_volt_var", "ieee123_restoration", "ieee123_volt_var_attack"])
def test_a_failed_power_flow_ends_its_own_copy_alone(name, what, sharing):
    scenario = task_of(name).scenario
    task = build_task(scenario.replace(steps=5, reward_sharing=sharing, sensing=NOISE, messages=LATE))
    engines = [partial(failing, task.feeder, at) for at in FAILURES[what]]
    twins = Twins(task, copies=4, engines=engines)
    twins.play(9)
    ends = [tuple(terminated) for terminated, _ in twins.ends if terminated.any()]
    if sharing == "team":  # else some of these are power flows of a counterfactual, which end nothing
        assert ends
        assert (ends[0] == (True,) * 4) == (what == "all at once")


def failing(feeder, at):
    return Failing(OpenDSSEngine(feeder), at)


NOISE = {"noise_v_pu": 0.01, "noise_power": 0.02, "missing": 0.2, "delay": 2}
LATE = {"hops": 1, "loss": 0.3, "delay": 1}


def test_a_first_interval_without_solution_is_an_error_and_a_reset_goes_on():
    task = load_cached("ieee13_volt_var", steps=2)
    engine = EngineLoop([failing(task.feeder, at) for at in (99, 0)])
    batch = BatchZoneEnv(task, 2, engine=engine)
    with pytest.raises(PowerFlowError, match=r"copy 1: the first interval of day \d+ of scenario 'ieee13_volt_var'"):
        batch.reset(1)
    with pytest.raises(RuntimeError, match=r"step cannot go on after an error .*call reset first"):
        batch.step(np.zeros(batch.action_rows.shape, np.float32))
    engine.engines[1].at = 99
    assert np.isfinite(batch.reset(1)[0]).all()
    batch.close()


def test_outages_of_each_copys_day_come_and_go(monkeypatch):
    """Three outages at different steps: protection opens and faults stay, in some copies at a time."""
    task = build_task(
        task_of("ieee123_restoration").scenario.replace(faults="outages", start_hour=8, steps=6, horizon=1)
    )

    def of_day(self, number):
        return (
            Outage("line.l43", 8.1 + 0.25 * (number % 5), 0.5),
            Outage("line.l87", 8.3 + 0.25 * (number % 3), 100.0),
        )

    monkeypatch.setattr(type(task.profiles), "outages", of_day)
    Twins(task, copies=4).play(8)


def test_each_copys_faults_are_repaired_in_their_own_time():
    task = build_task(task_of("ieee123_restoration").scenario.replace(repair_h=(0.5, 1.5), steps=8, horizon=1))
    Twins(task, copies=4).play(10)


def peak(zone, before, after):
    """A term that is not written for leading axes."""
    return -max(after.solution.v_pu[zone.scored_nodes]) if after.step % 2 else 0.0


def of_ones_own(zone, state):
    """Neither is this feature."""
    return [state.hour / 2, min(state.solution.v_pu[zone.scored_nodes])]


def test_terms_and_features_of_ones_own_see_one_copy_at_a_time():
    task = load_scenario("ieee13_volt_var").replace(
        steps=3,
        rewards={"voltage_violation": 100, "test_batch_env:peak": 1},
        costs=["test_batch_env:peak"],
        observations=["zone_voltage", "test_batch_env:of_ones_own"],
        messages={"hops": 1, "share": ["test_batch_env:of_ones_own"]},
    )
    Twins(build_task(task)).play(5)


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def batch():
    made = BatchZoneEnv(load_cached("ieee13_volt_var", steps=3), 2)
    yield made
    made.close()


def test_what_cannot_be_is_refused_and_nothing_changes(batch):
    zeros = np.zeros(batch.action_rows.shape, np.float32)
    with pytest.raises(RuntimeError, match="step needs running episodes; call reset first"):
        batch.step(zeros)
    seen, _ = batch.reset(seed=[3, 4])
    bad = zeros.copy()
    bad[1, 2, 0] = np.nan
    for actions, message in [
        (zeros[:1], r"actions must have shape \(2, 3, 7\).*got \(1, 3, 7\)"),
        (bad, r"action of 'zone_3' of copy 1 contains NaN"),
        ([{}], "1 dicts of actions for 2 copies"),
        ([{}, {}], "no action for 'zone_1'"),
    ]:
        with pytest.raises(ValueError, match=message):
            batch.step(actions)
    for changes, message in [
        ({"seed": [1]}, "one seed for each of 2 copies; got 1"),
        ({"options": [{"day": 3}]}, "one option for each of 2 copies; got 1"),
        ({"options": {"day": 9_999}}, "day must be a whole number"),
    ]:
        with pytest.raises(ValueError, match=message):
            batch.reset(**changes)
    assert np.array_equal(batch.observations, seen)
    assert batch.reset(options=[{"day": 3}, {"day": 30}])[1]["day"].tolist() == [[3] * 3, [30] * 3]
    with pytest.raises(ValueError, match="copies must be a whole number from 1"):
        BatchZoneEnv(batch.task, 0)
    with pytest.raises(ValueError, match="the engine solves 2 copies, not 3"):
        BatchZoneEnv(batch.task, 3, engine=batch.engine)


def test_dicts_of_actions_are_taken_too(batch):
    batch.reset(7)
    rng = np.random.default_rng(0)
    rows = rng.uniform(-1, 1, batch.action_rows.shape).astype(np.float32)
    one = batch.step(rows)
    batch.reset(7)
    two = batch.step([dict(zip(batch.agents, own, strict=True)) for own in rows])
    assert np.array_equal(one.observations, two.observations)
    assert np.array_equal(one.rewards, two.rewards)


def test_opendss_takes_no_threads():
    with pytest.raises(ValueError, match=r"threads must be 1.*num_cpus"):
        open_batch_engine(task_of("ieee13_volt_var").feeder, 2, threads=2)
