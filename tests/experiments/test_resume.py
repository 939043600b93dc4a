"""Runs that are killed, stopped early or finished, and go on."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from common import ROOT

import dss_marl
from dss_marl._assets import PART
from dss_marl.experiments import load_policy, load_run, reproduce, resume, train

pytest.importorskip("stable_baselines3")

SMALL = {
    "agent_steps": 600, "n_envs": 2, "n_steps": 4, "evaluations": 10, "evaluation_days": 1, "n_epochs": 1,
    "checkpoint_episodes": 2,
}  # fmt: skip
SHARED = ({}, {}, "opendss")
BATCHED = ({}, {"n_envs": 4, "agent_steps": 1000}, "batched")
PER_KIND = (
    {"agents": "device", "actions": "native"},
    {"sharing": "per_kind", "algorithm": "maskable_ppo", "agent_steps": 2500, "evaluations": 4},
    "opendss",
)

OFF_POLICY = (
    {},
    {"algorithm": "sac", "off_policy": {"learning_starts": 48, "buffer_size": 240, "train_freq": 2}},
    "opendss",
)


def scenario(changes=(), **training):
    base = dss_marl.load_scenario("ieee13_volt_var")
    return base.replace(steps=4, start_hour=10.0, training={**SMALL, **training}, **dict(changes))


def run_of(folder, one, engine, moment="never", number=1):
    """Train or resume in a process that dies at a moment; its exit status."""
    path = folder.with_suffix(".json")
    path.write_text(json.dumps(one.model_dump(mode="json")))
    arguments = [ROOT / "tests" / "killed_training.py", folder, path, engine, moment, number]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, -9), done.stderr
    return done.returncode


def content(folder):
    """What must not depend on whether the run was stopped."""
    record = load_run(folder)
    assert record.status == "finished"
    return record.history, record.files, record.validation, record.agent_steps


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "deaths"),
    [
        (SHARED, [("rollout", 1), ("record", 10), ("checkpoint", 2)]),
        (BATCHED, [("evaluation", 6)]),
        (PER_KIND, [("checkpoint", 2)]),
        (OFF_POLICY, [("rollout", 15), ("checkpoint", 2)]),
    ],
    ids=["shared", "batched", "per_kind", "off_policy"],
)
def test_a_killed_run_ends_as_one_that_was_not(tmp_path, case, deaths):
    changes, training, engine = case
    if engine == "batched":
        pytest.importorskip("numba")
    one = scenario(changes, **training)
    whole = train(one, tmp_path / "whole", seed=3, engine=engine)
    folder = tmp_path / "killed"
    for moment, number in deaths:
        assert run_of(folder, one, engine, moment, number) == -9, "it was to die"
        assert load_run(folder).status == "running"
    assert run_of(folder, one, engine) == 0
    assert content(folder) == content(tmp_path / "whole")
    assert len(whole.history) > 3 and len({row["score"] for row in whole.history}) > 3
    record = load_run(folder)
    assert len(record.resumptions) == len(deaths) and record.resumptions[-1].agent_steps > 0
    assert [path.name for path in folder.iterdir() if path.name.startswith(PART)] == []


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    train(scenario(), folder, seed=3)
    return folder


@pytest.fixture
def run(finished, tmp_path):
    return Path(shutil.copytree(finished, tmp_path / "run"))


def steps_of(path):
    with path.open(newline="") as file:
        return [int(row["time/total_timesteps"]) for row in csv.DictReader(file)]


def test_a_finished_run_goes_on_to_more_agent_steps(run, finished):
    before = load_run(run)
    record = resume(run, 900)
    assert record == load_run(run) and record.status == "finished"
    assert record.agent_steps >= 900 > before.agent_steps
    assert record.history[: len(before.history)] == before.history
    assert len(record.history) == len(before.history) + 5, "as often as before, and the last is not repeated"
    assert [(one.agent_steps, one.evaluations) for one in record.stages] == [(600, 10)]
    assert record.settings["evaluations"] == 15 and record.scenario["training"]["agent_steps"] == 900
    steps, old = steps_of(run / "progress.csv"), steps_of(finished / "progress.csv")
    assert steps == sorted(steps) and steps[: len(old)] == old and steps[-1] == record.agent_steps
    load_policy(run), load_policy(run, last=True)


def test_what_cannot_go_on_is_refused(run, tmp_path):
    with pytest.raises(
        ValueError, match=r"is finished, with 600 agent-steps; say how many it shall have in the end: --steps 1200"
    ):
        resume(run)
    with pytest.raises(ValueError, match="is finished, with 600"):
        resume(run, 600)
    with pytest.raises(ValueError, match="is no run"):
        resume(tmp_path / "nowhere")
    before = (run / "record.json").read_bytes()
    (run / "checkpoint.pt").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"checkpoint\.pt' is no checkpoint, or only a part of one"):
        resume(run, 900)
    (run / "checkpoint.pt").unlink()
    with pytest.raises(ValueError, match="has no checkpoint any more"):
        resume(run, 900)
    assert (run / "record.json").read_bytes() == before


def test_a_checkpoint_of_another_run_is_refused(run, tmp_path):
    train(scenario(), tmp_path / "other", seed=4)
    shutil.copy(tmp_path / "other" / "checkpoint.pt", run)
    with pytest.raises(ValueError, match="belongs to another run than the record beside it"):
        resume(run, 900)


def test_other_days_are_refused_and_other_versions_noted(run):
    path = run / "record.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "profiles_sha256": "0" * 64}))
    with pytest.raises(ValueError, match="the days of scenario 'ieee13_volt_var' are not those of the run"):
        resume(run, 900)
    path.write_text(json.dumps({**record, "versions": {**record["versions"], "torch": "1.0"}}))
    resumed = resume(run, 620)
    assert any("resumed with other versions: torch 1.0 and " in remark for remark in resumed.remarks())


def test_a_checkpoint_runs_no_code(run, tmp_path):
    import torch

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    torch.save({"format": 1, "run": Evil()}, run / "checkpoint.pt")
    with pytest.raises(ValueError, match="is no checkpoint"):
        resume(run, 900)
    assert not (tmp_path / "executed").exists()


def test_the_best_and_the_last_policy_are_kept(run):
    best, last = load_policy(run), load_policy(run, last=True)
    seen = np.stack([best.model.observation_space.sample() for _ in range(5)])
    record = load_run(run)
    kept = record.files["policy.safetensors"] == record.files["last.safetensors"]
    assert kept == (record.history[-1]["score"] == max(row["score"] for row in record.history))
    alike = np.array_equal(
        best.model.predict(seen, deterministic=True)[0], last.model.predict(seen, deterministic=True)[0]
    )
    assert alike == kept
    (run / "last.safetensors").write_bytes(b"")
    load_policy(run)
    with pytest.raises(ValueError, match=r"last\.safetensors' is not the file"):
        load_policy(run, last=True)
    with pytest.raises(ValueError, match="give trust or last, not both"):
        load_policy(run, trust=True, last=True)


def test_training_stops_early_without_improvement(tmp_path):
    """A learning rate of nothing: no evaluation is better than the first."""
    idle = {"learning_rate": 1e-30, "final_learning_rate": 0, "early_stop": 3}
    record = train(scenario(**idle), tmp_path, seed=3)
    assert record.status == "finished" and len(record.history) == 4
    assert record.agent_steps < 600
    assert "training ended after" in record.remarks()[0] and "3 evaluations in a row" in record.remarks()[0]
    more = resume(tmp_path, 600)
    assert len(more.history) == 4 + 3, "patience begins anew"


def test_a_run_is_reproduced_also_where_it_was_continued(run, tmp_path):
    resume(run, 700)
    found = reproduce(run, tmp_path / "again")
    assert found.agrees and found.differences() == []
    assert load_run(tmp_path / "again").stages == load_run(run).stages
    record = load_run(run)
    path = run / "record.json"
    data = json.loads(path.read_text())
    data["history"][2]["score"] += 1e-3
    data["versions"]["numpy"] = "1.0"
    path.write_text(json.dumps({**data, "files": {**record.files, "last.safetensors": "0" * 64}}))
    changed = type(found)(load_run(run), found.after)
    assert not changed.agrees
    assert changed.differences() == [
        f"learning curve: from {record.history[2]['agent_steps']:.0f} agent-steps on, by 0.001 at most",
        "policy: last.safetensors with other SHA-256",
    ]
    assert any(cause.startswith("numpy: 1.0, now ") for cause in changed.causes())
    with pytest.raises(ValueError, match="needs a folder of its own"):
        reproduce(run, run)


def test_a_replay_buffer_goes_on_where_it_was():
    """Off-policy algorithms: the same steps again after their state was put into a new model."""
    import torch
    from stable_baselines3 import SAC

    from dss_marl.integrations.sb3 import to_sb3
    from dss_marl.integrations.sb3.model_state import restore, restore_streams, state_of, streams

    def model():
        venv = to_sb3(lambda: dss_marl.make(scenario()), n_envs=1)
        return SAC("MlpPolicy", venv, seed=0, learning_starts=6, buffer_size=30, batch_size=4, device="cpu",
                   policy_kwargs={"net_arch": [8]})  # fmt: skip

    def go_on(one):
        one.env.seed(5)
        one._last_obs = one.env.reset()
        restore_streams(kept)
        one.learn(12, reset_num_timesteps=False)
        return torch.cat([value.flatten() for value in one.policy.state_dict().values()])

    first = model()
    first.learn(24)
    kept, state = streams(), state_of(first)
    state = torch.load(_written(state), weights_only=True)
    second = model()
    restore(second, state)
    assert second.replay_buffer.pos == first.replay_buffer.pos > 0
    assert torch.equal(second.log_ent_coef, first.log_ent_coef)
    assert torch.equal(go_on(first), go_on(second))
    first.env.close(), second.env.close()


def _written(state):
    import io

    import torch

    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return file
