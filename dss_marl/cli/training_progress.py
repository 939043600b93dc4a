"""The progress line of a training: rate, time left and key figures of the last evaluation."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn

from dss_marl.cli.console import plain_column, progress_bar, say

if TYPE_CHECKING:  # experiments take long to import, and --help does not need them
    from dss_marl.experiments import RunRecord
    from dss_marl.experiments.training.checkpointing import Report

_SHOWN = 2  # key figures beside the return


@contextmanager
def training_progress(name: str, total: int) -> Iterator[Report]:
    """A progress line; what is entered is the ``report`` of ``train``.

    Args:
        name: of the scenario.
        total: agent-steps in the end.
    """
    columns = (
        BarColumn(20),
        MofNCompleteColumn(),
        plain_column("{task.fields[rate]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
        plain_column("{task.fields[figures]}"),
    )
    with progress_bar(*columns) as progress:
        bar = progress.add_task(f"training {name}", total=total, rate="", figures="")
        begin: tuple[float, int] | None = None

        def report(steps: int, figures: Mapping[str, float] | None) -> None:
            nonlocal begin
            begin = begin or (time.monotonic(), steps)  # a run that is resumed has steps already
            passed = time.monotonic() - begin[0]
            rate = f"{(steps - begin[1]) / passed:,.0f}/s" if passed > 1 else ""
            progress.update(bar, completed=min(steps, total), rate=rate)
            if figures is not None:
                progress.update(bar, figures=key_figures(figures))

        yield report


def key_figures(figures: Mapping[str, float]) -> str:
    """The return on validation days, and the first of the other figures that are not zero there."""
    from dss_marl.experiments.metrics import FIGURES, about_figure

    left_out = ("team_return", "controllable_rate")
    others = [name for name in FIGURES if name not in left_out and figures.get(name)][:_SHOWN]
    told = [
        f"{heading} {figures[name]:.3g} {unit}".rstrip() for name in others for unit, heading, _ in [about_figure(name)]
    ]
    return ", ".join([f"validation return {figures['team_return']:.2f}", *told])


def say_result(record: RunRecord, folder: object) -> None:
    """Say what a training has led to."""
    best = max(record.history, key=lambda row: row["score"])
    say(
        f"{record.agent_steps} agent-steps in {record.seconds:.0f} s ({record.agent_steps_per_second:.0f} a second); "
        f"best validation return {best['score']:.3f} after {best['agent_steps']:.0f}; saved in {folder}"
    )
    for remark in record.remarks():
        say(f"note: {remark}")
