"""Names, neutrals, what lies within a bus, split phases, sources of any name, bars of no length, and two solutions."""

import numpy as np
import pytest
from common import ROOT
from opendssdirect import dss

from dss_marl import OpenDSSEngine, PowerFlowError, read_feeder
from dss_marl.engines import circuit_edits
from dss_marl.engines.opendss import terminals
from dss_marl.engines.opendss.context import acquire, release
from dss_marl.engines.opendss.script import quoted
from dss_marl.grid.feeder import AddedUnit

CIRCUITS = ROOT / "tests" / "circuits"
SPECIAL = CIRCUITS / "special"


def solved(feeder, setpoints=None, **kwargs):
    engine = OpenDSSEngine(feeder, **{"tolerance": 1e-9, **kwargs})
    try:
        solution = engine.solve(setpoints or feeder.setpoints())
        return solution, solution.loading
    finally:
        engine.close()


def written(folder, *lines, name="own.dss"):
    path = folder / name
    path.write_text("\n".join(["clear", *lines, "calcvoltagebases", ""]))
    return path


# --- names -----------------------------------------------------------------------------------------------------------


def test_colons_in_names_are_letters():
    _, loading = solved(read_feeder(CIRCUITS / "colon_in_name.dss"))
    assert loading == pytest.approx([0.083, 0.024, 0.417], abs=1e-3)


NAMES = ["a:b", "x y", "p.q.r", "b[1]", "(c)", "d{e}", "it's", "größe", "50%", "a#b", "x@y", "a+b", "-z", "1"]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_one_name(name, tmp_path):
    """Of a line, a bus, a transformer with a tap, a bank, a load and a PV system that is taken over."""
    bus = name.replace(".", "_")
    own, at = (quoted(f"{{}}.{name}").replace, f"bus1={quoted(bus)}")
    path = written(
        tmp_path, "new circuit.c basekv=12.47",
        f"new {own('{}', 'line')} bus1=sourcebus bus2={quoted(bus)} r1=1 x1=1 r0=1 x0=1 c1=0 c0=0 length=1 switch=yes",
        f"new {own('{}', 'transformer')} windings=2 bus={quoted(bus)} kv=12.47 kva=900 wdg=2 bus=r kv=12.47 kva=900",
        f"new {own('{}', 'regcontrol')} transformer={quoted(name)} winding=2 vreg=122 band=2 ptratio=60",
        f"new {own('{}', 'capacitor')} {at} kv=12.47 kvar=60", f"new {own('{}', 'load')} {at} kv=12.47 kw=100",
        f"new {own('{}', 'pvsystem')} {at} kv=12.47 kva=60 pmpp=50", "set voltagebases=[12.47]",
    )  # fmt: skip
    feeder = read_feeder(path, injections=[AddedUnit(replaces="pvsystem.*")])
    assert [row.name for row in feeder.switches] == [f"line.{name}", f"capacitor.{name}"]
    assert [row.element for row in feeder.taps] == [f"transformer.{name}"]
    assert [row.name for row in feeder.injections] == [f"load.{name}", f"generator.{name}"]
    setpoints = feeder.setpoints()
    setpoints.tap[0], setpoints.kw[1] = 4, 30.0
    on, _ = solved(feeder, setpoints)
    assert on.served_kw == pytest.approx([-100, 30], abs=1e-3)
    assert on.v_pu[feeder.node_index["r.1"]] > on.v_pu[feeder.node_index[f"{bus}.1"]] + 0.02
    setpoints.closed[1] = False
    off, loading = solved(feeder, setpoints)
    assert off.source_kvar > on.source_kvar + 50
    assert loading[0] > 0  # OpenDSS's own rating
    setpoints.closed[0] = False
    assert solved(feeder, setpoints)[0].energised.sum() == 3


def test_no_element_is_used_that_was_not_found():
    context = acquire()
    context.Text.Command("new circuit.c basekv=12.47")
    with pytest.raises(ValueError, match=r"line\.nothere"):
        terminals.activate(context, "line.nothere")
    assert not terminals.is_enabled(context, "line.nothere")
    release(context)


# --- within a bus ----------------------------------------------------------------------------------------------------


def test_a_jumper_within_a_bus_carries_what_lies_behind():
    feeder = read_feeder(CIRCUITS / "jumper_in_bus.dss")
    solution, _ = solved(feeder)
    assert solution.energised.all()
    assert solution.source_kw == pytest.approx(702.5, abs=0.1)
    jumper = next(row for row in feeder.branches if row.name == "line.j")
    assert jumper.bus1 == jumper.bus2 == "m"
    assert [feeder.nodes[n] for n in jumper.nodes2] == ["m.4", "m.5", "m.6"]
    assert "m" not in feeder.graph()["m"] and ("m", "m") not in feeder.graph().edges


def test_a_jumper_that_is_a_switch_or_a_reactor(tmp_path):
    text = (CIRCUITS / "jumper_in_bus.dss").read_text()
    switch = tmp_path / "switch.dss"
    switch.write_text(text + "line.j.switch=yes\n")
    feeder = read_feeder(switch)
    setpoints = feeder.setpoints()
    setpoints.closed[0] = False
    solution, _ = solved(feeder, setpoints)
    assert not solution.energised.all() and solution.source_kw == pytest.approx(501, abs=0.5)
    reactor = tmp_path / "reactor.dss"
    reactor.write_text(
        text.replace("New Line.j", "New Reactor.j").replace("r1=.01 x1=.01 r0=.01 x0=.01 c1=0 c0=0", "r=.01 x=.01")
        + "setkvbase bus=lv kvll=0.4\n"  # CalcVoltageBases gives it 12.47 kV
    )
    assert solved(read_feeder(reactor))[0].source_kw == pytest.approx(702.5, abs=0.1)


def test_an_autotransformer_of_two_windings_at_one_bus():
    feeder = read_feeder(CIRCUITS / "auto_in_bus.dss")
    solution, _ = solved(feeder)
    assert solution.energised.all()
    row = next(row for row in feeder.branches if row.element == "transformer.auto")
    assert (row.bus1, row.bus2) == ("x", "x")


# --- neutrals --------------------------------------------------------------------------------------------------------


def test_voltages_are_to_the_neutral_where_there_is_one():
    feeder = read_feeder(CIRCUITS / "four_wire.dss")
    assert (feeder.bus("h").neutral, feeder.bus("lv").neutral, feeder.bus("sourcebus").neutral) == (4, 4, 0)
    solution, _ = solved(feeder)
    assert solution.v_pu.min() == pytest.approx(0.9284, abs=1e-4)
    assert feeder.nodes[int(solution.v_pu.argmin())] == "h.1"


def test_one_phase_units_connect_to_the_neutral():
    feeder = read_feeder(CIRCUITS / "four_wire.dss", injections=[AddedUnit("pv", "h", 20.0, (1,))])
    setpoints = feeder.setpoints()
    setpoints.kw[-1] = 20.0
    solution, _ = solved(feeder, setpoints)
    assert solution.loss_kw == pytest.approx(0.471, abs=1e-3)
    assert solution.served_kw[-1] == pytest.approx(20, abs=1e-3)


def test_star_points_of_loads_are_no_neutral_conductor():
    feeder = read_feeder(CIRCUITS / "neutral.dss")
    assert {bus.name: bus.neutral for bus in feeder.buses} == {"sourcebus": 0, "lv": 4, "h": 4}


def test_a_neutral_that_nothing_earths_is_one_too(tmp_path):
    path = tmp_path / "isolated.dss"
    text = (CIRCUITS / "four_wire.dss").read_text()
    path.write_text("\n".join(line for line in text.splitlines() if "Reactor.gnd" not in line) + "\n")
    feeder = read_feeder(path)
    assert feeder.bus("h").phases == (1, 2, 3) and feeder.bus("h").neutral == 4
    assert 0.9 < solved(feeder)[0].v_pu.min() < 1


def test_a_corner_grounded_service_is_as_before(tmp_path):
    path = written(
        tmp_path, "new circuit.c basekv=12.47",
        "new transformer.t windings=2 buses=(sourcebus s) conns=(wye delta) kvs=(12.47 0.48) kvas=(300 300) xhl=4",
        "new reactor.corner phases=1 bus1=s.3 r=0.001 x=0", "new load.l bus1=s kv=0.48 kw=90 conn=delta",
        "set voltagebases=[12.47 0.48]",
    )  # fmt: skip
    feeder = read_feeder(path)
    assert [node for node in feeder.nodes if node.startswith("s.")] == ["s.1", "s.2"]


def test_a_generator_of_another_voltage_level_is_named():
    with pytest.raises(
        ValueError, match=r"generator\.g is rated 0\.4 kV at bus 'm' of 12\.47 kV.*generator\.g\.enabled=no"
    ):
        read_feeder(SPECIAL / "generator_wrong_kv.dss")
    assert len(read_feeder(SPECIAL / "generator_wrong_kv.dss", ["generator.g.enabled=no"]).buses) == 4


# --- split phases ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phases", [(), (1, 2)])
def test_a_unit_across_a_split_phase(phases, tmp_path):
    """As a load of 240 V does in plain OpenDSS."""
    path = tmp_path / "house.dss"
    path.write_text((CIRCUITS / "centre_tap.dss").read_text().replace("length=30 units=m", "length=0.1"))
    feeder = read_feeder(path, injections=[AddedUnit("pv", "h", 6.0, phases)])
    row = feeder.injections[-1]
    assert (row.phases, row.delta, row.kv) == ((1, 2), True, pytest.approx(0.24, rel=1e-3))
    assert [feeder.nodes[n] for n in row.nodes] == ["h.1", "h.2"]
    setpoints = feeder.setpoints()
    before, _ = solved(feeder, setpoints)
    setpoints.kw[-1], setpoints.kvar[-1] = 6.0, 1.0
    after, _ = solved(feeder, setpoints)
    assert after.served_kw[-1] == pytest.approx(6, abs=1e-4)
    assert (after.v_pu > before.v_pu)[list(row.nodes)].all()
    truth = _plain(path, "new load.pv phases=1 bus1=h.1.2 conn=delta kv=0.24 kw=-6 kvar=-1 model=1 vminpu=0.1 vmaxpu=9")
    expected = [truth[node] for node in feeder.nodes] / feeder.kv_base / 1000
    assert np.abs(after.v_pu - expected).max() < 1e-7


def test_two_phases_of_three_are_no_split_phase(tmp_path):
    path = written(
        tmp_path, "new circuit.c basekv=12.47", "new line.l bus1=sourcebus.1.2 bus2=b.1.2 phases=2 length=1 units=km",
        "new load.l bus1=b.1.2 phases=1 conn=delta kv=12.47 kw=9", "set voltagebases=[12.47]",
    )  # fmt: skip
    with pytest.raises(ValueError, match="the two ends of a split phase"):
        read_feeder(path, injections=[AddedUnit("pv", "b", 6.0)])


def _plain(path, *commands):
    """Voltages of every node [V]."""
    context = dss.NewContext()
    for command in ("clear", f'compile "{path}"', *commands, "set controlmode=off tolerance=1e-11 maxiterations=200"):
        context.Text.Command(command)
    context.Solution.Solve()
    return dict(zip([n.lower() for n in context.Circuit.AllNodeNames()], context.Circuit.AllBusVMag(), strict=True))


# --- sources, limits, impedances -------------------------------------------------------------------------------------


def test_the_sources_voltage_is_set_whatever_its_name():
    path = CIRCUITS / "other_source.dss"
    feeder = read_feeder(path, circuit_edits(source_pu=1.04))
    solution, _ = solved(feeder)
    head = [feeder.node_index[f"{feeder.source_bus}.{p}"] for p in (1, 2, 3)]
    assert solution.v_pu[head] == pytest.approx(1.04, abs=3e-4)
    assert solved(read_feeder(path))[0].v_pu[head] == pytest.approx(1.01, abs=3e-4)


def test_a_voltage_above_the_ceiling_fails_and_names_the_node(tmp_path):
    path = written(
        tmp_path, "new circuit.c basekv=12.47", "new line.a bus1=sourcebus bus2=b r1=1 x1=9 c1=0 c0=0 length=1",
        "new capacitor.c bus1=b kv=12.47 kvar=7500", "new load.l bus1=b kv=12.47 kw=9", "set voltagebases=[12.47]",
    )  # fmt: skip
    feeder = read_feeder(path)
    with pytest.raises(PowerFlowError, match=r"node b\.\d is at 1\.\d+ pu, above the ceiling of 1\.6 pu"):
        solved(feeder)
    setpoints = feeder.setpoints()
    setpoints.closed[:] = False
    assert solved(feeder, setpoints)[0].v_pu.max() < 1.01
    with pytest.raises(PowerFlowError, match=r"above the ceiling of 0\.9 pu"):
        solved(feeder, setpoints, ceiling_pu=0.9)
    for ceiling in (1.7, 0.3):
        with pytest.raises(ValueError, match="ceiling_pu"):
            OpenDSSEngine(feeder, ceiling_pu=ceiling)


@pytest.mark.parametrize("metres", [100, 1, 0.01, 0.001, 0.00001])
def test_losses_are_right_however_short_a_bar(metres, tmp_path):
    """2.511 kW, of which the bar has none; the source gives what the loads and losses take."""
    path = tmp_path / "bar.dss"
    path.write_text((SPECIAL / "short_bar.dss").read_text().replace("length=0.00001", f"length={metres / 1000:.12f}"))
    feeder = read_feeder(path)
    solution, _ = solved(feeder)
    assert solution.loss_kw == pytest.approx(2.5114, abs=3e-4)
    assert solution.source_kw + solution.served_kw.sum() == pytest.approx(2.5114, abs=3e-4)
    assert solution.source_kvar == pytest.approx(153.758, abs=0.08)
    assert any("line.bar" in note and "summed" in note for note in feeder.notes) == (metres < 0.1)


ENDLESS = {
    "reactor": "new reactor.z bus1=b bus2=d r=0 x=0",
    "line": "new line.z bus1=b bus2=d r1=0 x1=0 r0=0 x0=0 c1=0 c0=0 length=1",
    "line of no length": "new line.z bus1=b bus2=d r1=1 x1=1 length=0",
}


@pytest.mark.parametrize("what", ENDLESS)
def test_an_element_without_impedance_is_named(what, tmp_path):
    path = written(
        tmp_path, "new circuit.c basekv=12.47", "new line.a bus1=sourcebus bus2=b length=1", ENDLESS[what],
        "new load.p bus1=d kv=12.47 kw=900", "set voltagebases=[12.47]",
    )  # fmt: skip
    try:
        feeder = read_feeder(path)
    except ValueError as error:
        assert f"{what.split()[0]}.z has no impedance" in str(error) or 'Line "z"' in str(error)
        return
    assert solved(feeder)[0].energised.all()  # OpenDSS puts in an impedance of its own


def test_a_reactor_without_impedance_is_named():
    with pytest.raises(ValueError, match=r"zero_reactor\.dss.*reactor\.z has no impedance"):
        read_feeder(SPECIAL / "zero_reactor.dss")


def test_of_two_solutions_it_is_always_the_same():
    """A load that draws more below 1.05 pu than the impedance it is above: cold, and after others."""
    feeder = read_feeder(CIRCUITS / "cvr_jump.dss")
    for factor in np.linspace(0.5, 0.7, 21):
        setpoints = feeder.setpoints()
        setpoints.kw, setpoints.kvar = setpoints.kw * factor, setpoints.kvar * factor
        cold, _ = solved(feeder, setpoints, tolerance=1e-8)
        for before in (0.1, 0.57, 0.62, 1.0):
            engine, other = OpenDSSEngine(feeder, tolerance=1e-8), feeder.setpoints()
            other.kw, other.kvar = other.kw * before, other.kvar * before
            engine.solve(other)
            assert np.abs(engine.solve(setpoints).v_pu - cold.v_pu).max() < 1e-6, (factor, before)
            engine.close()
