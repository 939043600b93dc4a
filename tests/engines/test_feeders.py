"""Every shipped feeder repeats its published and reference answers; every graph is one."""

import json
import re
from functools import cache

import networkx as nx
import numpy as np
import pytest
import raw

from dss_marl import OpenDSSEngine, read_feeder
from dss_marl._assets import data_folder, known_names
from dss_marl.grid.feeder import AddedUnit

FEEDERS = known_names("feeders")
QUICK = [name for name in FEEDERS if name != "ieee8500"]  # for what takes seconds there


@cache
def expected(name):
    return json.loads((data_folder("feeders") / name / "expected.json").read_text(encoding="utf-8"))


PUBLISHED = [name for name in FEEDERS if "v_pu" in expected(name).get("published", {})]


@cache
def plain(name):
    return read_feeder(name)


def at(feeder, case):
    """Set points with the taps and capacitor states of a case."""
    setpoints = feeder.setpoints()
    taps = {row.name.split(".", 1)[1]: r for r, row in enumerate(feeder.taps)}
    assert set(case["taps"]) <= set(taps)
    for name, position in case["taps"].items():
        setpoints.tap[taps[name]] = position
    for name, states in case.get("capacitors", {}).items():
        steps = [s for s, row in enumerate(feeder.switches) if row.element == f"capacitor.{name}"]
        assert len(steps) == len(states), name
        setpoints.closed[steps] = np.array(states, bool)
    return setpoints


def solved(feeder, setpoints, tolerance=1e-8):
    engine = OpenDSSEngine(feeder, tolerance=tolerance)
    solution = engine.solve(setpoints)
    v = engine._calls.voltages()[1:].copy()
    engine.close()
    return solution, v


def test_the_published_feeders_are_shipped():
    assert set(FEEDERS) >= {"ieee13", "ieee34"}


# --- numbers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FEEDERS)
def test_reference_solution(name):
    """Every voltage within the stated tolerance; losses and source power within 10 W and 10 var."""
    case = expected(name)["solution"]
    feeder = read_feeder(name, case["edits"]) if case["edits"] else plain(name)
    solution, _ = solved(feeder, at(feeder, case))
    assert set(case["v_pu"]) == set(feeder.nodes)
    truth = np.array([case["v_pu"][node] for node in feeder.nodes])
    assert np.abs(solution.v_pu - truth).max() <= case["tolerance_pu"]
    assert np.array_equal(solution.energised, truth > 0.1)
    near = 0.01 * max(1.0, case["source_kw"] / 5000)
    assert solution.loss_kw == pytest.approx(case["losses_kw"], abs=near)
    assert solution.source_kw == pytest.approx(case["source_kw"], abs=near)
    assert solution.source_kvar == pytest.approx(case["source_kvar"], abs=near)
    assert case["tolerance_pu"] <= 1e-5


@pytest.mark.parametrize("name", QUICK)
def test_reactive_losses(name):
    """From OpenDSS itself: the engine does not give them."""
    case = expected(name)["solution"]
    feeder = read_feeder(name, case["edits"]) if case["edits"] else plain(name)
    truth = raw.solve(feeder, at(feeder, case), tolerance=1e-8)
    assert truth.loss_kvar == pytest.approx(case["losses_kvar"], abs=0.03)


@pytest.mark.parametrize("name", FEEDERS)
def test_counts(name):
    counts, feeder = expected(name)["solution"]["counts"], plain(name)
    out_of_service = sum(
        line.lower().startswith("new line.") and "enabled=no" in line.lower()
        for script in feeder.path.parent.glob("*.dss")
        for line in script.read_text(encoding="utf-8").splitlines()
    )
    assert (len(feeder.buses), len(feeder.nodes)) == (counts["buses"], counts["nodes"])
    assert len(feeder.loads) == len(feeder.injections) == counts["loads"]
    kinds = [branch.kind for branch in feeder.branches]
    assert kinds.count("line") + kinds.count("switch") + out_of_service == counts["lines"]
    transformers = {b.element for b in feeder.branches if b.kind in ("transformer", "regulator")}
    assert len(transformers) == counts["transformers"]
    assert len(feeder.taps) == counts["regcontrols"]
    assert len({row.element for row in feeder.switches if row.kind == "capacitor"}) == counts["capacitors"]


@pytest.mark.parametrize("name", FEEDERS)
def test_the_inventory_in_the_document_is_the_circuits(name):
    """First number of each cell; of the switches, how many are closed and how many open."""
    feeder = plain(name)
    lines = (feeder.path.parent / "SOURCE.md").read_text(encoding="utf-8").splitlines()
    head = next(k for k, line in enumerate(lines) if line.startswith("| buses | nodes |"))
    titles, cells = ([cell.strip() for cell in lines[k].strip("|").split("|")] for k in (head, head + 2))
    scenario_digest = dict(zip(titles, cells, strict=True))
    first = {title: float(re.match(r"[\d.]+", cell)[0]) for title, cell in scenario_digest.items()}
    switches = [row for row in feeder.switches if row.kind == "switch"]
    assert first["buses"] == len(feeder.buses)
    assert first["nodes"] == len(feeder.nodes)
    assert first["loads"] == len(feeder.loads)
    assert first["load kW"] == pytest.approx(-feeder.nominal_kw.sum(), rel=1e-3)
    assert first["load kvar"] == pytest.approx(-feeder.nominal_kvar.sum(), rel=1e-3)
    assert first["lines"] == expected(name)["solution"]["counts"]["lines"]
    assert first["regulators"] == len(feeder.taps)
    assert first["capacitors"] == len({row.element for row in feeder.switches if row.kind == "capacitor"})
    states = {word: int(number) for number, word in re.findall(r"(\d+) (closed|open)", scenario_digest["switches"])}
    assert states.get("closed", 0) == sum(row.closed for row in switches)
    assert states.get("open", 0) == sum(not row.closed for row in switches)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_solution(name):
    """The report's own answers, with its taps and the edits that its model needs."""
    case = expected(name)["published"]
    feeder = read_feeder(name, case["edits"])
    solution, v = solved(feeder, at(feeder, case))
    index = feeder.node_index
    if case["line_to_line"]:
        found = {}
        for key in case["v_pu"]:
            bus, one, other = key.split(".")
            base = feeder.bus(bus).kv_base * 3**0.5 * 1000
            found[key] = abs(v[index[f"{bus}.{one}"]] - v[index[f"{bus}.{other}"]]) / base
    else:
        found = {key: solution.v_pu[index[key]] for key in case["v_pu"]}
    errors = np.array([abs(found[key] - value) for key, value in case["v_pu"].items()])
    assert errors.max() <= case["tolerance_pu"]
    assert errors.mean() <= case.get("mean_tolerance_pu", case["tolerance_pu"])


@pytest.mark.parametrize("name", [name for name in FEEDERS if "losses_kw" in expected(name).get("published", {})])
def test_published_losses(name):
    feeder = plain(name)
    solution, _ = solved(feeder, feeder.setpoints())
    assert solution.loss_kw == pytest.approx(expected(name)["published"]["losses_kw"], abs=0.001)


@pytest.mark.parametrize(
    ("name", "minute"), [(name, minute) for name in FEEDERS for minute in expected(name).get("snapshots", {})]
)
def test_snapshots(name, minute):
    """Other loads, set through the set points."""
    feeder, case = plain(name), expected(name)["snapshots"][minute]
    setpoints = feeder.setpoints()
    for j, row in enumerate(feeder.injections):
        setpoints.kw[j] = -case["load_kw"][row.name.split(".", 1)[1]]
        setpoints.kvar[j] = -case["load_kvar"][row.name.split(".", 1)[1]]
    solution, _ = solved(feeder, setpoints)
    truth = np.array([case["v_pu"][node] for node in feeder.nodes])
    assert np.abs(solution.v_pu - truth).max() <= expected(name)["solution"]["tolerance_pu"]
    assert solution.loss_kw == pytest.approx(case["losses_kw"], abs=0.01)
    assert solution.source_kw == pytest.approx(case["source_kw"], abs=0.01)
    assert solution.source_kvar == pytest.approx(case["source_kvar"], abs=0.01)


@pytest.mark.parametrize("name", FEEDERS)
def test_the_circuit_starts_in_its_reference_solution(name):
    """As compiled, without anybody setting a tap, so that what is shipped is what was checked."""
    case, feeder = expected(name)["solution"], plain(name)
    start, reference = feeder.setpoints(), at(feeder, case)
    assert np.array_equal(start.tap, reference.tap)
    assert np.array_equal(start.closed, reference.closed)


@pytest.mark.parametrize("name", ["ieee13", "ieee34", "ieee37", "ieee123"])
def test_the_circuits_own_controls_settle_at_the_tables_taps(name):
    """From the positions that the tables give nothing moves: the reference is a rest point of the controls."""
    feeder = plain(name)
    engine = OpenDSSEngine(feeder, tolerance=1e-8)
    setpoints = at(feeder, expected(name)["solution"])
    solution = engine.solve(setpoints, controls=True)
    assert np.array_equal(solution.tap, setpoints.tap)
    engine.close()


@pytest.mark.parametrize("name", ["ieee13", "ieee34"])
def test_from_neutral_the_controls_settle_at_the_tables_taps(name):
    feeder = plain(name)
    engine = OpenDSSEngine(feeder, tolerance=1e-8)
    setpoints = feeder.setpoints()
    setpoints.tap[:] = 0
    solution = engine.solve(setpoints, controls=True)
    found = {row.name.split(".", 1)[1]: int(tap) for row, tap in zip(feeder.taps, solution.tap, strict=True)}
    assert found == expected(name)["solution"]["taps"]
    engine.close()


# --- documents -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FEEDERS)
def test_references_state_source_and_tolerance(name):
    data = expected(name)
    assert data["feeder"] == name
    assert data["solution"]["source"]
    assert 0 < data["solution"]["tolerance_pu"] <= 1e-5
    if "published" in data:
        assert "doi" in data["published"]["source"]
    if name in PUBLISHED:
        assert 0 < data["published"]["tolerance_pu"] < 0.002
    text = (data_folder("feeders") / name / "SOURCE.md").read_text(encoding="utf-8")
    for section in ("## Origin and licence", "## Inventory", "## Accuracy"):
        assert section in text, f"{name}/SOURCE.md has no {section!r}"


@pytest.mark.parametrize("name", QUICK)
def test_a_feeder_is_a_folder_that_works_wherever_it_lies(name, tmp_path, monkeypatch):
    """No absolute path, nothing outside its folder."""
    for file in plain(name).path.parent.iterdir():
        if file.suffix in (".dss", ".csv"):
            (tmp_path / file.name).write_bytes(file.read_bytes())
    monkeypatch.chdir("/")
    moved = read_feeder(tmp_path / "feeder.dss")
    assert moved.nodes == plain(name).nodes
    assert moved.buses == plain(name).buses


# --- graph and facts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FEEDERS)
def test_the_graph_is_the_circuit(name):
    feeder = plain(name)
    graph = feeder.graph()
    assert type(graph) is nx.Graph
    assert set(graph) == {bus.name for bus in feeder.buses}
    assert nx.number_of_selfloops(graph) == 0
    assert nx.is_connected(graph)
    assert graph.graph["source"] == feeder.source_bus
    named = [branch for *_, names in graph.edges(data="branches") for branch in names]
    assert sorted(named) == sorted(branch.name for branch in feeder.branches)
    for branch in feeder.branches:
        edge = graph.edges[branch.bus1, branch.bus2]
        assert branch.name in edge["branches"]
        assert set(branch.phases) <= set(edge["phases"])
    keys = {"name", "branches", "kind", "phases", "length_km", "r_ohm", "x_ohm", "normal_amps", "closed"}
    assert all(keys <= set(edge) for *_, edge in graph.edges(data=True))
    total = sum(load for _, load in graph.nodes(data="load_kw"))
    assert total == pytest.approx(-feeder.nominal_kw[feeder.loads].sum(), rel=1e-9)


@pytest.mark.parametrize("name", FEEDERS)
def test_with_open_edges_away_only_dead_buses_are_apart(name):
    """The graph's closed edges and the solver agree on what has a path to the source."""
    feeder = plain(name)
    graph = feeder.graph()
    graph.remove_edges_from([(a, b) for a, b, closed in list(graph.edges(data="closed")) if not closed])
    reached = nx.node_connected_component(graph, feeder.source_bus)
    alive = feeder.energised(feeder.setpoints().closed)
    assert {feeder.buses[b].name for b in feeder.node_bus[alive]} == reached


@pytest.mark.parametrize("name", FEEDERS)
def test_facts_are_consistent(name):
    """Indices point where names say; impedances, ratings and bases are positive; nothing occurs twice."""
    feeder = plain(name)
    for rows in (feeder.buses, feeder.branches, feeder.injections, feeder.taps, feeder.switches):
        names = [row.name for row in rows]
        assert len(set(names)) == len(names)
        assert names == [row_name.lower() for row_name in names]
    assert [feeder.nodes[i] for i in feeder.node_index.values()] == list(feeder.node_index)
    assert {f"{bus.name}.{phase}" for bus in feeder.buses for phase in bus.phases} == set(feeder.nodes)
    assert (feeder.kv_base > 0).all()
    for branch in feeder.branches:
        assert branch.bus1 != branch.bus2
        assert {feeder.nodes[n].rsplit(".", 1)[0] for n in branch.nodes1} == {branch.bus1}
        assert {feeder.nodes[n].rsplit(".", 1)[0] for n in branch.nodes2} == {branch.bus2}
        assert branch.normal_amps > 0 or branch.kind == "reactor"  # whose file may give none
        assert branch.length_km >= 0
        assert branch.r_ohm >= 0
        assert abs(complex(branch.r_ohm, branch.x_ohm)) > 0
        assert (branch.kind == "switch") == (branch.switch >= 0)
        if branch.switch >= 0:
            assert feeder.switches[branch.switch].name == branch.name
    for row in feeder.injections:
        assert row.kind == "load"
        assert row.kw <= 0
        assert {feeder.nodes[n] for n in row.nodes} == {f"{row.bus}.{phase}" for phase in row.phases}
    for tap in feeder.taps:
        assert tap.minimum <= tap.initial <= tap.maximum
        assert tap.step_pu == pytest.approx(0.00625)


@pytest.mark.parametrize(("name", "edges"), [("ieee13", 1), ("ieee34", 2)])
def test_the_units_of_a_regulator_bank_are_one_edge(name, edges):
    """Three one-phase units side by side."""
    graph = plain(name).graph()
    banks = [edge for *_, edge in graph.edges(data=True) if edge["kind"] == "regulator"]
    assert len(banks) == edges
    for edge in banks:
        assert len(edge["branches"]) == 3
        assert edge["phases"] == (1, 2, 3)
        assert edge["name"] == "+".join(edge["branches"])
    ends = {"ieee13": [("650", "rg60")], "ieee34": [("814", "814r"), ("852", "852r")]}[name]
    assert all(graph.edges[pair]["kind"] == "regulator" for pair in ends)


@pytest.mark.parametrize(("name", "cut_off"), [("ieee13", {"692", "675"}), ("ieee123", {"152", "52"})])
def test_edges_of_switches_are_marked(name, cut_off):
    """Cutting the switch's edge separates what lies behind it."""
    graph = plain(name).graph()
    switch = {"ieee13": ("671", "692"), "ieee123": ("13", "152")}[name]
    assert graph.edges[switch]["kind"] == "switch"
    assert graph.edges[switch]["closed"]
    rest = nx.Graph(graph)
    rest.remove_edges_from([switch, *((a, b) for a, b, closed in graph.edges(data="closed") if not closed)])
    assert cut_off.isdisjoint(nx.node_connected_component(rest, graph.graph["source"]))


def test_lengths_and_impedances_are_the_tables():
    """ieee13: 650-632 is 2000 ft of configuration 601, positive sequence r = mean of the diagonal less the mutual."""
    branch = next(b for b in plain("ieee13").branches if b.name == "line.650632")
    assert branch.length_km == pytest.approx(2000 * 0.3048e-3, rel=1e-6)
    r = (0.3465 + 0.3375 + 0.3414 - 0.156 - 0.158 - 0.1535) / 3 * 2000 / 5280
    x = (1.0179 + 1.0478 + 1.0348 - 0.5017 - 0.4236 - 0.3849) / 3 * 2000 / 5280
    assert (branch.r_ohm, branch.x_ohm) == (pytest.approx(r, rel=1e-3), pytest.approx(x, rel=1e-3))
    lateral = next(b for b in plain("ieee13").branches if b.name == "line.684611")
    assert lateral.phases == (3,)
    assert lateral.r_ohm == pytest.approx(1.3292 * 300 / 5280, rel=1e-3)


def test_coordinates_are_read():
    assert {bus.name: (bus.x, bus.y) for bus in plain("ieee13").buses}["671"] != (None, None)
    assert plain("case33").buses[0].x is None


def test_units_are_placed_on_all_phases_or_the_named_ones():
    feeder = read_feeder(
        "ieee34",
        injections=[
            AddedUnit("a", "848", 100.0),
            AddedUnit("b", "822", 50.0, (1,)),
            AddedUnit("C", "890", 9.0),
        ],
    )
    a, b, c = feeder.injections[-3:]
    assert (a.phases, b.phases, c.name) == ((1, 2, 3), (1,), "generator.c")
    assert [feeder.nodes[n] for n in a.nodes] == ["848.1", "848.2", "848.3"]
    assert a.kv == pytest.approx(24.9)
    assert b.kv == pytest.approx(24.9 / 3**0.5, rel=1e-4)
    assert feeder.setpoints().kw[-3:].tolist() == [0, 0, 0]
    assert feeder.loads.tolist() == list(range(38))


@pytest.mark.parametrize("name", FEEDERS)
def test_the_multigraph_has_every_branch_and_the_graph_every_corridor(name):
    feeder = plain(name)
    every, graph = feeder.multigraph(), feeder.graph()
    assert sorted(key for _, _, key in every.edges(keys=True)) == sorted(branch.name for branch in feeder.branches)
    assert {frozenset(edge[:2]) for edge in every.edges} == {frozenset(edge) for edge in graph.edges}
    assert dict(every.nodes(data=True)) == dict(graph.nodes(data=True))
    named = sorted(branch for _, _, names in graph.edges(data="branches") for branch in names)
    assert named == sorted(branch.name for branch in feeder.branches)


def test_three_one_phase_regulators_are_one_corridor():
    feeder = plain("ieee34")
    assert feeder.multigraph().number_of_edges("814", "814r") == 3
    edge = feeder.graph().edges["814", "814r"]
    assert edge["kind"] == "regulator" and edge["phases"] == (1, 2, 3) and len(edge["branches"]) == 3
