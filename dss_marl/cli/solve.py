"""``dss-marl solve``: plans with full foresight for test days, or for training days to be imitated."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dss_marl.cli.arguments import AllowCode, Name, Set, chosen_scenario, own_results
from dss_marl.cli.console import progress_bar, say
from dss_marl.cli.outputs import PLANS, checked_file, output_file


def solve(
    name: Name,
    days: Annotated[int, typer.Option(min=1, help="Days, spread over the year.")] = 10,
    split: Annotated[str, typer.Option(help="Which days: test, or train for 'training: {teacher: plans}'.")] = "test",
    margin: Annotated[
        float, typer.Option(min=0, help="Plan with a voltage band narrower by so much at both ends [pu]; not for test.")
    ] = 0.0,
    recompute: Annotated[bool, typer.Option("--recompute", help="Also days that have a plan.")] = False,
    thorough: Annotated[bool, typer.Option("--thorough", help="Search longer: also pairs of devices.")] = False,
    planner: Annotated[
        str, typer.Option(help="Planner, or package.module:name; none: polish alone; default: the first that fits.")
    ] = "",
    warm: Annotated[
        bool, typer.Option("--warm/--cold", help="Start from existing plans too, stale ones as well.")
    ] = True,
    effort: Annotated[float, typer.Option(min=0, help="About so many processor seconds of polish a day.")] = 8.0,
    out: Annotated[
        Path | None,
        typer.Option(
            callback=output_file(PLANS), help="File (.npz); default results/NAME/plans.npz, or SPLIT_plans.npz."
        ),
    ] = None,
    settings: Set = None,
    allow_code: AllowCode = False,
) -> None:
    """Solve test days with full foresight, for the reference controller best_known; or training days, to be imitated.

    Needs the extra 'optimum'.
    """
    from dss_marl.controllers.planning.plan_files import plans_path
    from dss_marl.experiments.solve_days import days_to_solve, old_requests, solved

    scenario = chosen_scenario(name, settings, allow_code)
    scenario = scenario.replace(planner=planner) if planner not in ("", "none") else scenario
    if out is None:
        own_results(scenario, name, settings)
    path = out or checked_file(plans_path(scenario, split), PLANS)
    plans, path, todo = days_to_solve(scenario, days, recompute, path, split, margin)
    old = old_requests(scenario, path, split) if warm else {}
    with progress_bar() as progress:
        bar = progress.add_task(f"solving {scenario.name}", total=len(todo))
        for day, earned, gained in solved(scenario, plans, path, todo, thorough, planner, old, effort):
            progress.console.print(f"day {day}: team return {earned:.4f} (polish gained {gained:.4f})")
            progress.advance(bar)
    say(f"{len(plans.requests)} days in {path}")
