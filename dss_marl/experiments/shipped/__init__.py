"""Trained policies that ship with the package: loading, shipping, and their model cards."""

from dss_marl.experiments.shipped.shipped_policies import TrainedPolicy, list_policies
from dss_marl.experiments.shipped.shipped_policies import load_trained as load_policy

__all__ = ["TrainedPolicy", "list_policies", "load_policy"]
