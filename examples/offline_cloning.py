"""Offline learning: log days under a controller as Minari datasets, clone it from them, score the clone on test days.

Needs minari (``pip install "dss_marl[offline]"``); the clone is a small network of scikit-learn, shared by all agents.
"""

import argparse
import os
import tempfile

import numpy as np
from sklearn.neural_network import MLPRegressor

from dss_marl import load_scenario
from dss_marl.controllers import NoControl, reference
from dss_marl.experiments import environment_for, evaluate_all
from dss_marl.integrations.minari_datasets import write_datasets
from dss_marl.profiles import spread_days


class Clone:
    """A regression from what an agent observes to what it does; the same for all agents."""

    circuit_controls = True  # as its teacher

    def __init__(self, regression):
        self.regression = regression

    def reset(self, env):
        """Nothing to prepare."""

    def act(self, env, observations):
        rows = np.stack([observations[agent] for agent in env.possible_agents])
        actions = self.regression.predict(rows).reshape(len(rows), -1).clip(-1, 1).astype(np.float32)
        return dict(zip(env.possible_agents, actions, strict=True))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--train-days", type=int, default=20)
    parser.add_argument("--test-days", type=int, default=10)
    arguments = parser.parse_args()
    os.environ.setdefault("MINARI_DATASETS_PATH", tempfile.mkdtemp())
    import minari

    scenario = load_scenario("ieee34_var")
    teacher = reference("tuned_droop", scenario)
    env = environment_for(teacher, scenario, "train")
    names = write_datasets(env, teacher, spread_days(env.days, arguments.train_days), "ieee34_var/tuned_droop")
    env.close()

    episodes = [e for name in names[1:] for e in minari.load_dataset(name).iterate_episodes()]  # the first is central
    seen = np.concatenate([episode.observations[:-1] for episode in episodes])  # the last has no action
    done = np.concatenate([episode.actions for episode in episodes])
    clone = Clone(
        MLPRegressor(hidden_layer_sizes=(64, 64), early_stopping=True, random_state=0).fit(seen, done.squeeze())
    )

    controllers = {"no_control": NoControl(circuit_controls=True), "clone": clone, "tuned_droop": teacher}
    table = evaluate_all(controllers, scenario, "test", arguments.test_days)
    for name in controllers:
        print(f"{name}: team return {table.column(name, 'team_return').mean():.3f}")
