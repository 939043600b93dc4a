"""Weights of scenarios against the table of unit costs; run as a module, it lists those of the shipped ones."""

from __future__ import annotations

import sys

from dss_marl._assets import known_names
from dss_marl.envs.scenario import Scenario
from dss_marl.envs.scenario_files import load_scenario
from dss_marl.mdp.reward_money import deviations


def device_kinds(scenario: Scenario) -> set[str]:
    """Kinds of the scenario's devices."""
    return {str(device["kind"]) for device in scenario.devices}


def money_deviations(scenario: Scenario) -> dict[str, str]:
    """Weights of a scenario that differ from the table of unit costs; see ``deviations``."""
    own = scenario.priorities
    priorities = None if own is None else {"critical": own.critical.weight, "important": own.important.weight}
    return deviations(scenario.rewards, scenario.dt_h, device_kinds(scenario), priorities)


if __name__ == "__main__":
    for name in known_names("scenarios"):
        for term, text in money_deviations(load_scenario(name)).items():
            sys.stdout.write(f"{name}: {term}: {text}\n")
