"""BatchZoneEnv: several copies of a scenario stepped at once, as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import get_ident
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces

from dss_marl.engines import open_batch_engine
from dss_marl.engines.base import BatchEngine, PowerFlowError
from dss_marl.envs.action_masks import ActionMasks, Levels
from dss_marl.envs.batch_actions import ActionRows
from dss_marl.envs.batch_conditions import Faults
from dss_marl.envs.batch_observation_model import BatchAttack, BatchObservationModel
from dss_marl.envs.batch_simulator import BatchSimulator
from dss_marl.envs.by_copy import for_batches
from dss_marl.envs.day_table import days_of
from dss_marl.envs.episode_draw import Draw, draw
from dss_marl.envs.mask_rows import MaskRows
from dss_marl.envs.moving_rows import moving_rows
from dss_marl.envs.reward_assignment import RewardAssignment
from dss_marl.envs.reward_gradient import Differentiable
from dss_marl.envs.scenario import Scenario
from dss_marl.envs.step_info import Request, StepInfo
from dss_marl.envs.task import Task, build_task
from dss_marl.grid.copies import put_rows, rows_of, with_rows
from dss_marl.grid.state import Array, BoolArray, GridState, IntArray
from dss_marl.mdp.random_streams import copied

Options = Mapping[str, Any] | None
MOST_COPIES = 100_000


class BatchStep(NamedTuple):
    """Result of a step of all copies; B copies, A agents, n entries of an observation.

    Attributes:
        observations: (B, A, n) float32, of the coming interval; where a copy ended, of its next episode.
        rewards: (B, A).
        terminated: (B) True where a power flow failed.
        truncated: (B) True where the horizon was reached.
        values: (B, keys, A) the numbers of the infos, in the order of ``StepInfo.keys``.
        final_observations: (B, A, n) the last observations of the copies that ended; None if none did.
    """

    observations: np.ndarray
    rewards: Array
    terminated: BoolArray
    truncated: BoolArray
    values: Array
    final_observations: np.ndarray | None
    keys: tuple[str, ...]

    @property
    def infos(self) -> dict[str, np.ndarray]:
        """(B, A) by name, as in the infos of ZoneEnv; views."""
        return named(self.keys, self.values, self.truncated)


class BatchZoneEnv(Differentiable):
    """B copies of a scenario, each on a day, at an hour and with faults, noise and attacks of its own.

    A copy seeded with s behaves as ``ZoneEnv.reset(seed=s)`` and its steps do, to the last bit of what it observes. A
    copy that ends is reset within the same step, as by ``ZoneEnv.reset()``, so that its random stream continues.

    Terms and features that ship with the package see all copies at once. Your own ones are called copy by copy; your
    own kinds of device see the copies as leading axes, as DeviceGroup asks for.

    Not thread-safe, like ZoneEnv; after an error ``step`` refuses until a ``reset`` succeeds.

    Attributes:
        task, split, days, copies, agents: the task, its days, number of copies, and names of the agents of one copy.
        engine, simulator: solves all copies, and the simulated grids.
        now: (B, ...) the coming interval with the devices held; None before the first reset.
        before, after: (B, ...) the states around the last step; None after a reset of all. Rows of copies that ended in
            the last step are without meaning.
        reached: (B, ...) the interval after the last step, of the old episode where a copy ended; None before a step.
        terms: (B, K, Z) weighted reward terms, then costs, of all zones in the last step; 0 where a power flow failed.
        observations: (B, A, n) of the coming interval.
        masks: (B, A, M) bool, the choices that are allowed in it; None if no action is a choice.
        day: (B) their numbers.
        team_reward: (B) of the last step, whatever the ``reward_sharing``.
        reset_values: (B, keys, A) the infos of each copy's last reset, in the order of ``StepInfo.keys``.

    Args:
        scenario: the task as data, or a Task already built.
        copies: their number B.
        split: from which days are drawn.
        engine: for the copies of the task's feeder, or a name as in ``open_batch_engine``; None opens OpenDSS.
    """

    _thread: int | None = None

    def __init__(
        self,
        scenario: Scenario | Task,
        copies: int = 64,
        split: str = "train",
        engine: BatchEngine | str | None = None,
    ) -> None:
        if not isinstance(copies, int) or not 1 <= copies <= MOST_COPIES:
            raise ValueError(f"copies must be a whole number from 1 to {MOST_COPIES}; got {copies!r}")
        task = for_batches(build_task(scenario) if isinstance(scenario, Scenario) else scenario)
        self.task, self.split, self.copies = task, split, copies
        self.days = task.profiles.days(split)
        self._days = np.asarray(self.days)
        named = engine is None or isinstance(engine, str)
        opened: Any = engine
        if named:
            opened = open_batch_engine(task.feeder, copies, str(engine or "opendss"), moving_rows(task))
        self.engine: BatchEngine = opened
        if self.engine.copies != copies:
            raise ValueError(f"the engine solves {self.engine.copies} copies, not {copies}; open one for {copies}")
        self.agents = list(task.agents.names)
        self.simulator = BatchSimulator(task, self.engine)
        self.action_masks = ActionMasks(self.simulator)
        self.mask_rows = MaskRows(task.encoding)
        self.action_rows = ActionRows(task.encoding, copies)
        attacks = [] if task.scenario.attack is None else [task.attack() for _ in range(copies)]
        entry_agent = task.agents.action_layout.entry_agent
        self.attack = BatchAttack([one for one in attacks if one is not None], entry_agent, len(self.agents), copies)
        self.observation_model = BatchObservationModel(task, copies, self.simulator.table, self.attack)
        self.reward_assignment = RewardAssignment(task, self.simulator)
        self.step_info = StepInfo(task, self.simulator.fleet.coupled)
        self.observation_space = self.observation_model.alone.box()
        self.action_spaces: dict[str, spaces.Space[Any]] = {
            agent: task.encoding.space(a) for a, agent in enumerate(self.agents)
        }
        self.rngs = [np.random.default_rng() for _ in range(copies)]
        self.now: GridState | None = None
        self.before: GridState | None = None
        self.after: GridState | None = None
        self.reached: GridState | None = None
        self.terms = np.zeros((copies, len(task.rewards) + len(task.costs), len(task.zones)))
        self.levels: Levels | None = None
        self.masks: BoolArray | None = None
        shape = (copies, len(self.agents), *self.observation_space.shape)
        self.observations = np.zeros(shape, np.float32)
        self.day, self.team_reward = np.full(copies, -1), np.zeros(copies)
        self.reset_values = np.zeros((copies, len(self.step_info.keys), len(self.agents)))
        self.interrupted = ""

    @property
    def reset_infos(self) -> dict[str, np.ndarray]:
        """(B, A) by name, of each copy's last reset."""
        return named(self.step_info.keys, self.reset_values, np.zeros(self.copies, bool))

    def state(self) -> np.ndarray:
        """(B, Z n) float32: the observations of all zones under perfect sensing, for a central critic.

        Raises:
            RuntimeError: before ``reset``.
        """
        self._check_running("state")
        assert self.now is not None
        return self.observation_model.state(self.now, self.observations)

    # --- reset -------------------------------------------------------------------------------------------------------

    def reset(
        self, seed: int | Sequence[int | None] | None = None, options: Options | Sequence[Options] = None
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Start an episode in every copy: observations (B, A, n), and infos (B, A) by name.

        Args:
            seed: one for all copies, from which each gets its own (see ``copy_seeds``); or one for each; None continues
                the streams.
            options: as of ZoneEnv, for all copies or for each.

        Raises:
            ValueError: no such day or branch, or not one seed or option for each copy; nothing has changed.
            PowerFlowError: the first interval of a copy cannot be solved.
            RuntimeError: the environment belongs to another thread.
        """
        self._check_thread()
        seeds = copy_seeds(seed, self.copies) if isinstance(seed, int | np.integer) else self._one_each("seed", seed)
        chosen = self._one_each("option", options)
        rngs = [copied(own) if s is None else np.random.default_rng(s) for own, s in zip(self.rngs, seeds, strict=True)]
        drawn = [draw(self.task, self._days, rng, own) for rng, own in zip(rngs, chosen, strict=True)]
        for day in {one.day for one, own in zip(drawn, chosen, strict=True) if own}:
            self.task.profiles.day(day, 0)  # raises what is wrong with one that was not drawn
        days = self.simulator.checked(drawn)
        self.rngs = rngs
        try:
            self.now = None
            self._begin(np.arange(self.copies), drawn, *days)
        except BaseException as error:
            self._interrupt(error)
            raise
        self.before = self.after = None
        self.interrupted = ""
        return self.observations.copy(), self.reset_infos

    def _one_each(self, what: str, given: Any) -> list[Any]:
        if given is None or isinstance(given, Mapping):
            return [given] * self.copies
        rows = list(given)
        if len(rows) != self.copies:
            raise ValueError(f"reset needs one {what} for each of {self.copies} copies; got {len(rows)}")
        return rows

    def _begin(self, rows: IntArray, drawn: Sequence[Draw], days: IntArray, faults: Sequence[Faults]) -> None:
        """Start the episodes (b) that have been drawn, of these numbers and with faults (b), in copies (b)."""
        fresh = self.simulator.enter_all(rows, days, faults)
        stuck = rows[~self.simulator.running[rows]]
        if stuck.size:
            b = int(stuck[0])
            raise PowerFlowError(
                f"copy {b}: the first interval of day {drawn[rows.tolist().index(b)].day} of scenario "
                f"{self.task.scenario.name!r} cannot be solved; "
                f"{self.engine.reasons.get(b, 'its power flow failed')}"
            )
        noise, loss, attack = np.array([one.streams for one in drawn]).T
        self.observation_model.reset(rows, noise, loss)
        self.attack.reset(rows, attack)
        self.day = self.day.copy()
        self.day[rows] = days_of(days)
        if self.now is None or len(rows) == self.copies:
            self.now, self.observations = fresh, self.observation_model.observe(fresh)
        else:
            which = np.zeros(self.copies, bool)
            which[rows] = True
            self.now = with_rows(self.now, fresh, which)
            self.observations = self.observations.copy()
            self.observations[rows] = self.observation_model.observe(rows_of(fresh, rows), rows)
        self._set_levels()
        values = self.step_info.values_at_reset(self.day, self.attack.compromised(self.now.step))
        self.reset_values = self.reset_values.copy()
        self.reset_values[rows] = values[rows]

    def _set_levels(self) -> None:
        assert self.now is not None
        self.levels = self.action_masks.levels(self.now)
        self.masks = (
            self.mask_rows.of(self.levels.allowed) if self.levels is not None and self.mask_rows.width else None
        )

    # --- step --------------------------------------------------------------------------------------------------------

    def step(self, actions: np.ndarray | Sequence[Mapping[str, Any]]) -> BatchStep:
        """Operate one interval in every copy, and reset those that end.

        Args:
            actions: (B, A, W), each agent's action in the first entries of its row; or a dict of actions per copy.

        Raises:
            ValueError: a wrong shape or type, NaN, or no such choice; nothing has changed.
            RuntimeError: before ``reset``, after an error within a step, or in another thread.
        """
        self._check_running("step")
        assert self.now is not None
        request = self._request(actions)
        try:
            return self._play(self.now, request)
        except BaseException as error:
            self._interrupt(error)
            raise

    def _request(self, actions: Any) -> Request:
        """The requests to the devices; see ZoneEnv."""
        assert self.now is not None
        now = self.now
        decoded = self.action_rows.decode(actions)
        joint_action, illegal = self.action_masks.enforce(decoded, self.levels, now)
        attacked = self.attack.compromised(now.step)
        return Request(self.attack.act(joint_action, attacked, now), decoded.clipped, illegal, attacked)

    def _play(self, now: GridState, request: Request) -> BatchStep:
        """Operate the interval as requested."""
        simulator, scenario = self.simulator, self.task.scenario
        simulator.resume()
        after, limited = simulator.operate(now, request.joint_action)
        coming = simulator.observe_next(after)
        terms = self.task.reward_model.zone_terms(now, after)
        earned = terms[:, : len(self.task.rewards)]
        rewards = self.reward_assignment.agent_rewards(earned, now, after, request.joint_action)
        values = self.step_info.values_of_step(self.day, request, terms, limited)
        team = np.add.reduce(earned, axis=(-2, -1))
        observations = self.observation_model.observe(coming)
        failed = ~simulator.running
        if failed.any():
            rewards, team = (
                put_rows(rewards, -scenario.failure_penalty, failed),
                np.where(failed, -scenario.failure_penalty, team),
            )
            values = put_rows(values, self.step_info.values_of_failure(self.day, request), failed)
            terms = put_rows(terms, 0.0, failed)
            observations = put_rows(observations, self.observations, failed)
        truncated = simulator.running & (coming.step >= scenario.steps)
        self.before, self.after, self.now = now, after, coming
        self.reached, self.terms = coming, terms
        self.observations, self.team_reward = observations, team
        ended = failed | truncated
        if ended.any():
            self._begin_next(np.flatnonzero(ended))
        else:
            self._set_levels()
        final, keys = observations if ended.any() else None, self.step_info.keys
        return BatchStep(self.observations.copy(), rewards, failed, truncated, values, final, keys)

    def _begin_next(self, rows: IntArray) -> None:
        """Start the next episodes of the copies (b) that ended, from their own streams."""
        drawn = [draw(self.task, self._days, self.rngs[b], None) for b in rows.tolist()]
        self._begin(rows, drawn, *self.simulator.checked(drawn))

    # --- life --------------------------------------------------------------------------------------------------------

    def _interrupt(self, error: BaseException) -> None:
        self.now, self.interrupted = None, f"{type(error).__name__}: {error}"

    def _check_running(self, what: str) -> None:
        self._check_thread()
        if self.interrupted:
            raise RuntimeError(f"{what} cannot go on after an error ({self.interrupted}); call reset first")
        if self.now is None:
            raise RuntimeError(f"{what} needs running episodes; call reset first")

    def _check_thread(self) -> None:
        """See ZoneEnv."""
        if self._thread != get_ident() and self.__dict__.setdefault("_thread", get_ident()) != get_ident():
            raise RuntimeError(
                "this environment belongs to another thread; build one for each, or close it before another goes on"
            )

    def close(self) -> None:
        """Close the engine; ``reset`` opens it again."""
        self.engine.close()
        self.__dict__.pop("_thread", None)


def copy_seeds(seed: int | None, n: int) -> list[int]:
    """Seeds of n independent random streams; the seed of copy k does not depend on their number."""
    return [int(child.generate_state(1)[0]) for child in np.random.SeedSequence(seed).spawn(n)]


def named(keys: Sequence[str], values: Array, truncated: BoolArray) -> dict[str, np.ndarray]:
    """(B, A) by name, views of (B, keys, A); and whether the time limit was reached, (B)."""
    flags = np.repeat(truncated[:, None], values.shape[-1], axis=1)
    return {**{name: values[:, k] for k, name in enumerate(keys)}, "TimeLimit.truncated": flags}
