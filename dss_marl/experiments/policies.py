"""Policies of runs, loaded according to their records."""

from __future__ import annotations

from pathlib import Path

from dss_marl.controllers import Controller
from dss_marl.envs.training_settings import TrainingSettings
from dss_marl.experiments.run_record import load_run
from dss_marl.integrations.sb3.trained_policy import PolicyPerKind, SharedPolicy


def load_policy(folder: Path) -> Controller:
    """The best policy of a run, shared or per kind according to its record.

    Raises:
        ValueError: no run there.
    """
    settings = TrainingSettings.model_validate(load_run(folder).settings)
    return (SharedPolicy if settings.policies == "shared" else PolicyPerKind).load(folder, settings.algorithm)
