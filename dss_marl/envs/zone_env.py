"""ZoneEnv: the PettingZoo ParallelEnv, the step and nothing else."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv

from dss_marl.engines import open_engine
from dss_marl.engines.base import Engine, PowerFlowError
from dss_marl.envs.reward_assignment import RewardAssignment
from dss_marl.envs.scenario import Scenario
from dss_marl.envs.simulator import Simulator
from dss_marl.envs.snapshot import EnvState, kept_of, own_stream
from dss_marl.envs.task import Task, broken, build_task
from dss_marl.grid.state import Array, BoolArray, GridState
from dss_marl.mdp.actions import DecodedActions
from dss_marl.mdp.communication import Messages
from dss_marl.mdp.sensing import Sensing
from dss_marl.profiles.splits import split_of

_COUNTS = ("clipped", "limited", "refused", "illegal", "attacked", "failed")


_EPISODE = ("agents", "before", "after", "now", "day", "team_reward", "_rng", "_rows", "_possible", "_allowed")
_PARTS = ("simulator", "sensing", "messages", "attack")


class ZoneEnv(ParallelEnv):
    """A scenario as a game of agents.

    One step is one interval of the day. Agents see the coming interval's load and sun with the voltages that these
    cause at the present set points; their actions then act in that interval. All agents start and end together: by
    truncation at the horizon, or by termination with ``failure_penalty`` if the power flow fails.

    Observations are (n,) float32, actions as the scenario's ``actions`` encode them, both alike for all agents unless
    native; ``labels`` tells what the entries are. Where an action has choices, an observation is a dict of
    ``observation`` and ``action_mask`` (int8; a tuple of them for several choices), or ``choice_mask`` where only some
    of the devices have choices. A choice that the mask forbids is no error: the device holds, and ``illegal`` counts.

    Infos hold numbers under the same keys in ``reset`` and ``step``: ``reward/<term>`` and ``cost/<name>`` (of the
    agent's zone), ``clipped`` (numbers out of range), ``limited`` (requests cut by a device's limit), ``refused``
    (those of switches that stood in each other's way), ``illegal``, ``attacked`` (1 while somebody else drives the
    agent), ``failed``, ``day``, and ``TimeLimit.truncated``.

    Attributes:
        task, split, days, engine: what is played on.
        before, after: the states around the last step; None after a reset.
        now: the coming interval as it is.
        day: number of the day.
        team_reward: of the last step, whatever each agent gets of it.

    Args:
        scenario: the task as data, or a Task already built.
        split: where days are drawn from at reset: train, validation or test.
        engine: a solver for the task's feeder, or the name of one as ``open_engine`` takes it; None opens OpenDSS.
        render_mode: None, "ansi" (a table) or "rgb_array" (a picture of the feeder).
        renderer: draws the picture of an environment; ``dss_marl.make`` hands over ``plots.render_feeder``.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012
        "name": "dss_marl_v0",
        "render_modes": ["ansi", "rgb_array"],
        "is_parallelizable": True,
        "render_fps": 4,
    }

    def __init__(
        self,
        scenario: Scenario | Task,
        split: str = "train",
        engine: Engine | str | None = None,
        render_mode: str | None = None,
        renderer: Callable[[ZoneEnv], Any] | None = None,
    ) -> None:
        task = build_task(scenario) if isinstance(scenario, Scenario) else scenario
        if render_mode not in (None, "human", *self.metadata["render_modes"]):
            raise ValueError(f"unknown render_mode {render_mode!r}; known: None, ansi, rgb_array")
        if render_mode == "rgb_array" and renderer is None:
            raise ValueError(
                "render_mode 'rgb_array' needs a renderer: give renderer=dss_marl.plots.render_feeder, or use "
                "dss_marl.make"
            )
        self.task = task
        self.split = split
        self.days = task.profiles.days(split)
        self.engine = open_engine(task.feeder, engine or "opendss") if isinstance(engine, str | None) else engine
        self.simulator = Simulator(task, self.engine)
        self.reward_assignment = RewardAssignment(task, self.simulator)
        self.render_mode = render_mode
        self.renderer = renderer
        self.metadata = {**self.metadata, "name": f"{task.scenario.name}_v{task.scenario.version}"}
        self.possible_agents = list(task.agents.names)
        self.agents: list[str] = []
        self.sensing = None if task.scenario.sensing.perfect else Sensing(task.scenario.sensing)
        self.messages = Messages(task.scenario.messages, task.feeder, task.zones, task.sample)
        self.attack = task.attack()
        self._set_spaces()
        self.before: GridState | None = None
        self.after: GridState | None = None
        self.now: GridState | None = None
        self.day = -1  # of the year, from 0
        self.team_reward = 0.0  # of the last step, whatever the agents share of it
        self._rng = np.random.default_rng()
        self._rows = np.zeros((len(self.possible_agents), len(self._low)), np.float32)
        self._possible: BoolArray | None = None
        self._allowed: BoolArray | None = None
        terms = (*(f"reward/{name}" for name in task.rewards), *(f"cost/{name}" for name in task.costs))
        self._keys = (*terms, *_COUNTS, "day")

    def _set_spaces(self) -> None:
        task, agents = self.task, self.possible_agents
        heard = self.messages.low if self.messages.width else np.zeros(0)
        self._low = np.concatenate([task.observer.low, heard]).astype(np.float32)
        heard = self.messages.high if self.messages.width else heard
        self._high = np.concatenate([task.observer.high, heard]).astype(np.float32)
        self.action_spaces = {agent: task.encoding.space(a) for a, agent in enumerate(agents)}
        masks = [task.encoding.mask_space(a) for a in range(len(agents))]
        # Where only some devices have choices, no mask fits PettingZoo's rule that it covers the whole action.
        whole = all(mask is not None for mask in masks) and not (task.encoding.counts == 0).any()
        self._mask_key = "action_mask" if whole else "choice_mask"
        self.observation_spaces: dict[str, spaces.Space[Any]] = {}
        for agent, mask in zip(agents, masks, strict=True):
            box = spaces.Box(self._low, self._high)
            self.observation_spaces[agent] = (
                box if mask is None else spaces.Dict({"observation": box, self._mask_key: mask})
            )
        low, high = task.global_observer.low.astype(np.float32), task.global_observer.high.astype(np.float32)
        self.state_space = spaces.Box(np.tile(low, len(task.zones)), np.tile(high, len(task.zones)))

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        """Space of the agent's observation; always the same object."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Space[Any]:
        """Space of the agent's action; always the same object."""
        return self.action_spaces[agent]

    def labels(self, agent: str) -> dict[str, list[str]]:
        """What each entry of the agent's ``observation`` and of its action (slots, if native) is; "-" is padding."""
        index = self.possible_agents.index(agent)
        task = self.task
        own = task.observer.labels(task.agents.views[index], task.feeder)
        return {
            "observation": own + self.messages.labels(int(task.agents.zone[index]), task.feeder),
            "action": list(task.agents.action_layout.labels[index]),
        }

    def state(self) -> np.ndarray:
        """(Z n) float32: what all zones would see if they measured perfectly, for a central critic."""
        task = self.task
        if task.global_observer is task.observer and self.sensing is None:
            return self._rows[:, : len(task.observer.low)].ravel().copy()
        if self.now is None:
            raise RuntimeError("state needs an episode; call reset first")
        return task.global_observer.observe(self.now).ravel()

    # --- reset -------------------------------------------------------------------------------------------------------

    def reset(
        self, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Start a day, drawn from the split.

        Args:
            seed: of the stream of days, and of measurement noise, lost messages and attacks, from here on; None goes on
                with the present stream.
            options: ``{"day": 17}`` starts that day of the year, whatever the split; ``{"faults": ["line.l53"]}``
                breaks these branches in place of the scenario's, which then must not be energised. Of the scenario's
                one is drawn, on days of the split ``outage_season`` two.

        Raises:
            ValueError: no such day or branch.
        """
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        options = dict(options or {})
        drawn = int(self._rng.choice(self.days))  # drawn always, so that an option does not shift the stream
        streams = self._rng.integers(2**63, size=3)
        number = options.pop("day", drawn)
        faults = options.pop("faults", self._drawn_faults(number))
        if options:  # an error would fail PettingZoo's own test, which passes an option of its own
            warnings.warn(f"reset ignores the unknown option {next(iter(options))!r}; known: day, faults", stacklevel=2)
        self.now = self.simulator.begin(number, self.task.start, faults)
        self.day = int(number)
        self.agents = self.possible_agents[:]
        self.before = self.after = None
        for part, stream in zip((self.sensing, self.messages, self.attack), streams, strict=True):
            if part is not None:
                part.reset(np.random.default_rng(stream))
        self._look()
        values = np.zeros((len(self._keys) - 1, len(self.agents)))
        values[-2] = self._hostile(0)
        return self._seen(), self._infos(values, False)

    def _drawn_faults(self, number: int) -> list[str] | None:
        """The branches that break in the episode that begins; None where the day's own outages do.

        In the season of outages two of the scenario's faults come at once.
        """
        candidates = self.task.scenario.faults
        if candidates == "outages":
            return None
        if not candidates:
            return []
        most = 2 if split_of(number)[0] == "outage_season" else 1
        drawn = self._rng.choice(len(candidates), min(most, len(candidates)), replace=False)
        return [branch for k in drawn for branch in broken(candidates[int(k)])]

    def _look(self) -> None:
        """Agents observe ``now``, and what their devices may do then is found out."""
        assert self.now is not None
        measured = self.now if self.sensing is None else self.sensing.measured(self.now)
        rows = self.task.observer.observe(measured)
        if self.messages.width:
            heard = self.messages.received(measured)[self.task.agents.zone]
            rows = np.concatenate([rows, heard.astype(np.float32)], axis=-1)
        self._rows = rows
        if self.task.encoding.discrete:
            self._find_allowed(self.now)

    def _find_allowed(self, now: GridState) -> None:
        """(F, L) the levels that devices would do, and those that the masks allow.

        They differ where a device could do none of its levels, while it waits for instance: the one nearest to what it
        does now is then allowed, and stands for holding.
        """
        encoding = self.task.encoding
        values = encoding.values
        possible = self.simulator.feasible(now, values) & ~np.isnan(values) & self.simulator.can_act(now.step)[:, None]
        allowed = possible.copy()
        held = encoding.nearest(self.simulator.hold_action(now))
        stuck = np.flatnonzero(~allowed.any(-1) & (held >= 0))
        allowed[stuck, held[stuck]] = True
        self._possible, self._allowed = possible, allowed

    # --- step --------------------------------------------------------------------------------------------------------

    def step(
        self, actions: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]:
        """Operate one interval.

        Args:
            actions: one for each agent.

        Raises:
            ValueError: a missing or unknown agent, a wrong shape or type, NaN.
            RuntimeError: before ``reset``, or after the end.
        """
        if not self.agents or self.now is None:
            raise RuntimeError("step needs a running episode; call reset first")
        now, scenario = self.now, self.task.scenario
        decoded = self.task.encoding.decode(actions)
        joint_action, illegal = self._admitted(decoded)
        hostile = self._hostile(now.step)
        if self.attack is not None and hostile.any():
            joint_action = self.attack.act(joint_action, self.task.agents.action_layout.entry_agent, now)
        values = np.zeros((len(self._keys) - 1, len(self.agents)))
        rewards = np.full(len(self.agents), -scenario.failure_penalty)
        failed = False
        try:
            after, limited = self.simulator.operate(now, joint_action)
            coming = self.simulator.observe(now.step + 1, after.setpoints, after.device_state, after.action, after)
        except PowerFlowError:
            failed = True  # the last observation stands: it is finite, and no interval was operated
            values[-1] = 1.0
            zone_terms = values[:0]
        else:
            zone_terms = self.task.reward_model.zone_terms(now, after)
            values[: len(zone_terms)] = zone_terms[:, self.task.agents.zone]
            home, coupled = self.task.agents.action_layout.device_agent, self.simulator.coupled
            values[-5] = np.bincount(home, limited * ~coupled, len(self.agents))
            values[-4] = np.bincount(home, limited * coupled, len(self.agents))
            terms = zone_terms[: len(self.task.rewards)]
            rewards = self.reward_assignment.agent_rewards(terms, now, after, joint_action)
            self.before, self.after, self.now = now, after, coming
            self._look()
        self.team_reward = -scenario.failure_penalty if failed else float(zone_terms[: len(self.task.rewards)].sum())
        values[-6], values[-3], values[-2] = decoded.clipped, illegal, hostile
        truncated = not failed and now.step + 1 >= scenario.steps
        agents, infos = self.agents, self._infos(values, truncated)
        if failed or truncated:
            self.agents = []
        return (
            self._seen(),
            dict(zip(agents, rewards.tolist(), strict=True)),
            dict.fromkeys(agents, failed),
            dict.fromkeys(agents, truncated),
            infos,
        )

    def what_if(self, actions: Mapping[str, Any]) -> GridState:
        """The state that these actions would lead to in the coming interval; nothing is committed, one solve is spent.

        Hostile agents do what they are going to do, whatever is asked of them.

        Raises:
            ValueError: as ``step``.
            PowerFlowError: the power flow would fail.
        """
        if self.now is None:
            raise RuntimeError("what_if needs a running episode; call reset first")
        joint_action, _ = self._admitted(self.task.encoding.decode(actions))
        if self.attack is not None:
            joint_action = self.attack.act(joint_action, self.task.agents.action_layout.entry_agent, self.now)
        return self.simulator.operate(self.now, joint_action)[0]

    def _admitted(self, decoded: DecodedActions) -> tuple[Array, Array]:
        """(F) the requests, held where a choice is not possible; and (A) how many were not allowed."""
        count = np.zeros(len(self.possible_agents))
        if self._allowed is None or self._possible is None:
            return decoded.joint_action, count
        assert self.now is not None
        rows, chosen = np.arange(len(decoded.level)), decoded.level
        impossible = (chosen >= 0) & ~self._possible[rows, chosen]
        if not impossible.any():
            return decoded.joint_action, count
        illegal = impossible & ~self._allowed[rows, chosen]
        joint_action = np.where(impossible, self.simulator.hold_action(self.now), decoded.joint_action)
        return joint_action, count + np.bincount(self.task.agents.action_layout.entry_agent, illegal, len(count))

    def _hostile(self, step: int) -> BoolArray:
        if self.attack is None:
            return np.zeros(len(self.possible_agents), bool)
        return self.attack.hostile(step)

    # --- what comes out ----------------------------------------------------------------------------------------------

    def _seen(self) -> dict[str, Any]:
        rows = self._rows.copy()
        if self._allowed is None:
            return dict(zip(self.possible_agents, rows, strict=True))
        seen: dict[str, Any] = {}
        for a, (agent, row) in enumerate(zip(self.possible_agents, rows, strict=True)):
            mask = self.task.encoding.mask(a, self._allowed)
            seen[agent] = row if mask is None else {"observation": row, self._mask_key: mask}
        return seen

    def _infos(self, values: Array, truncated: bool) -> dict[str, dict[str, Any]]:
        """One dict for each agent, from (keys without day, A) values."""
        day = float(self.day)
        return {
            agent: dict(zip(self._keys, (*column, day), strict=True)) | {"TimeLimit.truncated": truncated}
            for agent, column in zip(self.possible_agents, values.T.tolist(), strict=True)
        }

    def render(self) -> Any:
        """A table of the zones ("ansi") or a picture of the feeder ("rgb_array"); None without a render_mode."""
        if self.render_mode is None or self.now is None:
            return None
        if self.render_mode == "rgb_array":
            assert self.renderer is not None
            return self.renderer(self)
        state = self.after or self.now
        lines = [f"{self.metadata['name']} day {self.day} step {state.step} hour {state.hour:05.2f}"]
        for zone in self.task.zones:
            v = state.solution.v_pu[zone.nodes]
            lines.append(f"{zone.name}: {v.min():.4f} to {v.max():.4f} pu")
        text = "\n".join(lines)
        if self.render_mode == "human":
            print(text)
            return None
        return text

    # --- copies ------------------------------------------------------------------------------------------------------

    def save_state(self) -> EnvState:
        """The running episode, random streams included; ``load_state`` goes on from it, exact to the bit.

        The solver forgets its history here, so that this environment and any that loads the state go on alike.
        """
        self.engine.restart()
        fields = {name: copy.copy(getattr(self, name)) for name in _EPISODE}
        fields["_rng"] = copy.deepcopy(self._rng)
        return EnvState(self.task.scenario, fields, {name: kept_of(getattr(self, name)) for name in _PARTS})

    def load_state(self, saved: EnvState) -> None:
        """Go on from what ``save_state`` gave, in this environment or another of the same scenario.

        Raises:
            ValueError: it is of another scenario.
        """
        if saved.scenario != self.task.scenario:
            raise ValueError(
                f"the saved state is of another scenario, {saved.scenario.name!r}, than this environment's "
                f"{self.task.scenario.name!r}; load it into one built from the same data"
            )
        self.__dict__.update({name: copy.copy(value) for name, value in saved.fields.items()})
        self._rng = copy.deepcopy(saved.fields["_rng"])
        for name, kept in saved.parts.items():
            part = getattr(self, name)
            if part is not None:
                part.__dict__.update(own_stream(kept))
        self.engine.restart()

    def close(self) -> None:
        """Give the solver back; ``reset`` opens it again."""
        self.engine.close()

    def __getstate__(self) -> dict[str, Any]:
        """A copy goes on bitwise like the original, which therefore forgets its solver's history too."""
        self.engine.restart()
        return self.__dict__.copy()
