"""OpenDSS commands of a scenario: what only changes the circuit runs, what may touch files or load code is refused."""

import contextlib
import re

import pytest
import yaml
from common import ROOT

import dss_marl
from dss_marl.engines import check_command, read_feeder
from dss_marl.engines.opendss.context import acquire, release
from dss_marl.envs.scenario import scenario_from
from dss_marl.grid.elements import AddedSwitch, AddedUnit

FINE = [
    "batchedit transformer.reg[1-4].* taps=[1 1]",
    "batchedit load..* model=8 zipv=[0.2,0.4,0.4,0.2,0.4,0.4,0.6]",
    "open line.650632 1",
    "close line.650632 1",
    "Vsource.Source.pu = 1.02",
    "transformer.tr1.kvas=[100 100]",
    'edit "load.of house 3" kw = 5, kvar = 1',
    "new load.more bus1=650.1 phases=1 kv=2.4 kw=5",
    "swtcontrol.main.action=open",
    "set loadmult=1.1 maxiterations=50",
    "calcvoltagebases",
]
REFUSED = [
    *("export voltages /tmp/x.csv", "exp voltages", "save circuit", "show voltages", "redirect x.dss", "compile x.dss"),
    *("buscoords x.csv", "cd /tmp", "set datapath=/tmp", "set recorder=yes", "set rec=yes", "set demandinterval=true"),
    *(
        "set loadmult=1 datapath=/tmp",
        "system ls",
        "plot circuit",
        "more csvfile=x",
        "var @x=export",
        "@x voltages",
        "",
    ),
    *(
        "new loadshape.a csvfile=x",
        "new loadshape.a mult=(file=x)",
        "load.a.kw=[file = x]",
        "loadshape.a.action=dblsave",
    ),
    *("generator.g.usermodel=x.so", "generator.g.userm=x.so", "storage.s.dynadll=x.so", "regcontrol.r.debugtrace=yes"),
    *("new energymeter.m line.x 1 save", "new energymeter.m[ line.x 1 save ]", "load.a.kw=5\nexport voltages"),
    *("new loadshape.a 'csvfile'=x", 'new loadshape.a mult=("file"=x)', "kw=5", "new load.a 'kw=5", "// note"),
]


@pytest.mark.parametrize("command", FINE)
def test_what_only_changes_the_circuit_is_allowed(command):
    check_command(command)


@pytest.mark.parametrize("command", REFUSED)
def test_what_may_touch_files_or_load_code_is_refused(command):
    with pytest.raises(ValueError, match="if you trust the scenario, allow it with --allow-code"):
        check_command(command)


def test_every_file_property_of_opendss_is_refused():
    """Enumerated from OpenDSS itself, so that a new release shows what it adds."""
    suspicious = re.compile(r"file|dll|user|shaft|dynadata|trace|^action$", re.IGNORECASE)
    context, found, false = acquire(), set(), set()
    try:
        context.Text.Command("new circuit.any")
        for kind in context.Basic.Classes():
            context.Basic.SetActiveClass(kind)
            with contextlib.suppress(Exception):  # some need another element first; they are active all the same
                context.Text.Command(f"new {kind}.any")
            for prop in context.Element.AllPropertyNames():
                try:
                    check_command(f"{kind}.any.{prop}=1")
                    refused = False
                except ValueError:
                    refused = True
                switches = prop.lower() == "action" and kind.lower() in ("fuse", "recloser", "relay", "swtcontrol")
                if suspicious.search(prop) and not switches:
                    found.add(prop.lower())
                    assert refused, (kind, prop)
                elif refused:
                    false.add(prop.lower())
    finally:
        release(context)
    assert {"csvfile", "usermodel", "dynadll", "debugtrace", "action"} <= found
    assert false <= {"c", "d"}, "one letter each, which elsewhere abbreviate csvfile and debugtrace"


def test_every_shipped_command_is_allowed():
    files = sorted((ROOT / "scenarios").glob("*.yaml"))
    commands = [
        command
        for path in files
        for command in (yaml.safe_load(path.read_text()).get("feeder") or {}).get("commands", ())
    ]
    assert len(commands) >= 8
    for command in commands:
        check_command(command)


def test_a_scenario_with_an_export_is_refused_whatever_the_consent(tmp_path):
    target, path = tmp_path / "voltages.csv", tmp_path / "own.yaml"
    path.write_text(f"base: ieee13_volt_var\nfeeder:\n  commands: ['export voltages {target}']\n")
    with pytest.raises(ValueError, match=r"feeder\.commands.*'export' is not among"):
        dss_marl.make(path)
    with pytest.raises(ValueError, match="writes, shows or runs, and changes no circuit"):
        dss_marl.make(path, allow_code=True)
    assert not target.exists()


def test_a_scenario_that_reads_another_file_needs_consent(tmp_path):
    more, path = tmp_path / "more.dss", tmp_path / "own.yaml"
    more.write_text("edit load.671 kw=1200\n")
    path.write_text(f"base: ieee13_volt_var\nfeeder:\n  commands: ['redirect {more}']\n")
    with pytest.raises(ValueError, match=r"feeder\.commands.*'redirect' is not among"):
        dss_marl.make(path)
    scenario = dss_marl.load_scenario(path, allow_code=True)
    assert scenario.replace(steps=4).allow_code, "consent stays with what is derived"
    with pytest.raises(ValueError, match="allow_code=True"):
        scenario_from(scenario.model_dump())
    dss_marl.make(path, allow_code=True, steps=4).close()


def test_consent_cannot_be_written_into_a_file(tmp_path):
    path = tmp_path / "own.yaml"
    for key in ("allow_code", "_allow_code"):
        path.write_text(f"base: ieee13_volt_var\n{key}: true\nfeeder:\n  commands: [save circuit]\n")
        with pytest.raises(ValueError, match="'save' is not among"):
            dss_marl.load_scenario(path)


@pytest.mark.parametrize("name", ['pv" usermodel="x.so', "pv\nexport voltages"])
def test_names_of_added_elements_stay_names(name):
    with pytest.raises(ValueError, match="must not hold quotation marks or line breaks"):
        read_feeder("ieee13", injections=[AddedUnit(name, "675", 10.0)])
    with pytest.raises(ValueError, match="must not hold quotation marks or line breaks"):
        read_feeder("ieee13", switches=[AddedSwitch(name, "675", "680")])
