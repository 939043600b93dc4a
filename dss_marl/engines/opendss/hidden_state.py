"""What a solve leaves behind in elements of the circuit, beside voltages, taps and states: read once, written back."""

from __future__ import annotations

from typing import Any

from dss_marl.engines.opendss.script import quoted
from dss_marl.engines.opendss.terminals import activate, elements

# Of each class, what its power flow moves: an induction machine's slip, a converter's modulation and angle.
_MOVED = {"indmach012": ("slip",), "vsconverter": ("m0", "d0")}
_HOLDS_VOLTAGE = "3"  # the model of a generator that looks for its kvar


def hidden_states(context: Any) -> list[str]:
    """Commands that put such elements back to where they are now; to be read before the first solve."""
    moved = {name: _MOVED[kind] for name in _names(context) if (kind := name.split(".", 1)[0]) in _MOVED}
    for own in elements(context.Generators):
        if context.Properties.Value("model") == _HOLDS_VOLTAGE:
            moved[f"generator.{own}"] = ("kvar",)
    commands = []
    for name, properties in moved.items():
        activate(context, name)
        values = " ".join(f"{own}={context.Properties.Value(own)}" for own in properties)
        commands.append(f"edit {quoted(name)} {values}")
    return commands


def has_reversible_controls(context: Any) -> bool:
    """Whether a RegControl may turn round: OpenDSS can be asked neither which way it looks nor to turn it back."""
    return any(context.RegControls.IsReversible() for _ in elements(context.RegControls))


def _names(context: Any) -> list[str]:
    return [name.lower() for name in context.Circuit.AllElementNames()]
