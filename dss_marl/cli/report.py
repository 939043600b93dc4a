"""``dss-marl report``: runs on one HTML page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from dss_marl.cli.arguments import AllowCode, Trust
from dss_marl.cli.console import progress_bar, saved
from dss_marl.cli.outputs import HTML, output_file


def report(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs: seeds or variants on the same grid and days.")],
    out: Annotated[Path, typer.Option(callback=output_file(HTML), help="Page to write (.html).")] = Path("report.html"),
    days: Annotated[
        int,
        typer.Option(
            min=1, help="Test days to play for maps and terms and, where a run was not evaluated, for its key figures."
        ),
    ] = 10,
    controllers: Annotated[
        str,
        typer.Option(
            help="Up to three references, or package.module:name, separated by commas, whose days are shown beside the "
            "policy's; 'auto' takes the circuit's own controls and the best of the others."
        ),
    ] = "auto",
    stress: Annotated[bool, typer.Option("--stress/--no-stress", help="Play days of the stress splits too.")] = True,
    trust: Trust = False,
    allow_code: AllowCode = False,
) -> None:
    """Write one self-contained HTML page: verdict, table, curves, days, map, rewards, stress, how to repeat it."""
    from dss_marl.experiments.reports.html import write_report

    names = None if controllers == "auto" else [name.strip() for name in controllers.split(",") if name.strip()]
    with progress_bar() as progress:

        def track(items: Sequence[Any], what: str) -> Iterable[Any]:
            return progress.track(items, description=what) if items else items

        path = write_report(runs, out, days, names, stress, track, trust, allow_code)
    saved(path)
