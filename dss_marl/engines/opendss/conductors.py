"""Which nodes are phases, and which are neutrals or grounded: from what joins them, and voltages without any load."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dss_marl.engines.opendss.context import acquire, compile_circuit, release, snapshot
from dss_marl.engines.opendss.script import quoted
from dss_marl.engines.opendss.terminals import elements
from dss_marl.grid.elements import Bus
from dss_marl.grid.feeder import components

# Without load a neutral is at zero and a phase at its base; so far from both that bases a step off do no harm [pu].
_NEUTRAL_PU, _GROUNDED_PU = 0.3, 0.1
_SPLIT = 1.9  # line to line over line to neutral, of a split phase; sqrt(3) of two phases of three
_PASSIVE = ("line", "transformer", "autotrans", "reactor", "capacitor", "vsource", "fault", "gicline", "gictransformer")


@dataclass(frozen=True)
class Conductors:
    """The circuit without whatever draws or gives power, all its lines closed.

    Attributes:
        volts: complex voltage of every node that a branch or a source reaches [V].
        earthed: those with a way to ground that passes through no winding from end to end.
    """

    volts: dict[str, complex]
    earthed: frozenset[str]

    def neutral(self, bus: Bus) -> int:
        """Number of the bus's neutral, 0 where it has none: above 3, without voltage, and reached by a branch."""
        numbers = (
            p for p in bus.phases if p > 3 and self._is_low(bus, p, _NEUTRAL_PU) and f"{bus.name}.{p}" in self.volts
        )
        return min(numbers, default=0)

    def is_phase(self, bus: Bus, number: int) -> bool:
        """Whether a node is neither a neutral nor grounded."""
        if number > 3:
            return not self._is_low(bus, number, _NEUTRAL_PU)
        return f"{bus.name}.{number}" not in self.earthed or not self._is_low(bus, number, _GROUNDED_PU)

    def has_its_base(self, bus: Bus) -> bool:
        """Whether a phase of the bus is near its base voltage."""
        volts = [abs(self.volts.get(f"{bus.name}.{p}", 0.0)) for p in bus.phases]
        return any(0.7 < v / (bus.kv_base * 1000) < 1.3 for v in volts)

    def is_split(self, bus: Bus, phases: Sequence[int]) -> bool:
        """Whether two phases are the ends of a centre-tapped winding: opposite, not a third of a turn apart."""
        one, two = (self.volts.get(f"{bus.name}.{p}", 0j) for p in phases)
        return abs(one - two) > _SPLIT * max(abs(one), abs(two)) > 0

    def _is_low(self, bus: Bus, number: int, limit: float) -> bool:
        return abs(self.volts.get(f"{bus.name}.{number}", 0.0)) < limit * bus.kv_base * 1000


def read_conductors(path: Path, commands: Iterable[str]) -> Conductors | None:
    """Compile the circuit once more, take out all that draws or gives power, and look; None where it has no answer."""
    context = acquire()
    try:
        compile_circuit(context, path, commands)
        for name in context.Circuit.AllElementNames():
            kind, own = name.lower().split(".", 1)
            if kind not in _PASSIVE:
                context.Text.Command(f"edit {quoted(f'{kind}.{own}')} enabled=no")
        for _ in elements(context.Lines):
            for end in (1, 2):
                if context.CktElement.IsOpen(end, 0):
                    context.CktElement.Close(end, 0)
        snapshot(context)
        context.Solution.SolveDirect()
        names = [name.lower() for name in context.Circuit.YNodeOrder()]
        view = context.dss_ffi.buffer(context.YMatrix.VVector(), 16 * (len(names) + 1))
        volts = np.frombuffer(view, complex)[1:].copy()
        if not np.isfinite(volts).all() or not np.abs(volts).max() > 0:
            return None
        earthed = _earthed(context, len(names))
        return Conductors(dict(zip(names, volts.tolist(), strict=True)), frozenset(names[n - 1] for n in earthed if n))
    finally:
        release(context)


def _earthed(context: Any, count: int) -> list[int]:
    """Nodes, numbered from 1, with a way to ground: along lines and reactors, and over the star points of windings."""
    pairs: list[tuple[int, int]] = []
    for collection in (context.Lines, context.Reactors):
        for _ in elements(collection):
            refs, width = context.CktElement.NodeRef(), context.CktElement.NumConductors()
            pairs += zip(refs[:width], refs[width : 2 * width], strict=False)
    for _ in elements(context.Transformers):
        refs, width, phases = (
            context.CktElement.NodeRef(),
            context.CktElement.NumConductors(),
            context.CktElement.NumPhases(),
        )
        pairs += [(ref, 0) for k, ref in enumerate(refs) if k % width >= phases]
    first, second = np.array(pairs, np.int64).reshape(-1, 2).T
    label = components(count + 1, first, second)
    return np.flatnonzero(label == 0).tolist()
