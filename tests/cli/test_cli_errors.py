"""Whatever a user types and whatever a file contains: a message and an exit status, never a traceback."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from dss_marl.cli.app import app
from dss_marl.cli.errors import ISSUES, plain_errors
from dss_marl.engines import PowerFlowError
from dss_marl.envs.training_settings import TrainingSettings

runner = CliRunner()
SETTINGS = TrainingSettings().model_dump(mode="json")
RECORD = {
    "format": 2, "scenario": {}, "scenario_sha256": "", "settings": {"algorithm": "ppo"},
    "seed": 0, "route": "native", "num_cpus": 0, "started": "",
    "git_commit": "", "versions": {}, "machine": "",
}  # fmt: skip
CIRCUIT = """clear
new circuit.c basekv=12.47 bus1=a
new line.l bus1=a bus2=b length=1
new load.l bus1=b kv=12.47 kw=100
set voltagebases=[12.47]
calcvoltagebases
"""
FILES = {
    "latin.yaml": b"title: ok\nname: \xe4\n",
    "cut.yaml": b"[1, 2",
    "list.yaml": b"- 1\n",
    "deep.yaml": b"[" * 600,
    "round.yaml": b"base: &x {a: *x}\n",
    "python.yaml": b"title: !!python/object:os.system x\n",
    "own_base.yaml": b"base: own_base.yaml\n",
    "latin_zones.yaml": b"base: ieee13_volt_var\nzones: {method: mapping, file: latin.yaml}\n",
    "bracket_bus.yaml": b'base: ieee13_volt_var\ndevices: [{kind: inverter, bus: "b[/x]", kw: 3}]\n',
    "no_battery.yaml": b"base: ieee13_volt_var\ndevices: [{kind: battery, bus: 675, kw: -5, kwh: 0}]\n",
    "raises.py": b'raise KeyError("import[/x]")\n',
    "raises.yaml": b'base: ieee13_volt_var\nrewards: {"raises:term": 1}\n',
    "no_syntax.py": b"def (\n",
    "no_syntax.yaml": b'base: ieee13_volt_var\nrewards: {"no_syntax:term": 1}\n',
    "no_circuit.dss": b"",
    "no_kva.dss": f"{CIRCUIT}new transformer.t buses=[b c] kvas=[0 0]\n".encode(),
    "no_source.dss": f"{CIRCUIT}vsource.source.enabled=no\n".encode(),
    "bracket.dss": CIRCUIT.replace("bus1=b", '"bus1=b[/x]"').encode(),
    "notes.txt": b"notes",
    "wrong.png": b"title: a scenario\n",
    "no_run/record.json": b"{cut",
    "no_settings/record.json": json.dumps({**RECORD, "settings": {}}).encode(),
    "no_history/record.json": json.dumps({**RECORD, "settings": SETTINGS, "history": [{}]}).encode(),
    "latin_run/record.json": b"\xe4",
}
# What is typed after "dss-marl", and the thing that the message must name.
BAD = {
    "unknown[/x]": "unknown[/x]",
    "show": "name",
    "show --nope x": "--nope",
    "show ieee34_volt_vra": "did you mean 'ieee34_volt_var'",
    "show nope[/x]": "'nope[/x]'",
    "show latin.yaml": "latin.yaml' is not UTF-8 text: line 2",
    "show cut.yaml": "cut.yaml' is not YAML",
    "show list.yaml": "list.yaml",
    "show deep.yaml": "deep.yaml' is nested too deeply",
    "show round.yaml": "round.yaml' is nested too deeply",
    "show python.yaml": "python.yaml' is not YAML",
    "show own_base.yaml": "its own base: own_base -> own_base",
    "show latin_zones.yaml": "latin.yaml' is not UTF-8 text",
    "show bracket_bus.yaml": "b[/x]",
    "show no_battery.yaml": "kwh: Input should be greater than 0",
    "show raises.yaml": "raises.py:term' cannot be imported: KeyError: 'import[/x]'",
    "show no_syntax.yaml": "no_syntax.py, line 1: invalid syntax",
    "show ieee13_volt_var --markdown card.txt": "'card.txt'",
    "zones nope[/x]": "'nope[/x]'",
    "zones no_circuit.dss": "no_circuit.dss",
    "zones no_kva.dss": "transformer.t",
    "zones no_source.dss": "no voltage source that is enabled",
    "zones bracket.dss": "b[/x]",
    "zones ieee13 --method [/b]": "'[/b]'",
    "zones ieee13 --method math:sqrt": "math:sqrt",
    "zones ieee13 --count 0": "--count",
    "zones ieee13 --count many": "--count",
    "zones ieee13 --method cut --cut-at swich": "'swich'",
    "zones ieee13 --method mapping --file nope.yaml": "nope.yaml",
    "zones ieee13 --out scenario.yaml": "'scenario.yaml'",
    "zones ieee13 --out wrong.png": "'wrong.png' exists and is no picture",
    "zones ieee13 --save round.yaml": "'round.yaml' exists and is no zones file",
    "zones ieee13 --save .": "'.'",
    "zones ieee13 --out notes.txt/zones.png": "'notes.txt' is a file",
    "zones ieee13 --export graph.gml": "'graph.gml'",
    "profiles ieee13_volt_var --days -1": "--days",
    "profiles ieee13_volt_var --plot notes.txt": "'notes.txt'",
    "profiles ieee13_volt_var --split [/x]": "'[/x]'",
    "evaluate .": "is no run",
    "evaluate no_run": "no_run/record.json",
    "evaluate no_settings": "no_settings/record.json' is not a run record of this version: settings: ",
    "evaluate no_history": "no_history/record.json' is not a run record of this version: history: ",
    "evaluate latin_run": "latin_run/record.json' is not UTF-8 text",
    "evaluate ieee13_volt_var --days 0": "--days",
    "evaluate ieee13_volt_var --day 4 --series notes.txt": "'notes.txt'",
    "evaluate ieee13_volt_var --day 4 --out notes.txt": "'notes.txt'",
    "evaluate ieee13_volt_var --day 4 --days 2": "--day takes one day",
    "evaluate ieee13_volt_var --set costs=null": "costs: must be a list",
    "evaluate ieee13_volt_var --set devices=[]": "devices: needs at least 1 item",
    "evaluate ieee13_volt_var --set devices.0=3": "devices.0: must be a mapping",
    "report no_run --controllers nope": "unknown controller 'nope'",
    "zones nope.dss": "there is no file 'nope.dss'",
    "zones .": "'.' is a folder with 0 files",
    "evaluate ieee13_volt_var --controllers x:[/z]": "'x:[/z]'",
    "train ieee13_volt_var --seed -3": "--seed",
    "train": "--resume RUN",
    "train ieee13_volt_var --algo sac_": "algorithm",
    "train ieee13_volt_var --sharing some": "sharing",
    "train ieee13_volt_var --log tensorboard": "unknown tracker 'tensorboard'; known: wandb, mlflow",
    "train --resume .": "is no run",
    "train ieee13_volt_var --resume no_run --seed 1": "leave out the scenario, --seed",
    "reproduce no_run": "no_run/record.json",
    "train ieee13_volt_var --out notes.txt": "notes.txt",
    "tune ieee13_volt_var --tries 0": "--tries",
    "solve ieee13_volt_var --out plans.txt": "'plans.txt'",
    "solve ieee13_volt_var --days 0": "--days",
    "picture ieee13_volt_var --out day.jpg": "'day.jpg'",
    "validate": "--all",
    "validate ieee13_volt_var --pictures x.png": "x.png",
    "validate nope[/x]": "'nope[/x]'",
    "suite": "is not a checkout",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("hostile")
    for name, content in FILES.items():
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_bytes(content)
    return place


def content_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("typed", BAD)
def test_a_mistake_is_a_message_that_names_it(folder, monkeypatch, typed):
    monkeypatch.chdir(folder)
    result = runner.invoke(app, typed.split(), env={"COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"})
    assert result.exit_code == 2, result.output
    assert BAD[typed] in result.output and "Traceback" not in result.output, result.output
    assert "\n\n\n" not in result.output.strip()  # one paragraph, after the usage if there is one
    assert content_of(folder) == FILES  # nothing written, nothing replaced


def test_a_title_is_no_markup(tmp_path):
    path = tmp_path / "own[x].yaml"
    path.write_text('base: ieee13_volt_var\ntitle: "[/var] [red]5[/red] :smile:"\n')
    result = runner.invoke(app, ["show", str(path)], env={"COLUMNS": "80", "NO_COLOR": "1"})
    assert result.exit_code == 0 and "[/var] [red]5[/red] :smile:" in result.output, result.output


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ValueError("bus 'b[/x]'"), 2, "error: bus 'b[/x]'"),
        (PowerFlowError("did not converge"), 2, "error: did not converge"),
        (PermissionError(13, "Permission denied", "x/y"), 2, "error: Permission denied: 'x/y'"),
        (ImportError("pip install 'dss_marl[train]'"), 2, "error: pip install 'dss_marl[train]'"),
        (MemoryError("Unable to allocate 9 TiB"), 2, "Unable to allocate 9 TiB"),
        (EOFError(), 2, "damaged or cut short"),
        (ValueError(), 2, "ValueError without a message"),
        (KeyboardInterrupt(), 130, "stopped"),
    ],
)
def test_expected_errors_have_a_message_and_a_status(capsys, error, code, message):
    with pytest.raises(typer.Exit) as stopped, plain_errors():
        raise error
    out, err = capsys.readouterr()
    assert stopped.value.exit_code == code and message in err and out == ""


def test_an_unexpected_error_says_where_to_report_it(monkeypatch):
    monkeypatch.setattr("dss_marl.cli.list.known_names", None)
    result = runner.invoke(app, ["list"], env={"COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"})
    told = result.output
    assert result.exit_code == 70
    assert "unexpected error: TypeError" in told and ISSUES in told and "Traceback" not in told
    file = Path(told.split("traceback in ")[1].strip())
    assert "Traceback" in file.read_text(encoding="utf-8")
    file.unlink()


def test_reports_go_to_the_project_s_issue_tracker():
    root = Path(__file__).parents[2]
    assert f'Issues = "{ISSUES}"' in (root / "pyproject.toml").read_text(encoding="utf-8")


def test_an_error_in_the_user_s_own_code_is_shown_with_its_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("own_rule.py").write_text(
        'class Rule:\n    circuit_controls = False\n    def reset(self, env):\n        raise KeyError("own[/x]")\n'
        "    def act(self, env, observations):\n        return {}\n"
    )
    typed = ["evaluate", "ieee13_volt_var", "--days", "1", "--controllers", "own_rule:Rule"]
    result = runner.invoke(app, typed, env={"COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"})
    assert result.exit_code == 2
    assert "own_rule.py, line 4: KeyError: 'own[/x]'" in result.output and ISSUES not in result.output
    Path(result.output.split("the traceback is in ")[1].strip()).unlink()


def test_a_closed_pipe_is_typer_s(capsys):
    with pytest.raises(BrokenPipeError), plain_errors():
        raise BrokenPipeError
    assert capsys.readouterr().err == ""
