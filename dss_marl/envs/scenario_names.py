"""Names in a scenario that packages above define, and checks of names when a scenario is read."""

from __future__ import annotations

from collections.abc import Sequence

from dss_marl._plugins import imported
from dss_marl.mdp.observations import named_feature
from dss_marl.mdp.rewards import cost_channel, reward_term

# Of controllers.REFERENCES and controllers.PLANNERS, which a scenario may name but this package may not import.
REFERENCE_CONTROLLERS = (
    "no_control",
    "random",
    "opendss_controls",
    "droop",
    "tuned_droop",
    "rationing",
    "load_following",
    "time_of_use",
    "equal_share",
    "volt_watt",
    "self_consumption",
    "valley_filling",
    "peak_shaving",
    "follow_request",
    "voltage_reduction",
    "best_constant",
    "hold_first",
    "branch_exchange",
    "greedy",
    "zone_greedy",
    "nearest_tie",
    "nearest_section",
    "priority_first",
    "restore_most",
    "crew_rollout",
    "linear",
    "best_response",
    "best_known",
    "nearest_meter",
    "typical_loads",
    "local_wls",
    "wls",
)
PLANNERS = (
    "crews",
    "exact_dp",
    "fair_curtailment",
    "volt_var",
    "beam_search",
    "community",
    "energy",
    "reconfiguration",
    "restoration",
    "coordinate_search",
)
REGULATOR_BAND = "regulator_band_v"
DROOP_KEYS = ("v_ref_pu", "dead_band_pu", "slope", "limit", REGULATOR_BAND)


def check_controller(name: str) -> None:
    """Whether a controller is called so, or is one's own; ValueError else."""
    if name not in REFERENCE_CONTROLLERS and not callable(imported(name, "controller", REFERENCE_CONTROLLERS)):
        raise ValueError(f"controller {name!r} is neither a class nor a function that gives a controller")


def check_planner(name: str) -> None:
    """Whether a planner is called so, or is one's own, or none is named; ValueError else."""
    if name and name not in PLANNERS:
        imported(name, "planner", PLANNERS)


def check_terms(rewards: Sequence[str] = (), costs: Sequence[str] = (), observations: Sequence[str] = ()) -> None:
    """Whether there are functions of these names, and of the right form; ValueError else."""
    for name in rewards:
        reward_term(name)
    for name in costs:
        cost_channel(name)
    for name in observations:
        named_feature(name)


def check_droop(curve: dict[str, float]) -> None:
    """Whether these are the numbers of a tuned droop, or none; ``limit`` and the regulators' band may be missing.

    Raises:
        ValueError: an unknown or missing key, or a band that no regulator can hold.
    """
    unknown = sorted(set(curve) - set(DROOP_KEYS))
    if unknown:
        raise ValueError(f"unknown key {unknown[0]!r}; known: {', '.join(DROOP_KEYS)}")
    missing = [key for key in DROOP_KEYS[:3] if key not in curve]
    if curve and missing:
        raise ValueError(f"{missing[0]} is missing; a curve has {', '.join(DROOP_KEYS)}")
    if curve.get(REGULATOR_BAND, 1.0) <= 0:
        raise ValueError(f"{REGULATOR_BAND} must be above 0 V; got {curve[REGULATOR_BAND]:g}")
