"""Runs: the record of a training, its folder, and the scenario and policy that they name."""
