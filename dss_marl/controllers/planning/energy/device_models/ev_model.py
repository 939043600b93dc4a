"""EVs at chargers: sessions to be charged, and energy lent to the grid."""

from __future__ import annotations

import numpy as np

from dss_marl.controllers.optimization.sparse_qp import SparseQP
from dss_marl.controllers.planning.energy.device_models.base import DayOutlook
from dss_marl.controllers.planning.energy.device_models.power_models import BOTH, WASTE, PowerModel
from dss_marl.devices import EVChargers
from dss_marl.grid.state import Array, IntArray


class EVModel(PowerModel):
    """EVs charging while connected, up to their energy demand; missing energy at departure is penalised.

    EVs that lend also discharge, at the price of wear, while the energy due stays within its limits.
    """

    def __init__(self, group: EVChargers, device_state: Array, outlook: DayOutlook) -> None:
        self.stays = group.stays(device_state, outlook.steps, outlook.dt_h)
        self.stay_h = np.zeros((outlook.steps, group.size))
        np.add.at(self.stay_h.T, self.stays.device, self.stays.stay_h)
        everyone = np.ones(group.size, bool)
        super().__init__(group, device_state, outlook, everyone, ~everyone, group.kw)
        self.lift_bans()

    def lift_bans(self) -> None:
        """See DeviceModel.lift_bans."""
        self._one_way = np.zeros((self.outlook.steps, self.size))

    def is_impossible(self, solution: Array) -> bool:
        """See DeviceModel.is_impossible: an EV charges and discharges at once, which pays at negative prices."""
        if not self.group.wears:
            return False
        (step, device), lent, taken = self._both
        both = np.minimum(solution[lent], solution[taken]) > BOTH
        way = np.where(solution[lent] > solution[taken], 1.0, -1.0)
        self._one_way[step[both], device[both]] = way[both]
        return bool(both.any())

    def idle(self) -> Array:
        """See DeviceModel.idle: no EV charges."""
        return np.tile(self.group.entry(np.zeros(self.size)), (len(self.low), 1))

    def power(self, entries: Array) -> tuple[Array, Array]:
        """See PowerModel.power."""
        kw = -self.group.share(entries[..., 0]) * self.group.kw * self.stay_h / self.outlook.dt_h
        return kw, 0 * kw

    def start(self, entries: Array) -> Array:
        """See DeviceModel.start: each car evenly over its stay."""
        stays, entries = self.stays, entries.copy()
        most = stays.stay_h.sum(1) * self.group.kw[stays.device] * self.group.efficiency[stays.device]
        for device, share, stay_h in zip(stays.device, stays.kwh / most, stays.stay_h, strict=True):
            entries[stay_h > 0, device] = self.group.entry(np.full(self.size, min(share, 1.0)))[device]
        return entries

    def add_coupling(self, program: SparseQP, entry: IntArray, entries: Array) -> None:
        """See DeviceModel.add_coupling."""
        super().add_coupling(program, entry, entries)
        stays, group = self.stays, self.group
        lacking = program.add_variables(
            np.zeros(len(stays.kwh)),
            np.full(len(stays.kwh), np.inf),
            np.where(stays.leaves, self.outlook.unmet * group.priority[stays.device], 0.0),
        )
        lends = group.lends[stays.device]
        self._add_charging(program, entry, lacking, np.flatnonzero(~lends))
        if lends.any():
            self._add_lending(program, entry, lacking, np.flatnonzero(lends))

    def _add_charging(self, program: SparseQP, entry: IntArray, lacking: IntArray, which: IntArray) -> None:
        """Some sessions: what is charged and what is lacking at departure is what is due."""
        stays, group = self.stays, self.group
        kwh = (stays.stay_h * (group.kw * group.efficiency)[stays.device, None] / 2)[which]  # of an entry above -1
        session, step = np.nonzero(kwh)
        due = stays.kwh[which] - kwh.sum(1)
        program.add_rows(
            np.r_[session, np.arange(len(due))],
            np.r_[entry[step, stays.device[which[session]]], lacking[which]],
            np.r_[kwh[session, step], np.ones(len(due))],
            due,
            due,
        )

    def _add_lending(self, program: SparseQP, entry: IntArray, lacking: IntArray, which: IntArray) -> None:
        """Some sessions: the energy due after each interval within its limits, and at departure what is lacking."""
        stays, group = self.stays, self.group
        session, step = np.nonzero(stays.stay_h[which])
        session = which[session]
        device, stay_h = stays.device[session], stays.stay_h[session, step]
        kwh, zero = group.kw[device] * stay_h, np.zeros(len(step))
        one_way, wear = self._one_way[step, device], 2 * self.outlook.through * kwh
        lent = program.add_variables(zero, np.where(one_way >= 0, 1.0, 0.0), wear + WASTE)
        taken = program.add_variables(zero, np.where(one_way <= 0, 1.0, 0.0), zero + WASTE)
        self._both = (step, device), lent, taken
        due = program.add_variables(zero, stays.most_kwh[session], zero)
        row, ones = np.arange(len(step)), np.ones(len(step))
        net = np.r_[entry[step, device], lent, taken]
        program.add_rows(np.r_[row, row, row], net, np.r_[ones, ones, -ones], zero, zero)
        out, into = kwh / group.efficiency[device], kwh * group.efficiency[device]
        first = np.r_[True, session[1:] != session[:-1]]
        later, last = np.flatnonzero(~first), np.flatnonzero(np.r_[first[1:], True])
        start = np.where(first, stays.kwh[session], 0.0)
        program.add_rows(
            np.r_[row, row, row, later],
            np.r_[due, lent, taken, due[later - 1]],
            np.r_[ones, -out, into, -ones[later]],
            start,
            start,
        )
        end, none = np.arange(len(last)), np.zeros(len(last))
        both = np.r_[due[last], lacking[session[last]]]
        program.add_rows(np.r_[end, end], both, np.r_[none + 1, none - 1], none, none)
