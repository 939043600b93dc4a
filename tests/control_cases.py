"""Small circuits with controls, and a solver of many copies made of OpenDSS, for tests of the batched controls."""

from typing import NamedTuple

import numpy as np

from dss_marl import OpenDSSEngine
from dss_marl.engines.base import PowerFlowError
from dss_marl.engines.batched.controls.circuit_controls import CircuitControls
from dss_marl.engines.opendss.control_reader import read_controls
from dss_marl.grid.state import Setpoints

TIGHT = 1e-8
NEAR = 1e-6  # a decision nearer than this may go either way: both solvers stop at the tolerance
CIRCUIT = """\
clear
new circuit.c basekv=12.47 pu=1.0 mvasc3=200 mvasc1=180
new line.a bus1=sourcebus bus2=b r1=0.3 x1=0.5 r0=0.6 x0=1.5 c1=9 c0=4 length=3 units=km normamps=300
new load.p bus1=b kv=12.47 kw=1500 kvar=900
new load.p1 bus1=b.1 phases=1 kv=7.2 kw=300 kvar=100
{transformer}
new line.q bus1=r bus2=q r1=0.3 x1=0.5 r0=0.6 x0=1.5 c1=9 c0=4 length=4 units=km normamps=300
new load.q bus1=q kv=12.47 kw=1400 kvar=500
new load.q2 bus1=q.2 phases=1 kv=7.2 kw=300 kvar=100
new load.q3 bus1=r.3 phases=1 kv=7.2 kw=200 kvar=100
set voltagebases=[12.47]
calcvoltagebases
{controls}
"""
TWO_WINDINGS = "new transformer.t windings=2 buses=(b r) conns=({conns}) kvs=(12.47 12.47) kvas=(5000 5000) xhl=1 "
AUTO = "new autotrans.t windings=2 buses=(b r) conns=(series wye) kvs=(12.47 11.9) kvas=(5000 5000) xhx=2"


class _Windings(NamedTuple):
    controls: str
    conns: str = "wye wye"
    more: str = ""
    auto: bool = False


R = "new regcontrol.r transformer=t winding=2 vreg=120 band=2 ptratio=60 "
DELTA = "new regcontrol.r transformer=t winding=2 vreg=120 band=2 ptratio=103.9 "
ONE = "new capacitor.s bus1=q kv=12.47 kvar=900\n"
FOUR = "new capacitor.s bus1=q kv=12.47 kvar=1200 numsteps=4\n"
K = "new capcontrol.k capacitor=s element=line.a terminal=1 "
KQ = "new capcontrol.k capacitor=s element=line.q terminal=1 "
OVER = "voltoverride=yes vmin=118 vmax=122 ptratio=60 "
CASES = {
    "plain": R,
    "line drop": R + "r=3 x=4 ctprim=100",
    "line drop of phase 2": R + "r=3 x=4 ctprim=100 ptphase=2",
    "line drop by magnitude": R + "ldc_z=4 ctprim=100",
    "highest phase": R + "ptphase=max r=2 x=1 ctprim=100",
    "lowest phase": R + "ptphase=min r=2 x=1 ctprim=100",
    "one step": R + "maxtapchange=1",
    "three steps": R + "maxtapchange=3",
    "never": R + "maxtapchange=0",
    "voltage limit": R + "vlimit=120.5 r=5 x=3 ctprim=100",
    "tap in winding 1": R + "tapwinding=1",
    "remote bus": R + "bus=q.2 remoteptratio=59 vlimit=125",
    "inverse time": R + "inversetime=yes delay=30\n"
    "new regcontrol.r2 transformer=t winding=2 tapwinding=1 vreg=121 band=3 ptratio=60 delay=12",
    "both windings": R + "\nnew regcontrol.r1 transformer=t winding=2 tapwinding=1 vreg=119 band=3 ptratio=60 delay=20",
    "two on one winding": R + "band=3\n"
    "new regcontrol.r1 transformer=t winding=2 vreg=121 band=4 ptphase=2 ptratio=60",
    "two on one winding, one later": R + "band=3\n"
    "new regcontrol.r1 transformer=t winding=2 vreg=122 band=4 ptphase=3 ptratio=60 delay=10",
    "turns": R + "reversible=yes revvreg=121 revband=2 revthreshold=10 revr=2 revx=1 r=1 x=1 ctprim=100",
    "turns at once": R + "reversible=yes revvreg=121 revband=2 revthreshold=10 revdelay=1",
    "turns, by magnitude": R + "reversible=yes revvreg=121 revthreshold=10 ldc_z=2 rev_z=3 ctprim=100",
    "to neutral": R + "reversible=yes revthreshold=10 revdelay=20 revneutral=yes",
    "to neutral at once": R + "reversible=yes revthreshold=10 revdelay=0 delay=1 revneutral=yes maxtapchange=1",
    "to neutral slowly": R + "reversible=yes revthreshold=10 revdelay=0 tapdelay=30 delay=1 revneutral=yes",
    "cogeneration": R + "reversible=yes cogen=yes revthreshold=10 revvreg=118 revband=3 revr=1 revx=1 r=2 x=1",
    "bank by voltage": ONE + KQ + "type=voltage ptratio=60 onsetting=118 offsetting=122",
    "bank by highest voltage": ONE + KQ + "type=voltage ptratio=60 ptphase=max onsetting=118 offsetting=122",
    "bank by mean voltage": ONE + KQ + "type=voltage ptratio=60 ptphase=avg onsetting=118 offsetting=122",
    "bank by lowest voltage": ONE + KQ + "type=voltage ptratio=60 ptphase=min onsetting=118 offsetting=122",
    "bank in delta": "new capacitor.s bus1=q kv=12.47 kvar=900 conn=delta\n"
    + KQ + "type=voltage ptratio=104 ptphase=3 onsetting=118 offsetting=122",
    "bank by kvar": ONE + K + "type=kvar onsetting=700 offsetting=-100",
    "bank by current": ONE + K + "type=current ctratio=1 onsetting=130 offsetting=80",
    "bank by highest current": ONE + K + "type=current ctphase=max ctratio=1 onsetting=130 offsetting=80",
    "bank by mean current": ONE + K + "type=current ctphase=avg ctratio=2 onsetting=65 offsetting=40",
    "bank by current at the far end": ONE + K.replace("terminal=1", "terminal=2")
    + "type=current ctphase=2 ctratio=1 onsetting=130 offsetting=80",
    "bank by the clock": ONE + K + "type=time onsetting=0 offsetting=19",
    "bank by the clock, off": ONE + K + "type=time onsetting=7 offsetting=19",
    "bank by the clock, over night": ONE + K + "type=time onsetting=19 offsetting=0",
    "bank by power factor": ONE + K + "type=pf onsetting=0.9 offsetting=0.99",
    "bank by leading power factor": ONE + K + "type=pf onsetting=0.92 offsetting=-0.97 pctminkvar=20",
    "override": ONE + K + "type=kvar onsetting=700 offsetting=-100 " + OVER,
    "override by another bus": ONE + K + "type=kvar onsetting=700 offsetting=-100 vbus=q ptphase=2 " + OVER,
    "override by the mean": ONE + K + "type=current ctratio=1 onsetting=130 offsetting=80 ptphase=avg " + OVER,
    "steps by voltage": FOUR + KQ + "type=voltage ptratio=60 onsetting=118 offsetting=122",
    "steps by kvar": FOUR + K + "type=kvar onsetting=300 offsetting=-300",
    "steps by current": FOUR + K + "type=current ctratio=1 onsetting=110 offsetting=90",
    "steps by power factor": FOUR + K + "type=pf onsetting=0.95 offsetting=0.999",
    "steps by the clock": FOUR + K + "type=time onsetting=0 offsetting=19",
    "steps with override": FOUR + K + "type=kvar onsetting=300 offsetting=-300 " + OVER,
    "dead time": R + "\n" + ONE + K + "type=kvar onsetting=500 offsetting=-100 delay=5 delayoff=10 deadtime=600\n"
    "new capacitor.u bus1=b kv=12.47 kvar=600\n"
    "new capcontrol.k2 capacitor=u element=line.a type=kvar onsetting=400 offsetting=-50 delay=40 delayoff=3",
    "two banks and a regulator": R + "delay=45\n" + ONE + K + "type=kvar onsetting=500 offsetting=-100\n"
    "new capacitor.u bus1=b kv=12.47 kvar=600\n"
    "new capcontrol.k2 capacitor=u element=line.q type=voltage ptratio=60 onsetting=118 offsetting=123 delay=40",
    "two on one bank": FOUR + K + "type=kvar onsetting=300 offsetting=-300\n"
    "new capcontrol.k2 capacitor=s element=line.q type=voltage ptratio=60 onsetting=118 offsetting=122",
    "bank at the transformer": R + "\n" + ONE + K.replace("line.a terminal=1", "transformer.t terminal=2")
    + "type=kvar onsetting=-300 offsetting=300",
    "bank by the voltage of a load": ONE + K.replace("line.a", "load.q")
    + "type=voltage ptratio=60 onsetting=118 offsetting=122",
}  # fmt: skip
WINDINGS = {
    "secondary in delta": _Windings(DELTA, "wye delta"),
    "secondary in delta, leading": _Windings(DELTA + "ptphase=3", "wye delta", "leadlag=lead"),
    "both in delta": _Windings(DELTA + "r=2 x=2 ptphase=2 ctprim=100", "delta delta"),
    "measured at the primary in delta": _Windings(DELTA.replace("winding=2", "winding=1 tapwinding=2"), "delta wye"),
    "few steps": _Windings(R, "wye wye", "wdg=2 numtaps=16 maxtap=1.08 mintap=0.92"),
    "autotransformer": _Windings(R + "r=2 x=1 ctprim=100", auto=True),
    "autotransformer that turns": _Windings(R + "reversible=yes revthreshold=10 revvreg=121", auto=True),
}


def circuit(controls, conns="wye wye", more="", auto=False):
    """Text of a circuit: a source, a transformer in the middle, a load behind it, and these controls."""
    return CIRCUIT.format(transformer=AUTO if auto else TWO_WINDINGS.format(conns=conns) + more, controls=controls)


def text_of(case):
    """Text of one of CASES or WINDINGS."""
    return circuit(CASES[case]) if case in CASES else circuit(*WINDINGS[case])


class Unlimited(OpenDSSEngine):
    """Fails where there is no convergence alone: the voltages from which controls set out may be any."""

    def _check(self, converged, v_pu, energised):
        if not converged:
            self._fresh = True
            raise PowerFlowError("no convergence")


class Copies:
    """Power flows of many copies, one after the other in one circuit, and the controls that act on them."""

    def __init__(self, feeder, tolerance=TIGHT):
        self.feeder = feeder
        self.data = read_controls(feeder)
        self.controls = CircuitControls(self.data)
        self._engine = Unlimited(feeder, tolerance=tolerance)
        self.v = np.zeros(0)
        self.asked = []

    def settle(self, setpoints, memory=None, wanted=None):
        """Where the controls come to rest from set points (B, ...)."""
        self._setpoints = setpoints
        self.v = np.zeros((len(setpoints.tap), len(self.data.nodes) + 1), complex)
        self.asked = []
        return self.controls.settle(setpoints.tap, setpoints.closed, self._solve, memory, wanted)

    def _solve(self, tap, closed, which):
        self.asked.append(which.copy())
        for b in np.flatnonzero(which):
            one = Setpoints(self._setpoints.kw[b], self._setpoints.kvar[b], tap[b], closed[b])
            try:
                self.v[b] = self._engine.solve(one).currents.v
            except PowerFlowError:
                self.v[b] = np.nan
        return self.v[:, self.controls.nodes]

    def close(self):
        self._engine.close()


def stack(points):
    """Set points (B, ...) of several."""
    return Setpoints(*(np.array([getattr(p, own) for p in points]) for own in ("kw", "kvar", "tap", "closed")))


def random_points(feeder, seed, count):
    """Set points: heavy, light and reversed, taps over their whole range, banks in and out."""
    rng = np.random.default_rng([seed, 5])
    banks = np.array([row.kind == "capacitor" for row in feeder.switches], bool)
    low, high = (np.array([getattr(row, own) for row in feeder.taps], np.int64) for own in ("minimum", "maximum"))
    for _ in range(count):
        points = feeder.setpoints()
        factor = rng.choice([-0.9, 0.2, 0.6, 1.0, 1.4]) * rng.uniform(0.8, 1.2, points.kw.size)
        points.kw, points.kvar = points.kw * factor, points.kvar * factor * rng.uniform(0.2, 1.6)
        points.tap = rng.integers(low, high + 1)
        points.closed = np.where(banks, rng.random(banks.size) < 0.5, points.closed)
        yield points


def settings_of(seed):
    """A circuit with controls of random kinds and settings."""
    rng = np.random.default_rng([seed, 6])
    lines = [_regulator(rng, k) for k in range(int(rng.integers(1, 4)))]
    for k in range(int(rng.integers(0, 3))):
        lines += _bank(rng, k)
    auto = rng.random() < 0.2
    conns = str(rng.choice(["wye wye", "wye wye", "delta wye", "wye delta"]))
    scale = 3**0.5 if conns.endswith("delta") and not auto else 1.0
    text = "\n".join(lines).replace("PT", f"{60 * scale:.3f}")
    return circuit(text, conns, str(rng.choice(["", "leadlag=lead", "numtaps=16"])), auto)


def _regulator(rng, k):
    choose = {
        "r": f"r={rng.uniform(-1, 4):.2f} x={rng.uniform(0, 4):.2f} ctprim={rng.uniform(80, 300):.0f}",
        "z": f"ldc_z={rng.uniform(0, 4):.2f} rev_z={rng.uniform(0, 3):.2f} ctprim=150",
        "most": f"maxtapchange={rng.integers(1, 17)}",
        "phase": f"ptphase={rng.choice(['1', '2', '3', 'max', 'min'])}",
        "delay": f"delay={rng.choice([1, 15, 30, 99])} tapdelay={rng.choice([0, 2, 50])}",
        "inverse": "inversetime=yes",
        "limit": f"vlimit={rng.uniform(121, 126):.1f}",
        "turns": f"reversible=yes revthreshold={rng.choice([5, 100, 900])} revdelay={rng.choice([0, 20, 60])} "
        f"revvreg={rng.uniform(117, 123):.1f} revband=3 revr=1 revx=2",
        "neutral": f"reversible=yes revneutral=yes revthreshold=50 revdelay={rng.choice([0, 60])}",
        "cogeneration": "reversible=yes cogen=yes revvreg=118 revthreshold=50",
        "bus": "bus=q.2 remoteptratio=60",
    }
    chosen = [text for text in choose.values() if rng.random() < 0.25]
    if any("bus=" in text for text in chosen):
        chosen = [text for text in chosen if "ptphase" not in text]
    return (
        f"new regcontrol.r{k} transformer=t winding=2 vreg={rng.uniform(118, 122):.1f} band={rng.uniform(1.5, 5):.1f} "
        f"ptratio=PT {' '.join(chosen)}"
    )


def _bank(rng, k):
    kind = str(rng.choice(["current", "voltage", "kvar", "time", "pf"]))
    on = {"current": 130, "voltage": 118, "kvar": rng.choice([400, 700]), "time": rng.choice([0, 7]), "pf": 0.93}[kind]
    off = {"current": 80, "voltage": 123, "kvar": -200, "time": rng.choice([0, 19]), "pf": rng.choice([0.99, -0.97])}[
        kind
    ]
    bank = f"new capacitor.s{k} bus1={rng.choice(['b', 'q'])} kv=12.47 kvar=900 numsteps={rng.choice([1, 1, 3])}"
    more = f"delay={rng.choice([5, 15, 70])} delayoff={rng.choice([5, 15, 70])} deadtime={rng.choice([0, 300])}"
    phases = f"ptphase={rng.choice(['1', '3', 'avg', 'max', 'min'])} ctphase={rng.choice(['2', 'avg', 'max', 'min'])}"
    over = str(rng.choice(["", "voltoverride=yes vmin=117 vmax=124", "voltoverride=yes vmin=117 vmax=124 vbus=r"]))
    if "vbus" in over:
        phases = phases.replace("avg", "1").replace("max", "1").replace("min", "1")
    element = str(rng.choice(["line.a", "line.q"]))
    return [
        bank,
        f"new capcontrol.k{k} capacitor=s{k} element={element} terminal={rng.integers(1, 3)} type={kind} "
        f"onsetting={on} offsetting={off} ptratio=60 ctratio=1 {more} {phases} {over}",
    ]
