"""Train a shared policy, evaluate it beside the reference controllers, and keep a record of both."""

from dss_marl.training.evaluation import Table, evaluate, evaluate_all, run_day
from dss_marl.training.record import RunRecord, load_run, new_record
from dss_marl.training.settings import TrainingSettings
from dss_marl.training.shared import SharedPolicy, train

__all__ = [
    "RunRecord",
    "SharedPolicy",
    "Table",
    "TrainingSettings",
    "evaluate",
    "evaluate_all",
    "load_run",
    "new_record",
    "run_day",
    "train",
]
