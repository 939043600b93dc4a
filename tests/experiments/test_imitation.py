"""Imitation: labels of plans and controllers, cloned policies, and training that starts from them."""

import functools
import json

import numpy as np
import pytest

import dss_marl
from dss_marl.controllers.planning.plan_files import Plans, digest, plans_path
from dss_marl.envs.batch_env import BatchZoneEnv
from dss_marl.envs.task import build_task
from dss_marl.envs.training_settings import TeacherSettings, TrainingSettings
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.experiments import load_policy, load_run, train
from dss_marl.experiments.evaluation import environment_for
from dss_marl.experiments.training.teachers import ControllerTeacher, PlanTeacher, new_teacher, reset_to
from dss_marl.grid.copies import rows_of

pytest.importorskip("stable_baselines3")
import torch as th
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.callbacks import BaseCallback

from dss_marl.experiments.training.imitation import imitate
from dss_marl.integrations.sb3 import SharedPolicy, to_sb3
from dss_marl.integrations.sb3.imitation_loss import check_imitates, hold_actor, imitation_loss

TINY = {"agent_steps": 60, "n_envs": 1, "n_steps": 6, "evaluations": 1, "evaluation_days": 1, "n_epochs": 1}
FEW = {"steps": 6, "start_hour": 10.0}
HERE = "test_imitation"


class Linear:
    """Every entry of an agent is a linear function of what the agent observes."""

    def reset(self, env):
        """Nothing to prepare."""

    def act(self, env, observations):
        """The same numbers whatever the encoding."""
        layout, seen = env.task.agents.action_layout, env.observation_model.observe(env.now)
        rows = 0.5 * np.tanh(seen[:, : layout.width]) - 0.2 * seen[:, -1:]
        return env.task.encoding.encode(layout.joint_action(rows))


class Nobody:
    """Suits no scenario."""

    def reset(self, env):
        """Refuse."""
        raise ValueError("nobody can play this")

    def act(self, env, observations):
        """Never asked."""


def legacy(**changes):
    """A short day of taps, banks and a battery."""
    return dss_marl.load_scenario("ieee13_legacy").replace(name="short", **FEW, **changes)


def some_plans(scenario, days=2, split="train"):
    """Random plans, with positions that wander."""
    task, rng = build_task(scenario), np.random.default_rng(5)
    plans = Plans(digest(scenario), split=split)
    for day in task.profiles.days("train")[:days]:
        requests = rng.uniform(-1, 1, (scenario.steps, task.agents.action_layout.size))
        plans.add(task, day, requests.astype(np.float16).astype(float), 0.0)
    return plans


def save(scenario, plans):
    """Write plans to where training looks for them."""
    path = plans_path(scenario, "train")
    path.parent.mkdir(parents=True)
    plans.save(path)
    return path


def test_labels_of_plans_lead_back_to_them():
    """Copies of two days stray from their plans and then follow the labels, to the same taps and banks."""
    scenario = legacy()
    task, plans = build_task(scenario), some_plans(scenario)
    days = list(plans.requests)
    batch, teacher, rng = BatchZoneEnv(task, 2, "train"), PlanTeacher(task, plans), np.random.default_rng(0)
    for astray in (0, 2):
        reset_to(batch, days)
        teacher.begin(batch, days)
        for step in range(scenario.steps - 1):
            labels, without = teacher.labels(batch)
            assert not without.any()
            asked = rng.uniform(-1, 1, labels.shape) if step < astray else labels
            batch.step([task.encoding.encode(row) for row in asked])
            goals = [own[step].setpoints for own in teacher._now]
            tap, closed = (np.stack([getattr(goal, field) for goal in goals]) for field in ("tap", "closed"))
            if astray == 0:
                assert (batch.after.setpoints.tap == tap).all() and (batch.after.setpoints.closed == closed).all()
        if astray:
            assert (np.abs(batch.after.setpoints.tap - tap) <= 4).all()
            assert (batch.after.setpoints.closed == closed).all()
    batch.close()


def test_labels_of_a_rule_say_what_the_circuits_controls_did():
    """In states that a random policy comes to, against OpenDSS's own controls started from the same positions."""
    scenario = dss_marl.load_scenario("ieee13_volt_var").replace(**FEW)
    task = build_task(scenario)
    batch, teacher = BatchZoneEnv(task, 1, "train"), ControllerTeacher(task, "tuned_droop")
    regulators, capacitors = (task.device_groups[k] for k in (1, 2))
    rng, moved = np.random.default_rng(0), 0
    for day in batch.days[:2]:
        reset_to(batch, [day])
        teacher.begin(batch, [day])
        for _ in range(scenario.steps - 1):
            labels, _ = teacher.labels(batch)
            share, taps, banks = task.agents.action_layout.by_group(labels[0])
            points, now = batch.now.setpoints, batch.now
            alone = environment_for(teacher._controllers[0], scenario, "train")
            alone.reset(seed=0, options={"day": day})
            state = now.device_state[0, : alone.simulator.fleet.state_size]  # the inverters come first
            held = alone.simulator.hold(int(now.step[0]), rows_of(points, 0), state, share.ravel(), None)
            after = alone.simulator.operate(held, share.ravel())[0].setpoints
            alone.close()
            way = np.clip(after.tap - points.tap[0], -2, 2)[regulators.taps]
            np.testing.assert_allclose(taps[:, 0] * 2, way)
            change = after.closed.astype(float) - points.closed[0]
            np.testing.assert_allclose(banks[:, 0], change[capacitors.switches])
            moved += int(np.abs(way).sum())
            batch.step([task.encoding.encode(rng.uniform(-1, 1, labels.shape[1]))])
    assert moved > 10, "the test saw controls that act"
    batch.close()
    teacher.close()


@pytest.mark.parametrize(
    ("actions", "algorithm"), [("box", "ppo"), ("multidiscrete", "ppo"), ("multidiscrete", "maskable_ppo")]
)
def test_a_clone_does_what_a_simple_teacher_does(tmp_path, actions, algorithm):
    """On a day that it has not seen: by the devices' positions, and near by their powers."""
    if algorithm == "maskable_ppo":
        pytest.importorskip("sb3_contrib")
    scenario = dss_marl.load_scenario("ieee13_volt_var").replace(**FEW, actions=actions)
    teacher = {"name": f"{HERE}:Linear", "days": 12, "rounds": 1, "epochs": 100, "batch_size": 32}
    record = train(scenario.replace(training={**TINY, "algorithm": algorithm, "teacher": teacher}), tmp_path)
    last = record.imitation["rounds"][-1]
    assert last["agreement"] > 0.9 and last["states"] == 72
    env, clone, off = ZoneEnv(scenario, "validation"), load_policy(tmp_path), []
    observations, _ = env.reset(seed=0, options={"day": env.days[3]})
    while env.agents:
        wanted, done = (env.task.encoding.decode(own.act(env, observations)) for own in (Linear(), clone))
        off.append(np.abs(wanted.joint_action - done.joint_action))
        observations = env.step(env.task.encoding.encode(wanted.joint_action))[0]
    assert np.mean(off) < 0.08
    env.close()


def test_a_run_notes_what_was_imitated_and_repeats(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scenario = legacy(training={**TINY, "teacher": {"name": "plans", "days": 2, "rounds": 2, "epochs": 3}})
    plans = some_plans(scenario, days=3)
    save(scenario, plans)
    said = []
    one = train(scenario, tmp_path / "one", seed=4, tell=said.append)
    two = train(scenario, tmp_path / "two", seed=4)
    other = train(scenario, tmp_path / "other", seed=5)
    saved = load_run(tmp_path / "one").imitation
    assert saved == one.imitation
    assert {name: saved[name] for name in ("teacher", "split")} == {"teacher": "plans", "split": "train"}
    assert set(saved["days"]) == set(plans.requests) and len(saved["rounds"]) == 3
    assert saved["rounds"] == two.imitation["rounds"] != other.imitation["rounds"]
    assert one.history == two.history
    assert [text.split(":")[0] for text in said] == [f"imitating plans, round {k} of 2" for k in range(3)]


def test_kinds_imitate_each_its_part(tmp_path):
    pytest.importorskip("sb3_contrib")
    teacher = {"name": "tuned_droop", "days": 2, "rounds": 1, "epochs": 20}
    training = {**TINY, "sharing": "per_kind", "algorithm": "maskable_ppo", "teacher": teacher}
    scenario = dss_marl.load_scenario("ieee13_volt_var").replace(**FEW, agents="device", actions="native")
    record = train(scenario.replace(training=training), tmp_path, seed=3)
    assert record.imitation["rounds"][-1]["agreement"] > 0.5


def test_without_a_teacher_nothing_is_imitated(tmp_path):
    record = train(legacy(training=TINY), tmp_path)
    assert record.imitation is None and record.settings["teacher"] is None


def test_the_value_function_learns_before_the_policy_does():
    model = _model(legacy(), n_steps=12)
    before = {name: one.clone() for name, one in model.policy.state_dict().items()}
    seen = []

    class Held(BaseCallback):
        def _on_step(self):
            return True

        def _on_rollout_start(self):
            seen.append({name: not one.equal(before[name]) for name, one in model.policy.state_dict().items()})
            hold_actor(model, 2)

    model.learn(3 * 12 * model.n_envs, callback=Held())
    critic = {name: "value_net" in name for name in before}
    assert critic["mlp_extractor.value_net.0.weight"] and not critic["mlp_extractor.policy_net.0.weight"]
    assert seen[0] == dict.fromkeys(before, False)
    assert seen[1] == seen[2] == critic, "two rollouts are the value function's alone"
    assert all(not one.equal(before[name]) for name, one in model.policy.state_dict().items()), "then all learn"


def test_numbers_explore_little_after_imitation():
    scenario = legacy()
    model, settings = _model(scenario), TrainingSettings(teacher={"name": "no_control", "days": 1, "rounds": 0})
    imitate(build_task(scenario), settings, SharedPolicy(model), 0)
    assert (model.policy.log_std == settings.teacher.log_std).all()


def test_values_are_the_returns_of_the_policys_own_play():
    """The returns of a day with a reward of 1 in every step, whose value at the end is that of going on like this."""
    scenario = legacy(rewards={f"{HERE}:one": 1.0}, reward_sharing="team")
    model = _model(scenario)
    teacher = {"name": "no_control", "days": 2, "rounds": 0, "epochs": 300, "learning_rate": 0.01, "batch_size": 4}
    settings = TrainingSettings(gamma=0.5, teacher=teacher)
    task = build_task(scenario)
    imitate(task, settings, SharedPolicy(model), 0)
    env = ZoneEnv(scenario, "train")
    observations, _ = env.reset(seed=0)
    rows = th.as_tensor(np.stack(list(observations.values())))
    earned = len(task.zones)  # a reward of 1 in every zone, which all agents get
    np.testing.assert_allclose(model.policy.predict_values(rows).detach().numpy(), earned / (1 - 0.5), rtol=0.1)
    env.close()


def one(zone, before, after):
    """The same reward in every step."""
    return 1.0


def _model(scenario, **rest):
    venv = to_sb3(functools.partial(ZoneEnv, scenario), seed=0)
    return PPO("MlpPolicy", venv, seed=0, device="cpu", **{"n_steps": 6, "batch_size": 6, **rest})


def test_a_network_without_a_loss_of_imitation_is_refused():
    venv = to_sb3(functools.partial(ZoneEnv, legacy()), seed=0)
    model = SAC("MlpPolicy", venv, device="cpu", buffer_size=10)
    with pytest.raises(ValueError, match="a SACPolicy cannot imitate a teacher: it needs a method imitation_loss"):
        imitate(build_task(legacy()), TrainingSettings(teacher="no_control"), SharedPolicy(model), 0)


def test_a_policy_may_have_a_loss_of_its_own():
    class Own(th.nn.Module):
        def imitation_loss(self, observations, targets, used, masks):
            return (targets * used).sum()

    check_imitates(Own())
    loss = imitation_loss(Own(), th.zeros(2, 3), th.ones(2, 2), th.tensor([[1.0, 0.0], [1.0, 1.0]]))
    assert loss == 3


def test_short_form_and_long_form_mean_the_same():
    short, long = TrainingSettings(teacher="tuned_droop"), TrainingSettings(teacher={"name": "tuned_droop"})
    assert short == long and short.teacher == TeacherSettings(name="tuned_droop")
    assert TrainingSettings.model_validate(json.loads(json.dumps(short.model_dump(mode="json")))) == short


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("plans", r"'short' has no plans of train days; 'dss-marl solve short --split train' finds them"),
        ("best_known", r"plans of test days; 'teacher: plans' imitates those of training days"),
        ("tuned", "unknown controller 'tuned'"),
        ("droop", "droop needs inverters"),
        (f"{HERE}:Nobody", "nobody can play this"),
    ],
)
def test_teachers_that_cannot_teach_are_refused_before_any_work(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        train(legacy(training={**TINY, "teacher": name}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_plans_of_another_split_or_scenario_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scenario = legacy()
    path = save(scenario, some_plans(scenario, split="validation"))
    task, teacher = build_task(scenario), TeacherSettings(name="plans")
    with pytest.raises(ValueError, match=r"train_plans.npz' has plans of validation days, not of train days"):
        new_teacher(task, teacher)
    some_plans(scenario.replace(dt_h=0.5)).save(path)
    with pytest.raises(ValueError, match=r"before it was changed; run 'dss-marl solve short --split train'"):
        new_teacher(task, teacher)


def test_unknown_keys_of_a_teacher_are_named():
    with pytest.raises(ValueError, match=r"training.teacher.day: unknown key; did you mean 'days'"):
        legacy(training={"teacher": {"name": "droop", "day": 3}})
