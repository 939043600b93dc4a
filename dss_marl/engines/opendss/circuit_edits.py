"""Changes that a scenario makes to a circuit, as OpenDSS commands."""

from __future__ import annotations

from collections.abc import Sequence


def circuit_edits(
    source_pu: float | None = None, load_v_pu: tuple[float, float] | None = None, commands: Sequence[str] = ()
) -> list[str]:
    """Commands to run after the circuit's file.

    Args:
        source_pu: voltage of the circuit's sources, all of them [pu]; None: the file's.
        load_v_pu: range in which loads keep their model [pu]; None: the file's.
        commands: the user's own, which run first.
    """
    edits = list(commands)
    if source_pu is not None:
        edits.append(f"batchedit vsource..* pu={source_pu!r}")  # whatever their names
    if load_v_pu is not None:
        low, high = load_v_pu
        edits.append(f"batchedit load..* vminpu={low!r} vmaxpu={high!r}")
    return edits


def regulator_band(volts: float) -> str:
    """The command that sets the width of the band of all regulator controls, in both directions of power [V]."""
    return f"batchedit regcontrol..* band={volts:g} revband={volts:g}"
