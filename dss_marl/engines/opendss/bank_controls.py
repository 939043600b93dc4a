"""Reads which capacitor banks a circuit switches by itself."""

from __future__ import annotations

from dss_marl.engines.opendss.context import acquire, compile_circuit, release
from dss_marl.engines.opendss.terminals import elements
from dss_marl.grid.feeder import Feeder


def read_controlled_banks(feeder: Feeder) -> frozenset[str]:
    """The banks that an enabled CapControl moves, such as ``capacitor.name``; the others are fixed."""
    context = acquire()
    try:
        compile_circuit(context, feeder.path, feeder.commands)
        controls = context.CapControls
        return frozenset(f"capacitor.{controls.Capacitor().lower()}" for _ in elements(controls))
    finally:
        release(context)
