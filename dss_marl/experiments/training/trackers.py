"""Trackers of experiments: Weights & Biases and MLflow, through what they and SB3 have for each other."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from dss_marl.experiments.runs.run_record import RunRecord

_PROJECT = "dss_marl"
_TAG = "dss_marl_run"


class Tracker(Protocol):
    """Where the figures of a run go beside its folder."""

    def writer(self, kind: str) -> Any | None:
        """A format for the logger of a kind's model; None if it gets the figures otherwise."""

    def callbacks(self) -> list[Any]:
        """SB3's callbacks."""

    def close(self) -> None:
        """End it."""


def check_trackers(names: Sequence[str]) -> None:
    """Check that these trackers exist and are installed.

    Raises:
        ValueError: there is no such tracker.
        ImportError: it is not installed; the message says how to.
    """
    for name in names:
        if name not in TRACKERS:
            raise ValueError(f"unknown tracker {name!r}; known: {', '.join(TRACKERS)}")
        try:
            __import__(name)
        except ImportError as error:
            raise ImportError(f"log {name!r} needs it installed: pip install 'dss_marl[tracking]' ({error})") from error


def open_trackers(names: Sequence[str], folder: Path, record: RunRecord) -> list[Tracker]:
    """Start these trackers; a run that is resumed goes on in the same place."""
    return [TRACKERS[name](folder, record) for name in dict.fromkeys(names)]


def identity(record: RunRecord) -> str:
    """What tells the run from all others, also after its folder has moved."""
    return hashlib.sha256(f"{record.scenario['name']} {record.seed} {record.started}".encode()).hexdigest()[:16]


class WandbTracker:
    """Weights & Biases, which reads the events of TensorBoard."""

    def __init__(self, folder: Path, record: RunRecord) -> None:
        import wandb

        self._run = wandb.init(
            project=_PROJECT,
            name=folder.resolve().name,
            id=identity(record),
            resume="allow",
            dir=str(folder),
            config={"scenario": record.scenario["name"], "seed": record.seed, **record.settings},
            sync_tensorboard=True,
        )

    def writer(self, kind: str) -> Any | None:
        """None: it reads TensorBoard's."""

    def callbacks(self) -> list[Any]:
        """Its own callback for SB3."""
        from wandb.integration.sb3 import WandbCallback

        return [WandbCallback()]

    def close(self) -> None:
        """End its run."""
        self._run.finish()


class MlflowTracker:
    """MLflow, by a format of SB3's logger."""

    def __init__(self, folder: Path, record: RunRecord) -> None:
        import mlflow

        mlflow.set_experiment(_PROJECT)
        tag = identity(record)
        earlier = mlflow.search_runs(filter_string=f"tags.{_TAG} = '{tag}'", output_format="list")
        if earlier:
            mlflow.start_run(run_id=earlier[0].info.run_id)
        else:
            mlflow.start_run(run_name=folder.resolve().name, tags={_TAG: tag})
            mlflow.log_params({"scenario": record.scenario["name"], "seed": record.seed, **record.settings})

    def writer(self, kind: str) -> Any | None:
        """The format that sends the figures."""
        from dss_marl.experiments.training.mlflow_format import MlflowFormat

        return MlflowFormat(f"{kind}/" if kind else "")

    def callbacks(self) -> list[Any]:
        """None."""
        return []

    def close(self) -> None:
        """End its run."""
        import mlflow

        mlflow.end_run()


TRACKERS: dict[str, Callable[[Path, RunRecord], Tracker]] = {"wandb": WandbTracker, "mlflow": MlflowTracker}
