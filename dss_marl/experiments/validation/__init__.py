"""Validation: the proof that a scenario is worth learning, and the suite's table made of such proofs."""

from dss_marl.experiments.validation.check import CHECKS, CheckResult, failures
from dss_marl.experiments.validation.proof import Proof, prove

__all__ = ["CHECKS", "CheckResult", "Proof", "failures", "prove"]
