"""``dss-marl train``: a training run with a progress bar."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, TimeElapsedColumn, TimeRemainingColumn

from dss_marl.cli.arguments import MAX_SEED, AllowCode, Name, Set, chosen_scenario
from dss_marl.cli.console import plain_column, progress_bar, say
from dss_marl.cli.outputs import checked_folder, output_folder

_COLUMNS = (
    BarColumn(),
    MofNCompleteColumn(),
    TimeElapsedColumn(),
    TimeRemainingColumn(),
    plain_column("{task.fields[score]}"),
)


def train(
    name: Name,
    out: Annotated[
        Path | None, typer.Option(callback=output_folder, help="Folder of the run; default runs/NAME-seedSEED.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of network, exploration and days.")] = 0,
    agent_steps: Annotated[
        int | None, typer.Option(min=1, help="Agent-steps (steps x agents x copies); default: the scenario's.")
    ] = None,
    num_cpus: Annotated[
        int, typer.Option(min=-1, help="Worker processes; -1: one per core, none with a batch engine; 0: none.")
    ] = -1,
    route: Annotated[str, typer.Option(help="native or supersuit.")] = "native",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run that the folder holds.")] = False,
    with_sb3: Annotated[
        bool,
        typer.Option(
            "--with-sb3", help="Keep the best policy as SB3's own model.zip too, from which SB3 can go on learning."
        ),
    ] = False,
    engine: Annotated[
        str,
        typer.Option(
            help="Solves the copies that learn: opendss, or a batch engine, in this process unless --num-cpus says "
            "otherwise. Validation and 'dss-marl evaluate' use OpenDSS always."
        ),
    ] = "opendss",
    copies: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Copies of the environment, with rollouts, batches and agent-steps to suit; default: as the scenario "
            "says, and at least 256 with a batch engine.",
        ),
    ] = None,
    settings: Set = None,
    allow_code: AllowCode = False,
) -> None:
    """Train a scenario's policies; writes policies, run record and TensorBoard logs into the folder."""
    from dss_marl import experiments

    scenario = chosen_scenario(name, settings, allow_code)
    batched = engine != "opendss"
    if copies is not None or batched:
        own = experiments.TrainingSettings.model_validate(scenario.training).n_envs
        scenario = experiments.with_copies(scenario, copies or max(own, experiments.COPIES), agent_steps)
    elif agent_steps is not None:
        scenario = scenario.replace(training={"agent_steps": agent_steps})
    folder = out or checked_folder(Path("runs") / f"{scenario.name}-seed{seed}")
    cpus = (0 if batched else min(os.cpu_count() or 1, 8)) if num_cpus < 0 else num_cpus
    total = experiments.TrainingSettings.model_validate(scenario.training).agent_steps
    with progress_bar(*_COLUMNS) as progress:
        bar = progress.add_task(f"training {scenario.name}", total=total, score="")

        def report(steps: int, score: float | None) -> None:
            progress.update(bar, completed=min(steps, total))
            if score is not None:
                progress.update(bar, score=f"validation return {score:.2f}")

        tell = progress.console.print
        record = experiments.train(scenario, folder, seed, cpus, route, report, overwrite, with_sb3, engine, tell)
    best = max(record.history, key=lambda row: row["score"])
    say(
        f"{record.agent_steps} agent-steps in {record.seconds:.0f} s ({record.agent_steps_per_second:.0f} a second); "
        f"best validation return {best['score']:.3f} after {best['agent_steps']:.0f}; saved in {folder}"
    )
    for remark in record.remarks():
        say(f"note: {remark}")
