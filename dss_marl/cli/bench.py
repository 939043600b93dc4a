"""``dss-marl bench``: what a step costs beside the bare power flows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dss_marl.cli.arguments import chosen_scenario
from dss_marl.cli.bench_engine import bench_engine
from dss_marl.cli.bench_tables import print_measured, print_moved
from dss_marl.cli.console import saved, say
from dss_marl.cli.outputs import BENCHMARK, PICTURE, output_file

if TYPE_CHECKING:  # experiments take long to import, and --help does not need them
    from dss_marl.experiments.benchmark import Benchmark


def bench(
    scenarios: Annotated[
        list[str] | None, typer.Argument(help="Scenarios to measure, by name or file; default: the eight of the docs.")
    ] = None,
    batch: Annotated[int | None, typer.Option(min=2, help="Measure this number of copies stepped at once too.")] = None,
    against: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Baseline (.json) to compare the ratios with.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(callback=output_file(BENCHMARK), help="File to write all figures to: .json.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(callback=output_file(PICTURE), help="Figure to write: .png, .pdf or .svg.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, help="Days of each scenario; the figures are medians over them.")] = 7,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps of each day at most; default 48, and 96 with --batched.")
    ] = None,
    memory: Annotated[bool, typer.Option(help="Measure memory too, in a process of its own.")] = True,
    batched: Annotated[
        bool, typer.Option("--batched", help="Measure a batch engine instead, beside OpenDSS with the same actions.")
    ] = False,
    engine: Annotated[str, typer.Option(help="With --batched: the engine.")] = "batched",
    copies: Annotated[
        str, typer.Option(help="With --batched: numbers of copies, separated by commas.")
    ] = "64,256,1024,4096",
    rounds: Annotated[
        int, typer.Option(min=1, help="With --batched: blocks of each engine; the figures are medians over them.")
    ] = 5,
) -> None:
    """Measure what a step costs beside its bare power flows: in one process, alternating blocks, CPU time, medians.

    This is about speed; 'dss-marl benchmark' trains and compares policies.
    """
    from dss_marl._assets import write_text

    if batched:
        _not_both({"--batch": batch, "--against": against, "--plot": plot})
        bench_engine(scenarios, engine, copies, rounds, steps or 96, memory, out)
        return
    from dss_marl.experiments.benchmark import SCENARIOS, benchmark, measured_key, read_ratios

    baseline = None if against is None else read_ratios(against)
    chosen = [chosen_scenario(name) for name in scenarios or SCENARIOS]
    found = benchmark(chosen, batch, days, steps or 48, memory, lambda one: say(f"measured {measured_key(one)}"))
    print_measured(found)
    if baseline is not None:
        print_moved(found.ratios(), baseline)
    if out is not None:
        write_text(out, found.model_dump_json(indent=1) + "\n")
        saved(out)
    if plot is not None:
        saved(_drawn(found, plot))


def _not_both(given: Mapping[str, object]) -> None:
    """Refuse options that --batched has no use for."""
    for option, value in given.items():
        if value is not None:
            raise ValueError(f"{option} is of the benchmark without --batched; leave one of them out")


def _drawn(found: Benchmark, path: Path) -> Path:
    from dss_marl import plots
    from dss_marl.experiments.benchmark import measured_key

    costs = {
        measured_key(one): {part: share * one.step_over_floor for part, share in one.parts.items()}
        for one in found.measured
    }
    return plots.save(plots.step_cost_figure(costs, "Cost of a step by part"), path)
