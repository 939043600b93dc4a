"""``dss-marl bound``: what no controller of a scenario can exceed on its test days, by a relaxation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dss_marl.cli.arguments import AllowCode, Name, Set, chosen_scenario, own_results
from dss_marl.cli.console import progress_bar, saved, say
from dss_marl.cli.tables import Cell, print_table


def bound(
    name: Name,
    days: Annotated[int, typer.Option(min=1, help="Maximum number of the frozen test days.")] = 30,
    settings: Set = None,
    allow_code: AllowCode = False,
) -> None:
    """Bound the return of test days by a relaxation, and put it into table.json where the scenario has results."""
    from dss_marl.controllers.planning.bounds import bound_of
    from dss_marl.envs.task import build_task
    from dss_marl.experiments.validation.bound_stage import DayBounds
    from dss_marl.experiments.validation.budget import frozen_days
    from dss_marl.experiments.validation.result_files import load, save_bound, stale_folder
    from dss_marl.profiles.splits import spread_days

    scenario = chosen_scenario(name, settings, allow_code)
    task = build_task(scenario)
    found, known = bound_of(task), frozen_days(task)
    chosen = spread_days(known, min(days, len(known)))
    with progress_bar() as progress:
        bar = progress.add_task("days", total=len(chosen))
        returns = {}
        for day in chosen:
            returns[day] = found.day_return(task, day)
            progress.advance(bar)
    bounds, folder = DayBounds(found.name, found.says, returns), Path("results") / scenario.name
    say(f"{found.name}: {found.says}")
    current = not stale_folder(scenario, folder)
    reached = load(folder).returns.get(scenario.reference_controller, {}) if current else {}
    rows: list[tuple[Cell, ...]] = [
        (str(day), f"{most:.6g}", f"{reached[day]:.6g}" if day in reached else "") for day, most in returns.items()
    ]
    print_table(f"{scenario.name}: team return of a day", ("day", "bound", scenario.reference_controller), rows)
    if current:
        own_results(scenario, name, settings)
        save_bound(bounds, folder)
        saved(folder)
