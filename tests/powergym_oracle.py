"""PowerGym's step written afresh on OpenDSSDirect, from what its published code does; the tests' second opinion.

It drives OpenDSS in daily mode with load shapes, generators as batteries and controls off, and computes the reward from
what OpenDSS reports. It shares nothing with the package but the circuit's file.
"""

import math
from dataclasses import dataclass

import numpy as np
from opendssdirect import dss

STEPS, LEVELS, TAP_STEP = 24, 33, 0.00625


@dataclass
class Storage:
    """A row of its Battery.csv, and the line of its circuit file that places it."""

    name: str
    line: str
    max_kw: float
    max_kwh: float
    pf: float = 0.95
    kwh: float = 0.0
    level: int = LEVELS // 2
    share: float = 0.0


class PowerGym:
    """One environment.

    Args:
        path, commands: the circuit, without batteries.
        storage: its batteries.
        weights: power_w, cap_w, reg_w, soc_w, dis_w.
        continuous: whether batteries take shares of their power instead of levels.
        tolerance: of OpenDSS; it has 1e-4 there.
    """

    def __init__(self, path, commands, storage, weights, continuous=False, tolerance=1e-4, scale=1.0):
        self.path, self.commands, self.storage, self.weights = path, commands, storage, weights
        self.continuous, self.tolerance, self.scale = continuous, tolerance, scale
        self.dss = dss.NewContext()
        self.dss.Basic.AllowForms(False)

    def run(self, *lines):
        for line in lines:
            self.dss.Text.Command(line)

    def reset(self, multipliers):
        """Start the day of (24, L) multipliers, in the order of the circuit's loads."""
        self.run("clear", f'redirect "{self.path}"', *self.commands)
        loads = self.dss.Loads.AllNames()
        for name, column in zip(loads, np.asarray(multipliers).T, strict=True):
            values = " ".join(f"{self.scale * value!r}" for value in column.tolist())
            self.run(f"new loadshape.s_{name} npts={STEPS} sinterval=3600 mult=({values})")
            self.run(f"load.{name}.daily=s_{name}")
        self.run(*(one.line for one in self.storage))
        self.run("calcvoltagebases", "set mode=daily number=1 hour=0 stepsize=3600 sec=0", "set controlmode=off")
        self.run("set maxiterations=50", "set maxcontroliter=100", f"set tolerance={self.tolerance!r}")
        self.regs = list(dict.fromkeys(self._names(self.dss.RegControls, self.dss.RegControls.Transformer)))
        self.regs = [name for name in self.dss.Transformers.AllNames() if name in self.regs]
        self.caps = self.dss.Capacitors.AllNames()
        self.taps, self.closed = [32] * len(self.regs), [1] * len(self.caps)
        self._write_taps()
        for one in self.storage:
            one.kwh, one.level, one.share = one.max_kwh, LEVELS // 2, 0.0
        self.dss.Solution.SolveNoControl()
        self.t = 0

    def _names(self, collection, get):
        found, at = [], collection.First()
        while at:
            found.append(get().lower())
            at = collection.Next()
        return found

    def _write_taps(self):
        for name, place in zip(self.regs, self.taps, strict=True):
            self.dss.Transformers.Name(name)
            self.dss.Transformers.Wdg(2)
            self.dss.Transformers.Tap(0.9 + TAP_STEP * place)

    def step(self, caps, regs, bats):
        """Caps 0 or 1, taps 0 to 32, levels 0 to 32 or shares; the three parts of the reward."""
        moved = sum(abs(a - b) for a, b in zip(caps, self.closed, strict=True))
        turned = sum(abs(a - b) for a, b in zip(regs, self.taps, strict=True))
        for name, state in zip(self.caps, caps, strict=True):
            self.dss.Capacitors.Name(name)
            self.dss.Capacitors.States([int(state)])
        self.closed, self.taps = list(caps), list(regs)
        self._write_taps()
        discharged = 0.0
        for one, wanted in zip(self.storage, bats, strict=True):
            kw = self._project(one, wanted)
            self.dss.Generators.Name(one.name)
            self.dss.Generators.kW(kw)
            self.dss.Generators.kvar(kw / one.pf)
            discharged += max(0.0, kw) / one.max_kw
        self.dss.Solution.Solve()
        off = 0.0
        for one in self.storage:
            self.dss.Circuit.SetActiveElement(f"generator.{one.name}")
            into = self.dss.CktElement.TotalPowers()[0]
            one.kwh = round(max(0.0, min(one.max_kwh, one.kwh + into)))
            off += abs(one.kwh / one.max_kwh - 1.0)
        self.t += 1
        power_w, cap_w, reg_w, soc_w, dis_w = self.weights
        ratio = -(self.dss.Circuit.Losses()[0] / 1000) / self.dss.Circuit.TotalPower()[0]
        control = cap_w * moved + reg_w * turned + dis_w * discharged + (soc_w * off if self.t == STEPS else 0.0)
        return self._voltage(), -power_w * max(0.0, min(1.0, ratio)), -control

    def _project(self, one, wanted):
        """The nearest kW that the stored energy lasts for."""
        if self.continuous:
            kw = max(-1.0, min(1.0, wanted)) * one.max_kw
            return min(one.kwh, kw) if kw > 0 else max(one.kwh - one.max_kwh, kw)
        each, middle, level = one.max_kw / (LEVELS // 2), LEVELS // 2, wanted
        kw = (level - middle) * each
        if kw > one.kwh:
            level -= math.ceil((kw - one.kwh) / each - 1e-8)
        elif kw < one.kwh - one.max_kwh:
            level += math.ceil((one.kwh - one.max_kwh - kw) / each - 1e-8)
        return (level - middle) * each

    def _voltage(self):
        """Sum over the buses of how far the highest phase is above 1.05 and the lowest below 0.95, negated."""
        total = 0.0
        for bus in self.dss.Circuit.AllBusNames():
            self.dss.Circuit.SetActiveBus(bus)
            v = self.dss.Bus.puVmagAngle()[::2]
            if max(v) < 0.1:  # an end of an open tie that PowerGym's circuit does not have
                continue
            total += min(0.0, 1.05 - max(v)) + min(0.0, min(v) - 0.95)
        return total

    def voltages(self):
        names, v = self.dss.Circuit.AllNodeNames(), self.dss.Circuit.AllBusMagPu()
        return {name.lower(): value for name, value in zip(names, v, strict=True)}
