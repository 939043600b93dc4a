"""Arguments that several commands take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from dss_marl._assets import known_names
from dss_marl.envs.scenario import Scenario
from dss_marl.envs.scenario_changes import changed
from dss_marl.envs.scenario_files import load_scenario

Name = Annotated[str, typer.Argument(help="A scenario's name ('dss-marl list') or the path of a YAML file.")]
Split = Annotated[str, typer.Option(help="Which days: train, validation, test, or a stress split that the card names.")]
MAX_SEED = 2**32 - 1  # what numpy's and torch's generators take
AllowCode = Annotated[
    bool,
    typer.Option(
        "--allow-code", help="Run the scenario's OpenDSS commands even if they may touch files; if you trust it."
    ),
]
Trust = Annotated[
    bool, typer.Option("--trust", help="Load SB3's own model.zip, which can run any code; if you trust its author.")
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a key of the scenario; may be repeated: steps=48, rewards.my_module:quiet=0.5, devices.0.kw=500.",
    ),
]

RecipeName = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Training settings over the scenario's: a recipe ('dss-marl recipes') or a YAML file."
    ),
]


def chosen_scenario(
    name: str, settings: Sequence[str] | None = None, allow_code: bool = False, recipe: str | None = None
) -> Scenario:
    """The scenario that a command's arguments mean: by name or file, with a recipe, then what ``--set`` changes."""
    scenario = load_scenario(name, allow_code)
    if recipe is not None:
        from dss_marl.experiments.recipes import load_recipe

        scenario = load_recipe(recipe).on(scenario)
    return changed(scenario, settings or ())


def sized(
    scenario: Scenario,
    copies: int | None,
    steps: int | None,
    engine: str,
    recipe: str | None = None,
    given: Sequence[str] = (),
) -> Scenario:
    """The scenario with settings for the copies and agent-steps that were asked for.

    Where a recipe or ``--set`` gives ``n_envs``, rollouts and batches belong to that number and stay as they are.

    Args:
        scenario: with the settings of recipe and ``--set``.
        copies, steps, engine, recipe: as the options say.
        given: what ``--set`` says.
    """
    from dss_marl import experiments

    known = (recipe is not None and "n_envs" in experiments.load_recipe(recipe).training) or any(
        item.partition("=")[0].strip() == "training.n_envs" for item in given
    )
    if copies is not None or (engine != "opendss" and not known):
        own = experiments.TrainingSettings.model_validate(scenario.training).n_envs
        return experiments.with_copies(scenario, copies or max(own, experiments.COPIES), steps)
    return scenario if steps is None else scenario.replace(training={"agent_steps": steps})


def run_or_scenario(
    run_or_name: str, settings: Sequence[str] | None = None, allow_code: bool = False
) -> Path | Scenario:
    """The folder of a run, or the scenario that a command's arguments mean; a shipped name goes before a folder.

    Raises:
        ValueError: no such scenario, or changes to that of a run.
    """
    folder = Path(run_or_name)
    if not folder.is_dir() or run_or_name in known_names("scenarios"):
        return chosen_scenario(run_or_name, settings, allow_code)
    if settings:
        raise ValueError("--set changes a scenario, and a run has its own; give the scenario's name, or train again")
    return folder


def own_results(scenario: Scenario, name: str, settings: Sequence[str] | None) -> None:
    """Refuse to write the results of a changed scenario to where those of the unchanged one are.

    Raises:
        ValueError: it has still the name of the other.
    """
    if settings and scenario.name == load_scenario(name, True).name:
        raise ValueError(
            f"results of a changed {scenario.name!r} would replace its own; name it with --set name=my_task, or give "
            "--out"
        )
