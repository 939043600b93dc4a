"""What a step costs beside the bare power flows: measured in one process, in alternating blocks of CPU time."""

from dss_marl.experiments.benchmark.engine_figures import EngineBenchmark, EngineMeasured
from dss_marl.experiments.benchmark.engine_measure import ENGINE_COPIES, ENGINE_SCENARIOS, engine_benchmark
from dss_marl.experiments.benchmark.figures import Benchmark, Moved, Ratios, measured_key, moved, read_ratios
from dss_marl.experiments.benchmark.measure import SCENARIOS, benchmark, measure
from dss_marl.experiments.benchmark.part_times import PARTS

__all__ = [
    "ENGINE_COPIES",
    "ENGINE_SCENARIOS",
    "PARTS",
    "SCENARIOS",
    "Benchmark",
    "EngineBenchmark",
    "EngineMeasured",
    "Moved",
    "Ratios",
    "benchmark",
    "engine_benchmark",
    "measure",
    "measured_key",
    "moved",
    "read_ratios",
]
