"""Multi-agent PettingZoo environments on OpenDSS: zones of a feeder as agents.

``make("ieee34_volt_var")`` returns an environment; ``list_scenarios()`` lists the other scenarios.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pettingzoo.utils import wrappers

from dss_marl import _assets
from dss_marl.engines import (
    BatchEngine,
    Engine,
    OpenDSSEngine,
    PowerFlowError,
    open_batch_engine,
    open_engine,
    read_feeder,
    synthetic_feeder,
)
from dss_marl.envs import registration, turn_env
from dss_marl.envs.batch_env import BatchZoneEnv
from dss_marl.envs.batch_vector_env import BatchVectorEnv
from dss_marl.envs.central_env import CentralEnv
from dss_marl.envs.scenario import Scenario
from dss_marl.envs.scenario_files import load_scenario
from dss_marl.envs.task import Task, build_task
from dss_marl.envs.vector_rewards import VectorRewards
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.grid.feeder import Feeder
from dss_marl.grid.feeder_report import feeder_report
from dss_marl.grid.state import GridState, Setpoints, Solution
from dss_marl.mdp.observations import feature
from dss_marl.mdp.term_slopes import with_slopes
from dss_marl.zones import Zone

if TYPE_CHECKING:
    from dss_marl.experiments.recording import Recording, record
    from dss_marl.experiments.shipped import load_policy

__version__ = "0.1.0"
__all__ = [
    "BatchEngine",
    "BatchVectorEnv",
    "BatchZoneEnv",
    "CentralEnv",
    "Engine",
    "Feeder",
    "GridState",
    "OpenDSSEngine",
    "PowerFlowError",
    "Recording",
    "Scenario",
    "Setpoints",
    "Solution",
    "Task",
    "VectorRewards",
    "Zone",
    "ZoneEnv",
    "build_task",
    "env",
    "feature",
    "feeder_report",
    "gym_env",
    "list_scenarios",
    "load_policy",
    "load_scenario",
    "make",
    "make_batch",
    "make_vec",
    "open_batch_engine",
    "open_engine",
    "parallel_env",
    "read_feeder",
    "record",
    "synthetic_feeder",
    "with_slopes",
]


def list_scenarios() -> list[str]:
    """Names of the scenarios that ship with the package."""
    return _assets.known_names("scenarios")


def make(
    scenario: str | Path | Scenario,
    split: str = "train",
    render_mode: str | None = None,
    engine: str | Engine | None = None,
    allow_code: bool = False,
    **changes: Any,
) -> ZoneEnv:
    """An environment, ready to reset.

    Args:
        scenario: a shipped scenario's name, a YAML file's path, or a Scenario.
        split: from which days are drawn: train, validation or test.
        render_mode, engine: see ZoneEnv.
        allow_code: see load_scenario.
        changes: fields of the scenario to change, such as ``steps=48`` or ``rewards={"loss": 1.0}``.

    Raises:
        ValueError: something named does not exist or is incompatible; the message says where, and what is known.

    >>> env = make("ieee13_volt_var", split="test", steps=4)
    >>> observations, infos = env.reset(seed=0)
    >>> env.agents
    ['zone_1', 'zone_2', 'zone_3']
    >>> actions = {agent: env.action_space(agent).sample() for agent in env.agents}
    >>> observations, rewards, terminations, truncations, infos = env.step(actions)
    >>> any(terminations.values()), sorted(rewards) == env.agents
    (False, True)
    >>> env.close()
    """
    loaded = load_scenario(scenario, allow_code)
    return ZoneEnv(loaded.replace(**changes) if changes else loaded, split, engine, render_mode, _renderer(render_mode))


def make_batch(
    scenario: str | Path | Scenario,
    copies: int = 64,
    split: str = "train",
    engine: str | BatchEngine | None = None,
    allow_code: bool = False,
    **changes: Any,
) -> BatchZoneEnv:
    """Several copies of a scenario stepped at once as arrays, ready to reset.

    Args:
        scenario: a shipped scenario's name, a YAML file's path, or a Scenario.
        copies: their number B, each on days of its own.
        split: from which days are drawn: train, validation or test.
        engine: see BatchZoneEnv.
        allow_code: see load_scenario.
        changes: fields of the scenario to change.

    Raises:
        ValueError: something named does not exist or is incompatible; the message says where, and what is known.

    >>> batch = make_batch("ieee13_volt_var", copies=4, steps=2)
    >>> observations, infos = batch.reset(seed=0)
    >>> observations.shape  # copies, agents, entries
    (4, 3, 43)
    >>> import numpy as np
    >>> step = batch.step(np.zeros(batch.action_rows.shape, np.float32))
    >>> step.rewards.shape, step.truncated.any(), sorted(step.infos)[:2]
    ((4, 3), np.False_, ['TimeLimit.truncated', 'attacked'])
    >>> batch.close()
    """
    loaded = load_scenario(scenario, allow_code)
    return BatchZoneEnv(loaded.replace(**changes) if changes else loaded, copies, split, engine)


def make_vec(
    scenario: str | Path | Scenario, num_envs: int = 64, view: Literal["central", "agents"] = "central", **options: Any
) -> BatchVectorEnv:
    """``make_batch`` as a Gymnasium VectorEnv.

    Args:
        scenario: see make_batch.
        num_envs: number of copies; in the view of agents, each holds a sub-environment per agent.
        view: "central": one agent controls every device of a copy, as with gym_env; "agents": one sub-environment for
            each agent of each copy, for a shared policy.
        options: the other arguments of make_batch.

    Raises:
        ValueError: as make_batch; or the actions do not form one array.

    >>> envs = make_vec("ieee13_volt_var", num_envs=4)
    >>> observations, infos = envs.reset(seed=0)
    >>> observations, rewards, terminated, truncated, infos = envs.step(envs.action_space.sample())
    >>> rewards.shape
    (4,)
    >>> envs.close()
    """
    return BatchVectorEnv(make_batch(scenario, num_envs, **options), view)


def _renderer(render_mode: str | None) -> Any:
    """What draws the pictures; for a window, None without matplotlib, which is an extra: the text is printed then."""
    if render_mode not in ("rgb_array", "human"):
        return None
    try:
        from dss_marl.plots import Renderer
    except ImportError:
        if render_mode == "human":
            return None
        raise
    return Renderer()


def parallel_env(
    scenario: str | Path | Scenario = "ieee34_volt_var", max_cycles: int | None = None, **options: Any
) -> ZoneEnv:
    """``make`` under PettingZoo's name; ``max_cycles`` is the horizon."""
    if max_cycles is not None:
        options["steps"] = max_cycles
    return make(scenario, **options)


def env(scenario: str | Path | Scenario = "ieee34_volt_var", max_cycles: int | None = None, **options: Any) -> Any:
    """The same environment as a PettingZoo AEC environment: agents act in turn, the last one triggers the step."""
    return wrappers.OrderEnforcingWrapper(turn_env.TurnEnv(parallel_env(scenario, max_cycles, **options)))


def gym_env(
    scenario: str | Path | Scenario,
    split: str = "train",
    render_mode: str | None = None,
    engine: str | Engine | None = None,
    allow_code: bool = False,
    **changes: Any,
) -> CentralEnv:
    """A scenario for one agent that controls every device, as a Gymnasium environment.

    Args:
        scenario: a shipped scenario's name, a YAML file's path, or a Scenario.
        split: from which days are drawn: train, validation or test.
        render_mode, engine: see ZoneEnv.
        allow_code: see load_scenario.
        changes: fields of the scenario to change.

    Raises:
        ValueError: something named does not exist or is incompatible, or ``actions`` are native.
    """
    loaded = load_scenario(scenario, allow_code)
    scenario = loaded.replace(**changes) if changes else loaded
    return CentralEnv(scenario, split, engine, render_mode, _renderer(render_mode))


def __getattr__(name: str) -> Any:
    """Names found when they are asked for: experiments take longer to import than environments."""
    if name not in ("Recording", "load_policy", "record"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from dss_marl.experiments import recording, shipped

    return getattr(shipped if name == "load_policy" else recording, name)


registration.register_all(parallel_env, env)
