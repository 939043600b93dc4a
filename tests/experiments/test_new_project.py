"""New projects: they run as written, from whatever they are made, and what they say in their README runs."""

import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
from common import ROOT
from typer.testing import CliRunner

import dss_marl
from dss_marl._assets import read_yaml
from dss_marl.cli.app import app
from dss_marl.controllers import reference
from dss_marl.experiments.new_project import new_project
from dss_marl.experiments.new_project.circuit_choices import chosen_devices
from dss_marl.experiments.new_project.project import checked_name

CIRCUITS = ROOT / "tests" / "circuits"
QUICK = {"--steps": "100"}  # in place of the README's numbers


def output(*arguments):
    result = CliRunner().invoke(app, [str(one) for one in arguments], env={"COLUMNS": "120"})
    return result.exit_code, result.output


def play(scenario, steps=2):
    """The infos after some random steps."""
    env = dss_marl.make(scenario, split="test", steps=steps)
    observations, infos = env.reset(seed=0)
    while env.agents:
        taken = {}
        for agent in env.agents:
            seen = observations[agent]
            mask = seen["action_mask"] if isinstance(seen, dict) else None
            taken[agent] = (
                env.action_space(agent).sample(mask) if mask is not None else env.action_space(agent).sample()
            )
        observations, _, terminations, _, infos = env.step(taken)
    env.close()
    assert not any(terminations.values())
    return infos


# --- what is written ---------------------------------------------------------------------------------------------


def test_a_project_without_a_source_has_a_village_with_every_kind_of_device(tmp_path):
    project = new_project(tmp_path / "my_village")
    assert {str(path) for path in project.files} == {
        ".gitignore", "README.md", "feeder/buscoords.csv", "feeder/village.dss", "my_village.yaml", "own_controller.py",
        "own_device.py", "own_terms.py", "scenario.schema.json", "test_my_village.py", "train.py",
    }  # fmt: skip
    assert all((project.folder / path).is_file() for path in project.files)
    scenario = dss_marl.load_scenario(project.scenario)
    assert [device["kind"] for device in scenario.devices] == ["inverter", "battery", "regulator", "capacitor"]
    infos = play(scenario)
    assert all(info["reward/voltage_steps"] < 0 < info["cost/voltage_spread"] for info in infos.values())
    assert "device of an agent: inverter" in project.report
    assert not re.search(r"\$\{|/tmp", "".join((project.folder / path).read_text() for path in project.files))


@pytest.mark.parametrize(
    "name", ["ieee13_volt_var", "ieee123_two_timescale", "eulv_volt_var", "ieee123_restoration", "ieee34_var"]
)
def test_a_copy_of_a_shipped_scenario_differs_in_its_own_terms_alone(name, tmp_path):
    project = new_project(tmp_path / "copied", name)
    made, shipped = dss_marl.load_scenario(project.scenario).model_dump(), dss_marl.load_scenario(name).model_dump()
    changed = {key for key in made if made[key] != shipped[key]}
    assert changed - {"tuned_droop", "tuned_on"} == {"name", "version", "feeder", "observations", "rewards", "costs"}
    assert made["version"] == 0 < shipped["version"]  # a copy counts its own versions
    assert made["feeder"] | {"name": 0} == shipped["feeder"] | {"name": 0}
    assert made["feeder"]["name"] == str(tmp_path / "copied" / "feeder" / f"{shipped['feeder']['name']}.dss")
    assert list(made["rewards"])[:-1] == list(shipped["rewards"]) and made["costs"][:-1] == shipped["costs"]
    text = project.scenario.read_text()
    assert text.startswith("# yaml-language-server: $schema=scenario.schema.json\n") and "base:" not in text
    assert (project.folder / "feeder" / "SOURCE.md").is_file() and project.report == ""
    play(dss_marl.load_scenario(project.scenario))


@pytest.mark.parametrize(
    ("circuit", "kinds"),
    [
        ("take_over.dss", ["inverter", "battery", "generator"]),
        ("regulators.dss", ["regulator"]),
        ("four_wire.dss", ["inverter"]),  # added
        ("Own Circuit/Master.DSS", None),
    ],
)
def test_a_circuit_becomes_a_scenario_of_what_it_brings(circuit, kinds, tmp_path):
    project = new_project(tmp_path / "mine", CIRCUITS / circuit)
    scenario = dss_marl.load_scenario(project.scenario)
    found = [device["kind"] for device in scenario.devices]
    assert kinds is None or found == kinds
    assert project.report.startswith("feeder ") and any("voltages are" in one for one in project.remarks)
    assert all(info["reward/voltage_steps"] <= 0 for info in play(scenario).values())
    assert any("inverters are added" in one for one in project.remarks) == ("kw" in scenario.devices[0])


MASTER = """
Clear
New Circuit.far bus1=head basekv=12.47 pu=1.03
Redirect ../common/codes.dss
New LoadShape.year npts={points} interval=1 mult=(file=year.csv)
New Line.l1 bus1=head bus2=middle linecode=own length=4 units=km
New Line.l2 bus1=middle bus2=end linecode=own length=4 units=km
New Load.shop bus1=middle phases=3 kv=12.47 kw=800 kvar=300 yearly=year daily=year
New Load.homes bus1=end phases=3 kv=12.47 kw=900 kvar=300 yearly=year daily=year
New PVSystem.roof bus1=end phases=3 kv=12.47 kva=1200 pmpp=1000 irradiance=1
Set VoltageBases=[12.47]
CalcVoltageBases
BusCoords places.csv
"""


@pytest.mark.parametrize(("points", "kind"), [(24 * 20, "loadshapes"), (24, "synthetic")])
def test_all_files_of_a_circuit_come_along_and_its_own_days_where_they_suffice(points, kind, tmp_path):
    for folder in ("grid", "common"):
        (tmp_path / "origin" / folder).mkdir(parents=True)
    (tmp_path / "origin" / "grid" / "Master.dss").write_text(MASTER.format(points=points))
    (tmp_path / "origin" / "grid" / "year.csv").write_text("\n".join(map(str, 0.5 + 0.4 * np.sin(np.arange(points)))))
    (tmp_path / "origin" / "grid" / "places.csv").write_text("head, 0, 0\nmiddle, 1, 0\nend, 2, 0\n")
    codes = "New LineCode.own nphases=3 r1=0.3 x1=0.4 r0=0.9 x0=1.2 c1=0 c0=0 units=km normamps=300\n"
    (tmp_path / "origin" / "common" / "codes.dss").write_text(codes)
    project = new_project(tmp_path / "mine", tmp_path / "origin" / "grid" / "Master.dss")
    (tmp_path / "origin").rename(tmp_path / "gone")
    copied = {str(path) for path in project.files if path.parts[0] == "feeder"}
    inside = {"grid/Master.dss", "grid/year.csv", "grid/places.csv", "common/codes.dss"}
    assert copied == {f"feeder/{path}" for path in inside}
    scenario = dss_marl.load_scenario(project.scenario)
    assert scenario.profiles.kind == kind
    assert (scenario.steps, scenario.dt_h) == ((24, 1.0) if kind == "loadshapes" else (96, 0.25))
    assert any("1 day(s), too few" in remark for remark in project.remarks) == (kind == "synthetic")
    play(scenario)


LARGE_PV = (
    MASTER
    + """
Edit PVSystem.roof kva=4000 pmpp=3500
New PVSystem.field bus1=end phases=3 kv=12.47 kva=4000 pmpp=3500 irradiance=1
"""
)


def test_the_own_controller_settles_with_large_inverters_at_the_end_of_a_line(tmp_path):
    (tmp_path / "common").mkdir()
    (tmp_path / "grid").mkdir()
    (tmp_path / "grid" / "Master.dss").write_text(LARGE_PV.format(points=24).replace("(file=year.csv)", "(1 1)"))
    (tmp_path / "grid" / "places.csv").write_text("head, 0, 0\nmiddle, 1, 0\nend, 2, 0\n")
    codes = "New LineCode.own nphases=3 r1=0.3 x1=0.4 r0=0.9 x0=1.2 c1=0 c0=0 units=km normamps=300\n"
    (tmp_path / "common" / "codes.dss").write_text(codes)
    project = new_project(tmp_path / "mine", tmp_path / "grid" / "Master.dss")
    scenario = dss_marl.load_scenario(project.scenario)
    env = dss_marl.make(scenario, split="test", steps=24)
    day = dss_marl.record(env, reference("own_controller:VoltageSupport", scenario), days=env.days[0])
    env.close()
    late = day["kvar_set"].at_bus("end").values[8:20]  # before sunrise the voltages hardly move
    assert np.abs(np.diff(late, axis=0)).max() < 400


BANKS = """
New Capacitor.Fixed bus1=middle phases=3 kv=12.47 kvar=300
New Capacitor.Switched bus1=end phases=3 kv=12.47 kvar=300
"""
CAP_CONTROL = "New CapControl.own element=line.l2 capacitor=Switched type=kvar onsetting=200 offsetting=-200\n"


@pytest.mark.parametrize(("control", "names"), [(CAP_CONTROL, ["switched"]), ("", "all")])
def test_a_bank_without_a_control_beside_one_that_has_it_is_no_device(control, names, tmp_path):
    text = MASTER.replace("Redirect ../common/codes.dss", "").replace("linecode=own", "r1=0.3 x1=0.4")
    text = text.replace("BusCoords places.csv", BANKS + control).replace("(file=year.csv)", "(1 1)")
    (tmp_path / "Master.dss").write_text(text.format(points=2))
    devices, remarks = chosen_devices(dss_marl.read_feeder(tmp_path / "Master.dss"))
    assert [device["names"] for device, _ in devices if device["kind"] == "capacitor"] == [names]
    assert any("stay as they are: fixed;" in remark for remark in remarks) == bool(control)


# --- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "proposal"),
    [("my-project", "my_project"), ("2nd", "my_2nd"), ("class", "my_class"), ("Größe", "gr__e"), ("a b", "a_b")],
)
def test_a_name_that_is_no_modules_is_refused_with_one_that_is(name, proposal, tmp_path):
    with pytest.raises(ValueError, match=re.escape(f"try {proposal!r}")):
        new_project(tmp_path / name)
    assert not (tmp_path / name).exists() and checked_name(proposal) == proposal


def test_an_installed_modules_name_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"module 'numpy' is installed, .*try 'my_numpy'"):
        new_project(tmp_path / "numpy")


@pytest.mark.parametrize(("name", "says"), [("", "got an empty name"), ("a" * 41, "has at most 40 letters")])
def test_a_name_that_cannot_be_is_refused(name, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, text = output("new", name)
    assert code == 2 and says in text and not list(tmp_path.iterdir())


def test_files_are_replaced_on_request_alone(tmp_path):
    code, text = output("new", tmp_path / "mine")
    assert code == 0 and "wrote 11 files" in text
    (tmp_path / "mine" / "own_terms.py").write_text("mine = 1\n")
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    code, text = output("new", tmp_path / "mine")
    assert code == 2 and "--overwrite" in text and "mine.yaml" in text
    assert (tmp_path / "mine" / "own_terms.py").read_text() == "mine = 1\n"
    assert output("new", tmp_path / "mine", "--overwrite")[0] == 0
    assert "voltage_steps" in (tmp_path / "mine" / "own_terms.py").read_text()
    assert (tmp_path / "mine" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("ieee13_volt_vat", "did you mean 'ieee13_volt_var'"),
        ("nowhere/Master.dss", "there is no file"),
        ("", "--from is empty"),
        (CIRCUITS / "no_loads.dss", "has no load"),
        (ROOT / "scenarios" / "ieee13_volt_var.yaml", "is already a scenario's file"),
    ],
)
def test_a_source_that_cannot_be_is_explained_and_nothing_written(source, message, tmp_path):
    code, text = output("new", tmp_path / "mine", "--from", source)
    assert code == 2 and message in text and not (tmp_path / "mine").exists()


# --- its README --------------------------------------------------------------------------------------------------


def commands(readme):
    """The commands of its shell blocks that are meant to run at once, with fewer steps."""
    lines = [line for block in re.findall(r"```bash\n(.*?)```", readme, re.DOTALL) for line in block.splitlines()]
    for line in lines:
        words = shlex.split(line)
        yield [QUICK.get(before, word) for before, word in zip(["", *words], words, strict=False)]


@pytest.mark.slow
@pytest.mark.parametrize("source", ["", "ieee123_restoration_central"])
def test_every_command_of_the_readme_runs(source, tmp_path, monkeypatch):
    pytest.importorskip("stable_baselines3")
    folder = new_project(tmp_path / "mine", source).folder
    monkeypatch.chdir(folder)
    run = list(commands((folder / "README.md").read_text()))
    assert {"show", "evaluate", "train"} < {words[1] for words in run} and len(run) >= 8
    for words in run:
        if words[0] == "dss-marl":
            code, text = output(*words[1:])
        else:
            assert words[0] == "python"
            done = subprocess.run([sys.executable, *words[1:]], capture_output=True, text=True, timeout=600)
            code, text = done.returncode, done.stdout + done.stderr
        assert code == 0, f"{words}: {text}"


def test_the_files_of_a_project_fit_the_schema_beside_them(tmp_path):
    jsonschema = pytest.importorskip("jsonschema")
    for k, source in enumerate(["", "ieee34_var", CIRCUITS / "take_over.dss"]):
        project = new_project(tmp_path / f"mine{k}", source)
        schema = read_yaml((project.folder / "scenario.schema.json").read_text())
        jsonschema.validate(read_yaml(project.scenario.read_text()), schema)
