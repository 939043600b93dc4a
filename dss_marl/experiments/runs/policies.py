"""Policies of runs, loaded according to their records."""

from __future__ import annotations

from pathlib import Path

from dss_marl.controllers import Controller
from dss_marl.envs.training_settings import TrainingSettings
from dss_marl.experiments.runs.run_folder import check_files
from dss_marl.experiments.runs.run_record import load_run
from dss_marl.integrations.sb3.trained_policy import PolicyPerKind, SharedPolicy


def load_policy(folder: Path, trust: bool = False) -> Controller:
    """The best policy of a run, shared or per kind according to its record.

    Args:
        folder: of the run.
        trust: load SB3's own model, which can go on learning, but whose author can run any code as it is loaded.

    Raises:
        ValueError: no run there, or its files are missing or not those of its record.
    """
    record = load_run(folder)
    settings = TrainingSettings.model_validate(record.settings)
    check_files(folder, record)
    kind = SharedPolicy if settings.policies == "shared" else PolicyPerKind
    policy = kind.load_sb3(folder, settings.algorithm) if trust else kind.load(folder)
    policy.guard = settings.guard
    return policy
