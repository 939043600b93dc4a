"""Timings of feeders and partitions: ``python -m pytest benchmarks --benchmark-enable --benchmark-only``."""

import pytest

from dss_marl import OpenDSSEngine, read_feeder
from dss_marl.zones import METHODS, feeder_graph, partition

FEEDERS = ["ieee34", "ieee123", "eulv", "ieee8500"]
COUNTED = ["balanced", "communities", "electrical", "laterals"]


@pytest.mark.parametrize("name", FEEDERS)
def test_read(benchmark, name):
    feeder = benchmark.pedantic(read_feeder, args=(name,), rounds=3, warmup_rounds=1)
    assert feeder.nodes


@pytest.mark.parametrize("name", FEEDERS)
def test_graph(benchmark, name):
    feeder = read_feeder(name)
    graph = benchmark.pedantic(feeder.graph, rounds=5)
    assert len(graph) == len(feeder.buses)


@pytest.mark.parametrize("name", FEEDERS)
def test_solve(benchmark, name):
    feeder = read_feeder(name)
    engine, setpoints = OpenDSSEngine(feeder), feeder.setpoints()
    engine.solve(setpoints)
    scale = iter([0.9, 1.0] * 10_000)

    def solve():
        share = next(scale)
        setpoints.kw, setpoints.kvar = feeder.nominal_kw * share, feeder.nominal_kvar * share
        return engine.solve(setpoints)

    assert benchmark(solve).source_kw > 0
    engine.close()


@pytest.mark.parametrize("method", COUNTED)
@pytest.mark.parametrize("name", ["ieee123", "ieee8500"])
def test_partition(benchmark, name, method):
    assert method in METHODS
    graph = feeder_graph(read_feeder(name))
    parts = benchmark.pedantic(partition, args=(graph, method), kwargs={"count": 6}, rounds=3, warmup_rounds=1)
    assert sum(map(len, parts)) == len(graph)
