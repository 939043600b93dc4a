"""ZoneEnv: the PettingZoo ParallelEnv, the step and nothing else."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv

from dss_marl.engines import open_engine
from dss_marl.engines.base import Engine, PowerFlowError
from dss_marl.envs.action_masks import ActionMasks
from dss_marl.envs.faults import draw_faults
from dss_marl.envs.observation_model import ObservationModel
from dss_marl.envs.reward_assignment import RewardAssignment
from dss_marl.envs.scenario import Scenario
from dss_marl.envs.simulator import Simulator
from dss_marl.envs.snapshot import EpisodeState, Snapshot
from dss_marl.envs.step_info import Request, StepInfo
from dss_marl.envs.task import Task, build_task
from dss_marl.grid.state import Array, BoolArray, GridState
from dss_marl.mdp.communication import Messages
from dss_marl.mdp.sensing import Sensing

Infos = dict[str, dict[str, Any]]
StepResult = tuple[dict[str, Any], dict[str, float], dict[str, bool], dict[str, bool], Infos]


class EnvRenderer(Protocol):
    """Draws a running environment, which is handed one so that it needs no figures; ``plots.Renderer`` is one."""

    def watch(self, env: ZoneEnv, rewards: Mapping[str, float], infos: Infos) -> None:
        """Called after each step with what agents got, and after each reset without rewards."""

    def frame(self, env: ZoneEnv) -> np.ndarray:
        """(H, W, 3) uint8 picture of the last interval as operated; after a reset, of the coming one."""

    def show(self, env: ZoneEnv) -> bool:
        """The same in a window; False where there is no display."""

    def close(self) -> None:
        """Close the window."""


class ZoneEnv(ParallelEnv):
    """A scenario as a game of agents.

    One step is one interval of the day. Agents see the coming interval's load and PV with the voltages that these
    cause at the present set points; their actions then act in that interval. All agents start and end together: by
    truncation at the horizon, or by termination with ``failure_penalty`` if the power flow fails.

    Observations are (n,) float32, actions as the scenario's ``actions`` encode them, both alike for all agents unless
    native; ``labels`` tells what the entries are. Where an action has choices, an observation is a dict of
    ``observation`` and ``action_mask`` (int8; a tuple of them for several choices), or ``choice_mask`` where only some
    of the devices have choices. A choice that the mask forbids is no error: the device holds, and ``illegal`` counts.

    Infos hold numbers under the same keys in ``reset`` and ``step``: ``reward/<term>`` and ``cost/<name>`` (of the
    agent's zone), ``clipped`` (numbers out of range), ``limited`` (requests cut by a device's limit), ``refused``
    (those of switches that stood in each other's way), ``illegal``, ``attacked`` (1 while the agent is
    compromised), ``failed``, ``day``, and ``TimeLimit.truncated``.

    Attributes:
        task, split, days, engine, simulator: what is played on.
        sensing, messages, attack: what stands between agents and the grid; sensing is None where it is perfect, attack
            where there is none.
        masks, observation_model, reward_model, step_info: what agents may do, observe, get and are told.
        episode: all that changes from step to step, but for what the simulator and the parts above keep.

    Args:
        scenario: the task as data, or a Task already built.
        split: where days are drawn from at reset: train, validation or test.
        engine: a solver for the task's feeder, or the name of one as ``open_engine`` takes it; None opens OpenDSS.
        render_mode: None, "ansi" (a table), "rgb_array" (a picture of the feeder and the day so far) or "human" (the
            picture in a window; where there is no display or no matplotlib, the table is printed).
        renderer: draws the picture, for this environment alone; ``dss_marl.make`` hands over a ``plots.Renderer``.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012
        "name": "dss_marl_v0",
        "render_modes": ["ansi", "rgb_array", "human"],
        "is_parallelizable": True,
        "render_fps": 4,
    }

    def __init__(
        self,
        scenario: Scenario | Task,
        split: str = "train",
        engine: Engine | str | None = None,
        render_mode: str | None = None,
        renderer: EnvRenderer | None = None,
    ) -> None:
        task = build_task(scenario) if isinstance(scenario, Scenario) else scenario
        _check_render_mode(render_mode, renderer)
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
        self.observation_model = ObservationModel(task, self.sensing, self.messages)
        numbered = list(enumerate(self.possible_agents))
        self.action_spaces = {agent: task.encoding.space(a) for a, agent in numbered}
        self.observation_spaces = {
            agent: self.masks.observation_space(a, self.observation_model.box()) for a, agent in numbered
        }
        self.state_space = self.observation_model.state_box()
        shape = (len(numbered), *self.observation_model.box().shape)
        self.episode = EpisodeState(np.random.default_rng(), np.zeros(shape, np.float32))

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        """Space of the agent's observation; always the same object."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Space[Any]:
        """Space of the agent's action; always the same object."""
        return self.action_spaces[agent]

    def labels(self, agent: str) -> dict[str, list[str]]:
        """What each entry of the agent's ``observation`` and of its action (slots, if native) is; "-" is padding."""
        a = self.possible_agents.index(agent)
        action = self.task.agents.action_layout.labels[a]
        return {"observation": self.observation_model.labels(a), "action": list(action)}

    # --- the running episode -----------------------------------------------------------------------------------------

    @property
    def agents(self) -> list[str]:
        """Those that still act: all, or none."""
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
        """The coming interval as it is."""
        return self.episode.now

    @property
    def team_reward(self) -> float:
        """Of the last step, whatever each agent gets of it."""
        return self.episode.team_reward

    def state(self) -> np.ndarray:
        """(Z n) float32: what all zones would see if they measured perfectly, for a central critic."""
        return self.observation_model.state(self.now, self.episode.observations)

    # --- reset -------------------------------------------------------------------------------------------------------

    def reset(self, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[dict[str, Any], Infos]:
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
            self.episode.rng = np.random.default_rng(seed)
        rng, options = self.episode.rng, dict(options or {})
        drawn = int(rng.choice(self.days))  # drawn always, so that an option does not shift the stream
        streams = rng.integers(2**63, size=3)
        day = options.pop("day", drawn)
        faults = options.pop("faults", draw_faults(self.task.scenario.faults, day, rng))
        if options:  # an error would fail PettingZoo's own test, which passes an option of its own
            warnings.warn(f"reset ignores the unknown option {next(iter(options))!r}; known: day, faults", stacklevel=2)
        now = self.simulator.begin(day, self.task.start, faults)
        for part, stream in zip((self.sensing, self.messages, self.attack), streams, strict=True):
            if part is not None:
                part.reset(np.random.default_rng(stream))
        observations, levels = self.observation_model.observe(now), self.masks.levels(now)
        self.episode = EpisodeState(rng, observations, self.possible_agents[:], int(day), now=now, levels=levels)
        infos = self.step_info.at_reset(self.day, self._attacked(0))
        if self.renderer is not None:
            self.renderer.watch(self, {}, infos)
        return self._observations(), infos

    def _observations(self) -> dict[str, Any]:
        return self.masks.observations(self.episode.observations.copy(), self.episode.levels)

    # --- step --------------------------------------------------------------------------------------------------------

    def step(self, actions: Mapping[str, Any]) -> StepResult:
        """Operate one interval.

        Args:
            actions: one for each agent.

        Raises:
            ValueError: a missing or unknown agent, a wrong shape or type, NaN.
            RuntimeError: before ``reset``, or after the end.
        """
        if not self.agents or self.now is None:
            raise RuntimeError("step needs a running episode; call reset first")
        now, request = self.now, self._request(actions)
        try:
            after, limited = self.simulator.operate(now, request.joint_action)
            coming = self.simulator.observe_next(after)
        except PowerFlowError:
            return self._fail(request)
        terms = self.task.reward_model.zone_terms(now, after)
        earned = terms[: len(self.task.rewards)]
        rewards = self.reward_assignment.agent_rewards(earned, now, after, request.joint_action)
        self._advance(after, coming, float(earned.sum()))
        truncated = coming.step >= self.task.scenario.steps
        infos = self.step_info.of_step(self.day, request, terms, limited, truncated)
        return self._result(rewards, infos, truncated=truncated)

    def _request(self, actions: Mapping[str, Any]) -> Request:
        """What the devices are asked: the agents' actions, held where the masks forbid them, and any attack."""
        assert self.now is not None
        decoded = self.task.encoding.decode(actions)
        joint_action, illegal = self.masks.enforce(decoded, self.episode.levels, self.now)
        attacked = self._attacked(self.now.step)
        if self.attack is not None and attacked.any():
            joint_action = self.attack.act(joint_action, self.task.agents.action_layout.entry_agent, self.now)
        return Request(joint_action, decoded.clipped, illegal, attacked)

    def _attacked(self, step: int) -> BoolArray:
        """(A) which agents are compromised in a step."""
        return np.zeros(len(self.possible_agents), bool) if self.attack is None else self.attack.hostile(step)

    def _advance(self, after: GridState, coming: GridState, team_reward: float) -> None:
        """Go on to the coming interval."""
        episode = self.episode
        episode.before, episode.after, episode.now = episode.now, after, coming
        episode.team_reward = team_reward
        episode.observations, episode.levels = self.observation_model.observe(coming), self.masks.levels(coming)

    def _fail(self, request: Request) -> StepResult:
        """The end by a failed power flow. The last observation stands: it is finite, and no interval was operated."""
        penalty = self.task.scenario.failure_penalty
        self.episode.team_reward = -penalty
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
        """The state that these actions would lead to in the coming interval; nothing is committed, one solve is spent.

        Compromised agents do what they are going to do, whatever is asked of them.

        Raises:
            ValueError: as ``step``.
            PowerFlowError: the power flow would fail.
        """
        if self.now is None:
            raise RuntimeError("what_if needs a running episode; call reset first")
        return self.simulator.operate(self.now, self._request(actions).joint_action)[0]

    def render(self) -> Any:
        """What the ``render_mode`` asks for: a table of the zones, a picture, or None and a window."""
        if self.render_mode is None or self.now is None:
            return None
        if self.render_mode == "rgb_array":
            assert self.renderer is not None
            return self.renderer.frame(self)
        if self.render_mode == "ansi":
            return self._table()
        if self.renderer is None or not self.renderer.show(self):
            print(self._table())
        return None

    def _table(self) -> str:
        state = self.after or self.now
        assert state is not None
        lines = [f"{self.metadata['name']} day {self.day} step {state.step} hour {state.hour:05.2f}"]
        for zone in self.task.zones:
            v = state.solution.v_pu[zone.nodes]
            lines.append(f"{zone.name}: {v.min():.4f} to {v.max():.4f} pu")
        return "\n".join(lines)

    # --- copies ------------------------------------------------------------------------------------------------------

    def save_state(self) -> Snapshot:
        """The running episode, random streams included; ``load_state`` goes on from it, exact to the bit.

        The solver forgets its history here, so that this environment and any that loads the state go on alike.
        """
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
        """Go on from what ``save_state`` gave, in this environment or another of the same scenario.

        Raises:
            ValueError: it is of another scenario.
        """
        if saved.scenario != self.task.scenario:
            raise ValueError(
                f"the saved state is of another scenario, {saved.scenario.name!r}, than this environment's "
                f"{self.task.scenario.name!r}; load it into one built from the same data"
            )
        self.episode = saved.episode.copy()
        self.messages.state = saved.messages.copy()
        if saved.conditions is not None:
            self.simulator.conditions = saved.conditions
        if self.sensing is not None and saved.sensing is not None:
            self.sensing.state = saved.sensing.copy()
        if self.attack is not None and saved.attack is not None:
            self.attack.state = saved.attack
        self.engine.restart()

    def close(self) -> None:
        """Give the solver back, which ``reset`` opens again, and close the window."""
        self.engine.close()
        if self.renderer is not None:
            self.renderer.close()

    def __getstate__(self) -> dict[str, Any]:
        """A copy goes on bitwise like the original, which therefore forgets its solver's history too."""
        self.engine.restart()
        return self.__dict__.copy()


def _check_render_mode(render_mode: str | None, renderer: EnvRenderer | None) -> None:
    known = ZoneEnv.metadata["render_modes"]
    if render_mode not in (None, *known):
        raise ValueError(f"unknown render_mode {render_mode!r}; known: None, {', '.join(known)}")
    if render_mode == "rgb_array" and renderer is None:
        raise ValueError(
            "render_mode 'rgb_array' needs a renderer: give renderer=dss_marl.plots.Renderer(), or use dss_marl.make"
        )
