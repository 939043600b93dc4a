"""Tables of a benchmark, 80 columns wide."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dss_marl.cli.console import say
from dss_marl.cli.tables import print_table

if TYPE_CHECKING:  # experiments take long to import, and --help does not need them
    from dss_marl.experiments.benchmark import Benchmark, Ratios

_SHORT = {"decode": "act", "observations": "obs"}  # so that all parts fit beside the names


def print_measured(found: Benchmark) -> None:
    """Print the figures, and how the step's time is shared."""
    heads = ("scenario", "copies", "floor us", "engine / floor", "step / floor", "reset / step", "steps a CPU s",
             "MB a copy")  # fmt: skip
    rows = [
        (
            one.scenario,
            str(one.copies),
            f"{one.floor_us:.0f}",
            f"{one.engine_over_floor:.2f}",
            f"{one.step_over_floor:.2f}",
            f"{one.reset_over_step:.1f}",
            f"{one.steps_per_s:.0f}",
            "-" if one.memory_mb is None else f"{one.memory_mb:.1f}",
        )
        for one in found.measured
    ]
    print_table("A step beside its bare power flows (the floor), for one copy", heads, rows)
    parts = list(found.measured[0].parts) if found.measured else []
    shares = [
        (_label(one.scenario, one.copies), *(f"{100 * one.parts[part]:.0f}" for part in parts))
        for one in found.measured
    ]
    print_table("Parts of a step [% of its time]", ("scenario", *(_SHORT.get(x, x) for x in parts)), shares)
    say("act: decoding of actions; engine: with the power flows; obs: observations and masks")


def print_moved(now: Ratios, baseline: Ratios) -> None:
    """Print which ratios differ from the baseline's by more than 20 %."""
    from dss_marl.experiments.benchmark import moved
    from dss_marl.experiments.benchmark.figures import TOLERANCE

    rows = [
        (
            one.key,
            one.name.replace("_over_", " / "),
            f"{one.before:.2f}",
            f"{one.now:.2f}",
            f"{100 * one.change:+.0f} %",
        )
        for one in moved(now, baseline)
    ]
    if rows:
        print_table("Moved by more than 20 %", ("scenario", "ratio", "baseline", "now", "change"), rows, ("ratio",))
    elif set(now.ratios) & set(baseline.ratios):
        say(f"no ratio moved by more than {100 * TOLERANCE:.0f} % against the baseline")
    missing = sorted(set(now.ratios) - set(baseline.ratios))
    if missing:
        say(f"not in the baseline: {', '.join(missing)}")


def _label(scenario: str, copies: int) -> str:
    return scenario if copies == 1 else f"{scenario} x {copies}"
