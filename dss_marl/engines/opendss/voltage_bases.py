"""Preparation of a circuit: base voltages, and elements frozen at their snapshot state."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from dss_marl.engines.opendss.terminals import activate, is_enabled

# Controls that would act beside regulators and capacitors, and leave what they moved behind.
OTHER_CONTROLS = (
    "fuse", "recloser", "relay", "swtcontrol", "invcontrol", "expcontrol", "storagecontroller", "gendispatcher",
    "upfccontrol", "espvlcontrol",
)  # fmt: skip
# Elements with daily shapes of their own.
_SHAPED = ("generator", "pvsystem", "storage", "isource", "vsource", "indmach012")
_FIXED_KVAR = {6: 1, 7: 3}  # load models whose kvar no shape scales, and equivalent models for their kvar


def by_class(context: Any) -> dict[str, list[str]]:
    """Names of all enabled elements by class."""
    found: dict[str, list[str]] = defaultdict(list)
    for name in context.Circuit.AllElementNames():
        kind, own = name.lower().split(".", 1)
        found[kind].append(own)
    plenty = ("line", "load", "transformer", "capacitor")  # their readers skip what is disabled
    for kind in set(found) - set(plenty):
        found[kind] = [own for own in found[kind] if is_enabled(context, f"{kind}.{own}")]
    return {kind: names for kind, names in found.items() if names}


def fixed_kvar_loads(context: Any) -> dict[str, int]:
    """Loads whose reactive power neither shape nor load multiplier scales, and the model to replace theirs."""
    found = {}
    index = context.Loads.First()
    while index:
        model = _FIXED_KVAR.get(int(context.Loads.Model()))
        if model:
            found[f"load.{context.Loads.Name().lower()}"] = model
        index = context.Loads.Next()
    return found


def snapshot_commands(context: Any, present: dict[str, list[str]], models: dict[str, int]) -> list[str]:
    """Commands that freeze everything but loads, taps, switches and units.

    Args:
        context: the compiled circuit.
        present: see by_class.
        models: see fixed_kvar_loads.
    """
    commands = []
    if "storagecontroller" in present:  # it dispatches its batteries in the first solve
        commands += ["set mode=snapshot controlmode=off", "solve"]
    commands += [f'edit "{kind}.{name}" enabled=no' for kind in OTHER_CONTROLS for name in present.get(kind, ())]
    names = [f"{kind}.{own}" for kind in _SHAPED for own in present.get(kind, ())]
    flat = [text for number, name in enumerate(names) for text in _flat(context, name, number)]
    if flat:  # OpenDSS cannot remove a shape, so a constant one replaces it
        commands += ["new loadshape.dss_marl_flat npts=1 interval=1 mult=[1]", *flat]
    return commands + [f'edit "{name}" model={model}' for name, model in models.items()]


def _flat(context: Any, name: str, number: int) -> list[str]:
    """Commands that keep an element of a class that follows shapes at its nominal power."""
    activate(context, name)
    value = context.Properties.Value
    commands = []
    if value("daily"):
        shape = "dss_marl_flat"
        if name.startswith("vsource."):  # the shape of a voltage source is its pu voltage
            shape = f"dss_marl_flat_{number}"
            commands.append(f"new loadshape.{shape} npts=1 interval=1 mult=[{value('pu')}]")
        commands.append(f'edit "{name}" daily={shape}')
    if name.startswith("pvsystem.") and value("tdaily"):
        commands.append(f"new tshape.dss_marl_flat_{number} npts=1 interval=1 temp=[{value('temperature')}]")
        commands.append(f'edit "{name}" tdaily=dss_marl_flat_{number}')
    if name.startswith("storage."):  # otherwise the shape or the hour would change its state
        commands.append(f'edit "{name}" dispmode=external')
    return commands


def base_commands(context: Any) -> list[str]:
    """Commands that set base voltages, from sources and windings, if any bus has none."""
    context.Text.Command("makebuslist")  # does not exist before the first solve
    if all(_base(context, i) > 0 for i in range(context.Circuit.NumBuses())):
        return []
    kvs = set()
    index = context.Vsources.First()
    while index:
        kvs.add(context.Vsources.BasekV() if context.CktElement.NumPhases() > 1 else context.Vsources.BasekV() * 3**0.5)
        index = context.Vsources.Next()
    index = context.Transformers.First()
    while index:
        kvs |= set(_winding_kvs(context))
        index = context.Transformers.Next()
    bases = " ".join(f"{kv:.6g}" for kv in sorted(kvs))
    return [f"set voltagebases=[{bases}]", "calcvoltagebases"]


def _base(context: Any, bus: int) -> float:
    context.Circuit.SetActiveBusi(bus)
    return float(context.Bus.kVBase())


def _winding_kvs(context: Any) -> list[float]:
    """Line-to-line voltage of the active transformer's windings [kV]; a one-phase winding to ground counts as wye."""
    element, transformer = context.CktElement, context.Transformers
    order, width = element.NodeOrder(), element.NumConductors()
    kvs = []
    for k in range(transformer.NumWindings()):
        transformer.Wdg(k + 1)
        numbers = order[k * width : (k + 1) * width]
        to_ground = element.NumPhases() == 1 and min(numbers) == 0
        kvs.append(transformer.kV() * (3**0.5 if to_ground else 1.0))
    return kvs
