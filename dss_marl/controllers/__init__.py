"""Reference controllers: baselines for trained policies."""

from dss_marl.controllers.base import (
    Controller,
    NoControl,
    RandomControl,
    WrappedController,
    acts_with,
    is_local,
    own_variant,
    place_of,
    uses_circuit_controls,
)
from dss_marl.controllers.estimation.estimators import NearestMeter, WeightedLeastSquares
from dss_marl.controllers.planning.community.selfish_control import BestResponse
from dss_marl.controllers.planning.plan_files import PlanReplay, Plans, load_plans
from dss_marl.controllers.planning.solve import Planner, solve_day
from dss_marl.controllers.registry import OPT_IN, REFERENCES, RULES, reference
from dss_marl.controllers.rules.best_constant import BestConstant
from dss_marl.controllers.rules.curtailment import EqualShare, VoltWatt
from dss_marl.controllers.rules.droop import CATEGORY_B, Droop, DroopCurve, tune_droop
from dss_marl.controllers.rules.hold_first import HoldFirst
from dss_marl.controllers.rules.load_following import LoadFollowing
from dss_marl.controllers.rules.load_rationing import LoadRationing
from dss_marl.controllers.rules.self_consumption import SelfConsumption
from dss_marl.controllers.rules.time_of_use import TimeOfUse
from dss_marl.controllers.rules.valley_filling import ValleyFilling
from dss_marl.controllers.rules.voltage_reduction import VoltageReduction
from dss_marl.controllers.search.greedy import Greedy
from dss_marl.controllers.search.zone_greedy import ZoneGreedy

__all__ = [
    "CATEGORY_B",
    "OPT_IN",
    "REFERENCES",
    "RULES",
    "BestConstant",
    "BestResponse",
    "Controller",
    "Droop",
    "DroopCurve",
    "EqualShare",
    "Greedy",
    "HoldFirst",
    "LoadFollowing",
    "LoadRationing",
    "NearestMeter",
    "NoControl",
    "PlanReplay",
    "Planner",
    "Plans",
    "RandomControl",
    "SelfConsumption",
    "TimeOfUse",
    "ValleyFilling",
    "VoltWatt",
    "VoltageReduction",
    "WeightedLeastSquares",
    "WrappedController",
    "ZoneGreedy",
    "acts_with",
    "is_local",
    "load_plans",
    "own_variant",
    "place_of",
    "reference",
    "solve_day",
    "tune_droop",
    "uses_circuit_controls",
]
