"""``dss-marl bench --batched``: a batch engine beside OpenDSS."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dss_marl.cli.arguments import chosen_scenario
from dss_marl.cli.console import saved, say
from dss_marl.cli.tables import print_table

if TYPE_CHECKING:  # experiments take long to import, and --help does not need them
    from dss_marl.experiments.benchmark import EngineBenchmark, EngineMeasured

_SHOWN = {"solver": "solver", "devices": "devices", "conditions": "days", "terms": "terms", "observations": "obs",
          "masks": "masks", "resets": "resets"}  # fmt: skip  # the other parts are small, and called rest


def bench_engine(
    scenarios: Sequence[str] | None,
    engine: str,
    copies: str,
    rounds: int,
    steps: int,
    memory: bool,
    out: Path | None,
) -> None:
    """Measure, print, and write what was asked for; the arguments are those of the command."""
    from dss_marl._assets import write_text
    from dss_marl.experiments.benchmark import ENGINE_SCENARIOS, engine_benchmark

    numbers = _numbers(copies)
    chosen = [chosen_scenario(name) for name in scenarios or ENGINE_SCENARIOS]

    def told(one: EngineMeasured) -> None:
        say(f"measured {one.scenario} x {one.copies}: {one.env_steps_per_s:,.0f} steps a CPU second")

    found = engine_benchmark(chosen, engine, numbers, rounds, steps, memory, told)
    print_engines(found)
    if out is not None:
        write_text(out, found.model_dump_json(indent=1) + "\n")
        saved(out)


def print_engines(found: EngineBenchmark) -> None:
    """Print steps and power flows a second, beside those of OpenDSS, and how the time is shared."""
    rows = [
        (
            one.scenario,
            str(one.copies),
            f"{one.env_steps_per_s:,.0f}",
            f"{one.solves_per_s:,.0f}",
            f"{one.opendss_env_steps_per_s:,.0f}",
            f"{one.over_opendss:.1f}",
            "-" if one.memory_kb is None else f"{one.memory_kb:,.0f}",
            f"{one.largest_off_pu:.1g}",
        )
        for one in found.measured
    ]
    heads = ("scenario", "copies", "steps", "solves", "OpenDSS: steps", "ratio", "kB a copy", "off [pu]")
    engine = found.measured[0].engine
    print_table(f"Engine {engine!r} beside OpenDSS, in a second of CPU time", heads, rows)
    shares = [(f"{one.scenario} x {one.copies}", *_percent(one)) for one in found.measured]
    print_table("Parts [% of its time]", ("scenario", *_SHOWN.values(), "rest"), shares)
    few = ", ".join(dict.fromkeys(str(one.opendss_copies) for one in found.measured))
    say(
        f"steps: of one copy, its share of a reset a day included; OpenDSS: {few} copies with the same days and "
        "actions; off: largest difference of a voltage from OpenDSS's"
    )
    apart = [one for one in found.measured if one.same_positions < 1]
    for one in apart:
        say(
            f"{one.scenario} x {one.copies}: {100 * (1 - one.same_positions):.1f} % of the copies compared had other "
            "taps or switches than on OpenDSS; their voltages are not compared"
        )


def _percent(one: EngineMeasured) -> list[str]:
    """Shares of the parts shown, and of the rest."""
    shown = [one.parts[part] for part in _SHOWN]
    return [f"{100 * share:.0f}" for share in (*shown, 1 - sum(shown))]


def _numbers(text: str) -> tuple[int, ...]:
    """Numbers of copies, as typed."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdigit() and int(part) for part in parts):
        raise ValueError(f"--copies takes whole numbers separated by commas, such as 64,1024; got {text!r}")
    return tuple(int(part) for part in parts)
