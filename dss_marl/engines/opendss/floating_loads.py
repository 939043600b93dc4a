"""Loads and units from phase to ground where no winding leads to ground: the star point floats to one of two places."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from dss_marl.engines.opendss.terminals import elements, is_enabled
from dss_marl.grid.feeder import components

_POWERS = ("load.", "generator.", "pvsystem.", "storage.")
_OTHERS = ("autotrans.", "gictransformer.", "gicline.", "upfc.", "vsource.")  # taken to lead to ground where they can


def has_floating_loads(context: Any) -> bool:
    """Whether there are such loads, as behind a delta winding; a power flow then has two solutions."""
    label = components(context.Circuit.NumNodes() + 1, *np.array(_joined(context), np.int64).reshape(-1, 2).T)
    grounded = label == label[0]
    for name in context.Circuit.AllElementNames():
        if name.lower().startswith(_POWERS) and is_enabled(context, name):
            refs = context.CktElement.NodeRef()
            if 0 in refs and not grounded[list(refs)].all():
                return True
    return False


def _joined(context: Any) -> list[tuple[int, int]]:
    """Pairs of nodes, numbered from 1 with ground 0, that lines, reactors, banks, sources or single windings join."""
    element = context.CktElement
    pairs: list[tuple[int, int]] = []
    for collection in (context.Lines, context.Reactors, context.Capacitors):
        for _ in elements(collection):
            if element.Enabled():
                refs, width = element.NodeRef(), element.NumConductors()
                pairs += zip(refs[:width], refs[width : 2 * width], strict=False)
    for name in context.Circuit.AllElementNames():
        if name.lower().startswith(_OTHERS) and is_enabled(context, name):
            refs = element.NodeRef()
            pairs += pairwise(refs)
    for _ in elements(context.Transformers):
        if element.Enabled():
            refs, width, phases = list(element.NodeRef()), element.NumConductors(), element.NumPhases()
            for winding in range(context.Transformers.NumWindings()):
                context.Transformers.Wdg(winding + 1)
                own = refs[winding * width : (winding + 1) * width]
                ends = (
                    [*own[1:phases], own[0]] if context.Transformers.IsDelta() and phases > 1 else own[phases:] * phases
                )
                pairs += zip(own[:phases], ends, strict=False)
    return pairs
