"""ZoneEnv: the PettingZoo ParallelEnv, the step and nothing else."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv

from dss_marl.engines.base import Engine, PowerFlowError
from dss_marl.engines.opendss import OpenDSSEngine
from dss_marl.profiles import Day
from dss_marl.scenario import Scenario, Task
from dss_marl.state import Array, GridState, Setpoints
from dss_marl.zones import over_zones


class ZoneEnv(ParallelEnv):
    """A scenario as a game of zone agents.

    One step is one interval of the day. Agents see the coming interval's load and sun with the voltages that these
    cause at the present set points; their actions then act in that interval. All agents start and end together: by
    truncation at the horizon, or by termination with ``failure_penalty`` if the power flow fails.

    Observations are (n,) float32 and actions (w,) float32 in [-1, 1], the same width for all agents; ``labels`` tells
    what the entries are. Infos hold numbers under the same keys in ``reset`` and ``step``: ``reward/<term>`` (the
    zone's weighted share), ``cost/<name>``, ``clipped`` (entries out of range), ``limited`` (requests cut by a device's
    limit), ``failed``, ``day``, and ``TimeLimit.truncated``.

    Args:
        scenario: the task as data, or a Task already built.
        split: where days are drawn from at reset: train, validation or test.
        engine: a solver for the task's feeder; None makes an OpenDSSEngine.
        render_mode: None, "ansi" (a table) or "rgb_array" (a picture of the feeder; needs matplotlib).
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
        engine: Engine | None = None,
        render_mode: str | None = None,
    ) -> None:
        task = scenario.build() if isinstance(scenario, Scenario) else scenario
        if render_mode not in (None, "human", *self.metadata["render_modes"]):
            raise ValueError(f"unknown render_mode {render_mode!r}; known: None, ansi, rgb_array")
        self.task = task
        self.split = split
        self.days = task.profiles.days(split)
        self.engine: Engine = engine or OpenDSSEngine(task.feeder)
        self.render_mode = render_mode
        self.metadata = {**self.metadata, "name": f"{task.scenario.name}_v{task.scenario.version}"}
        self.possible_agents = [zone.name for zone in task.zones]
        self.agents: list[str] = []
        observation = spaces.Box(task.observer.low.astype(np.float32), task.observer.high.astype(np.float32))
        self.observation_spaces = {a: spaces.Box(observation.low, observation.high) for a in self.possible_agents}
        self.action_spaces = {a: spaces.Box(-1.0, 1.0, (task.slots.width,)) for a in self.possible_agents}
        copies = len(task.zones)
        self.state_space = spaces.Box(np.tile(observation.low, copies), np.tile(observation.high, copies))
        self.before: GridState | None = None
        self.after: GridState | None = None
        self.now: GridState | None = None
        self._rng = np.random.default_rng()
        self._day: Day | None = None
        self.day = -1  # of the year, from 0
        self._rows = np.zeros((len(task.zones), len(task.observer.low)), np.float32)
        terms = (*(f"reward/{name}" for name in task.rewards), *(f"cost/{name}" for name in task.costs))
        self._keys = (*terms, "clipped", "limited", "failed", "day")

    def observation_space(self, agent: str) -> spaces.Box:
        """Box of the agent's observation; always the same object."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Box:
        """Box of the agent's action; always the same object."""
        return self.action_spaces[agent]

    def labels(self, agent: str) -> dict[str, list[str]]:
        """What each entry of the agent's ``observation`` and ``action`` is; "-" marks padding."""
        index = self.possible_agents.index(agent)
        return {
            "observation": self.task.observer.labels(self.task.zones[index], self.task.feeder),
            "action": list(self.task.slots.labels[index]),
        }

    def state(self) -> np.ndarray:
        """(Z n) float32: all agents' observations, for a central critic."""
        return self._rows.ravel().copy()

    # --- reset -------------------------------------------------------------------------------------------------------

    def reset(
        self, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, dict[str, Any]]]:
        """Start a day, drawn from the split.

        Args:
            seed: of the stream of days from here on; None goes on with the present stream.
            options: ``{"day": 17}`` starts that day of the year, whatever the split.

        Raises:
            ValueError: no such day.
        """
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        options = dict(options or {})
        drawn = int(self._rng.choice(self.days))  # drawn always, so that an option does not shift the stream
        number = options.pop("day", drawn)
        if options:  # an error would fail PettingZoo's own test, which passes an option of its own
            warnings.warn(f"reset ignores the unknown option {next(iter(options))!r}; known: day", stacklevel=2)
        self._day = self.task.profiles.day(number)
        self.day = int(number)
        self.agents = self.possible_agents[:]
        self.before = self.after = None
        self.engine.restart()
        memory = np.concatenate([group.initial().ravel() for group in self.task.groups])
        self.now = self._held(0, self.task.start, memory, None)
        self._rows = self.task.observer.observe(self.now)
        return self._by_agent(self._rows.copy()), self._infos(np.zeros((len(self._keys) - 1, len(self.agents))), False)

    # --- step --------------------------------------------------------------------------------------------------------

    def step(
        self, actions: Mapping[str, Any]
    ) -> tuple[dict[str, np.ndarray], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]:
        """Operate one interval.

        Args:
            actions: for each agent a (w,) vector; entries outside [-1, 1] are clipped and counted.

        Raises:
            ValueError: a missing or unknown agent, a wrong shape, NaN.
            RuntimeError: before ``reset``, or after the end.
        """
        if not self.agents or self.now is None:
            raise RuntimeError("step needs a running episode; call reset first")
        flat, clipped = self.task.slots.read(actions)
        scenario, now = self.task.scenario, self.now
        failed = False
        values = np.zeros((len(self._keys) - 1, len(self.agents)))
        terms = len(self.task.rewards)
        try:
            after, limited = self._operated(flat)
            coming = self._held(now.step + 1, after.setpoints, after.memory, after)
            rows = self.task.observer.observe(coming)
            self._judge(now, after, values)
            reward = float(values[:terms].sum())
            values[-2] = limited
            self.before, self.after, self.now, self._rows = now, after, coming, rows
        except PowerFlowError:
            failed = True  # the last observation stands: it is finite, and no interval was operated
            values[:] = 0.0
            values[-1] = 1.0
            reward = -scenario.failure_penalty
        values[-3] = clipped
        truncated = not failed and now.step + 1 >= scenario.steps
        infos = self._infos(values, truncated)
        agents = self.agents
        if failed or truncated:
            self.agents = []
        return (
            self._by_agent(self._rows.copy()),
            dict.fromkeys(agents, reward),
            dict.fromkeys(agents, failed),
            dict.fromkeys(agents, truncated),
            infos,
        )

    def what_if(self, actions: Mapping[str, Any]) -> GridState:
        """The state that these actions would lead to in the coming interval; nothing is committed, one solve is spent.

        Raises:
            ValueError: as ``step``.
            PowerFlowError: the power flow would fail.
        """
        return self._operated(self.task.slots.read(actions)[0])[0]

    def _operated(self, flat: Array) -> tuple[GridState, Array]:
        """The coming interval with the devices acting; and (Z) the requests that their limits cut."""
        assert self.now is not None
        now, task = self.now, self.task
        setpoints = self._injections(now.step, now.setpoints)
        memory, limited, place = [], [], 0
        for group, part, shape in zip(task.groups, task.slots.parts, task.slots.shapes, strict=True):
            size = group.size * group.memory_size
            kept = now.memory[place : place + size].reshape(group.size, group.memory_size)
            kept, cut = group.act(flat[part].reshape(shape), kept, setpoints, now.dt_h)
            memory.append(kept.ravel())
            limited.append(cut)
            place += size
        solution = self.engine.solve(setpoints, task.scenario.circuit_controls)
        setpoints.tap, setpoints.closed = solution.tap.copy(), solution.closed.copy()
        after = GridState(now.step, now.hour, now.dt_h, setpoints, solution, np.concatenate(memory), now.forecast)
        cuts = np.bincount(task.slots.device_zone, np.concatenate(limited), len(task.zones)).astype(float)
        return after, cuts

    def _held(self, step: int, present: Setpoints, memory: Array, last: GridState | None) -> GridState:
        """Interval ``step`` as agents see it: its load and sun, the devices where they are."""
        task = self.task
        assert self._day is not None
        setpoints = self._injections(step, present)
        place = 0
        for group in task.groups:
            size = group.size * group.memory_size
            group.hold(memory[place : place + size].reshape(group.size, group.memory_size), setpoints)
            place += size
        stale = last is not None and task.scenario.observed_voltages == "last"
        solution = last.solution if stale and last is not None else self.engine.solve(setpoints)
        dt_h = task.scenario.dt_h
        forecast = self._day.kw[step : step + 1]
        return GridState(step, step * dt_h % 24, dt_h, setpoints, solution, memory, forecast)

    def _injections(self, step: int, present: Setpoints) -> Setpoints:
        """Set points with the interval's injections before control, and taps and switches as they are."""
        assert self._day is not None
        return Setpoints(
            self._day.kw[step].copy(), self._day.kvar[step].copy(), present.tap.copy(), present.closed.copy()
        )

    def _judge(self, before: GridState, after: GridState, values: Array) -> None:
        """Fill the first rows: weighted reward terms, then costs, of all zones."""
        zones, stacked, row = self.task.zones, self.task.stacked, 0
        for weight, term in self.task.rewards.values():
            values[row] = over_zones(term, zones, stacked, before, after)
            values[row] *= weight
            row += 1
        for cost in self.task.costs.values():
            values[row] = over_zones(cost, zones, stacked, before, after)
            row += 1

    def _by_agent(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(self.possible_agents, rows, strict=True))

    def _infos(self, values: Array, truncated: bool) -> dict[str, dict[str, Any]]:
        """One dict for each agent, from (keys without day, Z) values."""
        day = float(self.day)
        return {
            agent: dict(zip(self._keys, (*column, day), strict=True)) | {"TimeLimit.truncated": truncated}
            for agent, column in zip(self.possible_agents, values.T.tolist(), strict=True)
        }

    # --- the rest ----------------------------------------------------------------------------------------------------

    def render(self) -> Any:
        """A table of the zones ("ansi") or a picture of the feeder ("rgb_array"); None without a render_mode."""
        if self.render_mode is None or self.now is None:
            return None
        if self.render_mode == "rgb_array":
            from dss_marl.plots import feeder_image

            return feeder_image(self.task, self.after or self.now)
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

    def close(self) -> None:
        """Give the solver back; ``reset`` opens it again."""
        self.engine.close()

    def __getstate__(self) -> dict[str, Any]:
        """A copy goes on bitwise like the original, which therefore forgets its solver's history too."""
        self.engine.restart()
        return self.__dict__.copy()
