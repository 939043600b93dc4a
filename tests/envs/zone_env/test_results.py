"""What ZoneEnv returns: spaces, types, rewards, ends of episodes, labels, text."""

import numpy as np
import pytest
from episodes import bits, play, random_actions, still

from dss_marl import ZoneEnv, load_scenario


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
