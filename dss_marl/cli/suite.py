"""``dss-marl suite``: the tables of all scenarios, written into the checkout."""

from __future__ import annotations

from pathlib import Path

from dss_marl.cli.console import say


def suite() -> None:
    """Write docs/suite.md and the README's table from the results of all scenarios; run it in a checkout."""
    from dss_marl.experiments.reports.suite_table import write_suite

    for path in write_suite(Path.cwd()):
        say(f"wrote {path}")
