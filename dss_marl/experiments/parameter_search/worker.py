"""The process of one trial, which it reads from its input."""

from __future__ import annotations

import sys

from dss_marl.experiments.parameter_search.trial_job import TrialJob
from dss_marl.experiments.study.worker import do

if __name__ == "__main__":
    sys.exit(do(TrialJob))
