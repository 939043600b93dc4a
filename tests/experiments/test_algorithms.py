"""Algorithms of SB3 and sb3_contrib beside PPO: SAC and TQC with their replay buffer, and PPO with a memory."""

import json
from typing import get_args

import numpy as np
import pytest
from common import ROOT
from typer.testing import CliRunner

import dss_marl
from dss_marl.cli.app import app
from dss_marl.envs.training_settings import SETTINGS_VERSION, Added, TrainingSettings
from dss_marl.experiments import evaluate, load_policy, load_run, reproduce, resume, train, with_copies
from dss_marl.integrations.sb3.setting_checks import check_settings

pytest.importorskip("sb3_contrib")

SMALL = {
    "agent_steps": 300, "n_envs": 2, "n_steps": 4, "evaluations": 6, "evaluation_days": 1, "n_epochs": 1,
    "checkpoint_episodes": 2, "off_policy": {"learning_starts": 48, "buffer_size": 180, "train_freq": 2},
    "recurrent": {"units": 16}, "net_arch": [16],
}  # fmt: skip
ALGORITHMS = ["sac", "tqc", "recurrent_ppo"]


def scenario(changes=(), **training):
    base = dss_marl.load_scenario("ieee13_volt_var")
    return base.replace(steps=4, start_hour=10.0, training={**SMALL, **training}, **dict(changes))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of each algorithm, with SB3's own model too."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ALGORITHMS:
        train(scenario(algorithm=name), folder / name, seed=3, with_sb3=True)
    return folder


def observed(model, n=5):
    rng = np.random.default_rng(0)
    return rng.uniform(-1, 1, (n, *model.observation_space.shape)).astype(np.float32)


def buffer_in(folder):
    import torch

    return torch.load(folder / "checkpoint.pt", weights_only=True)["models"][""]["replay_buffer"]


# --- runs and their files ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_policy_file_plays_as_the_model_of_sb3_does(runs, name):
    own, theirs = load_policy(runs / name), load_policy(runs / name, trust=True)
    assert type(theirs.model).__name__.lower() == name.replace("_", "")
    seen = observed(own.model)
    found = own.model.predict(seen, deterministic=True)[0]
    assert np.array_equal(found, theirs.model.predict(seen, deterministic=True)[0])
    assert found.shape == (5, *own.model.action_space.shape) and np.abs(found).max() <= 1
    days = [4, 13]
    assert evaluate(own, scenario(), days) == evaluate(theirs, scenario(), days)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_what_is_learned_is_better_than_what_it_began_with(runs, name):
    record = load_run(runs / name)
    assert record.status == "finished" and record.settings["algorithm"] == name
    assert len({row["score"] for row in record.history}) > 3, "each update changes the policy"
    assert record.improved
    first, best = record.history[0]["score"], max(row["score"] for row in record.history)
    assert best > first + 0.1 * abs(first)


@pytest.mark.parametrize("name", ["sac", "tqc"])
def test_a_file_of_an_off_policy_run_holds_the_actor_alone(runs, name, tmp_path):
    import torch
    from safetensors import safe_open

    from dss_marl.integrations.sb3.policy_files import read_policy, save_policy

    with safe_open(runs / name / "policy.safetensors", framework="pt") as file:
        assert {key.split(".")[0] for key in file.keys()} == {"latent_pi", "mu", "log_std"}  # noqa: SIM118
    torch.manual_seed(0)
    before = torch.get_rng_state()
    policy = read_policy(runs / name / "policy.safetensors")
    assert torch.equal(before, torch.get_rng_state())
    save_policy(policy, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (runs / name / "policy.safetensors").read_bytes()


# --- going on ---------------------------------------------------------------------------------------------------------


class StoppedError(Exception):
    """Ends a training as a kill does, for what is in the folder."""


def stopped_at(number):
    left = [number]

    def report(agent_steps, figures):
        left[0] -= figures is not None
        if left[0] < 0:
            raise StoppedError

    return report


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["opendss", "batched"])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_stopped_run_ends_as_one_that_was_not(name, engine, tmp_path):
    if engine == "batched":
        pytest.importorskip("numba")
    one = scenario(algorithm=name, **({"n_envs": 4, "agent_steps": 600} if engine == "batched" else {}))
    train(one, tmp_path / "whole", seed=3, engine=engine)
    for number in (2, 4):
        with pytest.raises(StoppedError):
            if (tmp_path / "stopped").exists():
                resume(tmp_path / "stopped", report=stopped_at(1))
            else:
                train(one, tmp_path / "stopped", seed=3, engine=engine, report=stopped_at(number))
    record, whole = resume(tmp_path / "stopped"), load_run(tmp_path / "whole")
    assert len(record.resumptions) == 2 and record.resumptions[-1].agent_steps > 0
    assert (record.history, record.files, record.validation) == (whole.history, whole.files, whole.validation)
    assert len({row["score"] for row in record.history}) > 3


@pytest.mark.slow
def test_a_finished_run_goes_on_and_is_reproduced(runs, tmp_path):
    import shutil

    folder = shutil.copytree(runs / "sac", tmp_path / "sac")
    record = resume(folder, 400)
    assert record.agent_steps >= 400
    assert reproduce(folder, tmp_path / "again").differences() == []


# --- the replay buffer ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["opendss", "batched"])
def test_ends_by_the_time_limit_are_no_ends_to_a_replay_buffer(engine, tmp_path):
    """Values of what would have come count on there, whatever engine solved the copies."""
    if engine == "batched":
        pytest.importorskip("numba")
    own = {"learning_starts": 48, "buffer_size": 5_000}
    train(scenario(algorithm="sac", off_policy=own, n_envs=4, evaluations=1), tmp_path / "run", engine=engine)
    found = buffer_in(tmp_path / "run")
    rows = {name: value.numpy() for name, value in found["rows"].items()}
    assert rows["dones/"].sum() >= rows["dones/"].size // 4 - 12, "every fourth step, but for those that are going on"
    assert np.array_equal(rows["timeouts/"], rows["dones/"]), "no power flow failed"
    ends = np.zeros(rows["dones/"].size, bool)
    ends[found["ends"].numpy()] = True
    assert (ends >= (rows["dones/"].ravel() > 0)).all(), "an episode does not go on in the next"
    last = {tuple(row) for row in found["last"].numpy().round(5)}
    assert last.isdisjoint({tuple(row) for row in rows["observations/"].reshape(-1, rows["observations/"].shape[-1])})


@pytest.mark.parametrize("steps", [3, 7, 20])
def test_a_buffer_is_written_with_each_observation_once(steps):
    """Also where it has begun anew, where episodes end, and with numbers that equal each other but for a bit."""
    from gymnasium import spaces
    from stable_baselines3.common.buffers import ReplayBuffer

    from dss_marl.integrations.sb3.replay_state import contents, fill

    box = spaces.Box(-1, 1, (6,), np.float32)
    one, other = (ReplayBuffer(7 * 2, box, box, device="cpu", n_envs=2) for _ in range(2))
    rng, seen = np.random.default_rng(0), np.zeros((2, 6), np.float32)
    for step in range(steps):
        after = rng.standard_normal((2, 6)).astype(np.float32)
        after[:, 0] = -0.0
        following = np.where(step % 3, after, np.abs(after) * [[0], [1]]).astype(np.float32)
        done = np.array([step % 3 == 0] * 2)
        one.add(seen, after, seen, seen[:, 0], done, [{"TimeLimit.truncated": bool(done[0])}] * 2)
        seen = following
    found = contents(one)
    fill(other, found)
    for name in ("observations", "next_observations", "actions", "rewards", "dones", "timeouts"):
        assert getattr(other, name).tobytes() == getattr(one, name).tobytes()
    assert (other.pos, other.full) == (one.pos, one.full)
    assert len(found["ends"]) <= 2 * (min(steps, 7) // 3 + 2)


def test_a_checkpoint_with_another_buffer_is_refused(runs, tmp_path):
    import shutil

    folder = shutil.copytree(runs / "sac", tmp_path / "sac")
    path = folder / "record.json"
    data = json.loads(path.read_text())
    data["settings"]["off_policy"]["buffer_size"] = 24
    path.write_text(json.dumps(data))
    with pytest.raises(ValueError, match="the checkpoint is of another network or algorithm"):
        resume(folder, 400)


# --- memory -----------------------------------------------------------------------------------------------------------


def test_each_agent_remembers_its_own_until_the_next_episode(runs):
    policy = load_policy(runs / "recurrent_ppo")
    env = dss_marl.ZoneEnv(scenario(), "test")
    observations, _ = env.reset(seed=1)
    policy.reset(env)

    def acted():
        return np.stack([*policy.act(env, observations).values()])

    first, second = acted(), acted()
    assert not np.array_equal(first, second), "what was before counts"
    policy.reset(env)
    assert np.array_equal(acted(), first) and np.array_equal(acted(), second)
    rows = np.stack([observations[agent] for agent in env.possible_agents])
    policy.reset(env)
    for expected in (first, second):
        together = policy.act_rows(env, np.stack([rows, rows[::-1]]), None, first.shape[1])
        assert np.allclose(together[0], expected, atol=1e-6) and np.allclose(together[1][::-1], expected, atol=1e-6)
    env.close()


@pytest.mark.parametrize(("masked", "network"), [(True, "masked_lstm"), (False, "lstm")])
def test_a_policy_file_knows_the_memory(masked, network, tmp_path):
    from safetensors import safe_open

    from dss_marl.integrations.sb3.policy_files import read_policy

    one = scenario(algorithm="recurrent_ppo", agent_steps=24, evaluations=1, ignore_padding=masked,
                   recurrent={"units": 5, "layers": 2})  # fmt: skip
    train(one, tmp_path / "run")
    path = tmp_path / "run" / "policy.safetensors"
    with safe_open(path, framework="pt") as file:
        data = json.loads(file.metadata()["dss_marl"])
    assert (data["network"], data["memory"]) == (network, {"units": 5, "layers": 2})
    assert read_policy(path).lstm_hidden_state_shape == (2, 1, 5)


# --- what does not work -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize(
    ("training", "says"),
    [
        ({"entries": "mixed"}, "has no entries; leave them out, or use algorithm 'ppo'"),
        ({"slope": {}}, "has no slope"),
        ({"critic": "central", "ratio": "per_entry"}, "has no ratio, critic"),
        ({"log_std_final": -2}, "has no log_std_final"),
        ({"teacher": "tuned_droop"}, "has no teacher"),
        ({"sharing": "per_kind"}, "use sharing 'all', or algorithm 'ppo'"),
        ({"sharing": "none"}, "not sharing 'none'; use sharing 'all'"),
    ],
)
def test_what_an_algorithm_does_not_have_is_refused_with_the_cure(name, training, says):
    one = scenario(algorithm=name, **training)
    with pytest.raises(ValueError, match=f"algorithm '{name}' .*{says}"):
        check_settings(dss_marl.build_task(one), TrainingSettings.model_validate(one.training))


@pytest.mark.parametrize("name", ["sac", "tqc"])
def test_choices_and_a_start_that_never_comes_are_refused(name, tmp_path):
    with pytest.raises(ValueError, match="needs actions that are numbers, but these are 'multidiscrete'; use actions"):
        train(scenario({"actions": "multidiscrete"}, algorithm=name), tmp_path / "run")
    with pytest.raises(
        ValueError, match=r"would learn nothing: off_policy\.learning_starts is 5,000 and agent_steps 3"
    ):
        train(scenario(algorithm=name, off_policy={}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_memory_also_has_choices(tmp_path):
    record = train(scenario({"actions": "multidiscrete"}, algorithm="recurrent_ppo", agent_steps=48), tmp_path / "run")
    assert record.status == "finished"
    evaluate(load_policy(tmp_path / "run"), scenario({"actions": "multidiscrete"}), [4])


def test_the_command_takes_the_algorithm(tmp_path):
    arguments = ["train", "ieee13_volt_var", "--algo", "sac", "--sharing", "none", "--out", str(tmp_path / "run")]
    found = CliRunner().invoke(app, arguments, env={"COLUMNS": "160", "NO_COLOR": "1", "TERM": "dumb"})
    assert found.exit_code == 2 and "use sharing 'all'" in found.output
    assert not (tmp_path / "run").exists()


WAYS = {
    "`actions: box`": ({"actions": "box"}, {}),
    "`multidiscrete`": ({"actions": "multidiscrete"}, {}),
    "`sharing: per_kind`, `none`": ({}, {"sharing": "none"}),
    "`entries: mixed`": ({}, {"entries": "mixed"}),
    "`critic: central`": ({}, {"critic": "central"}),
    "`slope`": ({}, {"slope": {}}),
    "`teacher`": ({}, {"teacher": "tuned_droop"}),
}


def test_the_table_of_the_guide_says_what_is_refused():
    pytest.importorskip("numba")
    lines = (ROOT / "docs" / "guide" / "learning.md").read_text().splitlines()
    start = lines.index(next(line for line in lines if line.startswith("| `--algo` |")))
    head, _, *rows = ([cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines[start : start + 8])
    assert head == ["`--algo`", *WAYS]
    for name, *cells in rows:
        assert cells == [takes(name.strip("`"), *way) for way in WAYS.values()], name
    assert {name.strip("`") for name, *_ in rows} == {*get_args(TrainingSettings.model_fields["algorithm"].annotation)}


def takes(name, changes, training):
    own = {"actions": "multidiscrete"} if name == "maskable_ppo" and training else {}
    one = scenario({**own, **changes}, algorithm=name, **training)
    try:
        check_settings(dss_marl.build_task(one), TrainingSettings.model_validate(one.training))
    except ValueError as error:
        assert "use " in str(error) or "leave " in str(error)
        return "no"
    return "yes"


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("copies", [2, 3, 64])
def test_many_copies_make_as_many_gradient_steps_from_a_buffer(copies):
    one = scenario(algorithm="sac")
    few, many = (TrainingSettings.model_validate(own.training) for own in (one, with_copies(one, copies)))
    assert many.n_envs == copies and many.agent_steps == few.agent_steps
    assert many.off_policy.model_copy(update={"train_freq": 2}) == few.off_policy
    assert many.n_envs * many.off_policy.train_freq >= few.n_envs * few.off_policy.train_freq
    assert (many == few) == (copies == 2)


def test_the_entropy_that_sac_aims_at_counts_entries_with_a_device():
    from dss_marl.integrations.sb3.models import target_entropy

    task = dss_marl.build_task(scenario())
    used = task.agents.action_layout.used
    assert 0 < used.mean() < 1
    assert target_entropy(task) == pytest.approx(-used.sum() / len(used) + np.log(2) * (~used).sum() / len(used))


def newest():
    return [
        name
        for name, field in TrainingSettings.model_fields.items()
        if any(isinstance(one, Added) and one.version == SETTINGS_VERSION for one in field.metadata)
    ]


def test_a_record_from_before_the_newest_settings_is_read_and_says_so(runs, tmp_path):
    import shutil

    folder = shutil.copytree(runs / "recurrent_ppo", tmp_path / "run")
    path = folder / "record.json"
    data = json.loads(path.read_text())
    assert data["settings_version"] == SETTINGS_VERSION and data["later_settings"] == []
    del data["settings_version"], data["later_settings"]
    for name in newest():
        del data["settings"][name]
    data["settings"]["algorithm"] = "ppo"
    path.write_text(json.dumps(data))
    record = load_run(folder)
    defaults = TrainingSettings().model_dump(mode="json")
    assert {name: record.settings[name] for name in newest()} == {name: defaults[name] for name in newest()}
    assert [one for one in record.remarks() if "older" in one] == [
        f"this run is older than the settings {', '.join(newest())}; it learned as was done before they existed"
    ]
    record.save(folder)
    assert load_run(folder).later_settings == newest(), "it says so ever after"
    path.write_text(json.dumps({**data, "settings_version": SETTINGS_VERSION}))
    with pytest.raises(ValueError, match=rf"settings: {', '.join(sorted(newest()))} missing"):
        load_run(folder)
    del data["settings"]["gamma"]
    path.write_text(json.dumps(data))
    with pytest.raises(ValueError, match="settings: gamma missing"):
        load_run(folder)
