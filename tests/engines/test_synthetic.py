"""Synthetic feeders: the size asked for, realistic losses and voltages, and the same files from the same seed."""

import networkx as nx
import numpy as np
import pytest

from dss_marl import OpenDSSEngine
from dss_marl.engines.opendss import read_feeder
from dss_marl.engines.opendss.synthetic_feeder import SyntheticSpec, synthetic_feeder, synthetic_path, synthetic_text
from dss_marl.envs.scenario import scenario_from
from dss_marl.envs.scenario_files import load_scenario
from dss_marl.envs.task import build_task


@pytest.fixture(scope="module", params=[(300, 1), (1_000, 0), (3_000, 4), (10_000, 0)], ids=lambda p: f"{p[0]}-{p[1]}")
def case(request, tmp_path_factory):
    nodes, seed = request.param
    return nodes, synthetic_feeder(nodes, seed, tmp_path_factory.mktemp("synthetic"))


def test_size(case):
    nodes, feeder = case
    assert len(feeder.nodes) == pytest.approx(nodes, rel=0.03, abs=15)


def test_losses_and_voltages_are_realistic(case):
    """As written, and where its own controls settle; a capacitance per wrong length unit would show here."""
    _, feeder = case
    engine = OpenDSSEngine(feeder)
    for controls in (False, True):
        solution = engine.solve(feeder.setpoints(), controls=controls)
        assert solution.energised.all()
        assert 0.02 < solution.loss_kw / solution.source_kw < 0.06
        assert 0.9 < solution.v_pu.min() < solution.v_pu.max() < 1.06
        assert 0.5 < solution.loading.max() < 1.0
    assert np.abs(solution.tap - feeder.setpoints().tap).max() <= 4
    engine.close()


def test_the_feeder_is_radial_with_everything_that_a_feeder_has(case):
    nodes, feeder = case
    graph = feeder.graph()
    assert nx.is_tree(graph)
    kinds = {branch.kind for branch in feeder.branches}
    assert kinds == {"line", "switch", "transformer", "regulator"}
    assert {len(bus.phases) for bus in feeder.buses} == {1, 2, 3}
    assert len({row.element for row in feeder.switches if row.kind == "capacitor"}) == max(1, round(nodes / 2800))
    assert all(bus.x is not None for bus in feeder.buses)
    assert not feeder.notes
    by_phase = np.zeros(4)
    for branch in feeder.branches:
        if branch.kind == "line" and len(branch.phases) == 1:
            by_phase[branch.phases[0]] += 1
    assert by_phase[1:].min() > 0.15 * by_phase.sum()


def test_long_feeders_have_line_regulators(tmp_path):
    feeder = synthetic_feeder(3_000, 4, tmp_path)
    assert len(feeder.taps) == 4
    assert len([tap for tap in feeder.taps if len(tap.phases) == 1]) == 3


def test_same_seed_same_files():
    assert synthetic_text(1_000, 3) == synthetic_text(1_000, 3)
    assert synthetic_text(1_000, 3) != synthetic_text(1_000, 4)


def test_without_a_folder_it_is_kept_for_later():
    first, second = synthetic_feeder(300), synthetic_feeder(300)
    assert first == second
    assert first.path.is_file()


def test_too_small_is_refused():
    with pytest.raises(ValueError, match=r"at least 300.*got 20"):
        synthetic_feeder(20)


def test_plants_are_where_they_were_asked_for_and_leave_the_grid_as_it_is(tmp_path):
    plain, sunny = synthetic_text(1_000, 3)[0], synthetic_text(1_000, 3, plants=12, sun_share=0.5)[0]
    added = [line for line in sunny.splitlines() if line.startswith("new pvsystem")]
    assert len(added) == 12
    assert sum("phases=3" in line for line in added) == 6
    bare = [line for line in sunny.splitlines() if line not in added]
    assert bare[2:-1] == plain.splitlines()[2:-1]  # but for the circuit's name
    feeder = read_feeder(synthetic_path(SyntheticSpec(nodes=1_000, seed=3, plants=12, sun_share=0.5), tmp_path))
    peak = sum(unit.kva for unit in feeder.units) / 1.1
    assert peak == pytest.approx(-0.5 * feeder.nominal_kw[feeder.loads].sum(), rel=0.03)
    with pytest.raises(ValueError, match=r"of 300 nodes has room for \d+ PV systems; request fewer"):
        synthetic_path(SyntheticSpec(nodes=300, plants=500), tmp_path)


def test_a_scenario_names_one_feeder_or_makes_one():
    scenario = load_scenario("ieee34_volt_var")
    changes = {
        "devices": [{"kind": "inverter", "names": "circuit"}],
        "zones": {"method": "balanced", "count": 2},
        "agents": "device",
        "observations": ["zone_voltage"],
        "rewards": {"loss": 1},
    }
    data = {**scenario.model_dump(mode="json"), **changes}
    data["feeder"] = {"synthetic": {"nodes": 400, "seed": 2, "plants": 6}}
    task = build_task(scenario_from(data))
    assert len(task.agents.names) == 6
    assert len(task.feeder.nodes) == pytest.approx(400, rel=0.05)
    for wrong in ({}, {"name": "ieee34", "synthetic": {}}):
        with pytest.raises(ValueError, match="give either name or synthetic"):
            scenario_from({**data, "feeder": wrong})
    with pytest.raises(ValueError, match="greater than or equal to 300"):
        scenario_from({**data, "feeder": {"synthetic": {"nodes": 20}}})
