"""The running episode of an environment (EpisodeState), and what ``save_state`` returns (Snapshot)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from dss_marl.envs.action_masks import Levels
from dss_marl.envs.conditions import EpisodeConditions
from dss_marl.envs.scenario import Scenario
from dss_marl.grid.state import Array, GridState
from dss_marl.mdp.adversary import AttackState
from dss_marl.mdp.communication import MessageState
from dss_marl.mdp.random_streams import copied
from dss_marl.mdp.sensing import SensingState


@dataclass
class EpisodeState:
    """Everything in an environment that changes from step to step.

    Arrays and grid states are replaced, never modified, so that copies may share them.

    Attributes:
        rng: stream of days, faults and the seeds of noise, message loss and attacks; continues across episodes.
        observations: (A, n) float32, of the coming interval.
        agents: active agents; none before the first reset and after the end.
        day: its number, from 0; -1 before the first reset.
        before, after: the states around the last step; None after a reset.
        now: the coming interval with the devices held; None before the first reset.
        levels: that the devices can execute in it; None if no action is a choice.
        team_reward: of the last step.
        reward_vector: (O) its objectives.
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
    reward_vector: Array = field(default_factory=lambda: np.zeros(0))
    interrupted: str = ""

    def copy(self) -> EpisodeState:
        """A copy with an independent random stream."""
        return replace(self, rng=copied(self.rng), agents=list(self.agents))


@dataclass(frozen=True)
class Snapshot:
    """A running episode as returned by ``ZoneEnv.save_state``; picklable.

    Attributes:
        scenario: of the environment.
        episode: its state.
        conditions: of the simulator; None before the first reset.
        messages, sensing, attack: states of these parts; None if the scenario has none.
    """

    scenario: Scenario
    episode: EpisodeState
    conditions: EpisodeConditions | None
    messages: MessageState
    sensing: SensingState | None
    attack: AttackState | None
