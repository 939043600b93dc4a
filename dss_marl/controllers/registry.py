"""Reference controllers by name."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, signature

from dss_marl._plugins import imported
from dss_marl.controllers.base import Controller, NoControl, RandomControl
from dss_marl.controllers.estimation.estimators import NearestMeter, WeightedLeastSquares
from dss_marl.controllers.planning.community.selfish_control import BestResponse
from dss_marl.controllers.planning.plan_files import PlanReplay, load_plans
from dss_marl.controllers.rules.best_constant import BestConstant
from dss_marl.controllers.rules.crew_rules import NearestSection, PriorityFirst, RestoreMost
from dss_marl.controllers.rules.curtailment import EqualShare, VoltWatt
from dss_marl.controllers.rules.droop import Droop, DroopCurve, tuning_key
from dss_marl.controllers.rules.head_rules import FollowRequest, PeakShaving
from dss_marl.controllers.rules.hold_first import HoldFirst
from dss_marl.controllers.rules.load_following import LoadFollowing
from dss_marl.controllers.rules.load_rationing import LoadRationing
from dss_marl.controllers.rules.nearest_tie import NearestTie
from dss_marl.controllers.rules.self_consumption import SelfConsumption
from dss_marl.controllers.rules.time_of_use import TimeOfUse
from dss_marl.controllers.rules.valley_filling import ValleyFilling
from dss_marl.controllers.rules.voltage_reduction import VoltageReduction
from dss_marl.controllers.search.branch_exchange import BranchExchange
from dss_marl.controllers.search.crew_rollout import CrewRollout
from dss_marl.controllers.search.greedy import Greedy
from dss_marl.controllers.search.sensitivity_control import SensitivityControl
from dss_marl.controllers.search.zone_greedy import ZoneGreedy
from dss_marl.envs.scenario import Scenario
from dss_marl.envs.scenario_names import REGULATOR_BAND


def _tuned(scenario: Scenario) -> Controller:
    if not scenario.tuned_droop:
        raise ValueError(f"scenario {scenario.name!r} has no tuned_droop; 'dss-marl tune {scenario.name}' finds one")
    if scenario.tuned_on != tuning_key(scenario):
        what = "another feeder, other inverters or other rewards" if scenario.tuned_on else "something it does not say"
        raise ValueError(
            f"the tuned_droop of scenario {scenario.name!r} was tuned on {what}; 'dss-marl tune' finds one for this one"
        )
    curve = dict(scenario.tuned_droop)
    band_v = curve.pop(REGULATOR_BAND, None)
    if band_v is not None and scenario.circuit_controls:
        raise ValueError(
            f"the tuned_droop of scenario {scenario.name!r} has {REGULATOR_BAND}, but its regulators are part of the "
            f"circuit (circuit_controls); remove {REGULATOR_BAND}"
        )
    return Droop(DroopCurve(**curve), regulator_band_v=band_v)


REFERENCES: dict[str, Callable[[Scenario], Controller]] = {
    "no_control": lambda scenario: NoControl(),
    "random": lambda scenario: RandomControl(),
    "opendss_controls": lambda scenario: NoControl(circuit_controls=True),
    "droop": lambda scenario: Droop(),
    "tuned_droop": _tuned,
    "rationing": lambda scenario: LoadRationing(),
    "load_following": lambda scenario: LoadFollowing(),
    "time_of_use": lambda scenario: TimeOfUse(),
    "equal_share": lambda scenario: EqualShare(),
    "volt_watt": lambda scenario: VoltWatt(),
    "self_consumption": lambda scenario: SelfConsumption(),
    "valley_filling": lambda scenario: ValleyFilling(),
    "peak_shaving": lambda scenario: PeakShaving(),
    "follow_request": lambda scenario: FollowRequest(),
    "voltage_reduction": lambda scenario: VoltageReduction(),
    "best_constant": lambda scenario: BestConstant(),
    "hold_first": lambda scenario: HoldFirst(),
    "branch_exchange": lambda scenario: BranchExchange(),
    "greedy": lambda scenario: Greedy(),
    "zone_greedy": lambda scenario: ZoneGreedy(),
    "nearest_tie": lambda scenario: NearestTie(),
    "nearest_section": lambda scenario: NearestSection(),
    "priority_first": lambda scenario: PriorityFirst(),
    "restore_most": lambda scenario: RestoreMost(),
    "crew_rollout": lambda scenario: CrewRollout(),
    "linear": lambda scenario: SensitivityControl(),
    "best_response": lambda scenario: BestResponse(),
    "best_known": lambda scenario: PlanReplay(load_plans(scenario)),
    "nearest_meter": lambda scenario: NearestMeter(),
    "typical_loads": lambda scenario: WeightedLeastSquares(meters="none"),
    "local_wls": lambda scenario: WeightedLeastSquares(meters="own"),
    "wls": lambda scenario: WeightedLeastSquares(),
}
# These take seconds per day or know some days only, so they run only on request.
OPT_IN = (
    "voltage_reduction",
    "best_constant",
    "hold_first",
    "greedy",
    "zone_greedy",
    "branch_exchange",
    "linear",
    "crew_rollout",
    "best_known",
)
_FORESIGHT = ("best_known", "best_response")  # plan with the day's own load, PV and prices
_CENTRAL = ("wls",)  # measurements of all zones at once: what the estimation task has as its reference
# All others know of each interval what can be known before it. What exceeds the best of them is worth learning.
RULES = tuple(name for name in REFERENCES if name not in ("random", *_FORESIGHT, *_CENTRAL))
_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


def reference(name: str, scenario: Scenario) -> Controller:
    """The reference controller called ``name``, or your own as ``package.module:name``, set up for a scenario.

    Your own is a class or a function that returns a Controller. It is called with the scenario if it has a parameter
    without a default, otherwise without arguments.

    Raises:
        ValueError: unknown, not a controller, or the scenario lacks what it needs.
    """
    if name in REFERENCES:
        return REFERENCES[name](scenario)
    factory = imported(name, "controller", REFERENCES)
    if not callable(factory):
        raise ValueError(f"controller {name!r} is neither a class nor a function that returns a controller")
    needed = [p for p in signature(factory).parameters.values() if p.default is p.empty and p.kind in _POSITIONAL]
    controller: Controller = factory(*[scenario][: len(needed)])
    missing = [part for part in ("reset", "act") if not hasattr(controller, part)]
    if missing:
        raise ValueError(f"controller {name!r} has no {', '.join(missing)}; see dss_marl.controllers.Controller")
    return controller
