"""What a step executes in the package's own code, counted instruction by instruction.

Unlike times, counts do not depend on the machine or its load. A step that executes more than its ceiling has become
slower: find out why before raising the ceiling. Ceilings are 5 % above what was counted on Python 3.11; other versions
compile a comprehension into a call more or less.
"""

import dis
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from common import load_cached

import dss_marl
from dss_marl import ZoneEnv

PACKAGE = str(Path(dss_marl.__file__).parent)
STEPS = 8  # two rounds of devices that act at every fourth step
CEILINGS = {
    "ieee34_volt_var": {"call": 494, "operator": 153, "index": 141},
    "ieee123_two_timescale": {"call": 578, "operator": 227, "index": 231},
    "ieee123_hybrid": {"call": 888, "operator": 386, "index": 404},
}


def kind_of(opname):
    """What an instruction of any Python from 3.10 to 3.13 does; "" for one that costs little."""
    if opname in ("BINARY_SUBSCR", "BINARY_SLICE", "STORE_SUBSCR", "STORE_SLICE"):
        return "index"
    if opname.startswith(("BINARY_", "INPLACE_", "UNARY_", "COMPARE_")):
        return "operator"
    return "call" if opname.startswith("CALL") and "INTRINSIC" not in opname else ""


KINDS = {code: kind_of(name) for name, code in dis.opmap.items() if kind_of(name)}


def counted(of_step):
    """Instructions of each kind in the package's files while a function runs."""
    found = Counter()

    def count(code, offset):
        if not code.co_filename.startswith(PACKAGE):
            return False
        found[KINDS.get(code.co_code[offset], "")] += 1
        return True

    (monitored if hasattr(sys, "monitoring") else traced)(of_step, count)
    return found


def monitored(of_step, count):
    """Call ``count`` with each instruction; from Python 3.12 on, whose tracing misses some."""
    tool, events = sys.monitoring.PROFILER_ID, sys.monitoring.events
    sys.monitoring.use_tool_id(tool, "counts")
    sys.monitoring.register_callback(
        tool, events.INSTRUCTION, lambda *at: None if count(*at) else sys.monitoring.DISABLE
    )
    sys.monitoring.set_events(tool, events.INSTRUCTION)
    try:
        of_step()
    finally:
        sys.monitoring.set_events(tool, events.NO_EVENTS)
        sys.monitoring.free_tool_id(tool)


def traced(of_step, count):
    """The same up to Python 3.11, which has no monitoring."""

    def trace(frame, event, _):
        if event == "call":
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        elif event == "opcode" and not count(frame.f_code, frame.f_lasti):
            frame.f_trace_opcodes = False
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        of_step()
    finally:
        sys.settrace(before)


def counts(name):
    """Of a step, on the average of several with all agents acting at random."""
    env = ZoneEnv(load_cached(name))
    env.reset(seed=0, options={"day": 172})
    rng, layout = np.random.default_rng(0), env.task.agents.action_layout
    actions = [env.task.encoding.encode(rng.uniform(-1, 1, layout.size)) for _ in range(2 * STEPS)]
    for first in actions[:STEPS]:  # what is computed once is computed now
        env.step(first)
    found = sum((counted(lambda own=own: env.step(own)) for own in actions[STEPS:]), Counter())
    env.close()
    return {kind: found[kind] / STEPS for kind in ("call", "operator", "index")}


@pytest.mark.parametrize("name", CEILINGS)
def test_a_step_executes_no_more_than_it_did(name):
    found = counts(name)
    assert found["call"] > 100, "the steps were counted"
    assert all(found[kind] <= most for kind, most in CEILINGS[name].items()), (found, CEILINGS[name])


def test_every_kind_of_instruction_is_counted():
    """On any Python, by name: else a ceiling would never be reached."""
    assert {"call", "operator", "index"} == set(KINDS.values())
    assert kind_of("PRECALL") == kind_of("LOAD_FAST") == ""
