"""The process of one job, which it reads from its input; what goes wrong is the last line of its output."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from typing import Protocol, TypeVar

from dss_marl.experiments.study.job import Job, stop_with


class Doable(Protocol):
    """A job as data, such as Job."""

    def run(self, alive: Callable[[], None]) -> None:
        """Do it; ``alive`` raises to stop."""

    @classmethod
    def model_validate_json(cls: type[One], json_data: str) -> One:
        """The job that a text says."""


One = TypeVar("One", bound=Doable)


def do(kind: type[Doable]) -> int:
    """Do the job of this kind that the input says; 0 if it was done."""
    parent = os.getppid()
    job = kind.model_validate_json(sys.stdin.read())
    try:
        job.run(stop_with(parent))
    except Exception as error:  # whatever it is becomes the reason of a cell that failed
        traceback.print_exc()
        said = " ".join(str(error).split()) or "without a message"
        sys.stderr.write(f"{type(error).__name__}: {said}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(do(Job))
