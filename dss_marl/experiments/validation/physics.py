"""Physics: plausible voltages and energy balance under every controller."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from dss_marl.experiments.validation.check import CheckResult
from dss_marl.experiments.validation.episodes import EpisodeCache

LOWEST, HIGHEST = 0.5, 1.5  # [pu]
UNBALANCED = 1e-4  # relative to the power flow: ten times the solver's relative tolerance


def physical(episodes: EpisodeCache, controllers: Collection[str]) -> list[CheckResult]:
    """(g) Power flows that solve, voltages of energised nodes, and the energy balance.

    Constant actions drive a feeder far outside normal operation: their voltages are reported without a verdict.

    Args:
        episodes: results.
        controllers: the reference controllers, which must pass.
    """
    every = {(name, day): result for name, own in episodes.results.items() for day, result in own.items()}
    scored_nodes = {at: result for at, result in every.items() if at[0] in controllers}
    failed = sorted({name for (name, _), result in scored_nodes.items() if result.figures["failed"]})
    rows = [
        CheckResult(
            "g", "days with a failed power flow", ", ".join(failed) or "0", "0", not failed, f"{len(scored_nodes)} days"
        )
    ]
    for who, pairs in (("reference controllers", scored_nodes), ("constants and single devices too", every)):
        low, high = min(pairs, key=lambda at: every[at].lowest), max(pairs, key=lambda at: every[at].highest)
        least, most = every[low].lowest, every[high].highest
        possible = least >= LOWEST and most <= HIGHEST
        note = f"{low[0]}, day {low[1]}; {high[0]}, day {high[1]}"
        demanded, passed = (f"{LOWEST:g} to {HIGHEST:g} pu", possible) if pairs is scored_nodes else ("", None)
        rows.append(CheckResult("g", f"voltages, {who}", f"{least:.4f} to {most:.4f} pu", demanded, passed, note))
    looked = [result.imbalance for result in scored_nodes.values() if np.isfinite(result.imbalance)]
    worst = max(looked, default=np.nan)
    note = f"{len(looked)} days: source + units - loads against the losses of all elements, over the power that flows"
    rows.append(
        CheckResult("g", "energy imbalance", f"{worst:.1e}", f"<= {UNBALANCED:g}", bool(worst <= UNBALANCED), note)
    )
    return rows
