"""PPO with ratios per entry, slopes of the reward, a central critic, and schedules."""

import functools

import numpy as np
import pytest

import dss_marl

th = pytest.importorskip("torch")
pytest.importorskip("stable_baselines3")

from gymnasium import spaces  # noqa: E402
from stable_baselines3 import PPO  # noqa: E402
from stable_baselines3.common.vec_env import VecEnv  # noqa: E402

from dss_marl.envs.training_settings import SlopeSettings, TrainingSettings  # noqa: E402
from dss_marl.integrations.sb3.models import new_model  # noqa: E402
from dss_marl.integrations.sb3.rollouts import slope_targets  # noqa: E402
from dss_marl.integrations.sb3.setting_checks import check_settings  # noqa: E402
from dss_marl.integrations.sb3.zone_ppo import ZonePPO, clipped_surrogate, slope_loss  # noqa: E402
from dss_marl.integrations.vector import Watched  # noqa: E402

SMALL = {"n_steps": 8, "batch_size": 24, "n_epochs": 2, "gamma": 0.9, "seed": 0, "device": "cpu"}


class Bowl(VecEnv):
    """Rows of one agent whose reward is highest at an action of 0.5; its slopes are known."""

    def __init__(self, n=8):
        super().__init__(n, spaces.Box(-1, 1, (2,), np.float32), spaces.Box(-1, 1, (2,), np.float32))
        self.row_copy, self.row_agent, self.slopes, self.kept = np.arange(n), np.zeros(n, int), np.zeros((n, 2)), None

    def watch(self, watch):
        self.kept = watch

    def watched(self):
        states = np.ones((self.num_envs, 3), np.float32) if self.kept.states else None
        return Watched(states, states, self.slopes if self.kept.slopes else None)

    def reset(self):
        self.reset_infos = [{}] * self.num_envs
        return np.zeros((self.num_envs, 2), np.float32)

    def step_async(self, actions):
        self.actions = actions

    def step_wait(self):
        off = self.actions - 0.5
        self.slopes = -2 * off
        return self.reset(), -(off**2).sum(1), np.zeros(self.num_envs, bool), [{} for _ in range(self.num_envs)]

    def close(self):
        """Nothing to close."""

    def get_attr(self, attr_name, indices=None):
        return [spaces.Box(-1, 1, (3,))]

    def set_attr(self, attr_name, value, indices=None):
        raise NotImplementedError

    def env_method(self, method_name, *args, indices=None, **kwargs):
        raise NotImplementedError

    def env_is_wrapped(self, wrapper_class, indices=None):
        return [False] * self.num_envs


def make(name="ieee13_volt_var", **changes):
    return dss_marl.make(name, steps=6, start_hour=11, **changes)


def model_for(venv, **training):
    """A model by a scenario's settings."""
    settings = TrainingSettings(**{"n_steps": 4, "batch_size": 12, "n_epochs": 1, "n_envs": 2, **training})
    task = make().task
    check_settings(task, settings)
    return new_model(settings, venv, task, 0)[0]


# --- defaults --------------------------------------------------------------------------------------------------------


def test_without_options_it_learns_what_ppo_learns(build, one_thread):
    weights = []
    for kind in (PPO, ZonePPO):
        model = kind("MlpPolicy", build(make, n_envs=2), **SMALL)
        model.learn(3 * 48)
        weights.append(model.policy.state_dict())
    for name, own in weights[0].items():
        th.testing.assert_close(own, weights[1][name], atol=1e-6, rtol=1e-5)


def test_defaults_take_ppo_itself(build):
    venv = build(make, n_envs=2)
    assert type(model_for(venv)) is PPO and not TrainingSettings().beyond_ppo
    assert type(model_for(venv, entries="mixed")) is PPO, "the policy alone is another"
    for own in ({"ratio": "per_entry"}, {"critic": "central"}, {"algorithm": "mappo"}, {"log_std_final": -2}):
        assert type(model_for(venv, **own)) is ZonePPO


# --- ratios ----------------------------------------------------------------------------------------------------------


def test_ratio_per_entry_is_the_joint_one_for_one_entry():
    log_ratio, gain = th.randn(50, 1) / 3, th.randn(50)
    used = th.ones(50, 1)
    joint, each = (clipped_surrogate(log_ratio, used, gain, 0.2, ratio) for ratio in ("joint", "per_entry"))
    assert joint == each
    ratio = log_ratio.exp()[:, 0]
    expected = -th.min(ratio * gain, ratio.clamp(0.8, 1.2) * gain).mean()
    th.testing.assert_close(joint, expected)


def test_one_entry_beyond_the_clip_does_not_stop_the_others():
    log_ratio = th.tensor([[1.0, 0.0]], requires_grad=True)
    gain, used = th.tensor([1.0]), th.ones(1, 2)
    clipped_surrogate(log_ratio, used, gain, 0.2, "joint").backward()
    assert not log_ratio.grad.any()
    clipped_surrogate(log_ratio, used, gain, 0.2, "per_entry").backward()
    assert log_ratio.grad.tolist() == [[0.0, -1.0]]


def test_entries_that_do_not_count_have_no_influence():
    log_ratio, gain = th.tensor([[0.1, 0.0], [0.05, 0.0]]), th.tensor([1.0, -1.0])
    used = th.tensor([[1.0, 0.0], [1.0, 0.0]])
    both = clipped_surrogate(log_ratio, used, gain, 0.2, "per_entry")
    th.testing.assert_close(both, clipped_surrogate(log_ratio[:, :1], used[:, :1], gain, 0.2, "joint"))


# --- slopes ----------------------------------------------------------------------------------------------------------


def test_targets_lie_up_the_slope_scaled_by_the_median_and_clipped():
    slopes = th.tensor([[1.0, 0.0], [2.0, 0.0], [-4.0, 0.0], [100.0, 9.0]])
    guided = th.tensor([[1.0, 0.0]] * 4)
    target = slope_targets(th.zeros(4, 2), slopes, guided, step=0.1, clip=3.0)
    assert target[:, 0].tolist() == pytest.approx([0.05, 0.1, -0.2, 0.3])
    mean = th.zeros(4, 2, requires_grad=True)
    slope_loss(mean, target, guided, 0.1).backward()
    assert mean.grad[:, 0].tolist() == pytest.approx([-0.125, -0.25, 0.5, -0.75])
    assert not mean.grad[:, 1].any()
    assert slope_targets(th.full((1, 1), 0.95), th.ones(1, 1), th.ones(1, 1), 0.2, 3.0) == 1.0


def test_means_climb_the_slope(one_thread):
    venv = Bowl()
    options = {**SMALL, "batch_size": 64, "learning_rate": 3e-3, "slope": SlopeSettings(kinds=("a",))}
    options["policy_kwargs"] = {"log_std_init": -0.7, "net_arch": [16]}
    model = ZonePPO("MlpPolicy", venv, guided=[[True, False]], log_std_final=-0.7, **options)
    model.learn(64 * 40)
    own = model.predict(np.zeros((1, 2), np.float32), deterministic=True)[0][0]
    assert own[0] == pytest.approx(0.5, abs=0.05), "guided"
    assert abs(own[1] - 0.5) > 0.1, "left to PPO, which takes longer"


def test_where_there_is_no_slope_a_guided_number_is_left_to_ppo(one_thread):
    class Flat(Bowl):
        def step_wait(self):
            found = super().step_wait()
            self.slopes[::2] = 0.0
            return found

    options = {**SMALL, "slope": SlopeSettings(kinds=("a",)), "policy_kwargs": {"net_arch": [16]}}
    model = ZonePPO("MlpPolicy", Flat(), guided=[[True, False]], log_std_final=-0.7, **options)
    model.learn(model.n_steps * model.n_envs)
    rollout = model._rollout()
    guided = rollout.guided[:, 0].reshape(model.n_envs, model.n_steps)
    assert guided[1::2].all() and not guided[::2].any() and not rollout.guided[:, 1].any()
    assert th.equal(rollout.free, 1 - rollout.guided)


def test_slopes_come_with_the_step_whatever_steps_the_copies(build):
    """One by one, as a batch on OpenDSS, and on the batched engine; copies that ended have none."""
    found = {}
    for label, n, engine in (("alone", 1, None), ("batch", 2, None), ("engine", 2, "batched")):
        venv = build(make, n_envs=n, seed=3, engine=engine)
        model = model_for(venv, slope={})
        assert model.watches
        venv.reset()
        assert not venv.watched().slopes.any(), "before a step there are none"
        rng, steps = np.random.default_rng(0), []
        for _ in range(6):
            venv.step(rng.uniform(-1, 1, (6, 7))[: venv.num_envs])
            steps.append(venv.watched().slopes[:3])
        found[label] = np.array(steps)
        assert found[label][:5].any(axis=(1, 2)).all() and not found[label][5].any()
    np.testing.assert_allclose(found["batch"], found["alone"], atol=1e-4)
    np.testing.assert_allclose(found["engine"], found["alone"], rtol=0.05, atol=0.02)


def test_the_last_slope_is_that_which_was_to_come():
    env = make()
    env.reset(seed=0)
    actions = {agent: np.full(7, 0.3) for agent in env.agents}
    ahead = env.gradient(actions, margin_pu=0.002).by_agent
    with pytest.raises(RuntimeError, match="last_gradient needs a step"):
        env.last_gradient()
    env.step(actions)
    np.testing.assert_allclose(env.last_gradient(0.002).by_agent, ahead, rtol=1e-4)
    env.close()


# --- the central critic ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2])
def test_the_central_critic_sees_the_state(build, one_thread, n):
    venv = build(make, n_envs=n)
    model = model_for(venv, algorithm="mappo")
    seen = []
    model.central.register_forward_hook(lambda _, given, __: seen.append(given[0].clone()))
    model.learn(venv.num_envs * 8)
    size = venv.get_attr("state_space", indices=0)[0].shape[0]
    assert {one.shape[1] for one in seen} == {size} and size > venv.observation_space.shape[0]
    states = np.stack(venv.env_method("state"))[:: len(venv.agents)]
    np.testing.assert_allclose(venv.watched().states, states, atol=1e-6)
    values = model._row_values(states).reshape(n, -1)
    assert (values == values[:, :1]).all(), "the agents of a copy share a value"
    assert model.rollout_buffer.values.reshape(-1, n, len(venv.agents)).std(-1).max() < 1e-6


def test_a_cut_episode_is_worth_the_value_of_its_last_state(build, one_thread):
    venv = build(make, n_envs=2)
    model = model_for(venv, algorithm="mappo", n_steps=6)
    ends = []
    valued = model.end_values
    model.end_values = lambda *given: ends.append((given[0], given[2], valued(*given))) or ends[-1][2]
    rewards = []
    venv.step_wait, step = (lambda: (lambda out: rewards.append(out[1].copy()) or out)(step())), venv.step_wait
    model.learn(venv.num_envs * 6)
    (rows, states, values), *_ = ends
    assert rows == list(range(6)) and not np.allclose(states, venv.watched().states)
    expected = rewards[5] + 0.9 * values
    np.testing.assert_allclose(model.rollout_buffer.rewards[5], expected, atol=1e-5)


def test_agents_with_rewards_of_their_own_have_values_of_their_own(build, one_thread):
    venv = build(functools.partial(make, reward_sharing="zone"), n_envs=2)
    settings = TrainingSettings(n_steps=4, batch_size=12, n_envs=2, algorithm="mappo")
    model = new_model(settings, venv, make(reward_sharing="zone").task, 0)[0]
    model.learn(24)
    values = model.rollout_buffer.values.reshape(4, 2, 3)
    assert values.std(-1).min() > 0


# --- schedules and files ---------------------------------------------------------------------------------------------


def test_noise_and_temperature_follow_the_training(build, one_thread):
    venv = build(make, n_envs=2)
    own = {"entries": "mixed", "log_std_init": -1.0, "log_std_final": -3.0, "temperature_final": 0.25}
    model = model_for(venv, **own)
    seen = []
    train = model.train
    model.train = lambda: (seen.append((float(model.policy.log_std[0]), float(model.policy.temperature))), train())
    model.learn(24 * 4)
    assert [noise for noise, _ in seen] == pytest.approx([-1.0, -1.5, -2.0, -2.5])
    assert [heat for _, heat in seen] == pytest.approx([1.0, 0.25**0.25, 0.5, 0.25**0.75])


def test_sb3_can_go_on_from_its_own_file(build, tmp_path, one_thread):
    from dss_marl.integrations.sb3.trained_policy import _load_sb3

    venv = build(make, n_envs=2)
    model = model_for(venv, algorithm="mappo", entries="mixed", slope={}, temperature_final=0.5)
    model.learn(24)
    model.save(tmp_path / "model.zip")
    read = _load_sb3(tmp_path / "model.zip", "mappo")
    assert type(read) is ZonePPO and read.slope == SlopeSettings()
    for part in ("policy", "central"):
        for name, own in getattr(model, part).state_dict().items():
            assert th.equal(own, getattr(read, part).state_dict()[name])
    going_on = ZonePPO.load(tmp_path / "model.zip", env=venv, device="cpu")
    going_on.learn(24, reset_num_timesteps=False)
    assert going_on.num_timesteps == 48


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("training", "changes", "complaint"),
    [
        ({"algorithm": "maskable_ppo", "slope": {}}, {"actions": "multidiscrete"}, "'maskable_ppo' has no slope"),
        ({"entries": "mixed"}, {"actions": "multidiscrete"}, "entries 'mixed' is for actions 'box'"),
        ({"temperature_final": 0.3}, {}, "temperature_final needs entries 'mixed'"),
        ({"ratio": "per_entry"}, {"actions": "multidiscrete"}, "ratio need actions 'box'"),
        ({"slope": {"kinds": ["battery"]}}, {}, "set training.slope.kinds to some of inverter"),
    ],
)
def test_settings_that_do_not_fit_are_refused_with_the_cure(training, changes, complaint):
    scenario = dss_marl.load_scenario("ieee13_volt_var").replace(**changes)
    with pytest.raises(ValueError, match=complaint):
        check_settings(dss_marl.ZoneEnv(scenario).task, TrainingSettings(**training))


def test_states_and_slopes_need_the_native_route():
    task = make().task
    with pytest.raises(ValueError, match="use route 'native'"):
        check_settings(task, TrainingSettings(algorithm="mappo"), "supersuit")
