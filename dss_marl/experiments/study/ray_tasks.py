"""Jobs as tasks of a Ray cluster, whose machines need the package, but share no disk with this one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dss_marl._assets import replacing
from dss_marl.experiments.study.job import EVALUATION, Job
from dss_marl.experiments.study.processes import Outcome, Tick

_PAUSE_S = 1.0


def on_ray(jobs: Sequence[Job], address: str, tick: Tick) -> Iterator[Outcome]:
    """Do jobs on a cluster, one core for each; their files are fetched as they end.

    Args:
        jobs: to do.
        address: of the cluster, as ``ray.init`` takes it: "auto", "ray://host:10001", or "local" to start one here.
        tick: called while waiting, with all jobs that have not ended.

    Yields:
        each job as it ends.

    Raises:
        ImportError: ray is not installed.
    """
    try:
        import ray
    except ImportError:
        raise ImportError(
            "--ray needs ray, which the package does not bring along: pip install 'ray[default]'"
        ) from None
    ray.init(address=address, ignore_reinit_error=True, log_to_driver=False)
    task = ray.remote(num_cpus=1, max_retries=0)(files_of)
    waiting = {task.remote(job.model_dump(mode="json")): job for job in jobs}
    while waiting:
        done, _ = ray.wait(list(waiting), num_returns=1, timeout=_PAUSE_S)
        tick(list(waiting.values()))
        for one in done:
            job = waiting.pop(one)
            try:
                _keep(ray.get(one), job.place)
            except Exception as error:  # ray hands on whatever the task raised, or that its machine is gone
                lines = [line for line in str(error).splitlines() if line.strip()]
                yield job, lines[-1] if lines else type(error).__name__
            else:
                yield job, ""


def files_of(data: dict[str, Any]) -> dict[str, bytes]:
    """Do a job in a temporary folder; the files that it wrote, by their path below the job's place."""
    with tempfile.TemporaryDirectory() as folder:
        job = Job.model_validate(data)
        place = Path(folder) / job.place.name
        job.model_copy(update={"place": place}).run()
        files = [place] if place.is_file() else [path for path in place.rglob("*") if path.is_file()]
        return {"" if path == place else str(path.relative_to(place)): path.read_bytes() for path in files}


def _keep(files: dict[str, bytes], place: Path) -> None:
    """Write a job's files, the evaluation last: with it the cell is finished."""
    for name in sorted(files, key=lambda name: name == EVALUATION):
        with replacing(place / name if name else place) as part:
            part.write_bytes(files[name])
