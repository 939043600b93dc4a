"""dss-marl: list, show, zones, train, evaluate, tune and solve from the command line."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import track as rich_track
from rich.table import Table as RichTable

from dss_marl._assets import known_names
from dss_marl.envs.scenario import Scenario
from dss_marl.envs.scenario_files import load_scenario
from dss_marl.envs.task import build_task

app = typer.Typer(
    help="Multi-agent environments on OpenDSS: zones of a distribution feeder as agents.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)
console = Console()

Name = Annotated[str, typer.Argument(help="A scenario's name ('dss-marl list') or the path of a YAML file.")]
Split = Annotated[str, typer.Option(help="Which days: train, validation, test, or a stress split that the card names.")]


@contextlib.contextmanager
def _plain_errors() -> Iterator[None]:
    """What a user can cure is a message; a traceback stays for what only we can."""
    try:
        yield
    except (ValueError, ImportError, FileNotFoundError) as error:
        console.print(f"[red]error:[/red] {error}", highlight=False, soft_wrap=True)
        raise typer.Exit(2) from None


@app.command("list")
def list_() -> None:
    """List the scenarios that ship with the package."""
    from rich import box

    table = RichTable(box=box.SIMPLE_HEAD)
    for heading in ("scenario", "steps", "what it is"):
        table.add_column(heading, no_wrap=heading != "what it is")
    for name in known_names("scenarios"):
        scenario = load_scenario(name)
        table.add_row(name, f"{scenario.steps} x {60 * scenario.dt_h:g} min", scenario.title)
    console.print(table)


@app.command()
def show(
    name: Name,
    markdown: Annotated[Path | None, typer.Option(help="Write the card as Markdown into this file instead.")] = None,
) -> None:
    """Show the card of a decision process: agents, observations, actions, rewards, costs, horizon, references."""
    from dss_marl.experiments.reports.scenario_card import markdown_card, print_card

    with _plain_errors():
        task = build_task(load_scenario(name))
        if markdown is None:
            print_card(task, console, name)
        else:
            markdown.parent.mkdir(parents=True, exist_ok=True)
            markdown.write_text(markdown_card(task, name), encoding="utf-8")
            console.print(f"saved {markdown}", highlight=False, soft_wrap=True)


@app.command()
def train(
    name: Name,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; default runs/NAME-seedSEED.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of network, exploration and days.")] = 0,
    agent_steps: Annotated[
        int | None, typer.Option(help="Steps x agents x copies; default: the scenario's own.")
    ] = None,
    num_cpus: Annotated[int, typer.Option(help="Worker processes; -1: one for each core, 0: none.")] = -1,
    route: Annotated[str, typer.Option(help="native or supersuit.")] = "native",
) -> None:
    """Train a scenario's policies; the folder gets the models, the run record and the learning curve."""
    with _plain_errors():
        scenario = load_scenario(name)
        if agent_steps is not None:
            scenario = scenario.replace(training={"agent_steps": agent_steps})
        folder = out or Path("runs") / f"{scenario.name}-seed{seed}"
        cpus = min(os.cpu_count() or 1, 8) if num_cpus < 0 else num_cpus
        _train(scenario, folder, seed, cpus, route)


def _train(scenario: Scenario, folder: Path, seed: int, num_cpus: int, route: str) -> None:
    from dss_marl.experiments import TrainingSettings
    from dss_marl.experiments import train as train_shared

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[score]}"),
    )
    total = TrainingSettings.model_validate(scenario.training).agent_steps
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task(f"training {scenario.name}", total=total, score="")

        def report(steps: int, score: float | None) -> None:
            text = {} if score is None else {"score": f"validation return {score:.2f}"}
            progress.update(bar, completed=min(steps, total), **text)  # type: ignore[arg-type]

        record = train_shared(scenario, folder, seed, num_cpus, route, report)
    best = max(record.history, key=lambda row: row["score"])
    console.print(
        f"{record.agent_steps} agent-steps in {record.seconds:.0f} s ({record.agent_steps_per_second:.0f} a second); "
        f"best validation return {best['score']:.3f} after {best['agent_steps']:.0f}; saved in {folder}",
        highlight=False,
    )


@app.command()
def evaluate(
    run_or_name: Annotated[str, typer.Argument(help="A run's folder, or a scenario's name for its references alone.")],
    split: Split = "test",
    days: Annotated[int | None, typer.Option(help="Only the first so many days of the split.")] = None,
    controllers: Annotated[
        str,
        typer.Option(
            help="Reference controllers, or package.module:name, separated by commas; 'all' takes the references that "
            "fit the scenario and are quick."
        ),
    ] = "all",
) -> None:
    """Compare a trained policy and the references on the same days; a run's folder gets table and pictures."""
    with _plain_errors():
        from dss_marl.experiments.comparison import compare

        folder = Path(run_or_name)
        is_run = folder.is_dir() and run_or_name not in known_names("scenarios")
        names = None if controllers == "all" else [name.strip() for name in controllers.split(",")]

        def track(items: Any) -> Any:
            return rich_track(list(items), "evaluating", console=console)

        table = compare(folder if is_run else load_scenario(run_or_name), names, split, days, track)
        _print_table(table, "learned" if is_run else None)
        if is_run:
            console.print(f"saved in {folder}", highlight=False)


def _print_table(table: Any, compared: str | None) -> None:
    from rich import box

    from dss_marl.experiments.metrics import FIGURES

    names = table.shown()
    heads, rows = table.rows(compared)
    intervals = console.width >= 110
    what = "mean (95 % interval over days)" if intervals else "mean"
    title = f"{table.scenario}: {len(table.days)} {table.split} days, {what}"
    shown = RichTable(title=title, box=box.SIMPLE_HEAD, padding=(0, 1) if intervals else (0, 0, 0, 1))
    for heading in heads:
        name = heading == "controller"
        shown.add_column(heading, justify="left" if name else "right", no_wrap=name, overflow="fold")
    best = {
        f: (max if FIGURES[f][2] else min)((float(table.column(c, f).mean()), c) for c in table.figures)[1]
        for f in names
    }
    for controller, *cells in rows:
        short = [cell.replace(" (", "\n(") if intervals else cell.split(" (")[0] for cell in cells]
        bold = [
            f"[bold]{cell}[/bold]" if best[f] == controller else cell for f, cell in zip(names, short, strict=False)
        ]
        shown.add_row(controller, *bold, *short[len(names) :])
    console.print(shown)
    if not intervals:
        console.print("a terminal of 110 columns shows the 95 % intervals over days too", highlight=False)


@app.command()
def zones(
    feeder: Annotated[str, typer.Argument(help="A shipped feeder's name, or the path of a .dss file.")],
    method: Annotated[
        str, typer.Option(help="electrical, balanced, communities, laterals, phases, cut, or package.module:function.")
    ] = "electrical",
    count: Annotated[int | None, typer.Option(help="Number of zones; default 6 where the method needs one.")] = None,
    cut_at: Annotated[
        list[str] | None, typer.Option(help="For method cut: a kind of branch, or a branch's name; may be repeated.")
    ] = None,
    file: Annotated[Path | None, typer.Option(help="For method mapping: the YAML file of the zones.")] = None,
    out: Annotated[Path | None, typer.Option(help="Picture to write (PNG).")] = None,
    save: Annotated[Path | None, typer.Option(help="YAML file to write, for a scenario's method mapping.")] = None,
    export: Annotated[Path | None, typer.Option(help="Graph to write: .graphml or .geojson.")] = None,
    compare: Annotated[bool, typer.Option("--compare", help="All methods side by side.")] = False,
) -> None:
    """Divide a feeder into zones: what is in each, how good they are, a picture, and a file for a scenario."""
    with _plain_errors():
        from dss_marl.cli.zones import compare_methods, show_zones

        if compare:
            compare_methods(console, feeder, 6 if count is None else count, cut_at, out)
        else:
            show_zones(console, feeder, method, count, cut_at, file, out, save, export)


@app.command()
def profiles(
    name: Name,
    split: Annotated[
        str, typer.Option(help="train, validation, test, or a stress split: sunny_low_load, cold_evening, more_pv, ...")
    ] = "test",
    days: Annotated[int | None, typer.Option(help="Only so many days, spread over the split.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Picture to write (PNG).")] = None,
) -> None:
    """Show a scenario's days: the statistics of load, sun, price and outages, and a picture."""
    with _plain_errors():
        from dss_marl.cli.profiles import show_profiles

        task = build_task(load_scenario(name))
        show_profiles(console, task.profiles, split, days, plot)


@app.command()
def tune(
    name: Name,
    tries: Annotated[int, typer.Option(help="Random curves before the refinement.")] = 48,
    days: Annotated[int, typer.Option(help="Training days, spread over the year.")] = 9,
    seed: Annotated[int, typer.Option(help="Seed of the search.")] = 0,
) -> None:
    """Find the droop curve with the best return on training days: the 'tuned_droop' of a scenario's YAML."""
    with _plain_errors():
        from dss_marl.experiments.comparison import tuned_droop

        scenario = load_scenario(name)
        with Progress(console=console) as progress:
            bar = progress.add_task("tuning", total=tries + tries // 3)
            curve, score = tuned_droop(scenario, tries, days, seed, lambda: progress.advance(bar))
        console.print(f"best return on {days} training days: {score:.3f}", highlight=False)
        text = ", ".join(f"{key}: {value:g}" for key, value in curve.items())
        console.print(f"tuned_droop: {{{text}}}", highlight=False, soft_wrap=True)


@app.command()
def solve(
    name: Name,
    days: Annotated[int, typer.Option(help="Test days, spread over the year.")] = 10,
    anew: Annotated[bool, typer.Option("--anew", help="Also the days that have a plan.")] = False,
    thorough: Annotated[bool, typer.Option("--thorough", help="Pairs of devices too; much longer.")] = False,
    planner: Annotated[str, typer.Option(help="Planner, or package.module:name; default: the first that can.")] = "",
    out: Annotated[Path | None, typer.Option(help="File; default results/NAME/plans.npz.")] = None,
) -> None:
    """Solve test days with full foresight: the plans that the reference best_known plays. Needs the extra optimum."""
    with _plain_errors():
        from dss_marl.experiments.solve_days import days_to_solve, solved

        scenario = load_scenario(name)
        scenario = scenario.replace(planner=planner) if planner else scenario
        plans, path, todo = days_to_solve(scenario, days, anew, out)
        with Progress(console=console) as progress:
            bar = progress.add_task(f"solving {scenario.name}", total=len(todo))
            for day, earned in solved(scenario, plans, path, todo, thorough):
                progress.console.print(f"day {day}: team return {earned:.4f}", highlight=False)
                progress.advance(bar)
        console.print(f"{len(plans.requests)} days in {path}", highlight=False)


@app.command()
def validate(
    name: Annotated[str | None, typer.Argument(help="A scenario's name or the path of a YAML file.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All scenarios that ship; then the suite's table.")] = False,
    days: Annotated[int | None, typer.Option(help="At most so many of the frozen test days.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Two days, few trials, no intervals; saves nothing.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder for the results; default results/NAME.")] = None,
    pictures: Annotated[Path | None, typer.Option(help="Folder for a picture of a test day.")] = None,
) -> None:
    """Prove that a task is worth learning; fails with what failed. Saves validation.json and table.json."""
    with _plain_errors():
        if every == (name is not None):
            raise ValueError("validate takes the name of a scenario, or --all")
        if every and out is not None:
            raise ValueError("--out is for one scenario; --all writes into results/NAME")
        from dss_marl.cli.validate import validate_named

        names = known_names("scenarios") if every else [str(name)]
        failed = validate_named(console, names, days, quick, out, pictures, _print_table)
        if every and not quick:
            _suite(Path.cwd())
    if failed:
        console.print(f"[red]failed:[/red] {', '.join(failed)}", highlight=False, soft_wrap=True)
        raise typer.Exit(1)


@app.command()
def picture(
    name: Name,
    day: Annotated[int | None, typer.Option(help="Day of the year; default: a middle one of the frozen days.")] = None,
    out: Annotated[Path | None, typer.Option(help="PNG to write; default NAME.png.")] = None,
) -> None:
    """Draw a test day under no control, a rule or droop, and the strongest controller."""
    with _plain_errors():
        from dss_marl.experiments.validation.day_figure import picture as drawn

        scenario = load_scenario(name)
        path = drawn(scenario, day, out or Path(f"{scenario.name}.png"))
        console.print(f"saved {path}", highlight=False, soft_wrap=True)


@app.command()
def suite() -> None:
    """Write docs/suite.md and the README's table from the results of all scenarios; run it in a checkout."""
    with _plain_errors():
        _suite(Path.cwd())


def _suite(root: Path) -> None:
    from dss_marl.experiments.reports.suite_table import write_suite

    for path in write_suite(root):
        console.print(f"wrote {path}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    app()
