"""``dss-marl policies`` and ``dss-marl ship``: trained policies of the package, and how a run becomes one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dss_marl.cli.arguments import AllowCode
from dss_marl.cli.console import saved, say
from dss_marl.cli.outputs import output_folder
from dss_marl.cli.tables import print_table


def policies() -> None:
    """List the trained policies that ship with the package."""
    from dss_marl.experiments.shipped.shipped_policies import list_policies, policy_folder
    from dss_marl.experiments.shipped.shipping import overview

    names = list_policies()
    if not names:
        say("no policy ships with this version; 'dss-marl train' makes one, and 'dss-marl ship RUN' a shipped one")
        return
    heads, rows = overview([policy_folder(name) for name in names])
    print_table("trained policies: dss_marl.load_policy(NAME)", heads, rows, ("scenario", "algorithm"))


def ship(
    run: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="A run's folder.")],
    name: Annotated[str, typer.Option(help="Name of the policy; default: that of its scenario.")] = "",
    results: Annotated[
        Path | None,
        typer.Option(exists=True, help="Results of the benchmark that trained it, for the figures of all its seeds."),
    ] = None,
    into: Annotated[
        Path, typer.Option(callback=output_folder, help="Folder of policies: that of a checkout, if run there.")
    ] = Path("policies"),
    allow_code: AllowCode = False,
) -> None:
    """Copy a run's policy to those that ship, with its record, its results and a model card written from them."""
    from dss_marl.experiments.shipped.model_card import CARD
    from dss_marl.experiments.shipped.shipping import ship as shipped

    place = shipped(run, into, name, results, allow_code)
    saved(place / CARD)
