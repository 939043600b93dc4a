"""Constant actions: which there are to try, what they earn, and the best that a search finds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from dss_marl.devices import DeviceGroup
from dss_marl.envs.batch_env import BatchZoneEnv
from dss_marl.envs.task import Task
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.grid.state import Array
from dss_marl.profiles.splits import seed_of

SHARES = (-1.0, -0.5, 0.0, 0.5, 1.0)  # values of a continuous entry
MOST_POSITIONS = 17  # at most this many of an entry's positions are tried, evenly spaced
_COPIES = 64  # episodes played at once

Returns = Callable[[Array], Array]  # mean returns (K) of constant joint actions (K, F)


def constants(task: Task) -> dict[str, Array]:
    """Name to (F): a grid of values for each kind of entry on all devices of the kind, and for all entries together."""
    found: dict[str, Array] = {}
    action_layout = task.agents.action_layout
    for group, part, (_, width) in zip(task.device_groups, action_layout.parts, action_layout.shapes, strict=True):
        for k, label in enumerate(group.action_labels):
            for value in values_of(group, k):
                joint_action = task.default_action.copy()
                joint_action[part][k::width] = value
                found[f"{type(group).__name__}, {label}: {value:.3g}"] = joint_action
    for value in SHARES:
        found[f"every entry: {value:g}"] = np.full(action_layout.size, value)
    return {
        name: joint_action
        for name, joint_action in found.items()
        if not np.array_equal(joint_action, task.default_action)
    }


def entry_values(task: Task) -> list[list[float]]:
    """(F) lists: values tried for each entry."""
    return [
        values_of(group, k)
        for group in task.device_groups
        for _ in range(group.size)
        for k in range(len(group.action_labels))
    ]


def values_of(group: DeviceGroup, entry: int) -> list[float]:
    """Values tried for an entry: its positions if it has positions, else a few shares."""
    count = int(group.n_levels()[:, entry].max(initial=0))
    return np.linspace(-1, 1, min(count, MOST_POSITIONS)).tolist() if count > 1 else list(SHARES)


def climbed(start: Array, earned: float, task: Task, tries: int, returns: Returns, together: int = 1) -> Array:
    """(F) a constant at least as good as the start, found by changes of single entries.

    Args:
        start: (F).
        earned: its mean return.
        task: whose entries are changed.
        tries: number of changes.
        returns: of constants.
        together: changes tried at once, each of the best constant so far; the best of them is kept.
    """
    best, values, rng = start.copy(), entry_values(task), np.random.default_rng(0)
    rounds = -(-tries // len(best))
    order = np.concatenate([rng.permutation(len(best)) for _ in range(rounds)])[:tries]
    for first in range(0, tries, together):
        entries = order[first : first + together]
        rows = np.tile(best, (len(entries), 1))
        for row, entry in zip(rows, entries.tolist(), strict=True):
            row[entry] = rng.choice([value for value in values[entry] if abs(value - best[entry]) > 1e-9])
        worth = returns(rows)
        if worth.max() > earned:
            best, earned = rows[int(np.argmax(worth))].copy(), float(worth.max())
    return best


def constant_returns(task: Task, joint_actions: Array, days: Sequence[int], split: str) -> Array:
    """(K, days) team returns of constant joint actions, on the batched engine where it has a model of the feeder.

    Args:
        task: of the episodes.
        joint_actions: (K, F).
        days: of the split.
        split: train, validation or test.
    """
    pairs = [(row, day) for row in joint_actions for day in days]
    env = _batch(task, min(_COPIES, len(pairs)), split)
    if env is None:
        earned = _one_by_one(task, pairs, split)
    else:
        parts = [pairs[first : first + env.copies] for first in range(0, len(pairs), env.copies)]
        earned = [value for part in parts for value in _together(env, part)]
        env.close()
    return np.array(earned).reshape(len(joint_actions), len(days))


def _batch(task: Task, copies: int, split: str) -> BatchZoneEnv | None:
    """An environment on the batched engine; None without Numba, on a feeder that it refuses, and with the circuit's
    own controls, whose decisions may depend on the last digit.
    """
    if find_spec("numba") is None or task.scenario.circuit_controls:
        return None
    try:
        return BatchZoneEnv(task, copies, split, "batched")
    except ValueError:
        return None


def _together(env: BatchZoneEnv, pairs: Sequence[tuple[Array, int]]) -> list[float]:
    """Team returns of constants, each on its day."""
    filled = [pairs[min(k, len(pairs) - 1)] for k in range(env.copies)]
    env.reset([seed_of(day) for _, day in filled], [{"day": day} for _, day in filled])
    actions: list[dict[str, Any]] = [env.task.encoding.encode(row) for row, _ in filled]
    total, running = np.zeros(env.copies), np.ones(env.copies, bool)
    for _ in range(env.task.scenario.steps):
        step = env.step(actions)
        total += np.where(running, env.team_reward, 0.0)
        running &= ~step.terminated
    return [float(value) for value in total[: len(pairs)]]


def _one_by_one(task: Task, pairs: Sequence[tuple[Array, int]], split: str) -> list[float]:
    env, earned = ZoneEnv(task, split), []
    for row, day in pairs:
        env.reset(seed=seed_of(day), options={"day": day})
        actions, total = task.encoding.encode(row), 0.0
        while env.agents:
            env.step(actions)
            total += env.team_reward
        earned.append(total)
    env.close()
    return earned
