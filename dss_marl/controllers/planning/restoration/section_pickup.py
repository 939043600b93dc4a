"""Load pickup in a given configuration, optimised for all connected parts in parallel."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dss_marl.controllers.planning.restoration.action_entries import ActionEntries
from dss_marl.controllers.planning.restoration.cold_start import picked_up_kw
from dss_marl.controllers.planning.restoration.sections import FeederSections
from dss_marl.controllers.search.trial_solves import TrialSolver
from dss_marl.devices import FeederTies, Generators, LoadShedders
from dss_marl.grid.load_priorities import CLASSES, NORMAL
from dss_marl.grid.state import Array, BoolArray, GridState, IntArray
from dss_marl.mdp.agents import with_devices
from dss_marl.zones import build_zones, stack

_POWER_FACTOR = 0.9  # of the load on a tie: kW over kVA
# Ways to serve a configuration: served share of the capacity of ties and generators, or of the load; and active and
# reactive power shares of the generators.
WAYS = (
    (1.0, 1.0, 0.5), (0.8, 1.0, 0.5), (0.65, 0.0, 0.5), (1.0, 0.0, 0.5), (0.9, 1.0, 0.0), (0.8, 0.0, 0.5),
    (0.65, 1.0, 0.0), (0.5, 0.0, 0.0),
)  # fmt: skip
_GAIN = 1e-6  # minimum relative gain of a reward
_PAIRS = 12  # exchanges tried per part: one section serves less, another one more


class SectionPickup:
    """Optimises the served load of each part of a configuration.

    Parts without a closed line between them are independent, so one power flow evaluates a change in each of them, and
    the reward of a part does not depend on the others.

    Args:
        trials: on a simulator with a started day.
        sections: of its feeder.
        entries: of its task.
        rng: for the order of changes.
    """

    def __init__(
        self, trials: TrialSolver, sections: FeederSections, entries: ActionEntries, rng: np.random.Generator
    ) -> None:
        self.trials, self.sections, self.entries, self._rng = trials, sections, entries, rng
        task = trials.task
        names = np.array([bus.name for bus in task.feeder.buses])
        zones = build_zones(task.feeder, [set(names[sections.of_bus == k]) for k in range(sections.count)])
        if task.priorities is not None:
            zones = tuple(zone.with_priorities(task.priorities.weight) for zone in zones)
        self._zones = with_devices(zones, task.device_groups, [type(group).__name__ for group in task.device_groups])
        self._stacked = stack(self._zones)
        self._limit = np.zeros((2, sections.count))  # capacity of ties and generators in each section [kW]
        for group in task.device_groups:
            at = sections.of_bus[[task.feeder.bus_index[bus] for bus in group.buses]]
            if isinstance(group, FeederTies):
                np.add.at(self._limit[0], at, group.kva * _POWER_FACTOR)
            elif isinstance(group, Generators):
                np.add.at(self._limit[1], at, group.kw)
        self._load_shedders = next((group for group in task.device_groups if isinstance(group, LoadShedders)), None)

    def section_rewards(self, before: GridState, after: GridState) -> Array:
        """(sections) contribution of each to the team reward."""
        return self.trials.reward_model.rewards_of(self._zones, self._stacked, before, after)

    def sum_by_part(self, part: IntArray, values: Array) -> Array:
        """(sections) sums over the parts, each at the index of its first section."""
        return np.asarray(np.bincount(part, values, self.sections.count), float)

    def starting_values(
        self, now: GridState, wanted: Array, closed: BoolArray, most: int = len(WAYS)
    ) -> Iterator[Array]:
        """(F) wanted values with load shedders and generators as in the first of WAYS, each once.

        Args:
            now: with the loads.
            wanted: targets of other entries.
            closed: (S) switch states.
            most: maximum number of ways.
        """
        entries, seen = self.entries, set()
        for share, power, reactive in WAYS[:most]:
            joint_action = wanted.copy()
            joint_action[entries.load_shedders] = self._filled(now, closed, share)
            joint_action[entries.power], joint_action[entries.share] = power, reactive
            if joint_action.tobytes() not in seen:
                seen.add(joint_action.tobytes())
                yield joint_action

    def expected_kw(self, now: GridState, closed: BoolArray) -> float:
        """Load that a configuration could serve by ratings only, weighted by priority."""
        group = self._load_shedders
        if group is None:
            return 0.0
        served = group.of <= NORMAL - 1 - self._filled(now, closed, 1.0)[group.owner]
        kw = picked_up_kw(self.trials.simulator, now)[group.injections]
        return float((kw * group.weight)[served].sum())

    def _filled(self, now: GridState, closed: BoolArray, share: float) -> Array:
        """(load shedders) positions that serve class after class, near sections first, until a share is reached."""
        group = self._load_shedders
        if group is None:
            return np.zeros(0)
        kw = picked_up_kw(self.trials.simulator, now)[group.injections]
        part, depth = self.sections.parts(closed), self.sections.depth(closed)
        home = self.entries.section[self.entries.load_shedders]
        tie = np.zeros(self.sections.count)
        fed = [k for s, k in self.sections.feeder_ties.items() if closed[s]]
        tie[fed] = self._limit[0][fed]
        left = self.sum_by_part(part, tie + self._limit[1])
        endless = part[list(self.sections.sources)]
        asked = self.sum_by_part(part[home][group.owner], kw)
        left = np.where(np.isin(np.arange(len(left)), endless), asked, np.minimum(left, asked)) * share
        served = np.zeros((len(CLASSES), len(home)), bool)
        for number in range(len(CLASSES)):
            by_section = np.bincount(group.owner[group.of == number], kw[group.of == number], len(home))
            for d in np.argsort(depth[home], kind="stable"):
                enough = by_section[d] <= left[part[home[d]]] + _GAIN
                if (number == 0 or served[number - 1, d]) and (enough or number == 0):
                    served[number, d] = True
                    left[part[home[d]]] -= by_section[d]
        return NORMAL - served.sum(axis=0).astype(float)

    def best(self, now: GridState, wanted: Array, first: bool, most: int) -> Array:
        """(F) target values of an interval, with the switching given in ``wanted``.

        Args:
            now: before the interval.
            wanted: initial targets.
            first: also start from the ways of ``starts``.
            most: approximate number of power flows.
        """
        trial = _Trial(self, now, wanted)
        if trial.failed:
            return wanted
        if first:
            for joint_action in self.starting_values(now, wanted, trial.closed):
                trial.take_better_parts(joint_action)
        end = self.trials.solves + most
        while self.trials.solves < end and trial.sweep(self._rng, end):
            pass
        return trial.wanted

    def changes(self, part: IntArray, wanted: Array) -> list[list[tuple[int, float]]]:
        """Changes of single entries of one part, and exchanges between its load shedders."""
        own = np.intersect1d(part, np.concatenate([self.entries.load_shedders, self.entries.power, self.entries.share]))
        found = [[(int(e), float(v))] for e in own for v in self.entries.values[e] if abs(v - wanted[e]) > _GAIN]
        found = [found[k] for k in self._rng.permutation(len(found))]
        load_shedders = np.intersect1d(own, self.entries.load_shedders)
        shed, kept = load_shedders[wanted[load_shedders] > -1], load_shedders[wanted[load_shedders] < 1]
        for _ in range(_PAIRS if shed.size and kept.size else 0):
            more, less = int(self._rng.choice(shed)), int(self._rng.choice(kept))
            if more != less:
                found.append([(more, float(wanted[more]) - 1), (less, float(wanted[less]) + 1)])
        return found


class _Trial:
    """Best target values of an interval so far, part by part.

    Args:
        pickup: the optimiser.
        now: before the interval.
        wanted: (F) initial targets.
    """

    def __init__(self, pickup: SectionPickup, now: GridState, wanted: Array) -> None:
        self._pickup, self._now, self.wanted = pickup, now, wanted.copy()
        after = self._after(wanted)
        self.failed = after is None
        if after is not None:
            self.closed = after.setpoints.closed
            part = pickup.sections.parts(self.closed)
            self._of_section, self._of_entry = part, part[pickup.entries.section]
            self._earned = self._by_part(after)

    def _after(self, wanted: Array) -> GridState | None:
        trials = self._pickup.trials
        return trials.operate(self._now, self._pickup.entries.request(trials.simulator, self._now, wanted))

    def _by_part(self, after: GridState) -> Array:
        worth = self._pickup.section_rewards(self._now, after)
        return self._pickup.sum_by_part(self._of_section, worth)

    def take_better_parts(self, wanted: Array) -> IntArray:
        """Accept other target values in parts that improve; returns which ones."""
        after = self._after(wanted)
        if after is None:
            return np.zeros(0, np.int64)
        earned = self._by_part(after)
        better = np.flatnonzero(earned > self._earned + _GAIN)
        taken = np.isin(self._of_entry, better)
        self.wanted[taken] = wanted[taken]
        self._earned[better] = earned[better]
        return better

    def sweep(self, rng: np.random.Generator, end: int) -> bool:
        """Try the changes of all parts, one at a time in each; returns whether any part improved."""
        parts = {int(p): np.flatnonzero(self._of_entry == p) for p in np.unique(self._of_entry)}
        waiting = {p: self._pickup.changes(own, self.wanted) for p, own in parts.items()}
        gained = False
        while any(waiting.values()) and self._pickup.trials.solves < end:
            joint_action = self.wanted.copy()
            for changes in waiting.values():
                if changes:
                    for entry, value in changes.pop():
                        joint_action[entry] = value
            gained |= bool(self.take_better_parts(joint_action).size)
        return gained
