"""Runs of a shipped scenario that learned for a moment, for tests of what is done with runs."""

import dss_marl
from dss_marl.controllers import reference
from dss_marl.experiments import train

TINY = {"agent_steps": 24, "n_envs": 1, "n_steps": 4, "evaluations": 1, "evaluation_days": 1, "n_epochs": 1}
NAME = "ieee13_volt_var"


def trained(folder, seed=0, **changes):
    """A run in a folder, on the whole scenario; two days to evaluate it take a second."""
    scenario = dss_marl.load_scenario(NAME).replace(training=TINY, **changes)
    train(scenario, folder, seed)
    return folder


def only_two_days(monkeypatch):
    """Results are of two test days instead of all frozen ones, and of three references where these are played."""
    scenario, names = dss_marl.load_scenario(NAME), ("no_control", "opendss_controls", "tuned_droop")
    found = {name: reference(name, scenario) for name in names}
    module = "dss_marl.experiments.study"
    monkeypatch.setattr(f"{module}.collected.days_of_test", lambda scenario: (4, 13))
    monkeypatch.setattr(f"{module}.reference_returns.fitting_references", lambda scenario: (found, {}))
