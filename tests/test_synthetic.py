"""Synthetic feeders: the size asked for, realistic losses and voltages, and the same files from the same seed."""

import networkx as nx
import numpy as np
import pytest

from dss_marl import OpenDSSEngine
from dss_marl.synthetic import synthetic_feeder, synthetic_text


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
