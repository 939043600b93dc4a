"""What is remembered of switch states is bounded, and comes out the same."""

import numpy as np
import pytest
from generator_grid import Grid

from dss_marl import read_feeder
from dss_marl.grid.regulator_direction import RegulatorDirection
from dss_marl.grid.rings import Rings
from dss_marl.grid.topology import Topology


def states(feeder, rng, count=20):
    lines = [s for s, row in enumerate(feeder.switches) if row.kind == "switch"]
    for _ in range(count):
        closed = feeder.setpoints().closed
        closed[lines] = rng.random(len(lines)) < 0.6
        yield closed


@pytest.mark.parametrize(
    ("module", "build", "ask", "kept"),
    [
        ("rings", lambda feeder: Rings(Topology.build(feeder)), "of_open_switches", "_known"),
        ("regulator_direction", RegulatorDirection.build, "fed_forward", "_kept"),
        ("topology", Topology.build, "may_close", "_masks"),
    ],
)
def test_rings_directions_and_masks(monkeypatch, rng, module, build, ask, kept):
    feeder = read_feeder("ieee123")
    seen = list(states(feeder, rng))
    whole = build(feeder)
    expected = [getattr(whole, ask)(closed) for closed in seen]
    monkeypatch.setattr(f"dss_marl.grid.{module}._MOST_KEPT", 3)
    bounded = build(feeder)
    counts = []
    for closed, answer in zip(seen * 2, expected * 2, strict=True):
        assert np.array_equal(getattr(bounded, ask)(closed), answer)
        counts.append(len(getattr(bounded, kept)))
    assert max(counts) == 3


def test_roles_of_generators(monkeypatch, rng):
    grid = Grid()
    roles = grid.units.roles
    runs, seen = np.ones(grid.units.size, bool), list(states(grid.feeder, rng))
    roles._known.clear()
    expected = [roles._of_one(runs, closed, None) for closed in seen]
    assert len(roles._known) > 10
    monkeypatch.setattr("dss_marl.devices.island_roles._MOST_KEPT", 3)
    roles._known.clear()
    for closed, (forms, alive) in zip(seen * 2, expected * 2, strict=True):
        assert [x.tolist() for x in roles._of_one(runs, closed, None)] == [forms.tolist(), alive.tolist()]
        assert len(roles._known) <= 3
