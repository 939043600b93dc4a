"""Minari datasets, Farama's format for offline learning: one for the central view, and one for each agent."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from dss_marl.controllers.base import Controller
from dss_marl.envs.central_env import check_one_array, joint_action_space, joint_mask
from dss_marl.envs.flattening import flat_mask, split_mask
from dss_marl.envs.scenario_files import load_scenario
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.profiles.splits import seed_of

__all__ = ["write_datasets"]

CENTRAL = "central"
_CODE = "https://github.com/dss-marl/dss_marl"


def write_datasets(
    env: ZoneEnv,
    controller: Controller,
    days: Iterable[int],
    name: str,
    algorithm: str = "",
) -> list[str]:
    """Play days under a controller and write them as Minari datasets, one episode for each day.

    ``NAME/central-v0`` holds what ``CentralEnv`` sees, does and earns; ``NAME/AGENT-v0`` what each agent does.
    Observations and actions are arrays. ``infos`` hold, for each step, ``reward`` and ``cost`` terms by name and, where
    actions are choices, ``action_mask``, one after the other; those of the reset come first.

    Args:
        env: of a scenario whose actions are ``box`` or ``multidiscrete``.
        controller: chooses the actions; needs the circuit's own controls only if the environment has them.
        days: numbers.
        name: of the datasets: letters, digits, ``_``, ``-`` and ``/``.
        algorithm: what the datasets call the controller.

    Returns:
        names of the datasets, which lie under ``~/.minari/datasets`` or ``MINARI_DATASETS_PATH``.

    Raises:
        ValueError: actions are no arrays, the name cannot be used, or a dataset of that name exists.
        ImportError: minari is missing.
    """
    check_one_array(env.task.scenario)
    names = {view: f"{name}/{view}-v0" for view in (CENTRAL, *env.possible_agents)}
    _check_names(name, names.values())
    episodes: dict[str, list[_Episode]] = {view: [] for view in names}
    for day in days:
        for view, episode in _played(env, controller, day).items():
            episodes[view].append(episode)
    for view, dataset in names.items():
        _write(env, view, dataset, episodes[view], algorithm or type(controller).__name__)
    return list(names.values())


class _Episode:
    """One day of one view, step by step."""

    def __init__(self, day: int) -> None:
        self.day = day
        self.observations: list[np.ndarray] = []
        self.actions: list[np.ndarray] = []
        self.rewards: list[float] = []
        self.infos: list[dict[str, Any]] = []
        self.terminated = False

    def buffer(self, number: int, buffer: type[Any]) -> Any:
        """As minari's ``EpisodeBuffer``."""
        ends = [False] * (len(self.rewards) - 1)
        return buffer(
            id=number,
            seed=seed_of(self.day),
            options={"day": self.day},
            observations=np.array(self.observations),
            actions=np.array(self.actions),
            rewards=self.rewards,
            terminations=[*ends, self.terminated],
            truncations=[*ends, not self.terminated],
            infos=_stacked(self.infos),
        )


def _stacked(infos: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The infos of all steps as arrays, in groups where names have a "/"."""
    result: dict[str, Any] = {}
    for key in infos[0]:
        group, _, own = key.rpartition("/")
        values = np.array([info[key] for info in infos])
        if group:
            result.setdefault(group, {})[own] = values
        else:
            result[key] = values
    return result


def _played(env: ZoneEnv, controller: Controller, day: int) -> dict[str, _Episode]:
    """A day, by view."""
    episodes = {view: _Episode(day) for view in (CENTRAL, *env.possible_agents)}
    observations, infos = env.reset(seed=seed_of(day), options={"day": day})
    controller.reset(env)
    used = env.task.agents.action_layout.used
    _see(env, episodes, observations, infos)
    while env.agents:
        actions = controller.act(env, observations)
        observations, rewards, terminations, _, infos = env.step(actions)
        own = {agent: np.asarray(actions[agent], env.action_space(agent).dtype) for agent in env.possible_agents}
        together = np.array([own[agent] for agent in env.possible_agents]).reshape(used.shape)[used]
        for view, episode in episodes.items():
            episode.actions.append(together if view == CENTRAL else own[view])
            episode.rewards.append(env.team_reward if view == CENTRAL else rewards[view])
            episode.terminated = any(terminations.values())
        _see(env, episodes, observations, infos)
    return episodes


def _see(
    env: ZoneEnv,
    episodes: Mapping[str, _Episode],
    observations: Mapping[str, Any],
    infos: Mapping[str, Mapping[str, Any]],
) -> None:
    """Keep what every view sees of the coming interval, and is told of the one before."""
    for agent in env.possible_agents:
        seen, mask = split_mask(observations[agent])
        info = {key: value for key, value in infos[agent].items() if "/" in key}
        if mask is not None:
            info["action_mask"] = flat_mask(env.action_space(agent), mask)
        episodes[agent].observations.append(np.array(seen))
        episodes[agent].infos.append(info)
    episodes[CENTRAL].observations.append(env.state())
    failed = any(infos[agent]["failed"] for agent in env.possible_agents)
    told: dict[str, Any] = {**_terms(env, failed)}
    if env.task.encoding.discrete:
        told["action_mask"] = joint_mask(env, observations)
    episodes[CENTRAL].infos.append(told)


def _terms(env: ZoneEnv, failed: bool) -> dict[str, float]:
    """Reward terms and costs of the last step, over all zones; zeros after a reset and a failure."""
    task = env.task
    names = [*(f"reward/{name}" for name in task.rewards), *(f"cost/{name}" for name in task.costs)]
    if failed or env.before is None or env.after is None:
        return dict.fromkeys(names, 0.0)
    return dict(zip(names, task.reward_model.zone_terms(env.before, env.after).sum(axis=-1).tolist(), strict=True))


def _check_names(name: str, datasets: Iterable[str]) -> None:
    """Before hours are spent on playing."""
    if not re.fullmatch(r"[\w-]+(/[\w-]+)*", name):
        raise ValueError(f"dataset name {name!r}: use letters, digits, '_', '-' and '/', as in 'grid/droop'")
    try:
        from minari import list_local_datasets
    except ImportError as error:
        raise ImportError("datasets need minari: pip install 'dss_marl[offline]'") from error
    known = list_local_datasets()
    for dataset in datasets:
        if dataset in known:
            raise ValueError(
                f"a dataset {dataset!r} exists; 'minari delete {dataset}' removes it, or choose another name"
            )


def _write(env: ZoneEnv, view: str, dataset: str, episodes: Sequence[_Episode], algorithm: str) -> None:
    import minari
    from minari.data_collector import EpisodeBuffer

    task, central = env.task, view == CENTRAL
    seen: spaces.Space[Any] = env.state_space if central else split_mask(env.observation_space(view))[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of authors and an environment, which not every dataset has
        made = minari.create_dataset_from_buffers(
            dataset,
            [episode.buffer(number, EpisodeBuffer) for number, episode in enumerate(episodes)],
            env=_registered(env) if central else None,
            observation_space=seen,
            action_space=joint_action_space(task) if central else env.action_space(view),
            algorithm_name=algorithm,
            code_permalink=_CODE,
            description=f"{view} of scenario {task.scenario.name} under {algorithm}",
            requirements=[f"dss_marl=={version('dss_marl')}"],
        )
    made.storage.update_metadata(_about(env, view))


def _registered(env: ZoneEnv) -> Any:
    """What ``gymnasium.make`` needs for the same environment; None where it is no shipped scenario."""
    scenario = env.task.scenario
    spec = gymnasium.registry.get(f"dss_marl/{scenario.name}-v{scenario.version}")
    return spec if spec is not None and load_scenario(scenario.name) == scenario else None


def _about(env: ZoneEnv, view: str) -> dict[str, str]:
    """The scenario and what each entry is, as JSON."""
    about = {"scenario": env.task.scenario.model_dump(mode="json")}
    if view != CENTRAL:
        about["labels"] = env.labels(view)
    return {name: json.dumps(value) for name, value in about.items()}
