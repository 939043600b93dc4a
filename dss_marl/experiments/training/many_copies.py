"""Training settings for many copies, from those that a scenario has for few."""

from __future__ import annotations

from typing import Any

from dss_marl.envs.batch_env import MOST_COPIES
from dss_marl.envs.scenario import Scenario
from dss_marl.envs.training_settings import TrainingSettings

COPIES = 256  # where a batch engine is named and no number
_SHORTEST = 8  # steps between updates: advantages look ahead about 1 / (1 - gamma lambda) = 5 steps


def with_copies(scenario: Scenario, copies: int, agent_steps: int | None = None) -> Scenario:
    """The scenario with settings for a number of copies.

    As many gradient steps as before, from larger batches: the rollout of each copy is shortened as far as ``n_steps``
    of the scenario times its copies allow, but not below 8 steps. Of the samples that an update then has more, twice
    as many make an update of twice as many gradient steps, and the rest goes into larger batches, and into
    ``agent_steps`` in proportion. So updates are half as many, and evaluations twice, since the best policy is kept and
    the last one need not be it. On ieee34_volt_var this learned better than keeping the number of updates, and much
    better than fewer passes over the samples.

    Algorithms with a replay buffer make as many gradient steps for each agent-step as before, in longer updates after
    as few steps of each copy as it takes; their batches and agent-steps stay.

    Args:
        scenario: with its own ``training``.
        copies: their number; that of the scenario changes nothing.
        agent_steps: in place of the proportional ones.

    Raises:
        ValueError: fewer than one copy, or too many.
    """
    if not 1 <= copies <= MOST_COPIES:
        raise ValueError(f"copies must be a whole number from 1 to {MOST_COPIES}; got {copies}")
    before = TrainingSettings.model_validate(scenario.training)
    if before.is_off_policy:
        return scenario.replace(training={**scenario.training, **_off_policy(before, copies, agent_steps)})
    steps = before.n_envs * before.n_steps  # of all copies between updates
    n_steps = max(-(-steps // copies), min(_SHORTEST, before.n_steps))
    larger = max(1.0, copies * n_steps / steps / 2)
    settings = {
        "n_envs": copies,
        "n_steps": n_steps,
        "batch_size": round(before.batch_size * larger),
        "agent_steps": round(before.agent_steps * larger) if agent_steps is None else agent_steps,
        "evaluations": before.evaluations * (2 if larger > 1 else 1),
    }
    return scenario.replace(training={**scenario.training, **settings})


def _off_policy(before: TrainingSettings, copies: int, agent_steps: int | None) -> dict[str, Any]:
    own = before.off_policy
    train_freq = -(-before.n_envs * own.train_freq // copies)
    return {
        "n_envs": copies,
        "agent_steps": before.agent_steps if agent_steps is None else agent_steps,
        "off_policy": {**own.model_dump(), "train_freq": train_freq},
    }
