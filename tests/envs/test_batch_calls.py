"""What a step of a batch calls does not depend on the number of copies."""

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from batch_engines import Still
from common import EVERY, LARGE, load_cached

import dss_marl
from dss_marl.envs.batch_env import BatchZoneEnv

PACKAGE = str(Path(dss_marl.__file__).parent)

# Graph searches for each state of the switches, crews who choose in turn, and random streams of each copy's own.
COPY_BY_COPY = {
    "switches": (
        "case33_reconfiguration",
        "ieee123_hybrid",
        "ieee123_restoration",
        "ieee123_restoration_central",
        "ieee123_switching",
        "ieee13_microgrid",
    ),
    "crews": ("ieee123_crews",),
    "streams": ("ieee123_state_estimation", "ieee123_volt_var_attack"),
}
OTHERS = [name for name in EVERY if name not in LARGE and not any(name in own for own in COPY_BY_COPY.values())]


def calls_of_a_step(task, copies, precision):
    """Python functions of the package that a step in the midst of an episode calls, by place."""
    batch = BatchZoneEnv(task, copies, engine=Still(task.feeder, copies, precision))
    batch.reset(1)
    rows = np.zeros(batch.action_rows.shape, np.int64 if task.encoding.discrete else np.float32)
    batch.step(rows)
    found = Counter()

    def count(frame, event, _):
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            found[f"{Path(frame.f_code.co_filename).name}:{frame.f_code.co_name}"] += 1

    sys.setprofile(count)
    try:
        batch.step(rows)
    finally:
        sys.setprofile(None)
    return found


@pytest.mark.parametrize("precision", [np.float64, np.float32])
@pytest.mark.parametrize("name", OTHERS)
def test_no_function_is_called_copy_by_copy(name, precision):
    task = load_cached(name, steps=4)
    few, many = (calls_of_a_step(task, copies, precision) for copies in (2, 9))
    assert sum(few.values()) > 50, "calls were counted"
    assert many - few == Counter()
