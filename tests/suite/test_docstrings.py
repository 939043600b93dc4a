"""The examples in the docstrings of the entry points run and print what they say."""

import doctest
import importlib

import pytest

ENTRY_POINTS = {
    "dss_marl": "make",
    "dss_marl.envs.scenario_files": "load_scenario",
    "dss_marl.engines.opendss.reader": "read_feeder",
    "dss_marl.zones.registry": "partition",
    "dss_marl.integrations.sb3.vec_env": "to_sb3",
}


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_examples_of_an_entry_point(name):
    if "sb3" in name:
        pytest.importorskip("stable_baselines3")
    module = importlib.import_module(name)
    tests = doctest.DocTestFinder(exclude_empty=False).find(
        getattr(module, ENTRY_POINTS[name]), ENTRY_POINTS[name], module
    )
    assert tests[0].examples, f"{name}.{ENTRY_POINTS[name]} has no example"
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert runner.run(tests[0]).failed == 0
