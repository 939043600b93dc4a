"""Any circuit: each feature in a small one of our own, its facts, and the answer of plain OpenDSS."""

import os

import networkx as nx
import numpy as np
import pytest
from own_circuits import CIRCUITS, feeder_of, plain, rows_by_name

from dss_marl import OpenDSSEngine, read_feeder
from dss_marl._assets import known_names
from dss_marl.grid.feeder import AddedUnit, components
from dss_marl.grid.feeder_report import feeder_report


@pytest.mark.parametrize("name", CIRCUITS)
def test_the_engine_repeats_plain_opendss(name):
    """Set points unmodified: every voltage, every load, the losses, and the balance with the circuit's own power."""
    feeder, truth = feeder_of(name), plain(CIRCUITS[name])
    engine = OpenDSSEngine(feeder, tolerance=1e-10)
    solution = engine.solve(feeder.setpoints())
    engine.close()
    expected = (
        np.abs([truth.volts[a] - truth.volts[b] for a, b in zip(feeder.nodes, feeder.neutrals, strict=True)])
        / np.where(feeder.kv_base > 0, feeder.kv_base, 1)
        / 1e3
    )
    alive = solution.energised
    assert alive.any()
    assert np.abs(solution.v_pu - expected)[alive].max() < 1e-6
    assert (solution.v_pu[~alive] == 0).all()
    served = dict(zip([row.name for row in feeder.injections], -solution.served_kw, strict=True))
    assert served == pytest.approx(truth.loads_kw, abs=1e-3)
    assert solution.loss_kw == pytest.approx(truth.loss_kw, abs=1e-3)
    assert solution.source_kw == pytest.approx(truth.source_kw, abs=2e-3)
    balance = solution.source_kw + solution.served_kw.sum() + truth.own_kw - solution.loss_kw
    assert balance == pytest.approx(0, abs=2e-3)
    assert np.isfinite(solution.loading).all()


@pytest.mark.parametrize("name", CIRCUITS)
def test_every_circuit_has_sound_facts(name):
    feeder = feeder_of(name)
    for rows in (feeder.buses, feeder.branches, feeder.injections, feeder.taps, feeder.switches, feeder.units):
        names = [row.name for row in rows]
        assert len(set(names)) == len(names)
        assert names == [text.lower() for text in names]
    assert {f"{bus.name}.{phase}" for bus in feeder.buses for phase in bus.phases} == set(feeder.nodes)
    for branch in feeder.branches:
        assert branch.nodes1 and branch.nodes2 and not set(branch.nodes1) & set(branch.nodes2)
        assert {feeder.nodes[n].rsplit(".", 1)[0] for n in branch.nodes1} == {branch.bus1}
        assert {feeder.nodes[n].rsplit(".", 1)[0] for n in branch.nodes2} == {branch.bus2}
    assert set(feeder.graph()) == {bus.name for bus in feeder.buses}
    report = feeder_report(feeder)
    assert feeder.name in report
    assert all(note in report for note in feeder.notes)


@pytest.mark.parametrize("name", CIRCUITS)
def test_every_circuit_is_history_free(name):
    """Taps, states and powers there and back; then a restart, bitwise."""
    feeder = feeder_of(name)
    engine = OpenDSSEngine(feeder, tolerance=1e-9)
    start, other = feeder.setpoints(), feeder.setpoints()
    other.tap, other.kw = np.maximum(other.tap - 1, [t.minimum for t in feeder.taps]), other.kw * 0.7
    banks = [row.kind == "capacitor" for row in feeder.switches]
    other.closed = np.where(banks, ~other.closed, other.closed).astype(bool)
    first = engine.solve(start)
    engine.solve(other)
    assert np.abs(engine.solve(start).v_pu - first.v_pu).max() < 1e-7
    engine.solve(other, controls=True)
    engine.restart()
    assert np.array_equal(engine.solve(start).v_pu, first.v_pu)
    engine.close()


# --- facts, feature by feature ---------------------------------------------------------------------------------------


def test_loads_of_every_model():
    """The multiplier reaches variable loads only; two-node loads have both phases."""
    loads = rows_by_name(feeder_of("load_models").injections)
    assert len(loads) == 11
    assert loads["load.m1"].kw == pytest.approx(-240)
    assert loads["load.fixed"].kw == loads["load.exempt"].kw == pytest.approx(-50)
    assert loads["load.negative"].kw == pytest.approx(32)
    assert loads["load.m2"].delta
    assert loads["load.m4"].phases == (1, 2)


def test_regulators():
    """Ganged and open-delta ones are taps; a tap between two steps keeps its offset; a fixed tap is nobody's."""
    taps = rows_by_name(feeder_of("regulators").taps)
    assert set(taps) == {f"transformer.{n}" for n in ("od1", "od2", "ganged", "between", "narrow")}
    assert taps["transformer.ganged"].phases == (1, 2, 3)
    assert (taps["transformer.ganged"].initial, taps["transformer.ganged"].offset_pu) == (8, 0)
    assert taps["transformer.od1"].phases == (1, 2)
    between = taps["transformer.between"]
    assert 1 + between.initial * between.step_pu + between.offset_pu == pytest.approx(1.02)
    for position in (between.minimum, between.maximum):
        assert 0.9 <= 1 + position * between.step_pu + between.offset_pu <= 1.1
    narrow = taps["transformer.narrow"]
    assert (narrow.minimum, narrow.maximum, narrow.step_pu) == (-4, 4, pytest.approx(0.0125))
    assert feeder_of("regulators").graph().edges["s", "o"]["kind"] == "regulator"


def test_a_tap_between_two_steps_moves_in_steps():
    feeder = feeder_of("regulators")
    r = [tap.name for tap in feeder.taps].index("transformer.between")
    engine, setpoints = OpenDSSEngine(feeder, tolerance=1e-10), feeder.setpoints()
    setpoints.tap[r] += 2
    v = engine.solve(setpoints).v_pu[feeder.node_index["c.3"]]
    truth = plain(CIRCUITS["regulators"], ["transformer.between.wdg=2", "transformer.between.tap=1.0325"])
    assert v == pytest.approx(truth.v["c.3"] / 12470 * 3**0.5, abs=1e-7)
    engine.close()


def test_capacitors_and_reactors():
    feeder = feeder_of("shunts")
    steps = [row for row in feeder.switches if row.element == "capacitor.steps"]
    assert [row.closed for row in steps] == [True, False, True, False]
    assert {row.kvar for row in steps} == {150}
    assert {row.element for row in feeder.switches} == {f"capacitor.{n}" for n in ("steps", "delta", "single")}
    branches = rows_by_name(feeder.branches)
    assert set(branches) == {"line.a", "capacitor.series", "reactor.series"}
    assert branches["capacitor.series"].x_ohm == pytest.approx(-(2**2) / 4, rel=1e-6)
    assert branches["reactor.series"].r_ohm == pytest.approx(0.2)
    assert nx.is_connected(feeder.graph())


def test_a_reactor_given_by_its_impedance_has_no_rating_but_its_own(tmp_path):
    """OpenDSS would rate it at 100 kvar, whatever it carries: a transmission system of 4.6 A."""
    reactors = {"by_x": "r=0 x=3", "rated": "r=0 x=3 normamps=138", "by_kvar": "kv=12.47 kvar=900000"}
    lines = ["clear", "new circuit.c basekv=12.47"]
    lines += [f"new reactor.{name} bus1=sourcebus bus2={name} phases=3 {how}" for name, how in reactors.items()]
    path = tmp_path / "reactors.dss"
    path.write_text("\n".join(lines))
    amps = {row.name: row.normal_amps for row in read_feeder(path).branches}
    assert amps == {"reactor.by_x": 0, "reactor.rated": 138, "reactor.by_kvar": pytest.approx(9e5 / 12.47 / 3**0.5)}


def test_own_power_is_listed_and_kept():
    feeder = feeder_of("own_power")
    units = rows_by_name(feeder.units)
    names = ("generator.diesel", "generator.pv1", "pvsystem.pv1", "pvsystem.roof 2", "pvsystem.roof3", "storage.give",
             "storage.take", "storage.idle")  # fmt: skip
    assert set(units) == set(names)
    assert set(feeder.uncontrolled) == {*names, "isource.small", "invcontrol.vv", "storagecontroller.sc"}
    assert (units["pvsystem.pv1"].kw, units["pvsystem.pv1"].kva) == (200, 240)
    assert (units["storage.give"].kwh, units["storage.give"].kw) == (200, 50)
    assert units["pvsystem.roof3"].phases == (1, 3)
    assert (feeder.source_bus, feeder.other_sources) == ("sourcebus", ("second",))
    report = feeder_report(feeder)
    for word in ("storage   3", "600.0 kWh", "inactive", "names: circuit", "sourcebus, second"):
        assert word in report


def test_several_sources_feed():
    """With the line between them out, the second source keeps its side alive."""
    feeder = read_feeder(CIRCUITS["own_power"], ["line.b.enabled=no"])
    assert feeder.energised(feeder.setpoints().closed).all()


def test_protection():
    """What a recloser, relay or switch control opens is a switch; a fuse is a fact; none of them acts by itself."""
    feeder = feeder_of("protection")
    switches = rows_by_name(feeder.switches)
    assert {name: row.closed for name, row in switches.items()} == {
        "line.a": True, "line.b": True, "line.c": True, "line.tie": False, "line.section": True,
    }  # fmt: skip
    kinds = {row.name: (row.kind, row.protection) for row in feeder.branches}
    assert kinds["line.a"] == ("switch", "recloser")
    assert kinds["line.b"] == ("switch", "relay")
    assert kinds["line.tie"] == ("switch", "swtcontrol")
    assert kinds["line.f"] == ("line", "fuse")
    assert kinds["line.section"] == ("switch", "")
    assert feeder.graph().edges["b", "f"]["protection"] == "fuse"
    assert "fuses never blow" in feeder_report(feeder)
    engine, setpoints = OpenDSSEngine(feeder, tolerance=1e-9), feeder.setpoints()
    assert engine.solve(setpoints, controls=True).energised.all()
    names = list(switches)
    setpoints.closed[names.index("line.c")] = False
    assert not engine.solve(setpoints).energised.all()
    setpoints.closed[names.index("line.tie")] = True
    assert engine.solve(setpoints).energised.all()
    engine.close()


def test_centre_taps():
    feeder = feeder_of("centre_tap")
    branches = rows_by_name(feeder.branches)
    assert [feeder.nodes[n] for n in branches["transformer.t"].nodes2] == ["t.1", "t.2"]
    assert {(row.bus1, row.bus2) for row in feeder.branches if row.name.startswith("transformer.three")} == {
        ("sourcebus", "m"),
        ("sourcebus", "l"),
    }
    assert feeder.bus("h").kv_base == pytest.approx(0.12, rel=1e-3)


def test_meshes():
    """A loop stays a loop, parallel branches are one edge of the plain graph, and phases may change places."""
    feeder = feeder_of("meshed")
    graph = feeder.graph()
    assert len(nx.cycle_basis(graph)) == 1
    assert graph.edges["b", "c"]["branches"] == ("line.d", "line.e")
    assert graph.edges["c", "d"]["branches"] == ("transformer.t1", "transformer.t2")
    line = rows_by_name(feeder.branches)["line.b"]
    assert [feeder.nodes[n] for n in line.nodes2] == ["b.2", "b.3", "b.1"]
    assert rows_by_name(feeder.branches)["line.d"].length_km == pytest.approx(1.609344)


def test_what_is_out_of_service_stays_out():
    feeder = feeder_of("out_of_service")
    branches, switches = rows_by_name(feeder.branches), rows_by_name(feeder.switches)
    assert set(branches) == {"line.a", "line.island", "line.open", "line.half", "line.sw", "transformer.t"}
    assert {name: row.closed for name, row in switches.items()} == {"line.open": False, "line.sw": False}
    assert branches["line.half"].phases == (1, 3)
    assert "load.off" not in rows_by_name(feeder.injections)
    solution = OpenDSSEngine(feeder).solve(feeder.setpoints())
    dead = {feeder.nodes[n] for n in np.flatnonzero(~solution.energised)}
    gone = ("island", "island2", "behind", "b", "lv", "lv2")
    assert dead == {"half.2"} | {f"{bus}.{p}" for bus in gone for p in (1, 2, 3) if f"{bus}.{p}" in feeder.nodes}
    report = feeder_report(feeder)
    for words in (
        "no path to a source",
        "de-energised behind open switches",
        "open in some phases",
        "permanently open",
    ):
        assert words in report


def test_what_waits_behind_an_open_switch_has_its_own_base_voltage():
    """OpenDSS gives a dead bus its smallest base; closed, the bus would be at 14 pu."""
    feeder = feeder_of("out_of_service")
    assert feeder.bus("b").kv_base == pytest.approx(12.47 / 3**0.5)
    assert feeder.bus("behind").kv_base == pytest.approx(12.47 / 3**0.5)
    setpoints = feeder.setpoints()
    setpoints.closed[:] = True
    engine = OpenDSSEngine(feeder, tolerance=1e-9)
    solution = engine.solve(setpoints)
    v = solution.v_pu[solution.energised]
    assert 0.95 < v.min() < v.max() < 1.05
    assert solution.v_pu[feeder.node_index["lv.1"]] > 0.9
    engine.close()


def test_base_voltages_are_computed_where_the_file_has_none():
    feeder = feeder_of("no_bases")
    kv = {bus.name: bus.kv_base * 3**0.5 for bus in feeder.buses}
    assert kv == pytest.approx({"sourcebus": 66, "s": 4.16, "a": 4.16, "t": 0.12 * 3**0.5}, rel=1e-4)
    assert "computed" in feeder_report(feeder)
    placed = read_feeder(CIRCUITS["no_bases"], injections=[AddedUnit("pv", "a", 10.0)])
    assert placed.injections[-1].kv == pytest.approx(4.16)


def test_neutrals_are_not_nodes():
    """Their voltage is near zero, which is no violation; the solve has them."""
    feeder = feeder_of("neutral")
    assert {bus.name: bus.phases for bus in feeder.buses} == dict.fromkeys(["sourcebus", "lv", "h"], (1, 2, 3))
    loads = rows_by_name(feeder.injections)
    assert loads["load.one"].phases == (1,)
    assert loads["load.three"].phases == (1, 2, 3)
    main = rows_by_name(feeder.branches)["line.main"]
    assert main.phases == (1, 2, 3)
    assert complex(main.r_ohm, main.x_ohm) == pytest.approx(0.2 * complex(0.40, 0.10), rel=1e-6)
    engine = OpenDSSEngine(feeder, tolerance=1e-9)
    solution = engine.solve(feeder.setpoints())
    assert solution.v_pu.min() > 0.9
    truth = plain(CIRCUITS["neutral"])
    assert truth.v["h.4"] > 1
    engine.close()


def test_odd_names():
    feeder = feeder_of("odd_names")
    assert {row.name for row in feeder.branches} == {"line.line one", "line.l.2.x", "transformer.reg.1"}
    assert {row.name for row in feeder.injections} == {"load.house 1.a", "load.house.1", "load.line.x"}
    assert {bus.name for bus in feeder.buses} == {"sourcebus", "bus a", "b-2_#3", "r"}
    unit = AddedUnit("My Unit", "Bus A", 30.0)
    more = read_feeder(CIRCUITS["odd_names"], injections=[unit, AddedUnit(replaces="pvsystem.My.Roof")])
    assert [row.name for row in more.injections[-2:]] == ["generator.my unit", "generator.my.roof"]
    engine, setpoints = OpenDSSEngine(more, tolerance=1e-9), more.setpoints()
    setpoints.kw[-2:], setpoints.tap[0], setpoints.closed[:] = 20, 3, True
    assert engine.solve(setpoints).served_kw[-2:].tolist() == [20, 20]
    setpoints.closed[0] = False
    assert not engine.solve(setpoints).energised.all()
    engine.close()


def test_a_file_that_changes_directory(monkeypatch, tmp_path):
    """And the process stays where it is; blanks, upper case, 50 Hz, some coordinates."""
    monkeypatch.chdir(tmp_path)
    feeder = read_feeder(CIRCUITS["own"])
    assert os.getcwd() == str(tmp_path)
    assert {bus.name: bus.x for bus in feeder.buses} == {"sourcebus": 0, "a": 100, "b": None}
    assert "1 buses without coordinates: b" in feeder_report(feeder)
    assert read_feeder(CIRCUITS["own"].parent).nodes == feeder.nodes
    monkeypatch.chdir(CIRCUITS["own"].parent.parent)
    assert read_feeder("Own Circuit/Master.DSS").nodes == feeder.nodes


def test_one_circuits_frequency_is_not_the_next_ones(tmp_path):
    """OpenDSS keeps the default frequency over a clear."""
    text = CIRCUITS["own"].parent / "Sub Dir" / "Lines.DSS"
    path = tmp_path / "sixty.dss"
    path.write_text(f'clear\nnew circuit.c basekv=11\nredirect "{text}"\nset voltagebases=[11]\ncalcv\n')
    v = []
    for _ in range(2):
        feeder = read_feeder(path)
        engine = OpenDSSEngine(feeder, tolerance=1e-10)
        v.append(engine.solve(feeder.setpoints()).v_pu)
        engine.close()
        read_feeder(CIRCUITS["own"])
    assert np.array_equal(*v)


@pytest.mark.parametrize("name", [name for name in known_names("feeders") if name != "ieee8500"])
def test_shipped_feeders_have_a_report(name):
    feeder = read_feeder(name)
    report = feeder_report(feeder)
    assert f"{len(feeder.buses)} ({len(feeder.nodes)} nodes)" in report
    assert f"{-feeder.nominal_kw.sum():.1f} kW" in report
    assert "not controllable" not in report


def test_components_are_those_of_a_graph(rng):
    for count, edges in ((1, 0), (50, 20), (400, 390), (400, 800)):
        a, b = rng.integers(0, count, (2, edges))
        label = components(count, a, b)
        graph = nx.Graph()
        graph.add_nodes_from(range(count))
        graph.add_edges_from(zip(a.tolist(), b.tolist(), strict=True))
        for group in nx.connected_components(graph):
            assert {int(label[i]) for i in group} == {min(group)}
