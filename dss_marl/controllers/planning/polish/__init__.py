"""Plans improved by moves that the engines judge, and challenges that a plan must withstand."""

from dss_marl.controllers.planning.polish.challenge import CHALLENGES, challenge

__all__ = ["CHALLENGES", "challenge"]
