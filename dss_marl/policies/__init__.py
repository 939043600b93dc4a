"""Reference controllers: what a trained policy has to beat."""

from dss_marl.policies.base import Controller, NoControl, RandomControl
from dss_marl.policies.droop import CATEGORY_B, Droop, DroopCurve, tune_droop
from dss_marl.policies.greedy import Greedy
from dss_marl.policies.references import REFERENCES, SLOW, reference

__all__ = [
    "CATEGORY_B",
    "REFERENCES",
    "SLOW",
    "Controller",
    "Droop",
    "DroopCurve",
    "Greedy",
    "NoControl",
    "RandomControl",
    "reference",
    "tune_droop",
]
