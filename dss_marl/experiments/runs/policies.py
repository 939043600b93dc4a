"""Policies of runs, loaded according to their records."""

from __future__ import annotations

from pathlib import Path

from dss_marl.controllers import Controller
from dss_marl.envs.inverter_aids import InverterAids
from dss_marl.envs.training_settings import TrainingSettings
from dss_marl.experiments.runs.run_folder import check_files
from dss_marl.experiments.runs.run_record import load_run
from dss_marl.integrations.sb3.trained_policy import LAST, POLICIES, POLICY


def load_policy(folder: Path, trust: bool = False, last: bool = False) -> Controller:
    """The best policy of a run, or the last one: shared, per kind or per agent according to its record.

    Args:
        folder: of the run.
        trust: load SB3's own model of the best, which can go on learning, but whose author can run any code as it is
            loaded.
        last: that of the last checkpoint, in place of the one that was best on validation days.

    Raises:
        ValueError: no run there, its files are missing or not those of its record, or ``trust`` with ``last``.
    """
    if trust and last:
        raise ValueError("SB3's own model is kept of the best policy alone; give trust or last, not both")
    record = load_run(folder)
    settings = TrainingSettings.model_validate(record.settings)
    check_files(folder, record, last)
    kind = POLICIES[settings.sharing]
    policy = kind.load_sb3(folder, settings.algorithm) if trust else kind.load(folder, LAST if last else POLICY)
    policy.aids = InverterAids.of(settings)
    return policy
