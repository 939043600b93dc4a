"""What a restart writes is everything that a solve, with controls or without, can move."""

import numpy as np
import pytest
from common import ROOT
from opendssdirect import dss

from dss_marl import OpenDSSEngine, read_feeder
from dss_marl._assets import known_names
from dss_marl.engines.base import PowerFlowError
from dss_marl.engines.opendss.voltage_bases import OTHER_CONTROLS
from dss_marl.grid.regulator_direction import RegulatorDirection

FILES = {path.stem: path for path in sorted((ROOT / "tests" / "circuits").glob("*.dss"))}
START = """\
clear
new circuit.c basekv=12.47 pu=0.98 mvasc3=200 mvasc1=180
new line.a bus1=sourcebus bus2=b r1=0.3 x1=0.5 r0=0.6 x0=1.5 c1=9 c0=4 length=3 units=km normamps=300
new load.p bus1=b kv=12.47 kw=2500 kvar=900
new transformer.t windings=2 buses=(b r) kvs=(12.47 12.47) kvas=(5000 5000) xhl=1
new load.q bus1=r kv=12.47 kw=900 kvar=200
"""
END = "set voltagebases=[12.47]\ncalcvoltagebases\n"
REGULATOR = "new regcontrol.r transformer=t winding=2 vreg=124 band=2 ptratio=60 "
MOVING = {
    "two phases of one winding": "new regcontrol.r1 transformer=t winding=2 vreg=124 band=3 ptratio=60 ptphase=1\n"
    "new regcontrol.r2 transformer=t winding=2 vreg=123.5 band=3 ptratio=60 ptphase=2",
    "both windings": "new regcontrol.r1 transformer=t winding=2 tapwinding=1 vreg=124 band=2 ptratio=60\n"
    "new regcontrol.r2 transformer=t winding=2 vreg=121 band=2 ptratio=60",
    "turns round": REGULATOR + "reversible=yes revvreg=122 revband=2 revthreshold=10 revdelay=1 delay=1",
    "turns to neutral": REGULATOR + "reversible=yes revthreshold=10 revdelay=0 delay=1 revneutral=yes maxtapchange=1",
    "cogeneration": REGULATOR + "reversible=yes revthreshold=10 cogen=yes",
    "banks": "new capacitor.s bus1=b kv=12.47 kvar=1200 numsteps=4 states=[1 0 0 0]\n"
    "new capcontrol.cc capacitor=s element=line.a terminal=2 type=voltage ptratio=60 onsetting=121 offsetting=125\n"
    "new capacitor.u bus1=b kv=12.47 kvar=600\n"
    "new capcontrol.ck capacitor=u element=line.a terminal=1 type=kvar onsetting=150 offsetting=-225\n"
    "new capacitor.z bus1=b kv=12.47 kvar=600\n"
    "new capcontrol.ct capacitor=z element=line.a terminal=1 type=time onsetting=7 offsetting=19",
    "series bank": "new capacitor.s bus1=b bus2=d kv=3 kvar=6000 numsteps=2\nnew load.d bus1=d kv=12.47 kw=500\n"
    "new capcontrol.cc capacitor=s element=line.a terminal=1 type=kvar onsetting=5000 offsetting=3000",
    "controls of what is out": "new capacitor.s bus1=b kv=12.47 kvar=1200 enabled=no\n"
    "new capcontrol.cc capacitor=s element=line.a terminal=2 type=voltage ptratio=60 onsetting=121 offsetting=125\n"
    "new transformer.o windings=2 buses=(b o) kvs=(12.47 12.47) kvas=(5000 5000) enabled=no\n"
    "new regcontrol.o transformer=o winding=2 vreg=124 band=2 ptratio=60",
    "holds its voltage": "new generator.g bus1=b kv=12.47 kw=900 kva=1500 model=3 maxkvar=800 minkvar=-800",
    "other machines": "new generator.g2 bus1=b kv=12.47 kw=100 kvar=20 model=2\n"
    "new generator.g4 bus1=b kv=12.47 kw=100 kvar=20 model=4\nnew generator.g7 bus1=b kv=12.47 kw=100 model=7",
    "induction machine": "new indmach012.m bus1=b kv=12.47 kw=400 pf=0.85 H=6 purs=0.048 puxs=0.075 purr=0.018 "
    "puxr=0.12 puxm=3.8 slip=0.02 slipoption=variableslip maxslip=0.1",
    "power electronics": "new upfc.u bus1=b bus2=d phases=3 refkv=7.2 kvarlimit=100\n"
    "new load.d bus1=d kv=12.47 kw=500\nnew upfccontrol.uc\nnew isource.i bus1=b amps=5",
    "limits with a memory": "new pvsystem.p bus1=b kv=12.47 kva=500 pmpp=500 irradiance=0.15 %cutin=20 %cutout=10\n"
    "new storage.s bus1=b kv=12.47 kwrated=300 kwhrated=900 state=charging dispmode=loadshape daily=default\n"
    "new storage.s2 bus1=b kv=12.47 kwrated=300 kwhrated=900 %idlingkw=3 chargetrigger=0.2 dischargetrigger=0.9",
    "faults": "new fault.f bus1=b.1 phases=1 r=40 ontime=0.5 temporary=yes minamps=500",
    "protection": "new line.s bus1=b bus2=d switch=yes\nnew load.d bus1=d kv=12.47 kw=100\n"
    "new swtcontrol.sc switchedobj=line.s switchedterm=1 action=open delay=0 lock=no normal=closed\n"
    "new recloser.rr monitoredobj=line.a monitoredterm=1 phasetrip=10\n"
    "new relay.re monitoredobj=line.a monitoredterm=1 type=current phasetrip=5",
    "inverter controls": "new xycurve.vv npts=4 yarray=(1 0 0 -1) xarray=(.9 .98 1.02 1.1)\n"
    "new pvsystem.p bus1=b kv=12.47 kva=500 pmpp=400 irradiance=1\nnew expcontrol.e\n"
    "new invcontrol.ic derlist=[pvsystem.p] mode=voltvar vvc_curve1=vv\n"
    "new storage.s bus1=b kv=12.47 kwrated=300 kwhrated=900\n"
    "new storagecontroller.sc element=line.a modedischarge=peakshave kwtarget=500 elementlist=[s]\n"
    "new generator.g bus1=b kv=12.47 kw=300\n"
    "new gendispatcher.gd element=line.a terminal=1 kwlimit=900 kwband=50 genlist=[g]",
}
CLASSES = {
    "data": "LineCode LoadShape TShape PriceShape XYcurve GrowthShape TCC_Curve Spectrum WireData CNData TSData "
    "LineSpacing LineGeometry XfmrCode DynamicExp",
    "no state, or one that the Feeder has a row for": "Line Vsource Isource VCCS Load Transformer AutoTrans Capacitor "
    "Reactor Fault GICsource GICLine GICTransformer UPFC PVSystem Storage",
    "a state that every solve starts from": "Generator IndMach012 VSConverter",
    "acts on rows of the Feeder": "RegControl CapControl",
    "disabled": "GenDispatcher StorageController Relay Recloser Fuse SwtControl UPFCControl ESPVLControl InvControl "
    "ExpControl",
    "measures": "Monitor EnergyMeter Sensor",
}


def test_every_class_of_opendss_is_thought_of():
    """A new version may bring more of them: find out what a solve moves in it, and add it here."""
    known = [name for names in CLASSES.values() for name in names.split()]
    assert sorted(known) == sorted(dss.Basic.Classes())
    assert {name.lower() for name in CLASSES["disabled"].split()} == set(OTHER_CONTROLS)


def feeder_of(what, folder):
    if what in FILES:
        return read_feeder(FILES[what])
    path = folder / "moving.dss"
    path.write_text(f"{START}{MOVING[what]}\n{END}")
    return read_feeder(path)


def cases_of(feeder):
    """Set points, with controls and without: heavy, light, reversed and overloaded, taps here and there."""
    cases = []
    for factor in (1.0, 0.2, -0.8, 1.3):
        for steps in (0, 3):
            setpoints = feeder.setpoints()
            setpoints.kw, setpoints.kvar = setpoints.kw * factor, setpoints.kvar * factor
            setpoints.tap = np.minimum(setpoints.tap + steps, [row.maximum for row in feeder.taps]).astype(np.int64)
            cases += [(setpoints, False), (setpoints, True)]
    return cases


def answer(engine, case):
    """Every number, or what failed."""
    try:
        solution = engine.solve(*case)
    except PowerFlowError as error:
        return str(error)
    named = (solution.v_pu, solution.tap, solution.closed, solution.served_kw, solution.loading)
    return np.concatenate([*map(np.ravel, named), [solution.loss_kw, solution.source_kw, solution.source_kvar]])


# Results rather than state, and memory that OpenDSS never fills where a bank gives kvar.
_NO_STATE = ("WdgCurrents", "CMatrix")


def state_of(engine):
    """Every property of every element, what is open, the clock and the queue."""
    context, state = engine._context, {}
    for name in context.Circuit.AllElementNames():
        context.Circuit.SetActiveElement(name)
        for own in context.CktElement.AllPropertyNames():
            if own not in _NO_STATE:
                state[name, own] = context.Properties.Value(own)
        state[name, "open"] = [context.CktElement.IsOpen(k + 1, 0) for k in range(context.CktElement.NumTerminals())]
    state["clock"] = (context.Solution.Hour(), context.Solution.Seconds(), context.CtrlQueue.QueueSize())
    return state


@pytest.mark.parametrize("what", [*FILES, *MOVING])
def test_a_restart_forgets_all(what, tmp_path):
    feeder = feeder_of(what, tmp_path)
    cases = cases_of(feeder)
    expected = []
    for case in cases:
        engine = OpenDSSEngine(feeder, tolerance=1e-7)
        expected.append(answer(engine, case))
        engine.close()
    engine, rng = OpenDSSEngine(feeder, tolerance=1e-7), np.random.default_rng(1)
    answer(engine, cases[0])
    state = state_of(engine)
    assert any(not isinstance(row, str) for row in expected)
    for _ in range(12):
        before, between, after = rng.integers(len(cases), size=3)
        answer(engine, cases[before])
        warm = answer(engine, cases[between])
        if not isinstance(warm, str):
            count = len(feeder.nodes)
            assert np.abs(warm - expected[between])[:count].max() < 1e-5, "history shows"
        engine.restart()
        assert np.array_equal(answer(engine, cases[after]), expected[after]), (before, between, after)
    engine.restart()
    answer(engine, cases[0])
    assert state_of(engine) == state
    engine.close()


@pytest.mark.parametrize("name", [name for name in known_names("feeders") if name != "ieee8500"])
def test_on_shipped_feeders_too(name):
    feeder = read_feeder(name)
    engine, setpoints = OpenDSSEngine(feeder), feeder.setpoints()
    first = answer(engine, (setpoints, False))
    state = state_of(engine)
    moved = answer(engine, (setpoints, True))
    engine.restart()
    assert np.array_equal(answer(engine, (setpoints, False)), first)
    assert state_of(engine) == state
    engine.restart()
    again = answer(engine, (setpoints, True))
    assert np.array_equal(again, answer_of_new(feeder, (setpoints, True))) and again.shape == moved.shape
    engine.close()


def answer_of_new(feeder, case):
    engine = OpenDSSEngine(feeder)
    try:
        return answer(engine, case)
    finally:
        engine.close()


def plain(path, *commands):
    """OpenDSS with the file solved after the commands, its controls off."""
    context = dss.NewContext()
    settings = "set controlmode=off tolerance=1e-10 maxiterations=100"
    for command in ("clear", f'compile "{path}"', *commands, settings):
        context.Text.Command(command)
    context.Solution.Solve()
    return context


# --- rows ------------------------------------------------------------------------------------------------------------


def test_every_winding_that_moves_has_a_row(tmp_path):
    taps = read_feeder(FILES["two_regulators_one_transformer"]).taps
    assert [(row.name, row.element, row.winding, row.bus2) for row in taps] == [
        ("transformer.sub", "transformer.sub", 2, "m"),
        ("transformer.sub:3", "transformer.sub", 3, "n"),
    ]
    both = feeder_of("both windings", tmp_path).taps
    assert [(row.winding, row.bus1, row.bus2) for row in both] == [(1, "r", "b"), (2, "b", "r")]
    assert len(feeder_of("two phases of one winding", tmp_path).taps) == 1


def test_two_regulators_on_one_transformer_are_fed_from_its_first_winding():
    feeder = read_feeder(FILES["two_regulators_one_transformer"])
    direction = RegulatorDirection.build(feeder)
    assert direction.fed_forward(feeder.setpoints().closed).tolist() == [True, True]


def test_both_taps_of_a_transformer_move_voltages_and_currents():
    """Plain OpenDSS with the taps in the file."""
    feeder = read_feeder(FILES["two_regulators_one_transformer"])
    engine, setpoints = OpenDSSEngine(feeder, tolerance=1e-10), feeder.setpoints()
    setpoints.tap[:] = (4, -6)
    solution = engine.solve(setpoints)
    engine.close()
    context = plain(FILES["two_regulators_one_transformer"], "transformer.sub.taps=[1 1.025 0.9625]")
    volts = dict(zip(context.Circuit.AllNodeNames(), context.Circuit.AllBusVMag(), strict=True))
    expected = [volts[node] / 1000 for node in feeder.nodes] / feeder.kv_base
    assert np.abs(solution.v_pu - expected).max() < 1e-7
    context.Circuit.SetActiveElement("transformer.sub")
    amps = max(context.CktElement.CurrentsMagAng()[:6:2])
    row = [branch.name for branch in feeder.branches].index("transformer.sub:3")
    assert solution.loading[row] * feeder.branches[row].normal_amps == pytest.approx(amps, rel=1e-6)


def test_an_autotransformers_tap_is_read_written_and_counted_in_its_current():
    feeder = read_feeder(FILES["autotrans_regulator"])
    (tap,) = feeder.taps
    assert (tap.name, tap.winding, tap.bus1, tap.bus2, tap.phases) == ("autotrans.at", 2, "sourcebus", "r", (1, 2, 3))
    engine, setpoints = OpenDSSEngine(feeder, tolerance=1e-10), feeder.setpoints()
    assert engine.solve(setpoints).source_kw == pytest.approx(1390.66, abs=0.01)
    for position in (-9, 5, 16):
        setpoints.tap[0] = position
        solution = engine.solve(setpoints)
        tap = f"autotrans.at.tap={1 + position * 0.00625}"
        context = plain(FILES["autotrans_regulator"], "autotrans.at.wdg=2", tap)
        assert solution.source_kw == pytest.approx(-context.Circuit.TotalPower()[0], abs=1e-4)
        context.Circuit.SetActiveElement("autotrans.at")
        row = [branch.name for branch in feeder.branches].index("autotrans.at")
        amps = solution.loading[row] * feeder.branches[row].normal_amps
        assert amps == pytest.approx(max(context.CktElement.CurrentsMagAng()[:6:2]), rel=1e-6)
    settled = engine.solve(setpoints, controls=True)
    assert settled.tap[0] == 16
    engine.close()


@pytest.mark.parametrize("what", ["series bank", "controls of what is out"])
def test_a_control_that_moves_no_row_never_acts_and_is_said(what, tmp_path):
    feeder = feeder_of(what, tmp_path)
    assert "capcontrol.cc" in feeder.uncontrolled
    assert ("regcontrol.o" in feeder.uncontrolled) == (what != "series bank")
