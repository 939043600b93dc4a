"""One actor for numbers and choices: distribution, layout of entries, and its files."""

import dataclasses

import numpy as np
import pytest

import dss_marl

th = pytest.importorskip("torch")
pytest.importorskip("stable_baselines3")

from gymnasium import spaces  # noqa: E402

from dss_marl.envs.task import build_task  # noqa: E402
from dss_marl.integrations.sb3 import SharedPolicy  # noqa: E402
from dss_marl.integrations.sb3.entry_layout import EntryLayout, guided_entries  # noqa: E402
from dss_marl.integrations.sb3.imitation_loss import check_imitates, imitation_loss  # noqa: E402
from dss_marl.integrations.sb3.mixed_distribution import ChoiceHeads, MixedDistribution  # noqa: E402
from dss_marl.integrations.sb3.mixed_policy import MixedPolicy  # noqa: E402
from dss_marl.integrations.sb3.policy_files import read_policy, save_policy  # noqa: E402

# Three kinds of agents: a number and a tap of five; a number and a bank of three; padding and a tap of two.
LEVELS = [[0, 5], [0, 3], [-1, 2]]
SIGNATURES = [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]


def policy(**changes):
    box, wide = spaces.Box(-1, 1, (2,), np.float32), spaces.Box(-5, 5, (4,), np.float32)
    th.manual_seed(0)
    given = {"columns": [1, 3], "signatures": SIGNATURES, "levels": LEVELS, "net_arch": [8, 8], **changes}
    return MixedPolicy(wide, box, lambda _: 1e-3, **given)


def rows(pattern, n=1):
    """Observations of agents of a pattern."""
    seen = th.randn(n, 4, generator=th.Generator().manual_seed(1))
    seen[:, [1, 3]] = th.tensor(SIGNATURES[pattern])
    return seen


def test_probabilities_and_entropies_are_those_of_each_distribution():
    heads = ChoiceHeads(LEVELS)
    assert list(zip(heads.column, heads.count, strict=True)) == [(1, 2), (1, 3), (1, 5)]
    mean, log_std = th.tensor([[0.2, 0.7]] * 3), th.tensor([-1.0, 0.5])
    logits = th.arange(10.0).repeat(3, 1) / 3
    found = MixedDistribution(heads).proba_distribution(mean, log_std, logits, th.arange(3), th.tensor(0.5))
    actions = th.tensor([[0.4, 0.5], [-0.3, -1.0], [0.9, 1.0]])  # positions 3 of 5, 0 of 3, 1 of 2
    gauss = th.distributions.Normal(0.2, np.exp(-1.0))
    taps, banks, switches = (th.log_softmax(logits[0, a:b] / 0.5, 0) for a, b in ((5, 10), (2, 5), (0, 2)))
    expected = [
        [gauss.log_prob(th.tensor(0.4)), taps[3]],
        [gauss.log_prob(th.tensor(-0.3)), banks[0]],
        [0.0, switches[1]],
    ]
    th.testing.assert_close(found.log_prob_of_entries(actions), th.tensor(expected))
    entropy = [-(own.exp() * own).sum() for own in (taps, banks, switches)]
    spread = float(0.5 + 0.5 * np.log(2 * np.pi) - 1.0)
    expected = [[spread, entropy[0]], [spread, entropy[1]], [0.0, entropy[2]]]
    th.testing.assert_close(found.entropy_of_entries(), th.tensor(expected))
    th.testing.assert_close(found.log_prob(actions), found.log_prob_of_entries(actions).sum(1))
    th.testing.assert_close(found.mode(), th.tensor([[0.2, 1.0], [0.2, 1.0], [0.0, 1.0]]))


def test_samples_are_positions_of_the_device_and_numbers_where_there_are_any():
    one = policy(hold=[[-1, 2], [-1, 1], [-1, -1]], hold_probability=0.8)
    actions = th.cat([one(rows(p, 2000))[0].detach() for p in range(3)])
    for p, allowed in enumerate([[-1, -0.5, 0, 0.5, 1], [-1, 0, 1], [-1, 1]]):
        own = actions[2000 * p : 2000 * (p + 1)]
        assert sorted({round(float(value), 4) for value in own[:, 1]}) == allowed
        assert (own[:, 0] == 0).all() == (p == 2), "padding stays at 0"
        share = float((own[:, 1] == 0).float().mean())
        assert p == 2 or share == pytest.approx(0.8, abs=0.04), "it begins by holding"
    assert float((actions[4000:, 1] > 0).float().mean()) == pytest.approx(0.5, abs=0.05), "no rest, no bias"


def test_lower_temperature_brings_samples_to_what_would_be_chosen():
    one, seen = policy(hold=[[-1, 3], [-1, 1], [-1, -1]], hold_probability=0.6), rows(0, 500)
    chosen = one(seen, deterministic=True)[0][:, 1]
    agree = []
    for temperature in (1.0, 0.2):
        one.temperature.fill_(temperature)
        agree.append(float((one(seen)[0][:, 1] == chosen).float().mean()))
    assert agree[0] < 0.7 and agree[1] > 0.95
    assert th.equal(one(seen, deterministic=True)[0][:, 1], chosen)


def test_padding_has_no_influence():
    one, seen = policy(), rows(2, 8)
    actions = one(seen)[0].detach()
    other = actions.clone()
    other[:, 0] = 3.0
    _, log_prob, entropy = one.evaluate_actions(seen, actions)
    _, moved, _ = one.evaluate_actions(seen, other)
    assert th.equal(log_prob, moved)
    (log_prob.sum() + entropy.sum()).backward()
    assert one.log_std.grad is None or not one.log_std.grad.any()
    assert one.action_net.weight.grad is None or not one.action_net.weight.grad.any()
    assert one.choice_net.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("name", ["ieee13_volt_var", "ieee34_volt_var", "ieee13_legacy"])
def test_a_position_in_the_action_is_that_position_on_the_device(name):
    """What the actor calls position k is k - middle moves of a tap, open, hold and close of a bank."""
    task = build_task(dss_marl.load_scenario(name))
    layout, heads = EntryLayout.of_task(task), None
    env = dss_marl.ZoneEnv(task)
    env.reset(seed=0)
    heads = ChoiceHeads(layout.levels)
    place, levels = task.agents.action_layout.place, np.concatenate([g.n_levels().ravel() for g in task.device_groups])
    checked = 0
    for a, w in np.argwhere(task.agents.action_layout.used):
        count = int(levels[place[a, w]])
        if not count:
            continue
        head = list(zip(heads.column, heads.count, strict=True)).index((w, count))
        values = heads.values[head, heads.exists[head]].numpy()
        row = np.zeros((count, place.shape[1]), np.float32)
        row[:, w] = values
        assert heads.positions(th.as_tensor(row))[:, head].tolist() == list(range(count))
        if count == 2 * (count // 2) + 1 and "reg" in task.agents.action_layout.labels[a][w]:
            joint = np.repeat(task.default_action[None], count, 0)
            joint[:, place[a, w]] = values
            before = env.now.setpoints.tap.sum()
            moves = [env.what_if(task.encoding.encode(one)).setpoints.tap.sum() - before for one in joint]
            assert moves == sorted(moves) and moves[count // 2] == 0 and len(set(moves)) == count
        checked += 1
    assert checked > 3
    env.close()


def test_kinds_of_entries_are_read_from_as_few_features_as_it_takes():
    zones = EntryLayout.of_task(build_task(dss_marl.load_scenario("ieee34_volt_var")))
    assert len(zones.columns) == 6 and len(zones.levels) == 3, "has_action tells the zones apart"
    devices = dss_marl.load_scenario("ieee34_volt_var").replace(agents="device")
    by_identity = EntryLayout.of_task(build_task(devices))
    assert len(by_identity.columns) == 14, "has_action is the same for all"
    assert {row[0] for row in by_identity.levels} == {0, 3, 5}
    regulators = EntryLayout.of_task(build_task(devices), "regulator")
    assert regulators.columns == () and regulators.levels == ((5,),) and regulators.hold == ((2,),)
    blind = devices.replace(observations=["zone_voltage", "has_action"])
    with pytest.raises(ValueError, match=r"must tell from an observation.*but it has zone_voltage, has_action; add"):
        EntryLayout.of_task(build_task(blind))


def test_guided_entries_are_the_numbers_of_the_kinds():
    task = build_task(dss_marl.load_scenario("ieee34_volt_var"))
    found = guided_entries(task, ["inverter"])
    assert found.sum() == 6 and found[:, 0].all() and not found[:, 1:].any()
    with pytest.raises(
        ValueError, match=r"slope is for numbers of regulator.*set training.slope.kinds to some of inverter"
    ):
        guided_entries(task, ["regulator"])


def test_a_file_holds_the_policy_and_runs_no_code(tmp_path):
    one = policy(hold=[[-1, 2], [-1, 1], [-1, -1]])
    one.temperature.fill_(0.4)
    save_policy(one, tmp_path / "policy.safetensors")
    read = read_policy(tmp_path / "policy.safetensors")
    assert float(read.temperature) == pytest.approx(0.4)
    for pattern in range(3):
        seen = rows(pattern, 20)
        assert th.equal(read(seen, deterministic=True)[0], one(seen, deterministic=True)[0])
        assert th.equal(read.evaluate_actions(seen, read(seen)[0])[2], one.evaluate_actions(seen, one(seen)[0])[2])


def test_policies_of_two_routes_act_alike():
    """One agent at a time, as controllers are asked, or the rows of many copies."""
    scenario = dss_marl.load_scenario("ieee13_volt_var")
    env = dss_marl.make(scenario)
    layout = dataclasses.asdict(EntryLayout.of_task(env.task))
    agent = env.possible_agents[0]
    own = SharedPolicy(MixedPolicy(env.observation_space(agent), env.action_space(agent), lambda _: 1.0, **layout))
    observations, _ = env.reset(seed=0)
    own.reset(env)
    actions = own.act(env, observations)
    together = own.act_rows(env, np.stack([observations[a] for a in env.agents])[None], None, 7)
    np.testing.assert_allclose(np.stack([actions[a] for a in env.agents]), together[0], atol=1e-6)
    assert (env.step(actions)[4][agent]["limited"]) == 0
    env.close()


def test_imitation_fits_numbers_and_positions_alike():
    own = policy()
    seen, targets = rows(0, 64), th.tensor([[0.6, -0.5]]).repeat(64, 1)  # a number, and position 1 of 5
    used = th.ones(64, 2)
    found = own.get_distribution(seen)
    missed = -found.choices.log_prob(found.heads.positions(targets))[:, 2]
    by_hand = ((found.numbers.mean[:, 0] - 0.6).square() + 0.3 * missed).mean()
    th.testing.assert_close(imitation_loss(own, seen, targets, used), by_hand)
    used[:, 1] = 0
    th.testing.assert_close(imitation_loss(own, seen, targets, used), (found.numbers.mean[:, 0] - 0.6).square().mean())
    check_imitates(own)
    learner = th.optim.Adam(own.parameters(), lr=0.02)
    for _ in range(200):
        learner.zero_grad()
        imitation_loss(own, seen, targets, th.ones(64, 2)).backward()
        learner.step()
    th.testing.assert_close(own.get_distribution(seen).mode(), targets, atol=0.05, rtol=0)
