"""EpisodeState: the running episode of an environment; and a snapshot of it, to go on from later."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace

import numpy as np

from dss_marl.envs.action_masks import Levels
from dss_marl.envs.conditions import EpisodeConditions
from dss_marl.envs.scenario import Scenario
from dss_marl.grid.state import GridState
from dss_marl.mdp.adversary import AttackState
from dss_marl.mdp.communication import MessageState
from dss_marl.mdp.sensing import SensingState


@dataclass
class EpisodeState:
    """What changes in an environment from step to step.

    Arrays and grid states are replaced, never written, so copies may share them.

    Attributes:
        rng: the stream of days, faults and of the seeds of noise, losses and attacks; goes on from episode to episode.
        observations: (A, n) float32, what agents observe now.
        agents: those that still act; none before the first reset and after the end.
        day: its number, from 0; -1 before the first reset.
        before, after: the states around the last step; None after a reset.
        now: the coming interval as it is; None before the first reset.
        levels: what the devices may do in it; None where no action is a choice.
        team_reward: of the last step.
        interrupted: the error that ended the episode within a step or reset; "" where none did.
    """

    rng: np.random.Generator
    observations: np.ndarray
    agents: list[str] = field(default_factory=list)
    day: int = -1
    before: GridState | None = None
    after: GridState | None = None
    now: GridState | None = None
    levels: Levels | None = None
    team_reward: float = 0.0
    interrupted: str = ""

    def copy(self) -> EpisodeState:
        """The same with a random stream of its own."""
        return replace(self, rng=copy.deepcopy(self.rng), agents=list(self.agents))


@dataclass(frozen=True)
class Snapshot:
    """A running episode as ``ZoneEnv.save_state`` gives it; may be pickled.

    Attributes:
        scenario: of the environment.
        episode: its state.
        conditions: of the simulator; None before the first reset.
        messages, sensing, attack: states of these parts; None where the scenario has none.
    """

    scenario: Scenario
    episode: EpisodeState
    conditions: EpisodeConditions | None
    messages: MessageState
    sensing: SensingState | None
    attack: AttackState | None
