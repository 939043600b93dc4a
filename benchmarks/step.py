"""Cost of a step beside its bare power flows: ``dss-marl bench``, and the baseline that it compares with.

``python benchmarks/step.py`` measures the scenarios of the docs, or those that are named, alone and as a batch, prints
the tables, and with ``--write`` puts their ratios into ``benchmarks/baseline.json``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from dss_marl import load_scenario
from dss_marl._assets import write_text
from dss_marl.cli.bench_tables import print_measured, print_moved
from dss_marl.experiments.benchmark import SCENARIOS, Ratios, benchmark, read_ratios

BASELINE = Path(__file__).with_name("baseline.json")


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenarios", nargs="*", default=SCENARIOS, help="by default those of the docs")
    parser.add_argument("--batch", type=int, default=16, help="copies of the batch")
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--steps", type=int, default=48, help="of each day at most")
    parser.add_argument("--write", action="store_true", help="replace these scenarios' ratios in the baseline")
    asked = parser.parse_args()
    known = read_ratios(BASELINE) if BASELINE.exists() else Ratios(ratios={})
    chosen = [load_scenario(name) for name in asked.scenarios]
    found = benchmark(chosen, asked.batch, asked.days, asked.steps, memory=False)
    print_measured(found)
    print_moved(found.ratios(), known)
    if asked.write:
        both = {**known.ratios, **found.ratios().ratios}
        write_text(BASELINE, Ratios(ratios=dict(sorted(both.items()))).model_dump_json(indent=1) + "\n")


if __name__ == "__main__":
    main()
