"""Runs that were trained on another engine than OpenDSS: their settings, their record, and both scores."""

import json
import re

import numpy as np
import pytest
from stub_engines import failing_fifth
from typer.testing import CliRunner

import dss_marl
from dss_marl.cli.app import app
from dss_marl.envs.training_settings import TrainingSettings
from dss_marl.experiments import ComparisonTable, compare, evaluate, load_policy, load_run, train, with_copies
from dss_marl.experiments.batch_evaluation import evaluate_on
from dss_marl.experiments.evaluation import run_day
from dss_marl.experiments.metrics import FIGURES
from dss_marl.integrations.sb3 import SharedPolicy

NEARBY = "stub_engines:Nearby"
SMALL = {"agent_steps": 300, "n_envs": 4, "n_steps": 8, "evaluations": 1, "evaluation_days": 1, "n_epochs": 1}


def output(*arguments):
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "160", "NO_COLOR": "1", "TERM": "dumb"})
    return result.exit_code, result.output


def tiny(**changes):
    return dss_marl.load_scenario("ieee13_volt_var").replace(steps=8, start_hour=10, training=SMALL, **changes)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on an engine that is a little off OpenDSS, compared."""
    pytest.importorskip("stable_baselines3")
    folder = tmp_path_factory.mktemp("run")
    scenario = tiny()
    train(scenario, folder, seed=3, engine=NEARBY)
    return folder, scenario, compare(folder, ["no_control"], most_days=3)


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("copies", [4, 8, 16, 64, 256, 1000])
def test_many_copies_make_as_many_gradient_steps_from_larger_batches(copies):
    scenario = dss_marl.load_scenario("ieee34_volt_var")
    few, many = (TrainingSettings.model_validate(s.training) for s in (scenario, with_copies(scenario, copies)))

    def samples(one):
        return one.n_envs * one.n_steps

    assert many.n_envs == copies
    assert many.n_steps >= 8
    assert many.agent_steps / many.batch_size == pytest.approx(few.agent_steps / few.batch_size, rel=0.01)
    assert 1 <= (samples(many) / many.batch_size) / (samples(few) / few.batch_size) <= 2.01
    assert many.batch_size >= few.batch_size
    assert (many == few) == (copies == few.n_envs)


def test_agent_steps_that_are_given_stay_and_the_rest_of_the_settings_too():
    scenario = dss_marl.load_scenario("ieee34_volt_var")
    found = with_copies(scenario, 256, 1000)
    assert found.training["agent_steps"] == 1000
    assert found.training["ignore_padding"] == scenario.training["ignore_padding"]
    assert with_copies(found, 256, 1000) == found
    for copies in (0, 100_001):
        with pytest.raises(ValueError, match="from 1 to 100000"):
            with_copies(scenario, copies)


# --- the run ----------------------------------------------------------------------------------------------------------


def test_the_record_says_the_engine_and_validation_is_on_opendss(run):
    folder, scenario, _ = run
    record = load_run(folder)
    assert record.engine == NEARBY
    env = dss_marl.ZoneEnv(scenario, "validation")
    days = env.days[:: max(1, len(env.days))][:1]
    score = evaluate(load_policy(folder), scenario, days, "validation")[0]["team_return"]
    assert score == pytest.approx(max(row["score"] for row in record.history), rel=1e-5)


def test_a_record_without_an_engine_is_of_opendss(run, tmp_path):
    folder, _, _ = run
    data = json.loads((folder / "record.json").read_text())
    del data["engine"]
    (tmp_path / "record.json").write_text(json.dumps(data))
    assert load_run(tmp_path).engine == "opendss"


def test_the_table_shows_both_engines(run):
    folder, scenario, table = run
    name = f"learned, on {NEARBY}"
    assert list(table.figures) == ["no_control", "learned"]
    assert list(table.trained_on) == [name]
    on_opendss = evaluate(load_policy(folder), scenario, table.days)
    assert [row["team_return"] for row in table.figures["learned"]] == [row["team_return"] for row in on_opendss]
    off = table.column(name, "team_return") - table.column("learned", "team_return")
    assert 0 < np.abs(off).max() < 0.1
    saved = json.loads((folder / "table.json").read_text())
    assert saved["trained_on"] == table.trained_on
    assert f"| {name} |" in (folder / "table.md").read_text()
    told = re.search(r"minus that on OpenDSS is (\S+) a day", table.remarks()[0])
    assert float(told[1]) == pytest.approx(off.mean(), rel=0.06)
    assert table.remarks()[0] in (folder / "table.md").read_text()


def test_a_table_of_opendss_alone_says_nothing_of_engines():
    table = ComparisonTable("a", "test", (1,), {"learned": [dict.fromkeys(FIGURES, 1.0)]})
    assert table.remarks() == []
    assert "engine" not in table.markdown()


def test_the_commands_print_both(run):
    folder, _, _ = run
    code, text = output("evaluate", str(folder), "--days", "2", "--controllers", "no_control")
    assert code == 0, text
    assert "learned, on" in text
    assert "return there minus that on OpenDSS" in text


def test_the_report_says_the_engine(run):
    pytest.importorskip("plotly")
    folder, _, _ = run
    code, text = output("report", str(folder), "--days", "2", "--out", str(folder / "report.html"))
    assert code == 0, text
    page = (folder / "report.html").read_text()
    assert f"learned was trained on engine &#39;{NEARBY}&#39;" in page or f"on engine '{NEARBY}'" in page
    assert f"--engine {NEARBY}" in page


def test_an_engine_that_is_not_here_is_left_out_of_the_table(run, tmp_path):
    import shutil

    folder = tmp_path / "run"
    shutil.copytree(run[0], folder)
    data = json.loads((folder / "record.json").read_text())
    (folder / "record.json").write_text(json.dumps({**data, "engine": "gone"}))
    table = compare(folder, ["no_control"], most_days=1)
    assert list(table.trained_on) == []
    assert "unknown engine 'gone'" in table.left_out["learned, on gone"]
    assert "learned" in table.figures


def test_an_engine_that_refuses_leaves_an_earlier_run_as_it_is(run):
    folder, scenario, _ = run
    before = sorted((path.name, path.read_bytes()) for path in folder.iterdir() if path.is_file())
    for engine, message in (("batchd", "unknown engine 'batchd'"), ("stub_engines:Refusing", "model 7")):
        with pytest.raises(ValueError, match=message):
            train(scenario, folder, overwrite=True, engine=engine)
    assert before == sorted((path.name, path.read_bytes()) for path in folder.iterdir() if path.is_file())


def test_train_takes_engine_and_copies(tmp_path):
    pytest.importorskip("stable_baselines3")
    folder = tmp_path / "run"
    code, text = output(
        "train", "ieee13_volt_var", "--engine", NEARBY, "--copies", "4", "--steps", "200", "--out", str(folder),
        "--set", "steps=8", "--set", "training.evaluations=1", "--set", "training.evaluation_days=1",
    )  # fmt: skip
    assert code == 0, text
    record = load_run(folder)
    assert (record.engine, record.num_cpus, record.settings["n_envs"]) == (NEARBY, 0, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--engine", "batchd"), "unknown engine 'batchd'"),
        (("--engine", "stub_engines:Refusing"), "load.671"),
        (("--copies", "0"), "greater than or equal to 1"),
        (("--copies", "200000"), "from 1 to 100000"),
        (("--engine", "opendss", "--copies", "4", "--route", "other"), "unknown route"),
    ],
)
def test_mistakes_are_told_before_the_run_starts(arguments, message, tmp_path):
    pytest.importorskip("stable_baselines3")
    code, text = output("train", "ieee13_volt_var", "--out", str(tmp_path / "run"), *arguments)
    assert code == 2, text
    assert message in text
    assert not (tmp_path / "run").exists()


# --- many days at once ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "changes", "training"),
    [
        ("ieee13_volt_var", {}, {}),
        ("ieee13_volt_var", {"actions": "multidiscrete"}, {"algorithm": "maskable_ppo"}),
        ("ieee13_volt_var", {"actions": "native", "agents": "device"}, {"sharing": "per_kind"}),
        ("ieee13_volt_var", {}, {"algorithm": "recurrent_ppo"}),
    ],
)
def test_days_as_copies_have_the_figures_of_days_alone(name, changes, training, tmp_path, monkeypatch):
    pytest.importorskip("sb3_contrib")
    from dss_marl.experiments import batch_evaluation

    monkeypatch.setattr(batch_evaluation, "_MOST", 2)  # so that three days are two batches
    scenario = dss_marl.load_scenario(name).replace(steps=8, start_hour=10, training={**SMALL, **training}, **changes)
    train(scenario, tmp_path)
    policy, task = load_policy(tmp_path), dss_marl.build_task(scenario)
    days = task.profiles.days("test")[:3]
    alone, together = evaluate(policy, scenario, days), evaluate_on("opendss", policy, task, days)
    for one, two in zip(alone, together, strict=True):
        assert two == pytest.approx(one, rel=1e-4, abs=1e-6)


class Fixed(SharedPolicy):
    """The default action, always."""

    def __init__(self):
        pass

    def reset(self, env):
        pass

    def act(self, env, observations):
        return env.task.encoding.encode(env.task.default_action)

    def act_rows(self, env, observations, masks, width):
        rows = self.act(env, {})
        return np.repeat(np.array([rows[agent] for agent in env.possible_agents])[None], len(observations), axis=0)


def test_a_failed_day_counts_as_alone():
    task, policy = dss_marl.build_task(tiny()), Fixed()
    days = task.profiles.days("test")[:2]
    together = evaluate_on("stub_engines:failing_fifth", policy, task, days)
    for day, found in zip(days, together, strict=True):
        env = dss_marl.ZoneEnv(task, "test", engine=failing_fifth(task.feeder))
        alone = run_day(env, policy, day)
        env.close()
        assert alone["failed"] == 1
        assert found == pytest.approx(alone, rel=1e-6, abs=1e-9)
