"""Validation: the proof that a scenario is worth learning, and the suite's table made of such proofs."""

from dss_marl.validation.proof import Proof, prove
from dss_marl.validation.row import CHECKS, Row, failures

__all__ = ["CHECKS", "Proof", "Row", "failures", "prove"]
