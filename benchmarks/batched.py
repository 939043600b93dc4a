"""A batch engine beside OpenDSS: ``dss-marl bench --batched``, and the table of it in the documentation.

``python benchmarks/batched.py`` measures the scenarios of the docs, or those that are named, and prints the tables;
with ``--write`` it puts the figures into ``benchmarks/batched.json`` and the table into ``docs/reference/speed.md``.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from dss_marl import load_scenario
from dss_marl._assets import write_text
from dss_marl.cli.bench_engine import print_engines
from dss_marl.experiments.benchmark import (
    ENGINE_COPIES,
    ENGINE_SCENARIOS,
    EngineBenchmark,
    EngineMeasured,
    engine_benchmark,
)

FIGURES = Path(__file__).with_name("batched.json")
PAGE = Path(__file__).parents[1] / "docs" / "reference" / "speed.md"
PLACE = re.compile(r"(<!-- batched -->\n).*?(<!-- /batched -->)", re.DOTALL)
HEADS = (
    "scenario",
    "nodes",
    "copies",
    "environment steps a CPU second",
    "power flows a CPU second of the solver",
    "solver's share",
    "OpenDSS: steps",
    "ratio",
    "memory of a copy [kB]",
    "largest difference [pu]",
)


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenarios", nargs="*", default=ENGINE_SCENARIOS, help="by default those of the docs")
    parser.add_argument("--engine", default="batched")
    parser.add_argument("--copies", type=int, nargs="+", default=ENGINE_COPIES)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=96, help="of each block at most")
    parser.add_argument("--write", action="store_true", help="replace these scenarios' figures, and the page's table")
    asked = parser.parse_args()
    chosen = [load_scenario(name) for name in asked.scenarios]
    found = engine_benchmark(chosen, asked.engine, asked.copies, asked.rounds, asked.steps)
    print_engines(found)
    if asked.write:
        kept = [one for one in read().measured if one.scenario not in asked.scenarios] if FIGURES.exists() else []
        both = found.model_copy(update={"measured": [*kept, *found.measured]})
        write_text(FIGURES, both.model_dump_json(indent=1) + "\n")
        write_text(PAGE, PLACE.sub(lambda own: own[1] + table(both) + own[2], PAGE.read_text(encoding="utf-8")))


def read() -> EngineBenchmark:
    """The committed figures."""
    return EngineBenchmark.model_validate_json(FIGURES.read_text(encoding="utf-8"))


def table(found: EngineBenchmark) -> str:
    """The table of the documentation, as Markdown."""
    lines = [HEADS, ["---"] * len(HEADS), *map(_cells, found.measured)]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _cells(one: EngineMeasured) -> list[str]:
    memory = "" if one.memory_kb is None else f"{one.memory_kb:,.0f}"
    return [f"`{one.scenario}`", f"{one.nodes:,}", f"{one.copies:,}", f"{one.env_steps_per_s:,.0f}",
            f"{one.solves_per_s:,.0f}", f"{100 * one.parts['solver']:.0f} %", f"{one.opendss_env_steps_per_s:,.0f}",
            f"{one.over_opendss:.1f}", memory, f"{one.largest_off_pu:.1g}"]  # fmt: skip


if __name__ == "__main__":
    main()
