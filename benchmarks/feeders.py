"""What it costs to read a feeder, open its engine and make its graph: a table, each row measured in its own process.

``python benchmarks/feeders.py`` measures the shipped feeders and synthetic ones; names and numbers of nodes may be
given. Times are CPU seconds, memory is the process's peak beyond that of the imports alone.
"""

from __future__ import annotations

import itertools
import json
import resource
import subprocess
import sys
import time

from dss_marl import OpenDSSEngine, read_feeder
from dss_marl._assets import known_names
from dss_marl.engines.opendss.synthetic_feeder import synthetic_feeder

# Limits that the project states: read and open [s], graph [s], memory [MB].
LIMITS = {"ieee8500": (3.0, 1.0, 250.0), "50000": (60.0, 5.0, 2000.0)}


def measure(name: str) -> dict[str, float]:
    """One feeder, in this process."""
    imports_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    times = [time.process_time()]
    feeder = synthetic_feeder(int(name)) if name.isdigit() else read_feeder(name)
    times.append(time.process_time())
    engine, setpoints = OpenDSSEngine(feeder), feeder.setpoints()
    engine.solve(setpoints)
    times.append(time.process_time())
    feeder.graph()
    times.append(time.process_time())
    setpoints.kw, setpoints.kvar = setpoints.kw * 0.9, setpoints.kvar * 0.9
    engine.solve(setpoints)
    times.append(time.process_time())
    read, opened, graph, solve = (b - a for a, b in itertools.pairwise(times))
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "buses": len(feeder.buses), "nodes": len(feeder.nodes), "read_s": read, "open_s": opened, "graph_s": graph,
        "solve_ms": 1000 * solve, "peak_mb": peak_mb, "imports_mb": imports_mb,
    }  # fmt: skip


def main(names: list[str]) -> int:
    """Print the table; 1 if a limit is exceeded."""
    print(f"{'feeder':10s} {'buses':>6s} {'nodes':>6s} {'read s':>7s} {'open s':>7s} {'graph s':>7s} {'solve ms':>8s} "
          f"{'peak MB':>7s} {'imports':>7s}")  # fmt: skip
    exceeded = 0
    for name in names:
        done = subprocess.run([sys.executable, __file__, "--one", name], capture_output=True, text=True, check=True)
        row = json.loads(done.stdout.splitlines()[-1])
        print(
              f"{name:10s} {row['buses']:6d} {row['nodes']:6d} {row['read_s']:7.2f} {row['open_s']:7.2f} "
              f"{row['graph_s']:7.3f} {row['solve_ms']:8.2f} {row['peak_mb']:7.0f} {row['imports_mb']:7.0f}"
        )  # fmt: skip
        build, graph, memory = LIMITS.get(name, (60.0, 5.0, 2000.0))
        if row["read_s"] + row["open_s"] > build or row["graph_s"] > graph or row["peak_mb"] > memory:
            exceeded = 1
            print(f"  over its limit: {build:g} s to read and open, {graph:g} s graph, {memory:g} MB")
    return exceeded


if __name__ == "__main__":
    if "--one" in sys.argv:
        print(json.dumps(measure(sys.argv[-1])))
    else:
        sys.exit(main(sys.argv[1:] or [*known_names("feeders"), "1000", "10000", "50000"]))
