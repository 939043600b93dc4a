"""The command line as a user types it."""

import json
import sys

import pytest
import typer
from typer.testing import CliRunner

import dss_marl
from dss_marl._assets import known_names
from dss_marl.cli.app import COMMANDS, app
from dss_marl.cli.errors import plain_errors
from dss_marl.cli.list import list_

runner = CliRunner()


def output(*arguments):
    result = runner.invoke(app, list(arguments), env={"COLUMNS": "160", "NO_COLOR": "1", "TERM": "dumb"})
    return result.exit_code, result.output


@pytest.mark.parametrize(("name", "command"), [("list", list_), *((command.__name__, command) for command in COMMANDS)])
def test_help_explains_each_command(name, command):
    code, text = output(name, "--help")
    explanation = " ".join(command.__doc__.split())[:60]
    assert code == 0 and "Usage" in text and explanation in " ".join(text.split())


def test_version_is_that_of_the_package():
    code, text = output("--version")
    assert code == 0 and text.startswith(f"dss_marl {dss_marl.__version__}, OpenDSSDirect.py ")


def test_list_names_every_scenario():
    code, text = output("list")
    assert code == 0
    for name in known_names("scenarios"):
        assert name in text


def test_show_prints_the_whole_card():
    code, text = output("show", "ieee13_volt_var")
    assert code == 0
    for part in (
        "zone_3",
        "inverter_675: share of available reactive power",
        "cap1: close above 1/3",
        "lowest voltage [(v_pu - 1) * 20]",
        "voltage_violation",
        "100",
        "operations",
        "horizon 96 steps of 0.25 h",
        "test 41 days",
    ):
        assert part in text, part


def test_mistakes_are_messages_not_tracebacks():
    code, text = output("show", "iee34_volt_var")
    assert code == 2
    assert "did you mean 'ieee34_volt_var'" in text and "Traceback" not in text
    code, text = output("evaluate", "ieee13_volt_var", "--controllers", "drop", "--days", "1")
    assert code == 2 and "unknown controller 'drop'" in text
    code, text = output("evaluate", "ieee13_volt_var", "--split", "tset", "--days", "1")
    assert code == 2 and "unknown split 'tset'" in text


def test_the_cure_keeps_its_brackets(capsys):
    with pytest.raises(typer.Exit), plain_errors():
        raise ImportError("pip install 'dss_marl[train]'")
    assert "error: pip install 'dss_marl[train]'" in capsys.readouterr().err


def test_train_and_evaluate_a_run(tmp_path):
    pytest.importorskip("stable_baselines3")
    folder = tmp_path / "run"
    code, text = output(
        "train", "ieee13_volt_var", "--out", str(folder), "--steps", "600", "--num-cpus", "0", "--seed", "1"
    )
    assert code == 0, text
    assert "saved in" in text and (folder / "policy.safetensors").is_file() and (folder / "record.json").is_file()
    code, text = output("evaluate", str(folder), "--days", "2", "--controllers", "no_control")
    assert code == 0, text
    assert "learned" in text and "no_control" in text and "2 test days" in text
    table = (folder / "table.json").read_text()
    series = tmp_path / "series"
    code, text = output("evaluate", str(folder), "--day", "4", "--controllers", "no_control", "--series", str(series))
    assert code == 0, text
    assert (series / "learned" / "voltages.csv").is_file() and (series / "no_control" / "actions.csv").is_file()
    assert (folder / "table.json").read_text() == table  # of both days, still
    recording = dss_marl.record(dss_marl.make("ieee13_volt_var", split="test"), str(folder), days=4)
    assert recording.figures[0]["team_return"] == json.loads(table)["figures"]["learned"][0]["team_return"]


def test_a_run_goes_on_and_is_reproduced(tmp_path):
    pytest.importorskip("stable_baselines3")
    folder = tmp_path / "run"
    small = (
        "training.n_envs=1",
        "training.n_steps=4",
        "training.evaluations=2",
        "training.evaluation_days=1",
        "steps=4",
    )
    changes = [part for one in small for part in ("--set", one)]
    chosen = ("--sharing", "none", "--steps", "30", "--num-cpus", "0", "--seed", "1")
    code, text = output("train", "ieee13_volt_var", "--out", str(folder), *chosen, *changes)
    assert code == 0 and "best validation return" in text, text
    names = {path.name for path in folder.iterdir()}
    assert {f"{stem}-zone_{k}.safetensors" for stem in ("policy", "last") for k in (1, 2, 3)} <= names
    code, text = output("train", "--resume", str(folder))
    assert code == 2 and "is finished" in text and "--steps" in text
    code, text = output("train", "--resume", str(folder), "--steps", "80")
    assert code == 0, text
    code, text = output("reproduce", str(folder))
    assert code == 0 and "agrees to the last bit" in text, text
    record = json.loads((folder / "record.json").read_text())
    record["validation"]["team_return"] -= 1
    (folder / "record.json").write_text(json.dumps(record))
    code, text = output("reproduce", str(folder), "--overwrite")
    assert code == 1 and "differs: validation: team_return" in text, text


def test_the_schema_of_records_accepts_a_record(tmp_path):
    jsonschema = pytest.importorskip("jsonschema")
    from dss_marl.experiments import TrainingSettings, new_record

    code, text = output("schema", "--record", "--out", str(tmp_path / "record.schema.json"))
    assert code == 0, text
    schema = json.loads((tmp_path / "record.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    settings = TrainingSettings().model_dump(mode="json")
    record = new_record(dss_marl.load_scenario("ieee13_volt_var"), settings, 0, "native", 0).model_dump(mode="json")
    jsonschema.validate(record, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**record, "settings": {**settings, "sharing": "some"}}, schema)


def test_the_progress_line_has_key_figures():
    from dss_marl.cli.training_progress import key_figures

    figures = {
        "team_return": -3.214,
        "controllable_rate": 1.0,
        "violation_node_h": 0.0,
        "worst_pu": 0.0123,
        "loss_kwh": 812.4,
    }
    assert key_figures(figures) == "validation return -3.21, worst excursion 0.0123 pu, losses 812 kWh"


def test_a_days_series_and_a_scenarios_table_are_saved(tmp_path):
    chosen = ("evaluate", "ieee13_volt_var", "--controllers", "no_control,opendss_controls,own_plugins:HalfSun")
    code, text = output(*chosen, "--day", "4", "--series", str(tmp_path / "series"), "--out", str(tmp_path / "table"))
    assert code == 0, text
    assert "ieee13_volt_var: day 4, mean" in text and "own_plugins:HalfSun" in text
    assert sorted(path.name for path in (tmp_path / "series").iterdir()) == [
        "no_control", "opendss_controls", "own_plugins.HalfSun",
    ]  # fmt: skip
    voltages = (tmp_path / "series" / "opendss_controls" / "voltages.csv").read_text().splitlines()
    assert voltages[0].startswith("day,step,hour [h],sourcebus.1 [pu],") and len(voltages) == 1 + 96
    table = json.loads((tmp_path / "table" / "table.json").read_text())
    assert table["days"] == [4] and list(table["figures"]) == chosen[-1].split(",")
    assert "no_control" in (tmp_path / "table" / "table.md").read_text()


def test_series_without_a_day_are_refused(tmp_path):
    code, text = output("evaluate", "ieee13_volt_var", "--series", str(tmp_path / "series"))
    assert code == 2 and "--series writes one day; give its number, as in --day 4" in text
    code, text = output("evaluate", "powergym_13", "--controllers", "best_known", "--day", "5")
    assert code == 2 and "Traceback" not in text and "no plan of day 5" in " ".join(text.split())


def test_a_dataset_is_written(tmp_path, monkeypatch):
    pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    code, text = output("dataset", "case33_reconfiguration", "--days", "1", "--controller", "no_control")
    assert code == 0, text
    assert "saved case33_reconfiguration/no_control/central-v0" in text
    assert (tmp_path / "case33_reconfiguration" / "no_control" / "zone_1-v0" / "data" / "main_data.hdf5").is_file()


def test_a_dataset_without_minari_names_the_cure(monkeypatch):
    monkeypatch.setitem(sys.modules, "minari", None)
    code, text = output("dataset", "case33_reconfiguration", "--days", "1")
    assert code == 2 and "datasets need minari: pip install 'dss_marl[offline]'" in text


def test_a_run_is_replaced_only_on_request_and_a_useless_one_is_announced(tmp_path, monkeypatch):
    """A learning rate of nothing: the policy stays the untrained one."""
    pytest.importorskip("stable_baselines3")
    monkeypatch.setattr("dss_marl.experiments.comparison.draw", lambda *_: None)
    path, folder = tmp_path / "idle.yaml", str(tmp_path / "run")
    idle = "learning_rate: 1.0e-30, final_learning_rate: 0"
    training = f"{{agent_steps: 12, n_envs: 1, n_steps: 4, evaluations: 1, evaluation_days: 1, {idle}}}"
    path.write_text(f"base: ieee13_volt_var\nsteps: 4\nstart_hour: 10\ntraining: {training}\n")
    run = ("train", str(path), "--out", folder, "--num-cpus", "0")
    code, text = output(*run)
    assert code == 0 and "note: training never beat the untrained policy" in text, text
    code, text = output(*run)
    assert code == 2 and "holds a run already (scenario 'idle', seed 0, finished)" in text and "--overwrite" in text
    code, text = output(*run, "--overwrite", "--with-sb3")
    assert code == 0, text
    code, text = output("evaluate", folder, "--controllers", "no_control", "--days", "1", "--trust")
    assert code == 0 and "note: training never beat the untrained policy" in text, text


@pytest.mark.parametrize("command", ["show", "train", "evaluate"])
def test_a_scenario_with_code_is_refused_without_consent(command, tmp_path):
    target, path = tmp_path / "voltages.csv", tmp_path / "own.yaml"
    path.write_text(f"base: ieee13_volt_var\nfeeder:\n  commands: ['export voltages {target}']\n")
    code, text = output(command, str(path))
    assert code == 2 and "'export' is not among the commands" in text and "--allow-code" in text
    assert not target.exists()
