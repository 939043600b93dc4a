"""One agent that moves every device: Gymnasium's contract, and the same game as the team's."""

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env, data_equivalence

import dss_marl
from dss_marl import gym_env
from dss_marl.envs.central_env import CentralEnv

CASES = [(agents, actions) for agents in ("zone", "kind", "device") for actions in ("box", "multidiscrete")]
every_case = pytest.mark.parametrize(("agents", "actions"), CASES)
SHORT = {"steps": 6, "start_hour": 9.0}


@pytest.mark.parametrize("name", ["ieee13_volt_var", "ieee34_volt_var"])
@every_case
def test_gymnasium_checks_it(name, agents, actions):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "(?s).*not have a `spec`|.*different from the unwrapped version")
        warnings.filterwarnings("ignore", "(?s).*unknown option|.*symmetric and normalized")
        check_env(gym_env(name, agents=agents, actions=actions, steps=6), skip_render_check=True)


@every_case
def test_it_is_paid_what_the_team_is_paid(agents, actions):
    changes = {**SHORT, "agents": agents, "actions": actions}
    one = gym_env("ieee34_volt_var", **changes, reward_sharing="agent")
    team = dss_marl.make("ieee34_volt_var", **changes)
    one.action_space.seed(3)
    seen, info = one.reset(seed=5)
    team.reset(seed=5)
    keys, total = info.keys(), 0.0
    while team.agents:
        assert np.array_equal(seen, team.state())
        action = one.action_space.sample()
        seen, reward, terminated, truncated, info = one.step(action)
        _, rewards, terminations, truncations, infos = team.step(one.actions(action))
        assert reward == rewards[team.possible_agents[0]]
        assert (terminated, truncated) == (any(terminations.values()), any(truncations.values()))
        assert reward == pytest.approx(sum(value for key, value in info.items() if key.startswith("reward/")))
        assert info["illegal"] == sum(each["illegal"] for each in infos.values())
        assert info.keys() == keys
        total += reward
    assert truncated and total < 0


@every_case
def test_labels_name_every_entry(agents, actions):
    env = gym_env("ieee13_volt_var", agents=agents, actions=actions, **SHORT)
    labels = env.labels()
    assert len(labels["observation"]) == env.observation_space.shape[0]
    assert len(set(labels["action"])) == len(labels["action"]) == env.action_space.shape[0]
    seen, _ = env.reset(seed=0)
    zone = env.env.task.zones[2]
    v = (env.env.now.solution.v_pu[zone.scored_nodes] - 1) * 20
    assert seen[labels["observation"].index("zone_3/highest voltage [(v_pu - 1) * 20]")] == pytest.approx(v.max())
    choices = actions == "multidiscrete"
    action = env.action_space.nvec // 2 if choices else np.zeros(env.action_space.shape, np.float32)  # all neutral
    mine = next(k for k, label in enumerate(labels["action"]) if "inverter_675: share" in label)
    action[mine] = 0 if choices else -1
    env.step(action)
    kvar = {row.name: q for row, q in zip(env.env.task.feeder.injections, env.env.after.setpoints.kvar, strict=True)}
    assert kvar["generator.inverter_675"] == min(kvar.values()) == pytest.approx(-0.44 * 1.2 * 1500)  # category B
    env.close()


def test_agents_that_act_in_turn_have_labels_too():
    turns, together = dss_marl.env("ieee13_volt_var"), dss_marl.make("ieee13_volt_var")
    assert turns.labels("zone_2") == together.labels("zone_2")


def test_zones_without_an_agent_count_too():
    """The third zone has no device, so nobody reports it; its losses are paid for all the same."""
    kept = [{"kind": "inverter", "bus": 890, "kw": 280}, {"kind": "regulator", "names": ["reg1a"], "moves": 2}]
    env = gym_env("ieee34_volt_var", devices=kept, agents="device", **SHORT)
    env.reset(seed=0)
    *_, info = (_, reward, *_) = env.step(np.zeros(2, np.float32))
    assert len(set(env.env.task.agents.zone.tolist())) < len(env.env.task.zones)
    assert reward == pytest.approx(sum(value for key, value in info.items() if key.startswith("reward/")))


def test_every_entry_of_the_action_moves_one_device():
    """No padding: 2 banks, 6 inverters and 6 regulators are 14 entries, with the choices that each device has."""
    env = gym_env("ieee34_volt_var", actions="multidiscrete")
    assert sorted(env.action_space.nvec.tolist()) == [3] * 2 + [5] * 6 + [11] * 6
    assert gym_env("ieee34_volt_var").action_space.shape == (14,)
    env.reset(seed=0)
    moved = set()
    for entry in range(14):
        low, high = env.action_space.nvec // 2, env.action_space.nvec // 2
        low[entry] -= 1
        high[entry] += 1
        flats = [env.env.task.encoding.decode(env.actions(action)).joint_action for action in (low, high)]
        moved |= set(np.flatnonzero(flats[0] != flats[1]).tolist())
    assert moved == set(range(14))


def test_the_mask_tells_what_is_counted_as_illegal():
    env = gym_env("ieee34_volt_var", actions="multidiscrete", agents="kind", steps=12)
    rng = np.random.default_rng(0)
    _, info = env.reset(seed=1)
    starts = np.cumsum([0, *env.action_space.nvec[:-1]])
    forbidden = 0
    for _ in range(12):
        mask = env.action_masks()
        assert mask.dtype == bool and mask.shape == (env.action_space.nvec.sum(),)
        assert np.array_equal(info["action_mask"], mask)
        action = rng.integers(env.action_space.nvec // 2, env.action_space.nvec)  # taps up, until they are at the end
        expected = int((~mask[starts + action]).sum())
        forbidden += expected
        *_, info = env.step(action)
        assert info["illegal"] == expected
    assert forbidden > 0


def test_box_has_no_masks_and_native_is_refused():
    env = gym_env("ieee34_volt_var", **SHORT)
    env.reset(seed=0)
    with pytest.raises(AttributeError, match="multidiscrete"):
        env.action_masks()
    with pytest.raises(ValueError, match="actions='box' or 'multidiscrete'"):
        gym_env("ieee34_volt_var", actions="native")
    with pytest.raises(ValueError, match=r"shape \(3,\); it must be \(14,\)"):
        env.step(np.zeros(3))


def test_the_seed_repeats_the_days():
    env = gym_env("ieee34_volt_var", **SHORT)

    def days(seed):
        return [env.reset(seed=seed)[1]["day"], *(env.reset()[1]["day"] for _ in range(4))]

    assert days(3) == days(3) != days(4)
    assert len(set(days(3))) > 2
    assert env.reset(options={"day": 17})[1]["day"] == 17


def test_it_can_be_registered():
    gymnasium.register("dss_marl_test/central-v0", gym_env, kwargs={"scenario": "ieee13_volt_var", "steps": 4})
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            env = gymnasium.make("dss_marl_test/central-v0", actions="multidiscrete", render_mode="ansi")
            seen, _ = env.reset(seed=0)
            assert isinstance(env.unwrapped, CentralEnv) and env.observation_space.contains(seen)
            for _ in range(4):
                *_, truncated, _ = env.step(env.action_space.sample())
            assert truncated and "zone_1" in env.render()
            again = gymnasium.make(env.unwrapped.spec)
            assert data_equivalence(again.reset(seed=0)[0], seen)
    finally:
        del gymnasium.registry["dss_marl_test/central-v0"]


def test_maskable_ppo_never_takes_a_forbidden_choice():
    contrib = pytest.importorskip("sb3_contrib")
    from stable_baselines3.common.vec_env import DummyVecEnv

    illegal = []

    class Noting(CentralEnv):
        def step(self, action):
            result = super().step(action)
            illegal.append(result[-1]["illegal"])
            return result

    scenario = dss_marl.load_scenario("ieee13_volt_var").replace(actions="multidiscrete", **SHORT)
    venv = DummyVecEnv([lambda: Noting(scenario)])
    contrib.MaskablePPO("MlpPolicy", venv, n_steps=60, batch_size=60, n_epochs=1, device="cpu", seed=0).learn(120)
    assert len(illegal) == 120 and not any(illegal)
