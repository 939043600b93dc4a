"""Search for training settings by trials, through Optuna; needs ``pip install 'dss_marl[search]'``."""

from dss_marl.experiments.parameter_search.results import SearchResults, TrialResult
from dss_marl.experiments.parameter_search.search import search
from dss_marl.experiments.parameter_search.space import Parameter, Space, default_space, read_space

__all__ = ["Parameter", "SearchResults", "Space", "TrialResult", "default_space", "read_space", "search"]
