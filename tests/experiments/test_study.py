"""Benchmarks of learning: suites, cells in processes of their own, results, and what is said of them."""

import json
import os
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from typer.testing import CliRunner

from dss_marl import load_scenario
from dss_marl.cli.app import app
from dss_marl.experiments.runs.run_record import load_run
from dss_marl.experiments.study import study as study_module
from dss_marl.experiments.study.job import EVALUATION, Job, stop_with
from dss_marl.experiments.study.processes import in_processes
from dss_marl.experiments.study.ray_tasks import on_ray
from dss_marl.experiments.study.reference_returns import committed_returns, days_of_test, ends_of_score
from dss_marl.experiments.study.report import DAYS, MARL_EVAL, PAGE, SCORES, in_marl_eval, markdown, write_report
from dss_marl.experiments.study.results import CellResults, Played, ScenarioResults, StudyResults, load_results
from dss_marl.experiments.study.study import LOCK, Study
from dss_marl.experiments.study.suite import plan_of, read_suite
from dss_marl.experiments.study.summary import lines, overall

TINY = """
base: ieee13_volt_var
steps: 4
start_hour: 10
reference_controller: tuned_droop
training: {agent_steps: 24, n_envs: 1, n_steps: 4, evaluations: 2, evaluation_days: 1, n_epochs: 1}
"""
SUITE = """
scenarios: [tiny.yaml]
recipes:
  ppo:
  narrow: narrow.yaml
seeds: [3]
days: 2
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "tiny.yaml").write_text(TINY)
    (tmp_path / "narrow.yaml").write_text("net_arch: [8]\n")
    (tmp_path / "suite.yaml").write_text(SUITE)
    return tmp_path


def written(folder, **parts):
    (folder / "suite.yaml").write_text(json.dumps({"scenarios": ["tiny.yaml"], "recipes": {"a": {}}, **parts}))
    return folder / "suite.yaml"


# --- suites -----------------------------------------------------------------------------------------------------------


def test_a_suite_has_a_cell_for_each_scenario_recipe_and_seed(folder):
    plan = plan_of(
        read_suite(written(folder, recipes={"a": {}, "b": {"gamma": 0.5}}, seeds=2, training={"n_epochs": 2}))
    )
    assert [cell.name for cell in plan.cells] == [
        "tiny/a/seed-0", "tiny/a/seed-1", "tiny/b/seed-0", "tiny/b/seed-1",
    ]  # fmt: skip
    assert [cell.scenario.training.get("gamma") for cell in plan.cells] == [0.9, 0.9, 0.5, 0.5]
    assert all(cell.scenario.training["n_epochs"] == 2 for cell in plan.cells)
    assert plan.suite.name == "suite"


def test_engine_and_copies_are_keys_of_a_recipe(folder):
    plan = plan_of(read_suite(written(folder, recipes={"fast": {"engine": "batched", "copies": 4}}, seeds=[1])))
    assert (plan.cells[0].engine, plan.cells[0].scenario.training["n_envs"]) == ("batched", 4)


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"recipes": {"a": {"gama": 1}}}, "recipe 'a': .*gama"),
        ({"recipes": {"a/b": {}}}, "name 'a/b' of a recipe"),
        ({"recipes": {}}, "recipes"),
        ({"scenarios": ["nope"]}, "unknown scenario 'nope'"),
        ({"scenarios": ["tiny.yaml", "tiny.yaml"]}, "stands twice"),
        ({"seeds": 0}, "at least 1"),
        ({"seeds": [1, 1]}, "1 stands twice"),
        ({"sceanrios": []}, "did you mean 'scenarios'"),
        ({"recipes": {"a": "nope.yaml"}}, "nope.yaml' cannot be read"),
    ],
)
def test_mistakes_in_a_suite_name_the_place(folder, parts, says):
    with pytest.raises(ValueError, match=f"(?s){says}"):
        plan_of(read_suite(written(folder, **parts)))


# --- running ----------------------------------------------------------------------------------------------------------


def test_a_benchmark_runs_reports_a_crash_and_resumes(folder, monkeypatch):
    pytest.importorskip("stable_baselines3")
    out = folder / "out"
    crash = {"a": {}, "bad": {"algorithm": "maskable_ppo"}}  # refused only when training starts: actions are numbers
    suite = str(written(folder, recipes=crash, seeds=[3], days=2))
    run = ["benchmark", suite, "--out", str(out), "--jobs", "2"]
    result = CliRunner().invoke(app, run, env={"COLUMNS": "200"})
    assert result.exit_code == 1, result.output
    assert "failed: tiny/bad/seed-3: ValueError: scenario 'tiny': algorithm 'maskable_ppo' needs" in result.output
    assert "1 of 2 trainings failed or are missing" in result.output
    record = load_run(out / "runs/tiny/a/seed-3")
    assert record.status == "finished" and record.seed == 3
    found = load_results(out)
    assert [cell.recipe for cell in found.cells] == ["a"] and found.failed[0].recipe == "bad"
    assert found.scenarios["tiny"].source == "played" and found.scenarios["tiny"].one == "tuned_droop"

    started = []
    monkeypatch.setattr(study_module, "in_processes", lambda jobs, *_: started.extend(jobs) or iter(()))
    CliRunner().invoke(app, run, env={"COLUMNS": "200"})
    assert [job.name for job in started] == ["tiny/bad/seed-3"]  # neither references nor what is finished
    (out / "runs/tiny/a/seed-3" / EVALUATION).unlink()
    assert [job.name for job in Study(plan_of(read_suite(Path(suite))), out).jobs()] == [
        "tiny/a/seed-3", "tiny/bad/seed-3",
    ]  # fmt: skip


def test_two_benchmarks_in_one_folder_are_refused(folder):
    study = Study(plan_of(read_suite(folder / "suite.yaml")), folder / "out")
    (folder / "out").mkdir()
    with FileLock(folder / "out" / LOCK), pytest.raises(ValueError, match="another benchmark is running in"):
        study.run(1)
    assert not (folder / "out" / "runs").exists()


def test_runs_of_other_settings_are_not_taken_for_results(folder):
    pytest.importorskip("stable_baselines3")
    plan = plan_of(read_suite(written(folder, seeds=[0], days=1)))
    study = Study(plan, folder / "out")
    (job,) = [job for job in study.jobs() if job.kind == "cell"]
    job.run()
    other = plan_of(read_suite(written(folder, seeds=[0], days=1, training={"gamma": 0.1})))
    with pytest.raises(ValueError, match=r"runs of other settings: tiny/a/seed-0; .*--overwrite"):
        Study(other, folder / "out")
    again = [job for job in Study(other, folder / "out", overwrite=True).jobs() if job.kind == "cell"]
    again[0].run()
    assert load_run(again[0].place).settings["gamma"] == 0.1


def test_a_process_that_dies_leaves_the_others_alone(tmp_path, monkeypatch):
    """A worker that kills itself, one that fails with a message, and one that does nothing."""
    (tmp_path / "own_worker.py").write_text(
        "import os, signal, sys\n"
        "name = __import__('json').loads(sys.stdin.read())['name']\n"
        "if name == 'kill': os.kill(os.getpid(), signal.SIGKILL)\n"
        "if name == 'fail': print('ValueError: no such thing'); sys.exit(1)\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setattr("dss_marl.experiments.study.processes._WORKER", "own_worker")
    jobs = [Job(name=name, kind="cell", scenario={}, days=(), place=tmp_path) for name in ("kill", "fail", "fine")]
    ended = {job.name: error for job, error in in_processes(jobs, 2, tmp_path / "logs", lambda running: None)}
    assert ended["kill"].startswith("ended by signal 9; its output is in ")
    assert (ended["fail"], ended["fine"]) == ("ValueError: no such thing", "")


def test_a_worker_stops_when_nobody_waits_for_it():
    stop_with(os.getppid())()
    with pytest.raises(InterruptedError):
        stop_with(-1)()


# --- on a cluster -----------------------------------------------------------------------------------------------------


class FakeRay(types.ModuleType):
    """What is used of ray, done at once in this process."""

    def __init__(self):
        super().__init__("ray")
        self.address = None

    def init(self, address, **options):
        self.address = address

    def remote(self, **options):
        def wrap(function):
            return types.SimpleNamespace(remote=lambda *arguments: _Ref(function, arguments))

        return wrap

    def wait(self, refs, num_returns, timeout):
        return refs[:num_returns], refs[num_returns:]

    def get(self, ref):
        return ref.function(*ref.arguments)


class _Ref:
    def __init__(self, function, arguments):
        self.function, self.arguments = function, arguments


def test_a_cluster_sends_the_files_of_its_runs(folder, monkeypatch):
    pytest.importorskip("stable_baselines3")
    ray = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", ray)
    suite = read_suite(written(folder, recipes={"a": {}, "bad": {"algorithm": "maskable_ppo"}}, seeds=[0], days=1))
    study = Study(plan_of(suite), folder / "out")
    found = study.run(1, "ray://head:10001")
    assert ray.address == "ray://head:10001"
    assert [cell.recipe for cell in found.cells] == ["a"] and "maskable_ppo" in found.failed[0].error
    assert (folder / "out/runs/tiny/a/seed-0/policy.safetensors").is_file()
    assert found.scenarios["tiny"].references["no_control"].team_return


def test_without_ray_the_cure_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"pip install 'ray\[default\]'"):
        next(on_ray([], "auto", lambda running: None))


# --- references -------------------------------------------------------------------------------------------------------


def test_references_are_those_of_committed_results_while_these_hold(monkeypatch):
    scenario = load_scenario("ieee13_volt_var")
    module = "dss_marl.experiments.study.reference_returns"
    folder = Path(__file__).parents[2] / "results" / "ieee13_volt_var"
    about = json.loads((folder / "table.json").read_text())
    monkeypatch.setattr(f"{module}.scenario_digest", lambda scenario: about["digest"])
    monkeypatch.setattr(f"{module}.plans_digest", lambda scenario: about.get("plans", ""))
    days = days_of_test(scenario, 3)
    found = committed_returns(scenario, days)
    assert len(days) == 3 and found.returns["no_control"].keys() == set(days)
    assert ends_of_score(found, "best_known") == ("opendss_controls", "best_known")
    monkeypatch.setattr(f"{module}.scenario_digest", lambda scenario: "another")
    assert committed_returns(scenario, days) is None


# --- what is said -----------------------------------------------------------------------------------------------------


def made(scores, failed=()):
    """Results whose return is 10 times the score: recipe to scenario to one score for each seed; two days."""
    recipes = list(scores)
    names = list(dict.fromkeys(name for own in scores.values() for name in own))
    flat = {"days": [1, 2], "team_return": [0.0, 0.0]}
    references = {
        "opendss_controls": Played(**flat),
        "droop": Played(days=[1, 2], team_return=[4.0, 4.0]),
        "best_known": Played(days=[1, 2], team_return=[12.0, 8.0]),
    }
    scenario = ScenarioResults(
        title="a task", version=1, digest="0", profiles_sha256="0", days=[1, 2], zero="opendss_controls",
        one="best_known", source="played", references=references,
    )  # fmt: skip
    cells = [
        CellResults(
            scenario=name, recipe=recipe, seed=seed, agent_steps=100, seconds=2.0, git_commit="",
            history=[{"agent_steps": 0.0, "score": -1.0}, {"agent_steps": 100.0, "score": 10 * score}],
            figures={"team_return": [10 * score + 1, 10 * score - 1], "loss_kwh": [5.0, 6.0]},
        )
        for recipe, own in scores.items() for name, values in own.items() for seed, score in enumerate(values)
    ]  # fmt: skip
    suite = {"scenarios": names, "recipes": {key: {} for key in recipes}, "training": {}}
    return StudyResults(
        name="made", made="2026-01-01T00:00:00", version="0", machine="", suite=suite,
        scenarios=dict.fromkeys(names, scenario), cells=cells, failed=list(failed),
    )  # fmt: skip


TWO = {"good": {"x": [0.9, 0.8, 1.0, 0.9], "y": [0.7, 0.6, 0.8, 0.7]}, "poor": {"x": [0.2, 0.3], "y": [0.3, 0.1]}}


def test_lines_hold_the_figures_of_each_scenario_and_recipe():
    found = {(one.scenario, one.recipe): one for one in lines(made(TWO))}
    good = found["x", "good"]
    assert good.returned[0] == pytest.approx(9.0) and good.score[0] == pytest.approx(0.9)
    assert 0.8 <= good.score[1] < 0.9 < good.score[2] <= 1.0
    assert good.seeds == (0, 1, 2, 3) and good.rule == "droop" and good.better_days == (2, 2, 2, 2)
    assert found["x", "poor"].better_days == (0, 0)  # 3 and 1, 4 and 2: ties do not count
    low, high = good.score_over_days[1:]  # only the first day drawn: 10 of 12; only the second: 8 of 8
    assert (low, high) == pytest.approx((10 / 12, 1.0))


def test_aggregates_are_over_the_seeds_finished_everywhere():
    scores = {**TWO, "good": {"x": [0.9, 0.8, 1.0, 0.9], "y": [0.7, 0.6]}}
    whole = overall(made(scores))
    assert whole.tasks == ("x", "y")
    np.testing.assert_allclose(whole.scores["good"], [[0.9, 0.7], [0.8, 0.6]])
    assert whole.aggregates["poor"]["mean"][0] == pytest.approx(0.225)
    assert whole.improvement["good", "poor"] == (1.0, 1.0, 1.0)
    assert overall(made({"good": TWO["good"], "new": {"z": [0.5]}})) is None  # no scenario in common


def test_files_hold_every_seed_and_day(tmp_path):
    pytest.importorskip("matplotlib")
    results = made(TWO)
    results.save(tmp_path)
    assert load_results(tmp_path) == results
    names = {path.name for path in write_report(results, tmp_path)}
    assert {PAGE, SCORES, DAYS, MARL_EVAL, "learning.png", "scores.png", "profiles.png"} < names
    assert (tmp_path / SCORES).read_text().splitlines()[1] == "x,good,0,9,0.9,100,2.0"
    rows = (tmp_path / DAYS).read_text().splitlines()
    assert rows[0] == "scenario,controller,seed,day,team_return,loss_kwh"
    assert "y,poor,1,2,0,6" in [row.replace(".0", "") for row in rows] and "x,droop,,1,4.0," in rows
    text = (tmp_path / PAGE).read_text()
    assert "| `x` | good | 4 | 2 | 9.00 (" in text
    assert "| good |  | 1.00 |" in text and "## Failed" not in text


def test_scenarios_without_a_score_are_named():
    results = made(TWO)
    results.scenarios["x"] = results.scenarios["x"].model_copy(update={"zero": "", "one": ""})
    text = markdown(results)
    assert "Without a score: `x`; it needs" in text and overall(results).tasks == ("y",)


def test_the_layout_of_marl_eval():
    """environment -> task -> algorithm -> run -> step, and absolute metrics last."""
    run = in_marl_eval(made(TWO))["dss_marl"]["x"]["good"]["seed_0"]
    assert list(run) == ["step_0", "step_1", "absolute_metrics"]
    assert run["step_1"] == {"step_count": 100, "return": [9.0]} and run["absolute_metrics"] == {"return": [10.0, 8.0]}


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format": "dss_marl results 0"}', '{"format": "dss_marl results 1"}']
)
def test_what_is_no_results_file_is_one_clear_error(tmp_path, text):
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(ValueError, match=r"results\.json'"):
        load_results(tmp_path)
