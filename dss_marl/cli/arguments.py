"""Arguments that several commands take."""

from __future__ import annotations

from typing import Annotated

import typer

Name = Annotated[str, typer.Argument(help="A scenario's name ('dss-marl list') or the path of a YAML file.")]
Split = Annotated[str, typer.Option(help="Which days: train, validation, test, or a stress split that the card names.")]
MAX_SEED = 2**32 - 1  # what numpy's and torch's generators take
AllowCode = Annotated[
    bool,
    typer.Option(
        "--allow-code", help="Run the scenario's OpenDSS commands even if they may touch files; if you trust it."
    ),
]
