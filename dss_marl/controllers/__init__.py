"""Reference controllers: what a trained policy has to beat."""

from dss_marl.controllers.base import Controller, NoControl, RandomControl, is_local
from dss_marl.controllers.estimation.estimators import NearestMeter, WeightedLeastSquares
from dss_marl.controllers.planning.plan_files import Planned, Plans, load_plans
from dss_marl.controllers.registry import BY_NAME, REFERENCES, reference
from dss_marl.controllers.rules.droop import CATEGORY_B, Droop, DroopCurve, tune_droop
from dss_marl.controllers.rules.load_rationing import Rationing
from dss_marl.controllers.rules.time_of_use import TimeOfUse
from dss_marl.controllers.rules.valley_filling import ValleyFilling
from dss_marl.controllers.search.greedy import Greedy
from dss_marl.controllers.search.zone_greedy import ZoneGreedy

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
