"""BatchObservationModel: observations of several copies of a task, whose meters and messages fail independently."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np

from dss_marl.envs.by_copy import observer_by_copy
from dss_marl.envs.day_table import DayTable
from dss_marl.envs.observation_model import ObservationModel
from dss_marl.envs.task import Task
from dss_marl.grid.copies import rows_of
from dss_marl.grid.deferred_state import DeferredState
from dss_marl.grid.state import Array, BoolArray, GridState, IntArray
from dss_marl.mdp.adversary import Attack
from dss_marl.mdp.communication import Messages
from dss_marl.mdp.sensing import Sensing, as_read


class BatchObservationModel:
    """As ObservationModel, of B copies at once.

    Features are computed for all copies together. What is random is drawn copy by copy, from streams of their own.

    Args:
        task: defines features and agents.
        copies: their number B.
        table: of the days that they play, which keeps what agents observe of these.
        attack: on the copies, which may falsify messages.

    Attributes:
        sensing: of each copy; empty if it is perfect.
        messages: of each copy.
    """

    def __init__(self, task: Task, copies: int, table: DayTable, attack: BatchAttack) -> None:
        spec = task.scenario.sensing
        self._task, self._attack = task, attack
        self._all = np.arange(copies)
        self.sensing = [] if spec.perfect else [Sensing(spec) for _ in range(copies)]
        one = Messages(task.scenario.messages, task.feeder, task.zones, task.sample)
        one.observer = observer_by_copy(one.observer)
        self.messages = [copy.copy(one) for _ in range(copies)]  # which share all but the state
        self.reset(self._all, *np.zeros((2, copies), np.int64))
        self._kept = {"observations": task.observer, "messages": one.observer}
        for name, observer in self._kept.items():
            if not self.sensing and (name == "observations" or one.width):
                table.derive(name, observer.begun)
        self.alone = ObservationModel(task, self.sensing[0] if self.sensing else None, one)

    def reset(self, copies: IntArray, noise: IntArray, loss: IntArray) -> None:
        """Forget all measurements and messages of some copies (b), which draw from streams of these seeds (b)."""
        if self.sensing:
            for b, own in zip(copies.tolist(), noise, strict=True):
                self.sensing[b].reset(np.random.default_rng(own))
        if not self.messages[0].reliable:
            for b, own in zip(copies.tolist(), loss, strict=True):
                self.messages[b].reset(np.random.default_rng(own))

    def observe(self, now: GridState, which: IntArray | None = None) -> np.ndarray:
        """(b, A, n) float32 as ObservationModel.observe, of the copies ``which`` (b), whose states are in ``now``."""
        copies = self._all if which is None else which
        measured = self._measured(now, copies) if self.sensing else now
        rows = self._features("observations", measured)
        if not self.messages[0].width:
            return rows
        received = self._received(measured, copies)[:, self._task.agents.zone]
        return np.concatenate([rows, received.astype(np.float32)], axis=-1)

    def _features(self, name: str, measured: GridState) -> np.ndarray:
        """(b, Z, n) float32 of an observer, as of its ``observe``."""
        observer = self._kept[name]
        if self.sensing or not isinstance(measured, DeferredState):  # what is measured of the day is not the day's
            return observer.observe(measured)
        return observer.completed(measured.outlook.kept(name), measured)

    def _measured(self, now: GridState, copies: IntArray) -> GridState:
        solution, power = now.solution, now.available
        seen = [
            self.sensing[b].read(solution.v_pu[k], power[k], solution.served_kw[k], solution.energised[k])
            for k, b in enumerate(copies.tolist())
        ]
        v_pu, known, served = (np.stack(rows) for rows in zip(*seen, strict=True))
        return as_read(now, (v_pu, known, served))

    def _received(self, measured: GridState, copies: IntArray) -> Array:
        first = self.messages[0]
        sent = self._features("messages", measured)
        false = self._attack.false_zones(measured.step, copies, self._task.agents.zone, len(self._task.zones))
        if false is not None:
            sent = first.falsified(sent, false)
        if first.reliable:
            return first.at_once(sent)
        return np.stack([self.messages[b].exchanged(sent[k]) for k, b in enumerate(copies.tolist())])

    def state(self, now: GridState, observations: np.ndarray) -> np.ndarray:
        """(B, Z n) float32: the observations of all zones under perfect sensing; see ObservationModel.state."""
        task = self._task
        if task.global_observer is task.observer and not self.sensing:
            rows = observations[..., : len(task.observer.low)]
            return rows.reshape(len(rows), -1).copy()
        rows = task.global_observer.observe(now)
        return rows.reshape(len(rows), -1)


class BatchAttack:
    """The attacks on the copies of a task; see mdp.adversary.

    Args:
        attacks: one for each copy, none if the scenario has no attack.
        entry_agent: (F) agent of each entry.
        agents: number of agents.
    """

    def __init__(self, attacks: Sequence[Attack], entry_agent: IntArray, agents: int, copies: int) -> None:
        self.attacks = tuple(attacks)
        self.entry_agent, self._shape = entry_agent, (copies, agents)

    def reset(self, copies: IntArray, streams: IntArray) -> None:
        """Draw the compromised agents of some copies (b) from streams of these seeds (b)."""
        if self.attacks:
            for b, own in zip(copies.tolist(), streams, strict=True):
                self.attacks[b].reset(np.random.default_rng(own))

    def compromised(self, step: IntArray) -> BoolArray:
        """(B, A) which agents are compromised in these steps (B)."""
        if not self.attacks:
            return np.zeros(self._shape, bool)
        return np.array([one.compromised(own) for one, own in zip(self.attacks, step.tolist(), strict=True)])

    def false_zones(self, step: IntArray, copies: IntArray, agent_zone: IntArray, count: int) -> BoolArray | None:
        """(b, Z) which zones send false messages; None if all tell the truth.

        Args:
            step: (b) of the episodes.
            copies: (b) whose they are.
            agent_zone, count: as of Attack.false_zones.
        """
        if not (self.attacks and self.attacks[0].spec.false_data):
            return None
        found = np.zeros((len(copies), count), bool)
        for row, b, own in zip(found, copies.tolist(), step.tolist(), strict=True):
            false = self.attacks[b].false_zones(own, agent_zone, count)
            row |= False if false is None else false
        return found

    def act(self, joint_action: Array, attacked: BoolArray, now: GridState) -> Array:
        """(B, F) the joint actions with those of compromised agents replaced."""
        if not attacked.any():
            return joint_action
        joint_action = joint_action.copy()
        for b in np.flatnonzero(attacked.any(axis=-1)).tolist():
            state = rows_of(now, b)
            state = state.replace(step=int(state.step), hour=float(state.hour))
            joint_action[b] = self.attacks[b].act(joint_action[b], self.entry_agent, state)
        return joint_action
