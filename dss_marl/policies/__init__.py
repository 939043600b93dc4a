"""Reference controllers: what a trained policy has to beat."""

from dss_marl.policies.base import Controller, NoControl, RandomControl, is_local
from dss_marl.policies.charging import ValleyFilling
from dss_marl.policies.droop import CATEGORY_B, Droop, DroopCurve, tune_droop
from dss_marl.policies.estimation import NearestMeter, WeightedLeastSquares
from dss_marl.policies.greedy import Greedy
from dss_marl.policies.plans import Planned, Plans, load_plans
from dss_marl.policies.rationing import Rationing
from dss_marl.policies.references import BY_NAME, REFERENCES, reference
from dss_marl.policies.tariff import TimeOfUse
from dss_marl.policies.zone_greedy import ZoneGreedy

__all__ = [
    "BY_NAME",
    "CATEGORY_B",
    "REFERENCES",
    "Controller",
    "Droop",
    "DroopCurve",
    "Greedy",
    "NearestMeter",
    "NoControl",
    "Planned",
    "Plans",
    "RandomControl",
    "Rationing",
    "TimeOfUse",
    "ValleyFilling",
    "WeightedLeastSquares",
    "ZoneGreedy",
    "is_local",
    "load_plans",
    "reference",
    "tune_droop",
]
