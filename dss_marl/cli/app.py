"""dss-marl: the commands, assembled.

Each command imports what it needs when it runs: ``--help`` loads neither scikit-learn, matplotlib, torch nor OpenDSS.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from dss_marl.cli.bench import bench
from dss_marl.cli.benchmark import benchmark
from dss_marl.cli.bound import bound
from dss_marl.cli.console import say
from dss_marl.cli.dataset import dataset
from dss_marl.cli.errors import plain_errors
from dss_marl.cli.evaluate import evaluate
from dss_marl.cli.leaderboard import leaderboard
from dss_marl.cli.list import list_
from dss_marl.cli.new import new
from dss_marl.cli.picture import picture
from dss_marl.cli.policies import policies, ship
from dss_marl.cli.profiles import profiles
from dss_marl.cli.recipes import recipes
from dss_marl.cli.record import record
from dss_marl.cli.report import report
from dss_marl.cli.reproduce import reproduce
from dss_marl.cli.schema import schema
from dss_marl.cli.search import search
from dss_marl.cli.show import show
from dss_marl.cli.solve import solve
from dss_marl.cli.suite import suite
from dss_marl.cli.train import train
from dss_marl.cli.tune import tune
from dss_marl.cli.validate import validate
from dss_marl.cli.zones import zones

COMMANDS = (
    new,
    show,
    zones,
    profiles,
    train,
    recipes,
    search,
    reproduce,
    evaluate,
    dataset,
    tune,
    solve,
    validate,
    bound,
    picture,
    record,
    report,
    suite,
    schema,
    bench,
    benchmark,
    policies,
    ship,
    leaderboard,
)

app = typer.Typer(
    help="Multi-agent environments on OpenDSS: zones of a distribution feeder as agents.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain messages: what was typed appears as it is, and is not broken by a frame
)
app.command("list")(plain_errors()(list_))
for command in COMMANDS:
    app.command()(plain_errors()(command))


def _version(requested: bool) -> None:
    if requested:
        engine = version("opendssdirect.py")  # from the installed metadata: OpenDSS takes long to import
        say(f"dss_marl {version('dss_marl')}, OpenDSSDirect.py {engine}")
        raise typer.Exit


@app.callback()
def main(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the versions and exit.")
    ] = False,
) -> None:
    """Options of the program itself."""


if __name__ == "__main__":
    app()
