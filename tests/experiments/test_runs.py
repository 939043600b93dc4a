"""Runs: one in each folder, its record first, its files bound to it, and nothing of a stranger's executed."""

import json
import os
import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

import dss_marl
from dss_marl._assets import replacing
from dss_marl.controllers.planning.plan_files import Plans
from dss_marl.experiments import SharedPolicy, TrainingSettings, load_policy, load_run, train
from dss_marl.experiments.comparison import compare
from dss_marl.experiments.runs.run_folder import DERIVED, RunFolder, check_free
from dss_marl.experiments.runs.run_record import RunRecord, new_record
from dss_marl.experiments.validation.result_files import load as load_results

pytest.importorskip("stable_baselines3")

TINY = {"agent_steps": 12, "n_envs": 1, "n_steps": 4, "evaluations": 1, "evaluation_days": 1, "n_epochs": 1}


def scenario(**training):
    return dss_marl.load_scenario("ieee13_volt_var").replace(steps=4, start_hour=10.0, training={**TINY, **training})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    train(scenario(), folder, with_sb3=True)
    return folder


@pytest.fixture
def run(finished, tmp_path):
    return Path(shutil.copytree(finished, tmp_path / "run"))


def changed(folder, **fields):
    path = folder / "record.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


class StoppedError(Exception):
    pass


def stop_at_once(steps, figures):
    if figures is not None:
        raise StoppedError


def test_a_folder_holds_one_run(run):
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    with pytest.raises(
        ValueError, match=r"holds a run already \(scenario 'ieee13_volt_var', seed 0, finished\).*--over"
    ):
        train(scenario(), run, seed=1)
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == before


def test_overwrite_leaves_nothing_of_the_run_before(run):
    for name in (
        *DERIVED,
        "model-inverter.zip",
        "policy-inverter.safetensors",
        "last-inverter.safetensors",
        "progress-inverter.csv",
        ".part-1-table.json",
    ):
        (run / name).write_text("of the run before")
    (run / "notes.txt").write_text("mine")
    train(scenario(), run, seed=1, overwrite=True)
    assert {path.name for path in run.iterdir()} == {
        "policy.safetensors", "last.safetensors", "checkpoint.pt", "progress.csv", "record.json", "logs", "notes.txt",
    }  # fmt: skip
    assert [path.name for path in (run / "logs").iterdir()] == ["ppo"]
    assert load_run(run).seed == 1 and len(list((run / "logs" / "ppo").iterdir())) == 1
    load_policy(run)


def test_files_of_no_run_are_not_replaced(tmp_path):
    (tmp_path / "feeder.png").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(ValueError, match=r"is no run .* but holds files that a run would replace: feeder\.png"):
            train(scenario(), tmp_path, overwrite=overwrite)
    assert (tmp_path / "feeder.png").read_text() == "mine"
    with pytest.raises(ValueError, match="is a file, not a folder"):
        train(scenario(), tmp_path / "feeder.png")


def test_bad_settings_replace_nothing(run):
    before = load_run(run)
    with pytest.raises(ValueError, match="maskable_ppo"):
        train(scenario(algorithm="maskable_ppo"), run, overwrite=True)
    assert load_run(run) == before
    load_policy(run)


def test_of_two_that_start_at_once_one_gets_the_folder(tmp_path, monkeypatch):
    settings = TrainingSettings().model_dump(mode="json")
    one, other = (RunFolder(tmp_path, new_record(scenario(), settings, seed, "native", 0)) for seed in (1, 2))
    real = Path.open

    def open_late(path, mode="r", **options):
        if mode == "x":
            monkeypatch.setattr(Path, "open", real)
            other.start()
        return real(path, mode, **options)

    monkeypatch.setattr(Path, "open", open_late)
    with pytest.raises(ValueError, match=r"holds a run already .*seed 2"):
        one.start()


def test_the_record_comes_first_and_a_stopped_run_says_so(run):
    """Killed in the middle of a second run: nothing of the first is taken for the second's."""
    (run / "table.md").write_text("of the run before")
    with pytest.raises(StoppedError):
        train(scenario(agent_steps=36, evaluations=3), run, seed=5, overwrite=True, report=stop_at_once)
    record = load_run(run)
    assert (record.seed, record.status, len(record.history)) == (5, "running", 1)
    assert not (run / "table.md").exists() and not (run / "model.zip").exists()
    load_policy(run)
    assert record.remarks()[0].startswith("this run did not finish")
    with pytest.raises(ValueError, match="running or stopped"):
        train(scenario(), run)


def test_a_run_stopped_before_its_first_evaluation_has_no_policy(run):
    record = load_run(run)
    record.files, record.status, record.history = {}, "running", []  # as at the start
    RunFolder(run, record).start(overwrite=True)
    with pytest.raises(ValueError, match="has no policy: it was stopped before its first evaluation"):
        load_policy(run)


def test_a_model_of_another_run_is_refused(run, tmp_path):
    train(scenario(), tmp_path / "other", seed=7)
    shutil.copy(tmp_path / "other" / "policy.safetensors", run)
    with pytest.raises(ValueError, match=r"policy\.safetensors' is not the file that the run's record\.json names"):
        compare(run, ["no_control"], most_days=1)
    (run / "policy.safetensors").unlink()
    with pytest.raises(ValueError, match=r"policy\.safetensors' is missing"):
        load_policy(run)


def test_a_changed_scenario_is_refused(run):
    data = json.loads((run / "record.json").read_text())
    changed(run, scenario={**data["scenario"], "steps": 8})
    with pytest.raises(ValueError, match="was changed after the run; train the changed scenario"):
        load_run(run)


def test_changed_days_are_refused(run):
    changed(run, profiles_sha256="0" * 64)
    with pytest.raises(ValueError, match="the days of scenario 'ieee13_volt_var' are not those of the run"):
        compare(run, ["no_control"], most_days=1)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{}", "format without a number, and this version of dss_marl reads format 2; train the run again"),
        ('{"format": 99}', "format 99"),
        ("[1]", "format unknown"),
        ("", "is not a run record, or only a part of one"),
        ('{"format": 2, "scena', "only a part of one"),
        ('{"format": 2, "settings": {}}', "not a run record of this version"),
    ],
)
def test_a_record_of_another_format_is_one_clear_error(run, text, says):
    (run / "record.json").write_text(text)
    with pytest.raises(ValueError, match=says):
        load_policy(run)
    with pytest.raises(ValueError, match="holds a run already"):
        check_free(run, overwrite=False)
    check_free(run, overwrite=True)  # what cannot be read can be replaced


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("settings", {}, "settings: .*evaluation_days.* missing"),
        ("settings", {"gammma": 3}, "gammma"),
        ("history", [{}], "history: a row must have agent_steps and score"),
        ("files", {"policy.safetensors": 3}, "files"),
    ],
)
def test_a_record_with_a_part_missing_is_one_clear_error(run, field, value, says):
    changed(run, **{field: value})
    with pytest.raises(ValueError, match=rf"(?s)record\.json' is not a run record of this version: .*{says}"):
        load_policy(run)


def test_a_policy_that_never_beat_the_untrained_one_is_announced():
    record = RunRecord.model_validate({**new_record(scenario(), {}, 0, "native", 0).model_dump(), "status": "finished"})
    record.history = [{"agent_steps": 0.0, "score": -2.0}, {"agent_steps": 12.0, "score": -2.0}]
    assert not record.improved
    assert record.remarks() == [
        "training never beat the untrained policy (-2.000 on the validation days), so the policy kept is the untrained "
        "one"
    ]
    record.history[1]["score"] = -1.9
    assert record.improved and record.remarks() == []


def test_an_evaluation_replaces_the_files_of_the_one_before(run):
    for name in DERIVED:
        (run / name).write_text("of an evaluation before")
    compare(run, ["no_control"], most_days=1)
    assert not any(path.read_bytes() == b"of an evaluation before" for path in run.iterdir() if path.is_file())
    assert json.loads((run / "table.json").read_text())["figures"].keys() == {"no_control", "learned"}


class Evil:
    """Unpickling it makes a folder."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


def hostile_model(path, trace):
    import base64

    stolen = {"action_space": {":type:": "Box", ":serialized:": base64.b64encode(pickle.dumps(Evil(trace))).decode()}}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data", json.dumps(stolen))


def test_a_strangers_pickle_is_not_executed(run, tmp_path):
    trace = tmp_path / "executed"
    hostile_model(run / "model.zip", trace)
    changed(run, files={name: own for name, own in load_run(run).files.items() if name != "model.zip"})
    load_policy(run)  # beside the policy, it is not touched
    (run / "policy.safetensors").unlink()
    with pytest.raises(ValueError, match=r"can run any code as it is loaded: --trust \(trust=True\) loads it"):
        SharedPolicy.load(run)
    assert not trace.exists()
    with pytest.raises(ValueError, match="is no model of SB3"):
        SharedPolicy.load_sb3(run, "ppo")
    assert trace.exists(), "the pickle would have run"


def test_trust_loads_the_model_that_can_go_on_learning(run):
    trusted, plain = load_policy(run, trust=True), load_policy(run)
    assert type(trusted.model).__name__ == "PPO" and not hasattr(plain.model, "learn")
    seen = np.stack([trusted.model.observation_space.sample() for _ in range(50)])
    assert np.array_equal(
        trusted.model.predict(seen, deterministic=True)[0], plain.model.predict(seen, deterministic=True)[0]
    )
    assert plain.model.observation_space == trusted.model.observation_space
    assert plain.model.action_space == trusted.model.action_space


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_policy_cut_short_is_one_clear_error(run, share):
    path = run / "policy.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match="was cut short or replaced"):
        load_policy(run)
    with pytest.raises(ValueError, match="is no policy file of this version, or only a part of one"):
        SharedPolicy.load(run)


def test_a_policy_file_cannot_ask_for_any_network(run):
    from safetensors.numpy import load_file, save_file

    path = run / "policy.safetensors"
    for said in ({}, {"dss_marl": '{"network": "os:system"}'}, {"dss_marl": "[]"}):
        save_file(load_file(path), path, metadata=said)
        with pytest.raises(ValueError, match="is no policy file of this version"):
            SharedPolicy.load(run)


def test_loading_a_policy_leaves_the_random_numbers_alone(finished):
    import torch

    before = torch.get_rng_state()
    load_policy(finished)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_record_with_hostile_commands_needs_consent(run):
    from dss_marl.envs.scenario import scenario_from

    record = load_run(run)
    hostile = {**record.scenario, "feeder": {**record.scenario["feeder"], "commands": ["export voltages x.csv"]}}
    own = new_record(scenario_from(hostile, allow_code=True), record.settings, 0, "native", 0)
    changed(run, scenario=hostile, scenario_sha256=own.scenario_sha256)
    with pytest.raises(ValueError, match="'export' is not among"):
        compare(run, ["no_control"], most_days=1)


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "table.md"
    with replacing(path) as part:
        part.write_text("whole")
    with pytest.raises(StoppedError), replacing(path) as part:
        part.write_text("ha")
        raise StoppedError
    assert path.read_text() == "whole" and list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no archive", pickle.dumps({"days": 1})])
def test_a_broken_plans_file_is_one_clear_error(tmp_path, content):
    path = tmp_path / "plans.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"plans\.npz' is no file of plans, or only a part of one.*dss-marl solve"):
        Plans.load(path)


def test_plans_with_pickled_objects_are_not_executed(tmp_path):
    path, trace = tmp_path / "plans.npz", tmp_path / "executed"
    columns = {name: np.array([1]) for name in ("digest", "days", "returns", "drawn_kwh", "versions")}
    np.savez(path, **columns, requests=np.array([Evil(trace)], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="is no file of plans"):
        Plans.load(path)
    assert not trace.exists()


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"controllers": {"no_control": {}}}', '{"contr'])
def test_broken_results_are_one_clear_error(tmp_path, content):
    for name in ("validation.json", "table.json"):
        (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=r"(cannot be read|no results of this version).*'dss-marl validate' writes"):
        load_results(tmp_path)
