"""What OpenDSSBatch remembers of the copies' switches."""

import numpy as np
from common import feeder_with_units
from engine_cases import switch_indices

from dss_marl.engines import open_batch_engine
from dss_marl.grid.state import Setpoints


def test_a_copy_that_opens_a_switch_after_many_solves_without_one_has_dead_nodes():
    feeder = feeder_with_units("ieee123")
    one = feeder.setpoints()
    one.closed[switch_indices(feeder)] = True
    points = Setpoints(*(np.stack([getattr(one, name)] * 2) for name in ("kw", "kvar", "tap", "closed")))
    batch = open_batch_engine(feeder, 2)
    for _ in range(3):
        whole, failed = batch.solve(points)
        assert not failed.any() and whole.all_energised == whole.energised.all()
    lines = [s for s in switch_indices(feeder) if not feeder.energised(_without(one.closed, s)).all()]
    points.closed[1, lines[0]] = False
    found, failed = batch.solve(points)
    assert not failed.any()
    assert np.array_equal(found.energised[0], whole.energised[0])
    assert np.array_equal(found.energised[1], feeder.energised(points.closed[1]))
    assert (found.energised[1] < whole.energised[1]).any()
    batch.close()


def _without(closed, s):
    opened = closed.copy()
    opened[s] = False
    return opened
