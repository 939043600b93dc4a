"""Searches: spaces, trials, pruning, stops and kills, refusals, results, API and command line."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from trained_runs import NAME
from typer.testing import CliRunner

from dss_marl import ZoneEnv, load_scenario
from dss_marl.cli.app import app
from dss_marl.experiments import TrainingSettings, load_recipe, load_run, reproduce, search, train
from dss_marl.experiments.parameter_search import default_space, read_space, space
from dss_marl.experiments.parameter_search.trial_job import objective_of
from dss_marl.experiments.runs.run_record import RunRecord

TINY = {
    "agent_steps": 48, "n_envs": 1, "n_steps": 4, "evaluations": 2, "evaluation_days": 1, "n_epochs": 1,
    "checkpoint_episodes": 1,
}  # fmt: skip
SPACE = {
    "training.gamma": {"low": 0.8, "high": 0.99},
    "training.learning_rate": {"low": 1e-4, "high": 3e-3, "log": True},
    "training.net_arch": {"choices": [[8], [4, 4]]},
    "training.n_epochs": {"low": 1, "high": 2},
}


def tiny(**training):
    return load_scenario(NAME).replace(steps=4, start_hour=10, training={**TINY, **training})


@pytest.fixture
def learning():
    pytest.importorskip("optuna")
    pytest.importorskip("stable_baselines3")


# --- spaces -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[1]", "must be a mapping of settings to ranges"),
        ("gamma: {low: 0, high: 1}", "gamma: a search varies training settings alone.*--set"),
        ("training.gama: {low: 0, high: 1}", "unknown training setting 'gama'; did you mean training.gamma"),
        ("training.slope.stp: {low: 0.1, high: 1}", "unknown training setting 'stp'; did you mean training.slope.step"),
        ("training.gamma.x: {low: 0, high: 1}", "training.gamma has no settings inside"),
        ("training.gamma: {low: 0.9, high: 0.8}", "training.gamma: low must be below high; got 0.9 and 0.8"),
        ("training.gamma: {low: 0.9}", "training.gamma needs low and high, or choices"),
        ("training.gamma: 0.9", "training.gamma must be {low"),
        ("training.gamma: {low: a, high: 1}", "low must be a number; got the text 'a'"),
        ("training.learning_rate: {low: 1e-4, high: 1}", "got the text '1e-4'.*1.0e-4"),
        ("training.gamma: {low: true, high: 1}", "low must be a number; got True"),
        ("training.gamma: {low: .nan, high: 1}", "low must be a number; got nan"),
        ("training.gamma: {lo: 0.9, high: 1}", "unknown key 'lo'; known: low, high, log, step, choices"),
        ("training.gamma: {low: 0, high: 1, log: true}", "log needs a low above 0"),
        ("training.gamma: {low: 0.1, high: 1, log: maybe}", "log must be true or false"),
        ("training.gamma: {low: 0, high: 1, step: 2}", "a step must be above 0"),
        ("training.n_steps: {low: 1.5, high: 3}", "low must be a whole number"),
        ("training.net_arch: {low: 1, high: 3}", "training.net_arch is no number"),
        ("training.net_arch: {choices: [[8]]}", "a list of at least two values"),
        ("training.net_arch: {choices: [[8], [8]]}", "the choice .8. stands twice"),
        ("training.net_arch: {choices: [[8], [4]], low: 1}", "has choices and low"),
        ("training.evaluation_days: {low: 1, high: 3}", "evaluation_days cannot vary: returns of other days"),
        ("{training.slope: {choices: [null, {}]}, training.slope.step: {low: 0.1, high: 1}}", "training.slope holds"),
    ],
)
def test_mistakes_in_a_space_name_file_and_key(tmp_path, text, says):
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"(?s)own\.yaml.*{says}"):
        read_space(path)


@pytest.mark.parametrize(
    ("own", "says"),
    [
        ({"training.gamma": {"low": 0.5, "high": 2}}, "training.gamma: 2 is refused: .*less than or equal to 1"),
        ({"training.net_arch": {"choices": [[8], "wide"]}}, "training.net_arch: 'wide' is refused"),
        ({"training.algorithm": {"choices": ["ppo", "maskable_ppo"]}}, "'maskable_ppo' is refused: .*multidiscrete"),
        ({"training.teacher.days": {"low": 1, "high": 3}}, "training.teacher.days: 1 is refused: .*name: missing"),
        ({"training.guard.slope": {"low": 10, "high": 20}, "training.temperature_final": {"low": 0.1, "high": 1}},
         "needs entries 'mixed'"),
    ],
)  # fmt: skip
def test_values_that_the_settings_refuse_are_refused_before_any_training(tmp_path, learning, own, says):
    with pytest.raises(ValueError, match=f"(?s){says}"):
        search(tiny(), tmp_path / "out", 1, own)
    assert not (tmp_path / "out").exists()


def test_whole_numbers_are_found_by_the_setting_and_nested_keys_keep_what_is_beside_them():
    found = space.space_from({
        "training.n_steps": {"low": 4.0, "high": 8}, "training.gamma": {"low": 0, "high": 1},
        "training.log_std_final": {"low": -3, "high": -1}, "training.teacher.epochs": {"low": 1, "high": 3},
    })  # fmt: skip
    assert [one.integer for one in found.parameters] == [True, False, False, True]
    base = load_scenario(NAME).replace(training={"slope": {"clip": 5}, "teacher": "tuned_droop"})
    changed = space.with_values(base, {"training.slope.step": 0.3, "training.teacher.days": 2})
    settings = TrainingSettings.model_validate(changed.training)
    assert (settings.slope.clip, settings.slope.step) == (5, 0.3)
    assert (settings.teacher.name, settings.teacher.days) == ("tuned_droop", 2)


def test_the_default_space_suits_the_actions_and_is_checked_like_others(learning):
    from dss_marl.experiments.parameter_search.checks import check_space

    for actions, there in (("box", True), ("multidiscrete", False)):
        scenario = load_scenario(NAME).replace(actions=actions, training={"ignore_padding": actions == "box"})
        found = default_space(scenario)
        assert ("training.log_std_init" in found.data()) == there
        assert 4 <= len(found.parameters) <= 6
        check_space(found, scenario)


# --- trials -----------------------------------------------------------------------------------------------------------


def test_a_search_writes_runs_a_table_and_settings_to_paste_and_never_plays_test_days(tmp_path, learning, monkeypatch):
    splits, begin, told = [], ZoneEnv.__init__, []

    def noted(env, task, split="train", *args, **kwargs):
        splits.append(split)
        begin(env, task, split, *args, **kwargs)

    monkeypatch.setattr(ZoneEnv, "__init__", noted)
    scenario = tiny()
    found = search(scenario, tmp_path / "mine", 4, SPACE, report=told.append)
    assert set(splits) == {"train", "validation"}
    assert [one.state for one in found.trials] == ["complete"] * 4 and told == list(found.trials)
    best = found.best
    record = load_run(best.folder)
    assert best.folder == tmp_path / "mine/trials" / f"{best.number:03d}"
    assert best.value == max(one.value for one in found.trials) == max(row["score"] for row in record.history)
    assert record.settings["gamma"] == best.values["training.gamma"]
    assert list(record.settings["net_arch"]) == best.values["training.net_arch"]
    assert sum(found.importances.values()) == pytest.approx(1)

    text = (tmp_path / "mine/best.yaml").read_text()
    assert f"# Trial {best.number} of mine: validation return" in text and "best of 4 trials\n" in text
    assert f"Scenario {NAME}, version 1" in text and "agent_steps" not in yaml.safe_load(text)
    again = load_recipe(tmp_path / "mine/best.yaml").on(scenario)
    assert TrainingSettings.model_validate(again.training).model_dump(mode="json") == record.settings
    rows = (tmp_path / "mine/trials.csv").read_text().splitlines()
    assert rows[0].startswith("trial,state,value,evaluations,seconds,training.gamma") and len(rows) == 5


def test_a_search_that_is_watched_learns_what_a_training_learns(tmp_path, learning):
    found = search(tiny(), tmp_path / "out", 1, SPACE, seed=3)
    one = found.trials[0]
    alone = train(space.with_values(tiny(), one.values), tmp_path / "alone", 3)
    assert alone.history == load_run(one.folder).history and alone.files == load_run(one.folder).files


def test_a_search_that_goes_on_tries_what_one_that_was_never_stopped_tries(tmp_path, learning):
    whole = search(tiny(), tmp_path / "whole", 3, SPACE)
    search(tiny(), tmp_path / "parts", 1, SPACE)
    told = []
    parts = search(tiny(), tmp_path / "parts", 3, SPACE, report=told.append)
    assert [one.number for one in told] == [1, 2]
    assert [one.values for one in parts.trials] == [one.values for one in whole.trials]
    assert [one.value for one in parts.trials] == [one.value for one in whole.trials]
    assert len({json.dumps(one.values) for one in whole.trials}) == 3
    again = search(tiny(), tmp_path / "parts", 2, SPACE)
    assert again.trials == parts.trials


@pytest.mark.parametrize("state", ["killed", "interrupted"])
def test_a_trial_that_was_cut_short_is_marked_and_tried_again_with_its_values(tmp_path, learning, monkeypatch, state):
    whole = search(tiny(), tmp_path / "whole", 2, SPACE)
    out = tmp_path / "out"
    if state == "killed":
        begun = subprocess.Popen([sys.executable, "-c", KILLED, str(out)], cwd=Path(__file__).parents[1])
        assert begun.wait(timeout=300) == -signal.SIGKILL
    else:
        with monkeypatch.context() as patch:
            from dss_marl.experiments.parameter_search import trial_job

            def interrupted(*args, **kwargs):
                raise KeyboardInterrupt

            patch.setattr(trial_job, "train", interrupted)
            with pytest.raises(KeyboardInterrupt):
                search(tiny(), out, 2, SPACE)
    found = search(tiny(), out, 2, SPACE)
    assert [one.state for one in found.trials] == ["stopped", "complete", "complete"]
    assert found.trials[0].values == found.trials[1].values
    assert [one.values for one in found.trials[1:]] == [one.values for one in whole.trials]
    assert [one.value for one in found.trials[1:]] == [one.value for one in whole.trials]


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path += ["experiments", "."]
from test_search import SPACE, tiny
from dss_marl.experiments import search
from dss_marl.experiments.runs.run_folder import RunFolder
note = RunFolder.note
def dying(run, agent_steps, history, best):
    note(run, agent_steps, history, best)
    os.kill(os.getpid(), signal.SIGKILL)
RunFolder.note = dying
search(tiny(), Path(sys.argv[1]), 2, SPACE)
"""


def test_a_search_does_not_go_on_with_trials_of_something_else(tmp_path, learning):
    out = tmp_path / "out"
    search(tiny(), out, 1, SPACE)
    profiles = tiny().profiles.model_dump()
    others = {
        "seed .0, now 1.": {"seed": 1},
        "space .it differs in training.gamma.": {"space": {**SPACE, "training.gamma": {"low": 0.5, "high": 0.6}}},
        "training .it differs in gae_lambda.": {"scenario": tiny(gae_lambda=0.5)},
        "scenario .it differs in rewards.": {"scenario": tiny().replace(rewards={"loss": 1})},
        "another set of days": {"scenario": tiny().replace(profiles={**profiles, "seed": 14})},
        "objective .best, now last.": {"objective": "last"},
        "engine .opendss, now batched.": {"engine": "batched"},
    }
    for says, change in others.items():
        with pytest.raises(ValueError, match=f"was begun with another .*{says}.*another --out"):
            search(**{"scenario": tiny(), "folder": out, "trials": 2, "space": SPACE, **change})
    (out / "search.db").unlink()
    with pytest.raises(ValueError, match=r"holds trials, but their storage .*search\.db' is missing"):
        search(tiny(), out, 2, SPACE)
    (out / "search.db").write_text("no storage of anything\n" * 20)
    with pytest.raises(ValueError, match="is no storage of this version of Optuna"):
        search(tiny(), out, 2, SPACE)


def test_a_search_that_is_under_way_elsewhere_is_left_alone(tmp_path, learning):
    from dss_marl.experiments.parameter_search import storage

    search(tiny(), tmp_path / "out", 1, SPACE)
    with storage.quiet():
        trial = storage.open_study(tmp_path / "out/search.db", "out", 0, "none", 2).ask()
    for name, own in ((storage.PROCESS, os.getppid()), (storage.HOST, storage.platform.node())):
        trial.set_user_attr(name, own)
    with pytest.raises(ValueError, match=f"is under way in process {os.getppid()}"):
        search(tiny(), tmp_path / "out", 2, SPACE)


def test_settings_that_fail_make_failed_trials_and_three_of_them_end_the_search(tmp_path, learning, monkeypatch):
    from dss_marl.experiments.parameter_search import trial_job

    def failing(*args, **kwargs):
        raise RuntimeError("no power flow")

    monkeypatch.setattr(trial_job, "train", failing)
    found = search(tiny(), tmp_path / "two", 2, SPACE)
    assert [(one.state, one.error) for one in found.trials] == [("failed", "RuntimeError: no power flow")] * 2
    assert found.best is None and not (tmp_path / "two/best.yaml").exists()
    with pytest.raises(ValueError, match=r"the first 3 trials .* failed, the last with: RuntimeError: no power flow"):
        search(tiny(), tmp_path / "five", 5, SPACE)


def test_a_pruned_trial_ends_early_and_its_run_says_so(tmp_path, learning, monkeypatch):
    from optuna.trial import Trial

    monkeypatch.setattr(Trial, "should_prune", lambda trial: trial.number == 1 and trial_reports(trial) == 2)
    found = search(tiny(agent_steps=96, evaluations=4), tmp_path / "out", 3, SPACE)
    assert [one.state for one in found.trials] == ["complete", "pruned", "complete"]
    pruned = load_run(found.trials[1].folder)
    assert len(found.trials[1].returns) == len(pruned.history) == 2
    assert pruned.stopped and pruned.status == "finished" and pruned.agent_steps < 96
    assert "gave it up" in pruned.remarks()[0]
    assert not load_run(found.trials[0].folder).stopped
    with pytest.raises(ValueError, match="was ended before its agent-steps by what watched it"):
        reproduce(found.trials[1].folder, tmp_path / "again")
    assert np.isnan(found.trials[1].value) and found.trials[1] not in found.ranked


def trial_reports(trial):
    return len(trial.study.get_trials()[trial.number].intermediate_values)


def test_the_median_pruner_gives_up_what_falls_behind(learning):
    import optuna

    from dss_marl.experiments.parameter_search import storage

    for name, expected in (("median", True), ("none", False)):
        study = optuna.create_study(pruner=storage._pruner(name, 8), direction="maximize")
        for _ in range(5):
            trial = study.ask()
            for step in range(8):
                trial.report(-1.0, step)
            study.tell(trial, -1.0)
        late = study.ask()
        late.report(-9.0, 0)
        late.report(-9.0, 1)
        assert not late.should_prune()
        late.report(-9.0, 2)
        assert late.should_prune() == expected
    assert isinstance(storage._pruner("hyperband", 8), optuna.pruners.HyperbandPruner)


def test_objectives():
    scores = [-9.0, -1.0, -4.0, -3.0, -2.0]
    record = RunRecord.model_construct(history=[{"agent_steps": 0.0, "score": score} for score in scores])
    assert (objective_of(record, "best"), objective_of(record, "last")) == (-1.0, -3.0)


@pytest.mark.slow
def test_two_trials_at_once_are_processes_on_one_storage(tmp_path, learning):
    found = search(tiny(), tmp_path / "out", 3, SPACE, storage=tmp_path / "kept.db", num_jobs=2)
    assert [one.state for one in found.trials] == ["complete"] * 3
    assert len({json.dumps(one.values) for one in found.trials}) == 3
    assert sorted(path.name for path in (tmp_path / "out/logs").iterdir()) == [f"trial-00{k}.txt" for k in range(3)]


# --- command line -----------------------------------------------------------------------------------------------------


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)), env={"COLUMNS": "160", "NO_COLOR": "1", "TERM": "dumb"})


def test_the_command_prints_the_best_trials_and_goes_on(tmp_path, learning):
    path = tmp_path / "space.yaml"
    path.write_text(yaml.safe_dump(SPACE))
    given = [f"--set=training.{key}={value}" for key, value in TINY.items() if key != "agent_steps"]
    command = [
        "search", NAME, "--space", path, "--out", tmp_path / "search-it", "--steps", 48, "--pruner", "none",
        "--set", "steps=4", "--set", "start_hour=10", *given,
    ]  # fmt: skip
    first = run(*command, "--trials", 1)
    assert first.exit_code == 0, first.output
    assert "trial 0: validation return" in first.output and "search-it: best trials" in first.output
    assert "best.yaml" in first.output and "trials/000' plays the best on test days" in first.output
    second = run(*command, "--trials", 2)
    assert second.exit_code == 0 and "trial 1: " in second.output and "trial 0: " not in second.output
    assert load_run(tmp_path / "search-it/trials/001").settings["agent_steps"] == 48
    refused = run(*command, "--trials", 2, "--seed", 1)
    assert refused.exit_code == 2 and "another seed (0, now 1)" in refused.output


def test_mistakes_of_a_search_are_messages(tmp_path, learning, monkeypatch):
    for arguments, says in (
        (["--pruner", "nope"], "unknown pruner 'nope'; known: median, hyperband, none"),
        (["--objective", "nope"], "unknown objective 'nope'; known: best, last"),
        (["--space", tmp_path / "nope.yaml"], "nope.yaml' cannot be read"),
        (["--trials", "0"], "--trials"),
        (["--recipe", "nope"], "unknown recipe 'nope'; known: "),
    ):
        result = run("search", NAME, "--out", tmp_path / "out", *arguments)
        assert result.exit_code == 2 and says in result.output, result.output
    monkeypatch.setitem(sys.modules, "optuna", None)
    result = run("search", NAME, "--out", tmp_path / "out")
    assert result.exit_code == 2 and "pip install 'dss_marl[search]'" in result.output


def test_the_picture_needs_trials():
    plots = pytest.importorskip("dss_marl.plots")
    with pytest.raises(ValueError, match="T >= 1"):
        plots.search_figure(np.array([]), np.array([]), np.array([]), {})
    numbers, returns = np.arange(3), np.array([-3.0, -9.0, -1.0])
    drawn = plots.search_figure(numbers, returns, np.array([False, True, False]), {"training.gamma": 1.0}, "mine")
    assert len(drawn.axes) == 2 and [text.get_text() for text in drawn.axes[1].get_yticklabels()] == ["gamma"]
