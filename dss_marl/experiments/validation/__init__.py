"""Validation: checks that a scenario is worth learning, with their results as files."""

from dss_marl.experiments.validation.check import CHECKS, CheckResult, failures
from dss_marl.experiments.validation.proof import Proof, prove

__all__ = ["CHECKS", "CheckResult", "Proof", "failures", "prove"]
