"""OpenDSS by plain text commands, the slow and obvious way: what engines are checked against.

Nothing here comes from dss_marl.engines: another context, another way to write powers, taps and states, another way to
read voltages, losses and currents.
"""

import os
from dataclasses import dataclass
from functools import cache

import numpy as np
from opendssdirect import dss


@cache
def _context():
    context = dss.NewContext()
    context.Basic.AllowForms(False)
    return context


@dataclass(frozen=True)
class Raw:
    """A circuit solved to 1e-10; arrays in the Feeder's order."""

    v: np.ndarray  # (N) complex [V]; 0 where OpenDSS has no such node
    v_pu: np.ndarray  # (N)
    loss_kw: float  # OpenDSS's own sum over all elements
    loss_kvar: float
    source_kw: float
    source_kvar: float
    served_kw: np.ndarray  # (J)
    served_kvar: np.ndarray  # (J)
    amps: np.ndarray  # (M) highest conductor current at the first terminal of a branch, in a transformer winding 1
    taps: np.ndarray  # (R)


def solve(feeder, setpoints, settle=False, tolerance=1e-10):
    """Compile the feeder, write the set points as text, solve and read everything; ``settle`` runs its controls."""
    context = _context()
    command = context.Text.Command
    command("clear")
    here = os.getcwd()
    command(f'compile "{feeder.path}"')
    os.chdir(here)
    for line in feeder.commands:
        command(line)
    command("set loadmult=1")
    for row, kw, kvar in zip(feeder.injections, setpoints.kw, setpoints.kvar, strict=True):
        sign = -1.0 if row.kind == "load" else 1.0
        command(f"{row.name}.kw={float(sign * kw)!r}")
        command(f"{row.name}.kvar={float(sign * kvar)!r}")
    for row, position in zip(feeder.taps, setpoints.tap, strict=True):
        command(f"{row.element}.wdg={row.winding}")
        command(f"{row.element}.tap={1 + int(position) * row.step_pu!r}")
    steps: dict = {}
    for row, closed in zip(feeder.switches, setpoints.closed, strict=True):
        steps.setdefault(row.element, []).append(bool(closed))
    for element, closed in steps.items():
        if element.startswith("capacitor."):
            command(f"{element}.states=[{' '.join(str(int(c)) for c in closed)}]")
        else:  # no line at all, rather than an open one
            command(f"{element}.enabled={'yes' if closed[0] else 'no'}")
            if closed[0]:
                command(f"close {element} 1")
                command(f"close {element} 2")
    command(f"set mode=snapshot tolerance={tolerance} maxiterations=500 maxcontroliter=100")
    command(f"set controlmode={'static' if settle else 'off'}")
    context.Solution.Solve()
    assert context.Solution.Converged(), f"{feeder.name}: the reference solve must converge"
    return _read(context, feeder)


def _read(context, feeder):
    flat = np.asarray(context.Circuit.AllBusVolts())
    volts = dict(zip((n.lower() for n in context.Circuit.AllNodeNames()), flat[::2] + 1j * flat[1::2], strict=True))
    v = np.array([volts.get(node, 0j) for node in feeder.nodes])
    base = np.array([feeder.bus(node.rsplit(".", 1)[0]).kv_base for node in feeder.nodes]) * 1000
    served, amps = [], []
    for row in feeder.injections:
        context.Circuit.SetActiveElement(row.name)
        powers = np.asarray(context.CktElement.TotalPowers())
        served.append((-powers[0], -powers[1]))  # into the element, so out of the grid
    for row in feeder.branches:
        context.Circuit.SetActiveElement(row.element)
        if not context.CktElement.Enabled():
            amps.append(0.0)
            continue
        current = np.asarray(context.CktElement.CurrentsMagAng())[::2]
        terminals = current.reshape(context.CktElement.NumTerminals(), -1)
        amps.append(terminals[0].max())
    taps = []
    for row in feeder.taps:
        context.Transformers.Name(row.element.split(".", 1)[1])
        context.Transformers.Wdg(row.winding)
        taps.append(round((context.Transformers.Tap() - 1) / row.step_pu))
    total, losses = context.Circuit.TotalPower(), context.Circuit.Losses()
    served = np.array(served).reshape(-1, 2)
    return Raw(
        v=v,
        v_pu=np.abs(v) / base,
        loss_kw=losses[0] / 1000,
        loss_kvar=losses[1] / 1000,
        source_kw=-total[0],
        source_kvar=-total[1],
        served_kw=served[:, 0],
        served_kvar=served[:, 1],
        amps=np.array(amps),
        taps=np.array(taps),
    )
