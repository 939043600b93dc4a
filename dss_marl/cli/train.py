"""``dss-marl train``: a training run with a progress line, or a run that goes on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from dss_marl.cli.arguments import MAX_SEED, AllowCode, RecipeName, Set, chosen_scenario, sized
from dss_marl.cli.console import say
from dss_marl.cli.outputs import checked_folder, output_folder
from dss_marl.cli.training_progress import say_result, training_progress

_OF_RESUMED = ("resume", "steps", "log", "allow_code")  # options that a run which goes on takes


def train(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(help="A scenario's name ('dss-marl list') or the path of a YAML file.")
    ] = None,
    algo: Annotated[
        str | None,
        typer.Option(help="ppo, maskable_ppo, mappo, recurrent_ppo, sac or tqc; default: the scenario's."),
    ] = None,
    sharing: Annotated[
        str | None, typer.Option(help="Who shares a policy: all, per_kind or none; default: the scenario's.")
    ] = None,
    copies: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Copies of the environment, with rollouts, batches and agent-steps to suit; default: as the scenario "
            "says, and at least 256 with a batch engine.",
        ),
    ] = None,
    num_cpus: Annotated[
        int, typer.Option(min=-1, help="Worker processes; -1: one per core, none with a batch engine; 0: none.")
    ] = -1,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="Agent-steps in the end (steps x agents x copies); default: the scenario's."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of network, exploration and days.")] = 0,
    out: Annotated[
        Path | None, typer.Option(callback=output_folder, help="Folder of the run; default runs/NAME-seedSEED.")
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            help="In place of a scenario: folder of a run that was stopped, or of a finished one with more --steps; it "
            "goes on from its last checkpoint."
        ),
    ] = None,
    recipe: RecipeName = None,
    settings: Set = None,
    engine: Annotated[
        str,
        typer.Option(
            help="Solves the copies that learn: opendss, or a batch engine, in this process unless --num-cpus says "
            "otherwise. Validation and 'dss-marl evaluate' use OpenDSS always."
        ),
    ] = "opendss",
    log: Annotated[
        list[str] | None,
        typer.Option(help="Send the figures of each update to wandb or mlflow too; may be repeated."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run that the folder holds.")] = False,
    with_sb3: Annotated[
        bool, typer.Option("--with-sb3", help="Keep the best policy as SB3's own model.zip too.")
    ] = False,
    route: Annotated[str, typer.Option(help="native or supersuit.")] = "native",
    allow_code: AllowCode = False,
) -> None:
    """Train a scenario's policies, or let a run go on; writes policies, run record, checkpoint and logs."""
    from dss_marl import experiments

    if resume is not None:
        _resume(context, resume, steps, log or (), allow_code)
        return
    if name is None:
        raise ValueError("name the scenario to train ('dss-marl list'), or the run to go on with by --resume RUN")
    changes = {"algorithm": algo, "sharing": sharing}
    scenario = chosen_scenario(name, settings, allow_code, recipe)
    scenario = scenario.replace(training={key: value for key, value in changes.items() if value is not None})
    scenario = sized(scenario, copies, steps, engine, recipe, settings or ())
    folder = out or checked_folder(Path("runs") / f"{scenario.name}-seed{seed}")
    cpus = (0 if engine != "opendss" else min(os.cpu_count() or 1, 8)) if num_cpus < 0 else num_cpus
    total = experiments.TrainingSettings.model_validate(scenario.training).agent_steps
    with training_progress(scenario.name, total) as report:
        record = experiments.train(
            scenario, folder, seed, cpus, route, report, overwrite, with_sb3, engine, log or (), say
        )
    say_result(record, folder)


def _resume(context: typer.Context, folder: Path, steps: int | None, log: Any, allow_code: bool) -> None:
    from dss_marl import experiments

    given = [
        "the scenario" if one.param_type_name == "argument" else str(one.opts[0])
        for one in context.command.params
        if one.name not in _OF_RESUMED and _typed(context, str(one.name))
    ]
    if given:
        raise ValueError(f"--resume goes on as the run's record says; leave out {', '.join(given)}, or train a new run")
    record = experiments.load_run(folder)
    with training_progress(record.scenario["name"], steps or record.settings["agent_steps"]) as report:
        record = experiments.resume(folder, steps, report, log, allow_code, say)
    say_result(record, folder)


def _typed(context: typer.Context, name: str) -> bool:
    """Whether an argument or option stands in the command."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
