"""ZoneEnv: a scenario as a PettingZoo ParallelEnv."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from threading import get_ident
from typing import Any

import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv

from dss_marl.engines import open_engine
from dss_marl.engines.base import Engine, PowerFlowError
from dss_marl.envs.action_masks import ActionMasks
from dss_marl.envs.episode_draw import DrawnEpisode, draw_episode
from dss_marl.envs.observation_model import ObservationModel
from dss_marl.envs.rendering import EnvRenderer, check_render_mode, zone_table
from dss_marl.envs.reward_assignment import RewardAssignment
from dss_marl.envs.reward_gradient import Differentiable
from dss_marl.envs.scenario import Scenario
from dss_marl.envs.simulator import Simulator
from dss_marl.envs.snapshot import EpisodeState, Snapshot
from dss_marl.envs.step_info import Request, StepInfo
from dss_marl.envs.task import Task, build_task
from dss_marl.grid.state import Array, BoolArray, GridState
from dss_marl.mdp.communication import Messages
from dss_marl.mdp.random_streams import copied
from dss_marl.mdp.sensing import Sensing

Infos = dict[str, dict[str, Any]]
StepResult = tuple[dict[str, Any], dict[str, float], dict[str, bool], dict[str, bool], Infos]


class ZoneEnv(Differentiable, ParallelEnv):
    """A scenario as a multi-agent environment.

    One step is one interval of the day. Agents observe the coming interval's load and PV and the resulting voltages at
    the present set points; their actions take effect in that interval. All agents start and end together: by
    truncation at the horizon, or by termination with ``failure_penalty`` if the power flow fails.

    Observations are (n,) float32, actions as encoded by the scenario's ``actions``; all agents have the same spaces
    unless actions are native, and ``labels`` names the entries. Where an action has choices, an observation is a dict
    of ``observation`` and ``action_mask`` (int8; a tuple of them for several choices), or ``choice_mask`` where only
    some devices have choices. A masked choice is not an error: the device holds, and ``illegal`` counts it.

    Infos hold numbers under the same keys in ``reset`` and ``step``: ``reward/<term>``, ``cost/<name>`` and
    ``objective/<name>`` (of the agent's zone; see VectorRewards), ``clipped`` (values out of range), ``limited``
    (requests cut by a device's limit), ``refused`` (requests of coupled switches that excluded each other),
    ``illegal``, ``attacked`` (1 while the agent is compromised), ``failed``, ``day``, and ``TimeLimit.truncated``.

    Not thread-safe: OpenDSS runs in one thread of a process, and an environment belongs to the first thread that uses
    it, until ``close``; another gets a RuntimeError. After an error in ``reset`` or ``step`` either nothing has
    changed, or ``step`` refuses with a RuntimeError until a ``reset`` succeeds.

    Attributes:
        task, split, days, engine, simulator: the task, its days, and the simulated grid.
        sensing, messages, attack: between agents and grid; sensing is None if it is perfect, attack if there is none.
        masks, observation_model, reward_assignment, step_info: action masks, observations, rewards and infos.
        episode: everything that changes from step to step, apart from the states of the parts above.

    Args:
        scenario: the task as data, or a Task already built.
        split: from which days are drawn at reset: train, validation or test.
        engine: for the task's feeder, or a name as in ``open_engine``; None opens OpenDSS.
        render_mode: None, "ansi" (a table), "rgb_array" (an image of the feeder and the day so far) or "human" (the
            image in a window; without a display or matplotlib, the table is printed).
        renderer: draws the image, for this environment alone; ``dss_marl.make`` passes a ``plots.Renderer``.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012
        "name": "dss_marl_v0",
        "render_modes": ["ansi", "rgb_array", "human"],
        "is_parallelizable": True,
        "render_fps": 4,
    }
    _thread: int | None = None  # that owns the environment

    def __init__(
        self,
        scenario: Scenario | Task,
        split: str = "train",
        engine: Engine | str | None = None,
        render_mode: str | None = None,
        renderer: EnvRenderer | None = None,
    ) -> None:
        task = build_task(scenario) if isinstance(scenario, Scenario) else scenario
        check_render_mode(render_mode, self.metadata["render_modes"], renderer is not None)
        self.task = task
        self.split = split
        self.days = task.profiles.days(split)
        self.engine = open_engine(task.feeder, engine or "opendss") if isinstance(engine, str | None) else engine
        self.simulator = Simulator(task, self.engine)
        self.masks = ActionMasks(self.simulator)
        self.reward_assignment = RewardAssignment(task, self.simulator)
        self.step_info = StepInfo(task, self.simulator.fleet.coupled)
        self.render_mode = render_mode
        self.renderer = renderer
        self.metadata = {**self.metadata, "name": f"{task.scenario.name}_v{task.scenario.version}"}
        self.possible_agents = list(task.agents.names)
        self.sensing = None if task.scenario.sensing.perfect else Sensing(task.scenario.sensing)
        self.messages = Messages(task.scenario.messages, task.feeder, task.zones, task.sample)
        self.attack = task.attack()
        self.observation_model = ObservationModel(task, self.sensing, self.messages, self.attack)
        numbered = list(enumerate(self.possible_agents))
        self.action_spaces = {agent: task.encoding.space(a) for a, agent in numbered}
        self.observation_spaces = {
            agent: self.masks.observation_space(a, self.observation_model.box()) for a, agent in numbered
        }
        self.state_space = self.observation_model.state_box()
        shape = (len(numbered), *self.observation_model.box().shape)
        self.episode = EpisodeState(np.random.default_rng(), np.zeros(shape, np.float32))

    def __str__(self) -> str:
        return str(self.task)

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        """Space of the agent's observation; always the same object."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Space[Any]:
        """Space of the agent's action; always the same object."""
        return self.action_spaces[agent]

    def labels(self, agent: str) -> dict[str, list[str]]:
        """Labels of the entries of the agent's ``observation`` and ``action``; "-" is padding."""
        a = self.possible_agents.index(agent)
        action = self.task.agents.action_layout.labels[a]
        return {"observation": self.observation_model.labels(a), "action": list(action)}

    def state_labels(self) -> list[str]:
        """(Z n) labels of the entries of ``state``; "-" is padding."""
        return self.observation_model.state_labels()

    # --- the running episode -----------------------------------------------------------------------------------------

    @property
    def agents(self) -> list[str]:
        """The active agents: all, or none."""
        return self.episode.agents

    @property
    def day(self) -> int:
        """Number of the day in the year, from 0."""
        return self.episode.day

    @property
    def before(self) -> GridState | None:
        """The state before the last step; None after a reset."""
        return self.episode.before

    @property
    def after(self) -> GridState | None:
        """The last interval as operated; None after a reset."""
        return self.episode.after

    @property
    def now(self) -> GridState | None:
        """The coming interval with the devices held; None before the first reset."""
        return self.episode.now

    @property
    def team_reward(self) -> float:
        """Team reward of the last step, whatever the ``reward_sharing``."""
        return self.episode.team_reward

    @property
    def reward_vector(self) -> Array:
        """(O) the team's objectives in the last step, 0 where it failed; empty before one, or without objectives."""
        return self.episode.reward_vector

    def state(self) -> np.ndarray:
        """(Z n) float32: the observations of all zones under perfect sensing, for a central critic."""
        return self.observation_model.state(self.now, self.episode.observations)

    # --- reset -------------------------------------------------------------------------------------------------------

    def reset(self, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[dict[str, Any], Infos]:
        """Start a day, drawn from the split.

        Args:
            seed: of the random stream of days, measurement noise, message loss and attacks; None continues the present
                stream.
            options: ``{"day": 17}`` starts that day of the year, whatever the split, at the scenario's ``start_hour``
                where ``{"start_hour": 7.5}`` does not say another (under ``random_start`` alone);
                ``{"faults": ["line.l53"]}`` faults these branches, which must not be energised, instead of one drawn
                from the scenario's (two in the split ``outage_season``).

        Raises:
            ValueError: no such day or branch, or no switch parts a broken branch from the source; nothing has changed,
                and a running episode goes on.
            PowerFlowError: the first interval cannot be solved; ``step`` refuses until another ``reset``, which draws
                the next day of the stream.
            RuntimeError: the environment belongs to another thread.
        """
        self._check_thread()
        rng = copied(self.episode.rng) if seed is None else np.random.default_rng(seed)
        drawn = draw_episode(self.task, self.days, rng, options)
        self.episode = replace(self.episode, rng=rng)  # from here on an error ends the running episode
        try:
            self._begin(drawn)
        except BaseException as error:
            self._interrupt(error)
            raise
        infos = self.step_info.at_reset(self.day, self._attacked(0))
        if self.renderer is not None:
            self.renderer.watch(self, {}, infos)
        return self._observations(), infos

    def _begin(self, drawn: DrawnEpisode) -> None:
        """Start an episode that has been drawn."""
        now = self.simulator.enter(drawn.day, self.task.start, drawn.conditions)
        for part, stream in zip((self.sensing, self.messages, self.attack), drawn.streams, strict=True):
            if part is not None:
                part.reset(np.random.default_rng(stream))
        observations, levels = self.observation_model.observe(now), self.masks.levels(now)
        self.episode = EpisodeState(
            self.episode.rng, observations, self.possible_agents[:], drawn.day, now=now, levels=levels
        )

    def _interrupt(self, error: BaseException) -> None:
        """End the episode after an error that left it half changed: nothing but ``reset`` goes on from here."""
        self.episode = replace(self.episode, agents=[], now=None, interrupted=f"{type(error).__name__}: {error}")

    def _check_running(self, what: str) -> None:
        self._check_thread()
        if self.episode.interrupted:
            raise RuntimeError(f"{what} cannot go on after an error ({self.episode.interrupted}); call reset first")
        if not self.agents or self.now is None:
            raise RuntimeError(f"{what} needs a running episode; call reset first")

    def _check_thread(self) -> None:
        """The first thread that uses the environment owns it until ``close``: two at once would crash the solver."""
        if self._thread != get_ident() and self.__dict__.setdefault("_thread", get_ident()) != get_ident():
            raise RuntimeError(
                "this environment belongs to another thread; build one for each, or close it before another goes on"
            )

    def _observations(self) -> dict[str, Any]:
        return self.masks.observations(self.episode.observations.copy(), self.episode.levels)

    # --- step --------------------------------------------------------------------------------------------------------

    def step(self, actions: Mapping[str, Any]) -> StepResult:
        """Operate one interval.

        Args:
            actions: one for each agent.

        Raises:
            ValueError: a missing or unknown agent, a wrong shape or type, NaN; nothing has changed.
            RuntimeError: before ``reset``, after the end, after an error within a step or reset, or in another thread
                than the environment's.
        """
        self._check_running("step")
        assert self.now is not None
        now, request = self.now, self._request(actions)
        try:
            return self._play(now, request)
        except BaseException as error:  # of a term or observation of one's own, or Ctrl-C, half way through
            self._interrupt(error)
            raise

    def _play(self, now: GridState, request: Request) -> StepResult:
        """Operate the interval as requested."""
        try:
            after, limited = self.simulator.operate(now, request.joint_action)
            coming = self.simulator.observe_next(after)
        except PowerFlowError:
            return self._fail(request)
        terms = self.task.reward_model.zone_terms(now, after)
        earned = terms[: len(self.task.rewards)]
        rewards = self.reward_assignment.agent_rewards(earned, now, after, request.joint_action)
        self._advance(after, coming, float(earned.sum()), self.task.objective_rows @ earned.sum(axis=-1))
        truncated = coming.step >= self.task.scenario.steps
        infos = self.step_info.of_step(self.day, request, terms, limited, truncated)
        return self._result(rewards, infos, truncated=truncated)

    def _request(self, actions: Mapping[str, Any]) -> Request:
        """The request to the devices: decoded actions, with masked choices held and attacks applied."""
        assert self.now is not None
        decoded = self.task.encoding.decode(actions)
        joint_action, illegal = self.masks.enforce(decoded, self.episode.levels, self.now)
        attacked = self._attacked(self.now.step)
        if self.attack is not None and attacked.any():
            joint_action = self.attack.act(joint_action, self.task.agents.action_layout.entry_agent, self.now)
        return Request(joint_action, decoded.clipped, illegal, attacked)

    def _attacked(self, step: int) -> BoolArray:
        """(A) which agents are compromised in a step."""
        return np.zeros(len(self.possible_agents), bool) if self.attack is None else self.attack.compromised(step)

    def _advance(self, after: GridState, coming: GridState, team_reward: float, reward_vector: Array) -> None:
        """Advance the episode to the coming interval."""
        episode = self.episode
        episode.before, episode.after, episode.now = episode.now, after, coming
        episode.team_reward, episode.reward_vector = team_reward, reward_vector
        episode.observations, episode.levels = self.observation_model.observe(coming), self.masks.levels(coming)

    def _fail(self, request: Request) -> StepResult:
        """End by a failed power flow. The last observation is repeated: it is finite, and no interval was operated."""
        penalty = self.task.scenario.failure_penalty
        self.episode.team_reward, self.episode.reward_vector = -penalty, np.zeros(len(self.task.objective_rows))
        infos = self.step_info.of_failure(self.day, request)
        return self._result(np.full(len(self.agents), -penalty), infos, terminated=True)

    def _result(self, rewards: Array, infos: Infos, terminated: bool = False, truncated: bool = False) -> StepResult:
        """The five dicts of a step; all agents end together."""
        agents = self.agents
        if terminated or truncated:
            self.episode.agents = []
        earned = dict(zip(agents, rewards.tolist(), strict=True))
        if self.renderer is not None:
            self.renderer.watch(self, earned, infos)
        return (
            self._observations(),
            earned,
            dict.fromkeys(agents, terminated),
            dict.fromkeys(agents, truncated),
            infos,
        )

    def what_if(self, actions: Mapping[str, Any]) -> GridState:
        """The coming interval as it would be with these actions; commits nothing, costs one solve.

        Compromised agents follow the attack, whatever their action here.

        Raises:
            ValueError, RuntimeError: as ``step``.
            PowerFlowError: the power flow would fail; the episode goes on.
        """
        self._check_running("what_if")
        assert self.now is not None
        return self.simulator.operate(self.now, self._request(actions).joint_action)[0]

    def check_action(self, agent: str, action: Any) -> None:
        """Whether ``step`` would take this action of an agent now; for those who hand over one after the other.

        Raises:
            ValueError, RuntimeError: as ``step``.
        """
        self._check_running("step")
        self.task.encoding.decode({**self.task.encoding.encode(self.task.default_action), agent: action})

    def render(self) -> Any:
        """A table of the zones ("ansi"), an image ("rgb_array"), or None and a window or table shown ("human")."""
        if self.render_mode is None or self.now is None:
            return None
        if self.render_mode == "rgb_array":
            assert self.renderer is not None
            return self.renderer.frame(self)
        if self.render_mode == "human" and self.renderer is not None and self.renderer.show(self):
            return None
        text = zone_table(self.task, self.metadata["name"], self.day, self.after or self.now)
        if self.render_mode == "human":
            print(text)
            return None
        return text

    # --- copies ------------------------------------------------------------------------------------------------------

    def save_state(self) -> Snapshot:
        """The running episode including random streams; ``load_state`` continues it bitwise.

        The engine restarts here, so that this environment and any that loads the state continue identically.
        """
        self._check_thread()
        self.engine.restart()
        return Snapshot(
            scenario=self.task.scenario,
            episode=self.episode.copy(),
            conditions=None if self.now is None else self.simulator.conditions,
            messages=self.messages.state.copy(),
            sensing=None if self.sensing is None else self.sensing.state.copy(),
            attack=None if self.attack is None else self.attack.state,
        )

    def load_state(self, saved: Snapshot) -> None:
        """Continue from what ``save_state`` returned, in this environment or another of the same scenario.

        Raises:
            ValueError: not a saved state, or one of another scenario; nothing has changed.
        """
        self._check_thread()
        if not isinstance(saved, Snapshot):
            raise ValueError(f"load_state takes what save_state gave, not {type(saved).__name__}")
        if saved.scenario != self.task.scenario:
            raise ValueError(
                f"the saved state is of scenario {saved.scenario.name!r}, which differs from this environment's "
                f"{self.task.scenario.name!r}; load it into one built from the same data"
            )
        episode, messages = saved.episode.copy(), saved.messages.copy()
        sensing = None if saved.sensing is None else saved.sensing.copy()
        self.engine.restart()  # the last that may fail
        self.episode, self.messages.state = episode, messages
        if saved.conditions is not None:
            self.simulator.conditions = saved.conditions
        if self.sensing is not None and sensing is not None:
            self.sensing.state = sensing
        if self.attack is not None and saved.attack is not None:
            self.attack.state = saved.attack

    def close(self) -> None:
        """Close the engine and the window; ``reset`` opens the engine again."""
        self.engine.close()
        self.__dict__.pop("_thread", None)
        if self.renderer is not None:
            self.renderer.close()

    def __getstate__(self) -> dict[str, Any]:
        """A copy continues bitwise like the original, whose engine therefore restarts too."""
        self.engine.restart()
        return {name: value for name, value in self.__dict__.items() if name != "_thread"}
