"""BatchVectorEnv: several copies of a scenario as a Gymnasium VectorEnv, for a central agent or a shared policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from dss_marl.envs.batch_env import BatchStep, BatchZoneEnv, Options
from dss_marl.envs.central_env import check_one_array, joint_action_space
from dss_marl.grid.copies import put_rows
from dss_marl.grid.state import Array, BoolArray, IntArray

_NOT_SUMMED = ("failed", "day", "TimeLimit.truncated")  # alike for all agents


class BatchVectorEnv(VectorEnv):
    """A BatchZoneEnv under Gymnasium's interface; copies that end are reset within the step (``SAME_STEP``).

    With ``view="central"`` a sub-environment is a copy as ``gym_env`` gives it: one agent observes the ``state`` of all
    zones, joins all agents' actions without padding, and earns the team reward. With ``view="agents"`` a
    sub-environment is one agent of one copy, copy by copy, for a policy that all agents share.

    Infos are arrays over the sub-environments, of the new episode where one ended; ``final_obs`` and ``final_info`` are
    then those of the episode's last step. Where actions are choices, ``action_masks`` gives the allowed ones.

    Args:
        batch: the copies.
        view: central or agents.

    Attributes:
        batch: the copies.
        num_envs: copies, or copies times agents.

    Raises:
        ValueError: the actions do not form one array; or agents with different spaces, in the view of agents.
    """

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP, "render_modes": []}  # noqa: RUF012  # as Gymnasium has it

    def __init__(self, batch: BatchZoneEnv, view: Literal["central", "agents"] = "central") -> None:
        task = batch.task
        if view not in ("central", "agents"):
            raise ValueError(f"view must be 'central' or 'agents'; got {view!r}")
        check_one_array(task.scenario)
        self.batch, self.view = batch, view
        layout = task.agents.action_layout
        self._used, self._rows = layout.used, batch.action_rows.shape
        self._level = _levels_of(task.encoding.counts[layout.place[layout.used]], layout.place[layout.used])
        neutral = task.encoding.encode(task.default_action)
        self._neutral = np.array([neutral[agent] for agent in batch.agents]).reshape(self._rows[1:])
        central = view == "central"
        self.num_envs = batch.copies * (1 if central else len(batch.agents))
        self.single_observation_space = (
            batch.observation_model.alone.state_box() if central else batch.observation_space
        )
        self.single_action_space = joint_action_space(task) if central else batch.action_spaces[batch.agents[0]]
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._seen = np.zeros(0, np.float32)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: Options | Sequence[Options] = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode in every copy; seed and options as for BatchZoneEnv, one of each per copy."""
        self.batch.reset(seed, options)
        self._seen = self._observed()
        return self._seen.copy(), _with_masks(self._summed(self.batch.reset_infos, None))

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, Array, BoolArray, BoolArray, dict[str, Any]]:
        """Operate one interval in every copy.

        Raises:
            ValueError: a wrong shape, NaN or no such choice; nothing has changed.
            RuntimeError: as BatchZoneEnv.step.
        """
        batch, before = self.batch, self._seen
        done = batch.step(self._action_rows(np.asarray(actions)))
        self._seen = self._observed()
        central, team = self.view == "central", len(batch.agents)
        rewards = batch.team_reward.copy() if central else done.rewards.ravel()
        ends = [x if central else np.repeat(x, team) for x in (done.terminated, done.truncated)]
        infos = _with_masks(self._summed(done.infos, batch.terms))
        ended = ends[0] | ends[1]
        if ended.any():
            infos = self._with_finals(infos, ended, self._final(before, done))
        return self._seen.copy(), rewards, ends[0], ends[1], infos

    def action_masks(self) -> BoolArray:
        """(num_envs, choices) bool, of the coming interval.

        Raises:
            AttributeError: actions are numbers.
            RuntimeError: before ``reset``.
        """
        batch = self.batch
        if not batch.task.encoding.discrete:
            raise AttributeError("actions are numbers, which have no masks; use actions='multidiscrete'")
        if batch.levels is None or batch.masks is None:
            raise RuntimeError("action_masks needs episodes; call reset first")
        if self.view == "agents":
            return batch.masks.reshape(self.num_envs, -1)
        return batch.levels.allowed.reshape(batch.copies, -1).take(self._level, axis=-1)

    def close_extras(self, **kwargs: Any) -> None:
        """Close the engine."""
        self.batch.close()

    # --- what the view sees ------------------------------------------------------------------------------------------

    def _observed(self) -> np.ndarray:
        """(num_envs, n) float32 of the coming interval."""
        if self.view == "central":
            return self.batch.state()
        return self.batch.observations.reshape(self.num_envs, -1).copy()

    def _final(self, before: np.ndarray, done: BatchStep) -> np.ndarray:
        """(num_envs, n) last observations of the copies that ended; after a failure, those before are repeated."""
        assert done.final_observations is not None and self.batch.reached is not None
        if self.view == "agents":
            return done.final_observations.reshape(self.num_envs, -1)
        return put_rows(
            self.batch.observation_model.state(self.batch.reached, done.final_observations), before, done.terminated
        )

    def _action_rows(self, actions: np.ndarray) -> np.ndarray:
        """(B, A, W) for the batch."""
        wanted = self.action_space.shape
        if actions.shape != wanted:
            raise ValueError(f"actions have shape {actions.shape}; they must be {wanted}: sub-environments and entries")
        if self.view == "agents":
            return actions.reshape(self._rows)
        rows = np.tile(self._neutral, (self._rows[0], 1, 1)).astype(
            np.promote_types(self._neutral.dtype, actions.dtype)
        )
        rows[:, self._used] = actions
        return rows

    def _summed(self, infos: Mapping[str, Array], terms: Array | None) -> dict[str, Array]:
        """(num_envs) by name; in the central view terms summed over zones, counts over agents."""
        if self.view == "agents":
            return {key: values.ravel() for key, values in infos.items()}
        task, names = self.batch.task, iter(range(len(self.batch.task.rewards) + len(self.batch.task.costs)))
        result = {}
        for key, values in infos.items():
            if key in _NOT_SUMMED:
                result[key] = values[:, 0]
            elif "/" in key:
                k = next(names)
                result[key] = np.zeros(self.num_envs) if terms is None else terms[:, k].sum(-1)
            else:
                result[key] = values.sum(-1)
        assert next(names, None) is None, task.scenario.name
        return result

    def _with_finals(self, infos: dict[str, Any], ended: BoolArray, final: np.ndarray) -> dict[str, Any]:
        """The infos with those of the last step set aside where a sub-environment ended."""
        last = np.full(self.num_envs, None, object)
        for k in np.flatnonzero(ended).tolist():
            last[k] = final[k]
        told = {key: np.where(ended, values, 0) for key, values in infos.items() if not key.startswith("_")}
        told |= {f"_{key}": ended for key in list(told)}
        fresh = self._summed(self.batch.reset_infos, None)
        for key, values in fresh.items():
            infos[key] = np.where(ended, values, infos[key])
        return {**infos, "final_obs": last, "_final_obs": ended, "final_info": told, "_final_info": ended}


def _with_masks(infos: Mapping[str, Array]) -> dict[str, Any]:
    """Each with Gymnasium's mask of the sub-environments that have it: all."""
    everyone = np.ones(len(next(iter(infos.values()))), bool)
    return {**infos, **{f"_{key}": everyone for key in infos}}


def _levels_of(counts: IntArray, places: IntArray) -> IntArray:
    """Positions in the flattened (F, L) levels of all choices, entry by entry."""
    most = int(counts.max(initial=0))
    rows = [place * most + np.arange(n) for n, place in zip(counts.tolist(), places.tolist(), strict=True)]
    return np.concatenate(rows) if rows else np.zeros(0, np.int64)
