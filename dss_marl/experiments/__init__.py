"""Train policies, evaluate them against the reference controllers, and keep records.

Training and loading of policies need Stable-Baselines3; importing this package does not.
"""

from dss_marl.envs.training_settings import TrainingSettings
from dss_marl.experiments.comparison import compare
from dss_marl.experiments.evaluation import ComparisonTable, environment_for, evaluate, evaluate_all, run_day
from dss_marl.experiments.parameter_search import SearchResults, TrialResult, search
from dss_marl.experiments.recipes import Recipe, list_recipes, load_recipe
from dss_marl.experiments.runs.policies import load_policy
from dss_marl.experiments.runs.run_record import RunRecord, load_run, new_record
from dss_marl.experiments.shipped.shipped_policies import TrainedPolicy, list_policies
from dss_marl.experiments.solve_days import solve
from dss_marl.experiments.training.many_copies import COPIES, with_copies
from dss_marl.experiments.training.reproduce import Reproduction, reproduce
from dss_marl.experiments.training.resume import resume
from dss_marl.experiments.training.train import train
from dss_marl.experiments.validation import Proof, prove
from dss_marl.integrations.sb3.trained_policy import PolicyPerAgent, PolicyPerKind, SharedPolicy
from dss_marl.mdp.return_statistics import mean_interval

__all__ = [
    "COPIES",
    "ComparisonTable",
    "PolicyPerAgent",
    "PolicyPerKind",
    "Proof",
    "Recipe",
    "Reproduction",
    "RunRecord",
    "SearchResults",
    "SharedPolicy",
    "TrainedPolicy",
    "TrainingSettings",
    "TrialResult",
    "compare",
    "environment_for",
    "evaluate",
    "evaluate_all",
    "list_policies",
    "list_recipes",
    "load_policy",
    "load_recipe",
    "load_run",
    "mean_interval",
    "new_record",
    "prove",
    "reproduce",
    "resume",
    "run_day",
    "search",
    "solve",
    "train",
    "with_copies",
]
