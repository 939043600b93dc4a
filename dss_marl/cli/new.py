"""``dss-marl new``: a project of the user's own."""

from __future__ import annotations

from typing import Annotated

import typer

from dss_marl.cli.console import say


def new(
    folder: Annotated[str, typer.Argument(help="Folder to write; its last part names the project.")],
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="A shipped scenario's name, or the path of an OpenDSS master file; default: a village feeder.",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files of an earlier project; others in the folder stay.")
    ] = False,
) -> None:
    """Write a project to build on: circuit, scenario, reward, observation, cost, device, controller, test, training."""
    from dss_marl.experiments.new_project import new_project

    if source is not None and not source.strip():
        raise ValueError("--from is empty; name a scenario or a master file, or leave it out for a village feeder")
    project = new_project(folder, source or "", overwrite)
    if project.report:
        typer.echo(project.report)
    for remark in project.remarks:
        say(f"note: {remark}")
    say(f"wrote {len(project.files)} files into {project.folder}: {', '.join(map(str, project.files))}")
    say(
        f"next: cd {project.folder}, and the commands of its README.md, such as 'dss-marl show {project.scenario.name}'"
    )
