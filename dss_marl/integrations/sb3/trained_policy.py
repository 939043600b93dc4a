"""Trained policies as controllers: one for all agents, per kind or per agent; and their files in a run's folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from dss_marl._assets import replacing
from dss_marl.envs.flattening import action_in, flat_mask, flatten_space, n_choices, split_mask
from dss_marl.envs.inverter_aids import InverterAids
from dss_marl.envs.scenario import Scenario
from dss_marl.envs.zone_env import ZoneEnv

POLICY = "policy.safetensors"  # what acts, the best on validation days; loading it runs no code
LAST = "last.safetensors"  # the same of the last checkpoint
MODEL = "model.zip"  # SB3's own, from which SB3 can go on learning; loading it runs whatever is pickled in it


class PolicyPerKind:
    """Trained models as a controller: each agent acts by its kind's model, deterministically.

    Of models with a memory, each agent of each copy has a state of its own, from ``reset`` on.

    Args:
        models: kind of agent -> an SB3 model, or its policy alone, with the spaces of one agent, apart from masks.
    """

    circuit_controls = False
    aids = InverterAids()  # of the inverters with which the policy learned, see TrainingSettings

    def __init__(self, models: Mapping[str, Any]) -> None:
        self.models = dict(models)
        self._memory: dict[str, Any] = {}  # kind -> states of its rows, of models that have any

    @property
    def acts_with(self) -> str:
        """What the policy has that the scenario as it stands has not; "" for nothing."""
        return self.aids.about

    def variant(self, scenario: Scenario) -> Scenario:
        """The scenario in which the policy acts: with what inverters did by themselves while it learned."""
        return self.aids.applied(scenario)

    @classmethod
    def load(cls, folder: Path, file: str = POLICY) -> PolicyPerKind:
        """The best policies of a run, or the last ones; nothing in their files is executed.

        Args:
            folder: of the run.
            file: POLICY or LAST.

        Raises:
            ValueError: the run has no policies per kind, or a file cannot be read.
        """
        return cls({kind: _read(path) for kind, path in cls._paths(folder, file).items()})

    @classmethod
    def load_sb3(cls, folder: Path, algorithm: str) -> PolicyPerKind:
        """The same from SB3's own files, whose authors can run any code as they are loaded.

        Args:
            folder: of the run.
            algorithm: that trained them, as in the run's settings.

        Raises:
            ValueError: the run has no such files.
        """
        return cls({kind: _load_sb3(path, algorithm) for kind, path in cls._paths(folder, MODEL).items()})

    def save(self, folder: Path, with_sb3: bool = False, file: str = POLICY) -> list[Path]:
        """Write the policies into the run's folder, ``with_sb3`` SB3's own files too; returns the paths."""
        from dss_marl.integrations.sb3.policy_files import save_policy

        paths = []
        for kind, model in self.models.items():
            save_policy(getattr(model, "policy", model), folder / _named(file, kind))
            paths.append(folder / _named(file, kind))
            if with_sb3:
                paths.append(folder / _named(MODEL, kind))
                with replacing(paths[-1]) as part:
                    model.save(part)
        return paths

    @classmethod
    def _paths(cls, folder: Path, file: str) -> dict[str, Path]:
        """Kind -> its file."""
        stem, end = file.split(".")
        paths = {path.stem.removeprefix(f"{stem}-"): path for path in sorted(folder.glob(f"{stem}-*.{end}"))}
        if not paths:
            raise ValueError(f"{str(folder)!r} has no policy per kind {stem}-*.{end}; {_hint(folder, file)}")
        return paths

    def reset(self, env: ZoneEnv) -> None:
        """Start an episode: check that the models match the environment, and forget.

        Raises:
            ValueError: a kind has no model, or the environment's spaces are not the model's.
        """
        self._memory = {}
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
            actions |= self._chosen(kind, env, mine, observations)
        return actions

    def act_rows(self, env: ZoneEnv, observations: np.ndarray, masks: np.ndarray | None, width: int) -> np.ndarray:
        """(B, A, W) actions of several copies, each agent's in the first entries of its row; see ``act``.

        Args:
            env: as for ``reset``; its spaces are those of a copy.
            observations: (B, A, n).
            masks: (B, A, M) allowed choices, as of BatchZoneEnv; None if no action is a choice.
            width: number of entries W.
        """
        kinds = np.array(self._kinds(env))
        actions = np.zeros((*observations.shape[:2], width))
        for kind in dict.fromkeys(kinds.tolist()):
            mine, model = np.flatnonzero(kinds == kind), self.models[kind]
            own = None if masks is None else masks[:, mine].reshape(-1, masks.shape[-1])
            if own is not None:
                own = own[:, : n_choices(model.action_space)]
            rows = observations[:, mine].reshape(-1, observations.shape[-1])
            chosen = self._predicted(kind, rows, own).reshape(len(observations), len(mine), -1)
            actions[:, mine, : chosen.shape[-1]] = chosen
        return actions

    def _chosen(self, kind: str, env: ZoneEnv, agents: list[str], observations: Mapping[str, Any]) -> dict[str, Any]:
        from dss_marl.integrations.sb3.per_kind import takes_masks

        seen = [split_mask(observations[agent]) for agent in agents]
        masks = None
        if takes_masks(self.models[kind]):
            masks = np.stack([flat_mask(env.action_space(a), mask) for a, (_, mask) in zip(agents, seen, strict=True)])
        rows = self._predicted(kind, np.stack([row for row, _ in seen]), masks)
        return {agent: action_in(env.action_space(agent), row) for agent, row in zip(agents, rows, strict=True)}

    def _predicted(self, kind: str, rows: np.ndarray, masks: np.ndarray | None) -> np.ndarray:
        """(n, ...) actions of a kind's model, within their masks; the same rows in each step, where it remembers."""
        from dss_marl.integrations.sb3.per_kind import predicted

        model = self.models[kind]
        if not hasattr(getattr(model, "policy", model), "lstm_hidden_state_shape"):
            return predicted(model, rows, masks, deterministic=True)
        actions, self._memory[kind] = model.predict(rows, state=self._memory.get(kind), deterministic=True)
        return np.asarray(actions)

    def _kinds(self, env: ZoneEnv) -> tuple[str, ...]:
        """(A) kind whose model each agent uses."""
        return env.task.agents.kinds


class PolicyPerAgent(PolicyPerKind):
    """Trained models as a controller: each agent acts by its own model, deterministically.

    Args:
        models: agent -> an SB3 model, or its policy alone.
    """

    def _kinds(self, env: ZoneEnv) -> tuple[str, ...]:
        return tuple(env.possible_agents)


class SharedPolicy(PolicyPerKind):
    """A trained model as a controller: each agent acts on its own observation, deterministically.

    Args:
        model: an SB3 model with the spaces of one agent, apart from masks.
    """

    def __init__(self, model: Any) -> None:
        super().__init__({"": model})
        self.model = model

    @classmethod
    def load(cls, folder: Path, file: str = POLICY) -> SharedPolicy:
        """The best policy of a run, or the last one; nothing in its file is executed.

        Args:
            folder: of the run.
            file: POLICY or LAST.

        Raises:
            ValueError: the run has no shared policy, or its file cannot be read.
        """
        return cls(_read(cls._paths(folder, file)[""]))

    @classmethod
    def load_sb3(cls, folder: Path, algorithm: str) -> SharedPolicy:
        """The same from SB3's own file, whose author can run any code as it is loaded.

        Args:
            folder: of the run.
            algorithm: that trained it, as in the run's settings.

        Raises:
            ValueError: the run has no such file.
        """
        return cls(_load_sb3(cls._paths(folder, MODEL)[""], algorithm))

    @classmethod
    def _paths(cls, folder: Path, file: str) -> dict[str, Path]:
        if not (folder / file).is_file():
            raise ValueError(f"{str(folder)!r} has no shared policy {file}; {_hint(folder, file)}")
        return {"": folder / file}

    def _kinds(self, env: ZoneEnv) -> tuple[str, ...]:
        return ("",) * len(env.possible_agents)


def _named(file: str, kind: str) -> str:
    """The file of a kind; of all agents, where the kind is empty."""
    return file.replace(".", f"-{kind}.") if kind else file


def _hint(folder: Path, file: str) -> str:
    stem = MODEL.split(".", maxsplit=1)[0]
    if file == POLICY and any(folder.glob(f"{stem}*.zip")):
        return (
            f"its {stem}*.zip is SB3's own, whose author can run any code as it is loaded: --trust (trust=True) loads "
            "it if you trust them"
        )
    return "load_policy detects the type of a run"


def _read(path: Path) -> Any:
    from dss_marl.integrations.sb3.policy_files import read_policy

    return read_policy(path)


def _load_sb3(path: Path, algorithm: str) -> Any:
    from stable_baselines3.common.save_util import load_from_zip_file

    from dss_marl.integrations.sb3.models import algorithm_for
    from dss_marl.integrations.sb3.zone_ppo import ZonePPO

    try:
        data = load_from_zip_file(path, load_data=True, device="cpu")[0] or {}
        kind = ZonePPO if "ratio" in data else algorithm_for(algorithm, data["action_space"])
        return kind.load(path, device="cpu")
    except Exception as error:  # what is pickled in it can raise anything
        raise ValueError(f"{str(path)!r} is no model of SB3, or only a part of one: {error}") from error


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


POLICIES: dict[str, type[PolicyPerKind]] = {"all": SharedPolicy, "per_kind": PolicyPerKind, "none": PolicyPerAgent}
