"""What a report says of policies that were trained on another engine than OpenDSS."""

from __future__ import annotations

import json
from collections.abc import Sequence

from dss_marl._assets import read_text
from dss_marl.experiments.evaluation import ComparisonTable
from dss_marl.experiments.reports.html.runs import ReportRun
from dss_marl.experiments.runs.run_record import OPENDSS


def engine_note(runs: Sequence[ReportRun]) -> str:
    """On which engines the policies were trained, and how far their returns there are from those on OpenDSS; "" where
    all learned on OpenDSS.
    """
    others = [run for run in runs if run.record.engine != OPENDSS]
    if not others:
        return ""
    sentences = [" All figures are of OpenDSS."]
    for run in others:
        known = _compared(run)
        own = f"{run.label} was trained on engine {run.record.engine!r}; 'dss-marl evaluate' compares the two"
        sentences.append(f"{known.replace('learned', run.label, 1) if known else own}.")
    return " ".join(sentences)


def _compared(run: ReportRun) -> str:
    """The remark of the run's last evaluation; "" without one."""
    path = run.folder / "table.json"
    try:
        data = json.loads(read_text(path, str(path)))
        figures, on_engine = {"learned": data["figures"]["learned"]}, data["trained_on"]
        table = ComparisonTable(data["scenario"], data["split"], tuple(data["days"]), figures, trained_on=on_engine)
        return " ".join(table.remarks())
    except (AttributeError, KeyError, TypeError, ValueError):  # none, cut short, or of another version
        return ""
