"""Trained policies as controllers: one for all agents, or one per kind."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from dss_marl.envs.flattening import action_in, flat_mask, flatten_space, split_mask
from dss_marl.envs.zone_env import ZoneEnv

MODEL = "model.zip"


class PolicyPerKind:
    """Trained models as a controller: each agent acts by its kind's model, deterministically.

    Args:
        models: kind of agent -> an SB3 model with the spaces of one agent, apart from masks.
    """

    circuit_controls = False

    def __init__(self, models: Mapping[str, Any]) -> None:
        self.models = dict(models)

    @classmethod
    def load(cls, folder: Path, algorithm: str) -> PolicyPerKind:
        """The best policies of a run.

        Args:
            folder: of the run.
            algorithm: that trained them, as in the run's settings.

        Raises:
            ValueError: the run has no policies per kind.
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
        """Check that the models match the environment.

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
        """Actions of all agents, in one call of each network; respects masks if the model supports them."""
        actions: dict[str, Any] = {}
        kinds = self._kinds(env)
        for kind in dict.fromkeys(kinds):
            mine = [agent for agent, own in zip(env.possible_agents, kinds, strict=True) if own == kind]
            actions |= _chosen(self.models[kind], env, mine, observations)
        return actions

    def _kinds(self, env: ZoneEnv) -> tuple[str, ...]:
        """(A) kind whose model each agent uses."""
        return env.task.agents.kinds


class SharedPolicy(PolicyPerKind):
    """A trained model as a controller: each agent acts on its own observation, deterministically.

    Args:
        model: an SB3 model with the spaces of one agent, apart from masks.
    """

    def __init__(self, model: Any) -> None:
        super().__init__({"": model})
        self.model = model

    @classmethod
    def load(cls, folder: Path, algorithm: str) -> SharedPolicy:
        """The best policy of a run.

        Args:
            folder: of the run.
            algorithm: that trained it, as in the run's settings.

        Raises:
            ValueError: the run has no shared policy.
        """
        if not (folder / MODEL).is_file():
            raise ValueError(f"{str(folder)!r} has no shared policy {MODEL}; load_policy detects the type of a run")
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

    seen = [split_mask(observations[agent]) for agent in agents]
    masks = None
    if takes_masks(model):
        masks = np.stack([flat_mask(env.action_space(a), mask) for a, (_, mask) in zip(agents, seen, strict=True)])
    rows = predicted(model, np.stack([row for row, _ in seen]), masks, deterministic=True)
    return {agent: action_in(env.action_space(agent), row) for agent, row in zip(agents, rows, strict=True)}


def _check_fit(model: Any, env: ZoneEnv, agent: str) -> None:
    observed, acted = split_mask(env.observation_space(agent))[0], flatten_space(env.action_space(agent))
    for name, mine, its in (("observation", model.observation_space, observed), ("action", model.action_space, acted)):
        if _form(mine) != _form(its):
            raise ValueError(
                f"the model's {name} has shape {_form(mine)}, that of {agent!r} in scenario "
                f"{env.task.scenario.name!r} {_form(its)}; evaluate it on the scenario that it was trained on"
            )


def _form(space: spaces.Space[Any]) -> Any:
    """What must match: the shape of a Box, the number of choices otherwise."""
    return space.shape if isinstance(space, spaces.Box) else space
