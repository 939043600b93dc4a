"""``dss-marl schema``: the JSON Schema of scenario files, or of run records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dss_marl.cli.console import saved
from dss_marl.cli.outputs import SCHEMA, output_file


def schema(
    out: Annotated[
        Path | None, typer.Option(callback=output_file(SCHEMA), help="Write it into this file (.json) instead.")
    ] = None,
    record: Annotated[bool, typer.Option("--record", help="That of a run's record.json.")] = False,
) -> None:
    """Print the JSON Schema of scenario files, by which editors complete and check them.

    A file uses it by its first line, '# yaml-language-server: $schema=scenario.schema.json'.
    """
    from dss_marl._assets import write_text
    from dss_marl.envs.scenario_schema import schema_text
    from dss_marl.experiments.runs.record_schema import record_schema_text

    text = record_schema_text() if record else schema_text()
    if out is None:
        typer.echo(text, nl=False)
        return
    write_text(out, text)
    saved(out)
