"""Jobs in processes, several at once; one that crashes leaves the others alone."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from dss_marl.experiments.study.job import Job


class Told(Protocol):
    """What a process is told as data, such as Job."""

    @property
    def name(self) -> str:
        """In messages, and of the file of its output."""

    def model_dump_json(self) -> str:
        """As a text, which the process reads."""


AnyJob = TypeVar("AnyJob", bound=Told)
Outcome = tuple[Job, str]  # a job that ended, and why it failed; "" if it did not
Tick = Callable[[Sequence[Job]], None]  # called several times a second with the jobs under way
_PAUSE_S = 0.2
_WORKER = "dss_marl.experiments.study.worker"


def in_processes(
    jobs: Sequence[AnyJob],
    at_once: int,
    logs: Path,
    tick: Callable[[Sequence[AnyJob]], None],
    worker: str | None = None,
) -> Iterator[tuple[AnyJob, str]]:
    """Do jobs in processes of their own, on one thread each.

    Args:
        jobs: to do, in this order.
        at_once: processes at the same time.
        logs: folder in which each job's output goes into a file.
        tick: called while waiting.
        worker: module that does a job of this kind; default: that of benchmarks.

    Yields:
        each job as it ends; processes that still run when nobody asks any more are ended.
    """
    logs.mkdir(parents=True, exist_ok=True)
    waiting, running = list(jobs), list[tuple[AnyJob, "subprocess.Popen[bytes]"]]()
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                job = waiting.pop(0)
                running.append((job, _started(job, log_file(logs, job), worker or _WORKER)))
            tick([job for job, _ in running])
            ended = [one for one in running if one[1].poll() is not None]
            running = [one for one in running if one not in ended]
            for job, process in ended:
                yield job, _reason(process, log_file(logs, job))
            if not ended:
                time.sleep(_PAUSE_S)
    finally:
        for _, process in running:
            process.terminate()
        for _, process in running:
            process.wait()


def log_file(logs: Path, job: Told) -> Path:
    """Where the output of a job goes."""
    return logs / f"{job.name.replace('/', '--')}.txt"


def _started(job: Told, log: Path, worker: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # as many processes as cores: more threads only wait
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", worker], stdin=subprocess.PIPE, stdout=out, stderr=out, env=environment
        )
    assert process.stdin is not None
    try:
        process.stdin.write(job.model_dump_json().encode())
        process.stdin.close()
    except OSError:
        pass  # it ended at once; its status says so
    return process


def _reason(process: subprocess.Popen[bytes], log: Path) -> str:
    """Why a process failed: the last line of its output, or the signal that ended it."""
    if process.returncode == 0:
        return ""
    if process.returncode < 0:
        return f"ended by signal {-process.returncode}; its output is in {log}"
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else f"exit status {process.returncode}"
