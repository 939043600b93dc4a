"""Trained policies as controllers: one for all agents, or one per kind."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from dss_marl.envs.flattening import action_in, flat_mask, flatten_space, split
from dss_marl.envs.zone_env import ZoneEnv

MODEL = "model.zip"


class PolicyPerKind:
    """Trained models as a controller: every agent's action by its kind's model, without exploration.

    Args:
        models: kind of agent -> an SB3 model whose spaces are those of one agent, masks apart.
    """

    circuit_controls = False

    def __init__(self, models: Mapping[str, Any]) -> None:
        self.models = dict(models)

    @classmethod
    def load(cls, folder: Path, algorithm: str) -> PolicyPerKind:
        """The best policies of a run.

        Args:
            folder: of the run.
            algorithm: that trained them, as the run's settings name it.

        Raises:
            ValueError: no policy per kind is there.
        """
        stem, end = MODEL.split(".")
        paths = {path.stem.removeprefix(f"{stem}-"): path for path in sorted(folder.glob(f"{stem}-*.{end}"))}
        if not paths:
            raise ValueError(f"{str(folder)!r} has no policy per kind; load it with SharedPolicy")
        return cls({kind: _load(path, algorithm) for kind, path in paths.items()})

    def save(self, folder: Path) -> None:
        """Write each model into the run's folder."""
        folder.mkdir(parents=True, exist_ok=True)
        for kind, model in self.models.items():
            model.save(folder / MODEL.replace(".", f"-{kind}."))

    def reset(self, env: ZoneEnv) -> None:
        """Check that the models fit.

        Raises:
            ValueError: a kind has no model, or the environment's spaces are not the model's.
        """
        for agent, kind in zip(env.possible_agents, self._kinds(env), strict=True):
            if kind not in self.models:
                raise ValueError(
                    f"no model for kind {kind!r} ({agent}), only for {', '.join(sorted(self.models))}; "
                    "evaluate the policies on the scenario that they were trained on"
                )
            _check_fit(self.models[kind], env, agent)

    def act(self, env: ZoneEnv, observations: Mapping[str, Any]) -> dict[str, Any]:
        """All agents' actions, in one call of each network; nothing that a mask forbids if the model asks for masks."""
        actions: dict[str, Any] = {}
        kinds = self._kinds(env)
        for kind in dict.fromkeys(kinds):
            mine = [agent for agent, own in zip(env.possible_agents, kinds, strict=True) if own == kind]
            actions |= _chosen(self.models[kind], env, mine, observations)
        return actions

    def _kinds(self, env: ZoneEnv) -> tuple[str, ...]:
        """(A) whose model each agent uses."""
        return env.task.agents.kinds


class SharedPolicy(PolicyPerKind):
    """A trained model as a controller: every agent's action from its own observation, without exploration.

    Args:
        model: an SB3 model whose spaces are those of one agent, masks apart.
    """

    def __init__(self, model: Any) -> None:
        super().__init__({"": model})
        self.model = model

    @classmethod
    def load(cls, folder: Path, algorithm: str) -> SharedPolicy:
        """The best policy of a run.

        Args:
            folder: of the run.
            algorithm: that trained it, as the run's settings name it.

        Raises:
            ValueError: no shared policy is there.
        """
        if not (folder / MODEL).is_file():
            raise ValueError(f"{str(folder)!r} has no shared policy {MODEL}; load_policy finds out what a run has")
        return cls(_load(folder / MODEL, algorithm))

    def save(self, folder: Path) -> None:
        """Write the model into the run's folder."""
        folder.mkdir(parents=True, exist_ok=True)
        self.model.save(folder / MODEL)

    def _kinds(self, env: ZoneEnv) -> tuple[str, ...]:
        return ("",) * len(env.possible_agents)


def _load(path: Path, algorithm: str) -> Any:
    from stable_baselines3.common.save_util import load_from_zip_file

    from dss_marl.integrations.sb3.models import algorithm_for

    data = load_from_zip_file(path, load_data=True, device="cpu")[0] or {}
    return algorithm_for(algorithm, data["action_space"]).load(path, device="cpu")


def _chosen(model: Any, env: ZoneEnv, agents: list[str], observations: Mapping[str, Any]) -> dict[str, Any]:
    from dss_marl.integrations.sb3.per_kind import predicted, takes_masks

    seen = [split(observations[agent]) for agent in agents]
    masks = None
    if takes_masks(model):
        masks = np.stack([flat_mask(env.action_space(a), mask) for a, (_, mask) in zip(agents, seen, strict=True)])
    rows = predicted(model, np.stack([row for row, _ in seen]), masks, deterministic=True)
    return {agent: action_in(env.action_space(agent), row) for agent, row in zip(agents, rows, strict=True)}


def _check_fit(model: Any, env: ZoneEnv, agent: str) -> None:
    observed, acted = split(env.observation_space(agent))[0], flatten_space(env.action_space(agent))
    for name, mine, its in (("observation", model.observation_space, observed), ("action", model.action_space, acted)):
        if _form(mine) != _form(its):
            raise ValueError(
                f"the model's {name} has shape {_form(mine)}, that of {agent!r} in scenario "
                f"{env.task.scenario.name!r} {_form(its)}; evaluate it on the scenario that it was trained on"
            )


def _form(space: spaces.Space[Any]) -> Any:
    """What must be alike: the shape of numbers, the choices of choices."""
    return space.shape if isinstance(space, spaces.Box) else space
