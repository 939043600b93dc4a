"""What a circuit's file may hold: includes, odd letters, settings, and commands that write, run or show."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from common import ROOT
from opendssdirect import dss

from dss_marl import OpenDSSEngine, read_feeder
from dss_marl.engines.opendss import commands as table
from dss_marl.engines.opendss.context import acquire, compile_circuit, release
from dss_marl.engines.opendss.script import quoted, read_script

CIRCUITS = ROOT / "tests" / "circuits"
CIRCUIT = """\
clear
new circuit.c basekv=12.47 pu=1.02
new line.a bus1=sourcebus bus2=b r1=0.3 x1=0.5 r0=0.6 x0=1.5 c1=9 c0=4 length=3 units=km normamps=300
new transformer.t windings=2 buses=(b r) conns=(wye wye) kvs=(12.47 12.47) kvas=(5000 5000) xhl=1
new regcontrol.r transformer=t winding=2 vreg=124 band=2 ptratio=60
new load.p bus1=r kv=12.47 kw=900 kvar=300
new generator.g bus1=b kv=12.47 kw=100 kvar=20
{more}
set voltagebases=[12.47]
calcvoltagebases
{last}
"""


def written(folder, more="", last="", name="own.dss", encoding="utf-8"):
    path = folder / name
    path.write_text(CIRCUIT.format(more=more, last=last), encoding=encoding)
    return path


def solution_of(path, **kwargs):
    feeder = read_feeder(path)
    engine = OpenDSSEngine(feeder, **kwargs)
    try:
        return engine.solve(feeder.setpoints())
    finally:
        engine.close()


# --- tables ----------------------------------------------------------------------------------------------------------


def test_the_tables_hold_every_command_and_setting_of_opendss_in_its_order():
    executive = dss.Executive
    commands = [executive.Command(i + 1).lower() for i in range(executive.NumCommands())]
    settings = [executive.Option(i + 1).lower() for i in range(executive.NumOptions())]
    assert list(table.COMMANDS) == commands
    assert list(table.SETTINGS) == settings
    assert {name for name, verdict in table.COMMANDS.items() if verdict == table.REFUSE} == set(table.WHY_REFUSED)
    assert all(why for _, why in table.SETTINGS.values())


OTHER = {
    "hour": "17", "sec": "9", "stepsize": "5m", "mode": "yearly", "random": "uniform", "number": "24",
    "time": "[3 5]", "tolerance": "0.01", "maxiterations": "3", "h": "15m", "loadmodel": "admittance",
    "%mean": "70", "%stddev": "20", "genkw": "5", "genpf": "0.9", "capkvar": "5", "addtype": "capacitor",
    "zonelock": "yes", "ueweight": "2", "lossweight": "2", "ueregs": "[3]", "lossregs": "[4]", "algorithm": "newton",
    "trapezoidal": "yes", "controlmode": "off", "tracecontrol": "yes", "pricesignal": "90", "harmonics": "[1 3]",
    "maxcontroliter": "1", "demandinterval": "yes", "diverbose": "yes", "casename": "x", "log": "yes",
    "recorder": "yes", "overloadreport": "yes", "voltexceptionreport": "yes", "showexport": "yes",
    "loadshapeclass": "daily", "querylog": "yes", "neglectloady": "yes", "sampleenergymeters": "yes",
    "miniterations": "9", "seasonrating": "yes", "seasonsignal": "x", "eventlogdefault": "yes", "showreports": "no",
    "parallel": "yes", "concatenatereports": "yes", "normvminpu": "0.8", "normvmaxpu": "1.2", "emergvminpu": "0.7",
    "emergvmaxpu": "1.3", "linetypes": "[a]", "editor": "vi", "registryupdate": "yes", "dssvisualizationtool": "yes",
    "daisysize": "3", "markercode": "3", "nodewidth": "2", "cpu": "0", "activeactor": "2", "numcores": "3",
}  # fmt: skip


@pytest.mark.parametrize("name", OTHER)
def test_settings_that_are_not_honoured_change_no_bit(name, tmp_path, monkeypatch):
    """Not in this circuit, and not in the next that its context serves."""
    monkeypatch.chdir(tmp_path)
    verdict, _ = table.SETTINGS[name]
    assert verdict in (table.RESET, table.KEEP, table.DROP, table.DROP_NOTED)
    plain = solution_of(written(tmp_path)).v_pu
    files = set(tmp_path.rglob("*"))
    changed = written(tmp_path, last=f"set {name}={OTHER[name]}")
    assert np.array_equal(solution_of(changed).v_pu, plain)
    assert np.array_equal(solution_of(written(tmp_path)).v_pu, plain)
    assert set(tmp_path.rglob("*")) == files


def test_every_setting_that_may_differ_is_tried():
    """But for those that select something, mark a plot, or are measurements."""
    ignored = {"ldcurve", "autobuslist", "pricecurve", "processtime", "totaltime", "steptime", "numcpus", "numactors",
               "actorprogress", "numanodes"}  # fmt: skip
    words = ("plots", "selects", "of the command")
    rest = {
        name
        for name, (verdict, why) in table.SETTINGS.items()
        if verdict not in (table.HONOUR, table.REFUSE, table.FOLDER) and not why.startswith(words)
    }
    assert rest - set(OTHER) == ignored


def plain(path, controls=False):
    """Source power [kW] of a snapshot of the file itself."""
    context = dss.NewContext()
    context.Text.Command("clear")
    context.Text.Command("set defaultbasefrequency=60")
    context.Text.Command(f'compile "{path}"')
    context.Text.Command(f"set tolerance=1e-10 maxiterations=500 controlmode={'static' if controls else 'off'}")
    context.Solution.Solve()
    return -context.Circuit.TotalPower()[0]


HONOURED = {
    "loadmult": "set loadmult=0.7",
    "growth": "set %growth=5 year=4",
    "growth shape": "set year=5",
    "genmult": "set genmult=0.4",
    "frequency": "vsource.source.frequency=50\nset frequency=50",
    "base frequency": "vsource.source.frequency=50\nset basefrequency=50",
    "allocation factors": "set allocationfactors=0.4",
    "long lines": "set longlinecorrection=yes",
    "multiplier and growth": "set loadmult=1.3 %growth=3 year=9",
}
MORE = {
    "growth shape": "new growthshape.gs npts=3 year=[1 3 8] mult=[1.02 1.10 1.01]\nload.p.growth=gs\n"
    "new load.fixed bus1=b kv=12.47 kw=200 kvar=50 status=fixed growth=gs\n"
    "new load.exempt bus1=b kv=12.47 kw=200 kvar=50 status=exempt growth=gs",
    "multiplier and growth": "new load.fixed bus1=b kv=12.47 kw=200 kvar=50 status=fixed\n"
    "new load.exempt bus1=b kv=12.47 kw=200 kvar=50 status=exempt\n"
    "new load.six bus1=b kv=12.47 kw=200 kvar=50 model=6",
    "allocation factors": "new load.x bus1=b kv=12.47 xfkva=300 pf=0.95",
}


@pytest.mark.parametrize("name", HONOURED)
def test_settings_that_count_give_what_plain_opendss_gives(name, tmp_path):
    path = written(tmp_path, MORE.get(name, ""), HONOURED[name])
    expected = plain(path)
    assert solution_of(path, tolerance=1e-10).source_kw == pytest.approx(expected, abs=1e-3)
    unset = written(tmp_path, MORE.get(name, ""), name="unset.dss")
    if name != "long lines":  # 3 km are short
        assert abs(plain(unset) - expected) > 1e-4


def test_growth_of_many_years_is_that_of_plain_opendss(tmp_path):
    """Years before, within and beyond the shape."""
    more = (
        "new growthshape.gs npts=4 year=[3 4 9 12] mult=[1.03 1.10 0.95 1.01]\nload.p.growth=gs\n"
        "new growthshape.one npts=1 year=[1] mult=[1.05]\nnew load.q bus1=b kv=12.47 kw=300 kvar=90 growth=one"
    )
    for year in (0, 1, 2, 3, 4, 5, 9, 11, 12, 13, 20, 35):
        path = written(tmp_path, more, f"set year={year}")
        assert solution_of(path, tolerance=1e-10).source_kw == pytest.approx(plain(path), abs=1e-3), year


def test_growth_is_in_the_nominal_power():
    feeder = read_feeder(CIRCUITS / "growth.dss")
    assert -feeder.nominal_kw.sum() == pytest.approx(1094.99, abs=0.01)
    assert solution_of(CIRCUITS / "growth.dss").source_kw == pytest.approx(1102.55, abs=0.02)


def test_loads_of_a_file_that_solves_by_admittances_follow_their_set_points():
    feeder = read_feeder(CIRCUITS / "special" / "load_model_admittance.dss")
    assert any("loadmodel" in note for note in feeder.notes)
    engine, setpoints = OpenDSSEngine(feeder), feeder.setpoints()
    powers = []
    for factor in (1.0, 0.5, 0.0):
        scaled = setpoints.copy()
        scaled.kw, scaled.kvar = setpoints.kw * factor, setpoints.kvar * factor
        powers.append(float(engine.solve(scaled).source_kw))
    engine.close()
    assert powers[0] == pytest.approx(702.5, abs=0.1)
    assert 340 < powers[1] < 355
    assert powers[2] < 5


def test_a_source_of_another_frequency_than_the_circuits_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"own\.dss.* at 50 Hz, but vsource\.source has 60 Hz"):
        read_feeder(written(tmp_path, last="set frequency=50"))


def test_a_positive_sequence_circuit_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"own\.dss, line 11.*cktmodel=positive.*phases"):
        read_feeder(written(tmp_path, last="set cktmodel=positive"))


# --- time ------------------------------------------------------------------------------------------------------------


def test_setting_up_takes_no_energy_out_of_a_battery():
    """For ever, however often the engine solves."""
    feeder = read_feeder(CIRCUITS / "own_storage.dss")
    engine = OpenDSSEngine(feeder, tolerance=1e-8)
    for controls in (False, True, False):
        assert engine.solve(feeder.setpoints(), controls).source_kw == pytest.approx(601.64, abs=0.05)
    context = engine._context
    context.Circuit.SetActiveElement("storage.pw")
    assert float(context.Properties.Value("%stored")) == 60
    assert (context.Solution.Hour(), context.Solution.Seconds()) == (0, 0)
    engine.close()


def test_a_file_that_runs_a_year_is_read_at_once(tmp_path):
    last = "set mode=yearly number=8760 stepsize=1h\nset controlmode=time\nsolve\nsolve mode=duty number=99999"
    feeder = read_feeder(written(tmp_path, "new energymeter.m element=line.a", last))
    (note,) = [note for note in feeder.notes if "left out" in note]
    assert "solve in mode yearly (1)" in note and "solve in mode duty (1)" in note
    assert feeder.taps[0].initial == 0


def test_a_snapshot_in_the_file_moves_its_taps(tmp_path):
    """The circuit is the one that the file leaves behind."""
    for solve in ("solve", "set mode=snap\nsolve", "Solve mode=snapshot number=1"):
        feeder = read_feeder(written(tmp_path, last=solve))
        assert feeder.taps[0].initial > 0


# --- what is written -------------------------------------------------------------------------------------------------

WRITING = """\
export voltages
show voltages ln nodes
save circuit dir=saved
plot circuit power max=2000 dots=y
export summary (x.csv)
new monitor.m element=line.a mode=1
new energymeter.em element=line.a action=save
energymeter.em.action=zonedump
new loadshape.ls npts=2 interval=1 mult=[1 2] action=dblsave
regcontrol.r.debugtrace=yes
generator.g.debug=true
solve
export monitors m
dump line.a
visualize currents line.a
set recorder=yes tracecontrol=yes
set log=yes demandinterval=yes diverbose=yes querylog=yes
solve
closedi
sample
distribute kw=100
fileedit own.dss
exportoverloads
cvrtloadshapes
"""


def test_nothing_is_written_shown_or_run(tmp_path, monkeypatch):
    here, feeders = tmp_path / "here", tmp_path / "feeders"
    here.mkdir()
    feeders.mkdir()
    path = written(feeders, last=WRITING)
    monkeypatch.chdir(here)
    feeder = read_feeder(path)
    engines = [OpenDSSEngine(feeder) for _ in range(2)]
    solutions = [engine.solve(feeder.setpoints(), controls=True) for engine in engines]
    assert np.array_equal(solutions[0].v_pu, solutions[1].v_pu)
    for engine in engines:
        engine.close()
    assert list(here.iterdir()) == [] and list(feeders.iterdir()) == [path]
    (note,) = [note for note in feeder.notes if "left out" in note]
    assert "export (3)" in note and "plot (1)" in note


def test_two_engines_on_a_circuit_with_traces(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    feeder = read_feeder(CIRCUITS / "special" / "debug_trace.dss")
    one, other = OpenDSSEngine(feeder), OpenDSSEngine(feeder)
    assert np.array_equal(
        one.solve(feeder.setpoints(), controls=True).v_pu, other.solve(feeder.setpoints(), controls=True).v_pu
    )
    one.close()
    other.close()
    assert list(tmp_path.iterdir()) == []
    assert not list((CIRCUITS / "special").glob("REG_*"))


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("doscmd /c echo", r"own\.dss, line 11.*doscmd.*program"),
        ("makeposseq", r"own\.dss, line 11.*makeposseq.*one phase"),
        ("generator.g.usermodel=evil.so", r"own\.dss, line 11.*usermodel.*library"),
        ("cd nowhere", r"own\.dss, line 11.*nowhere"),
    ],
)
def test_what_is_not_carried_out_is_named_with_its_line(command, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        read_feeder(written(tmp_path, last=command))


@pytest.mark.parametrize("command", ["export voltages x.csv", "show voltages", "solve mode=yearly"])
def test_a_users_command_that_changes_no_circuit_is_refused(command, tmp_path):
    with pytest.raises(ValueError, match="changes no circuit"):
        read_feeder(written(tmp_path), [command])


# --- includes --------------------------------------------------------------------------------------------------------


def test_a_circle_of_includes_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"includes itself: circular_include\.dss -> circular_include\.dss .*line 8"):
        read_feeder(CIRCUITS / "special" / "circular_include.dss")
    (tmp_path / "b.dss").write_text("new load.z bus1=b kv=12.47 kw=1\nRedir own.dss\n")
    with pytest.raises(ValueError, match=r"own\.dss -> b\.dss \(.*own\.dss, line 11\) -> own\.dss \(.*b\.dss, line 2"):
        read_feeder(written(tmp_path, last='redirect "b.dss"'))


def test_includes_are_found_from_their_own_folders(tmp_path):
    """Redirect comes back, compile and cd stay; variables, backslashes and comments are understood."""
    deep = tmp_path / "a b" / "deep"
    deep.mkdir(parents=True)
    (tmp_path / "a b" / "one.dss").write_text("redirect deep\\two.dss ! a remark\nnew load.one bus1=b kv=12.47 kw=1\n")
    (deep / "two.dss").write_text("/* new load.x\n nonsense */\nnew load.two bus1=b kv=12.47 kw=1\n")
    (deep / "three.dss").write_text("new load.three bus1=b kv=12.47 kw=1\n//new load.no\n! redirect nowhere\n")
    (deep / "shape.csv").write_text("0.5\n0.7\n")
    (deep / "xy.csv").write_text("b, 1, 2\n")
    last = (
        'redirect "a b/one.dss"\nvar @where=three.dss\ncd "a b"\ncompile (deep/four.dss)\nredirect @where\n'
        "new loadshape.s npts=2 interval=1 csvfile=shape.csv\nbuscoords xy.csv\n"
    )
    (deep / "four.dss").write_text("new load.four bus1=b kv=12.47 kw=1")
    feeder = read_feeder(written(tmp_path, last=last))
    assert [row.name for row in feeder.injections] == ["load.p", "load.two", "load.one", "load.four", "load.three"]
    assert feeder.bus("b").x == 1


def test_a_missing_include_names_file_line_and_the_likely_one(tmp_path):
    (tmp_path / "Loads.dss").write_text("")
    with pytest.raises(ValueError, match=r"own\.dss, line 11: redirect names .*loads\.dss.*there is 'Loads\.dss'"):
        read_feeder(written(tmp_path, last="redirect loads.dss"))
    with pytest.raises(ValueError, match=r"own\.dss, line 11: buscoords names .*nope\.csv"):
        read_feeder(written(tmp_path, last="buscoords nope.csv"))


# --- letters ---------------------------------------------------------------------------------------------------------


def test_names_in_the_letters_of_windows():
    feeder = read_feeder(CIRCUITS / "special" / "latin1_names.dss")
    assert [row.name for row in feeder.branches] == ["line.straße"]
    assert feeder.bus("SÃO").phases == (1, 2, 3)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
def test_umlauts_whatever_their_case(encoding, tmp_path):
    more = (
        "New Line.Größe Bus1=B Bus2=ÄCKER r1=1 x1=1 r0=1 x0=1 length=1 units=km\n"
        "new load.über bus1=äcker kv=12.47 kw=10\nLoad.ÜBER.kw=20"
    )
    (tmp_path / "xy.csv").write_text("ÄCKER, 3, 4\n", encoding=encoding)
    feeder = read_feeder(written(tmp_path, more, "buscoords xy.csv", encoding=encoding))
    assert feeder.bus("Äcker").name == "äcker"
    assert -feeder.injections[-1].kw == 20
    assert encoding != "latin-1" or feeder.bus("äcker").x == 3
    assert solution_of(feeder.path).energised.all()


def test_quoting_finds_a_quote_that_the_name_has_not():
    assert quoted("a b") == '"a b"'
    assert quoted('a"b') == "'a\"b'"
    with pytest.raises(ValueError, match="quotes"):
        quoted("\"'()[]{}")


def test_a_script_is_what_opendss_reads(tmp_path):
    """Line by line as compiled by OpenDSS itself: the same matrix, to the bit."""
    for name in ("regulators", "odd_names", "own_power", "Own Circuit/Master"):
        path = next(p for p in (CIRCUITS / f"{name}.dss", CIRCUITS / f"{name}.DSS") if p.is_file())
        context = acquire()
        compile_circuit(context, path, ())
        context.Solution.Solve()
        ours = np.array(context.Circuit.SystemY())
        release(context)
        assert np.array_equal(ours, _matrix_of(path)), name
    assert read_script(CIRCUITS / "regulators.dss").lines[1].text.startswith("new circuit")


def _matrix_of(path):
    code = (
        "from opendssdirect import dss; import sys\ndss.Text.Command('set defaultbasefrequency=60')\n"
        f"dss.Text.Command('compile \"{path}\"')\ndss.Solution.Solve()\n"
        "sys.stdout.buffer.write(__import__('numpy').array(dss.Circuit.SystemY()).tobytes())"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    return np.frombuffer(out, float)


# --- the process -----------------------------------------------------------------------------------------------------

PROCESS = """
import os, random, signal, sys
import numpy as np
start = os.getcwd()
os.chdir("sub")
random.seed(3); np.random.seed(3)
def state():
    signals = [signal.getsignal(s) for s in sorted(signal.valid_signals()) if s not in (9, 19)]
    caught = [line for line in open("/proc/self/status") if line.startswith(("SigIgn", "SigBlk"))]
    return os.getcwd(), dict(os.environ), random.getstate(), np.random.get_state()[1].tolist(), signals, caught, \\
        sys.path[:], np.geterr()
import opendssdirect if {early} else None
before = state()
import dss_marl
from dss_marl import OpenDSSEngine, read_feeder
feeder = read_feeder({path!r})
assert state() == before, "reading"
engine = OpenDSSEngine(feeder)
engine.solve(feeder.setpoints(), controls=True)
engine.close()
assert state() == before, "solving"
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells what signals are caught")
def test_the_process_is_left_alone(tmp_path):
    """Working directory, environment, random states, signals: not touched, not even by the first context."""
    (tmp_path / "sub").mkdir()
    code = PROCESS.replace("import opendssdirect if {early} else None\n", "")
    code = code.format(path=str(CIRCUITS / "Own Circuit" / "Master.DSS"))
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert random.getstate() and signal.getsignal(signal.SIGINT)
