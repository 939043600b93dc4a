"""Reproducing: a run is repeated as its record says, and both are compared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dss_marl.experiments.runs.run_folder import check_days, check_free
from dss_marl.experiments.runs.run_record import RunRecord, load_run
from dss_marl.experiments.runs.run_scenario import scenario_of_run
from dss_marl.experiments.training.checkpointing import Report
from dss_marl.experiments.training.resume import resume
from dss_marl.experiments.training.train import silent, train


@dataclass(frozen=True)
class Reproduction:
    """A run and its repetition.

    Attributes:
        before, after: their records.
    """

    before: RunRecord
    after: RunRecord

    @property
    def agrees(self) -> bool:
        """Whether learning curve, policies and validation figures are the same to the last bit."""
        return not self.differences()

    def differences(self) -> list[str]:
        """What differs, and by how much."""
        before, after = self.before, self.after
        found = [_curves_differ(before, after)]
        others = [name for name, own in before.files.items() if _is_policy(name) and after.files.get(name) != own]
        if others:
            found.append(f"policy: {', '.join(sorted(others))} with other SHA-256")
        gaps = {
            name: after.validation.get(name, np.nan) - value
            for name, value in before.validation.items()
            if after.validation.get(name) != value
        }
        found += [f"validation: {name} {before.validation[name]:.6g}, now {gap:+.2g}" for name, gap in gaps.items()]
        return [text for text in found if text]

    def causes(self) -> list[str]:
        """What was different about the repetition: versions, commit and machine."""
        before, after = self.before, self.after
        names = dict.fromkeys((*before.versions, *after.versions))
        pairs = [(name, before.versions.get(name, "none"), after.versions.get(name, "none")) for name in names]
        pairs += [("commit", before.git_commit, after.git_commit), ("machine", before.machine, after.machine)]
        return [f"{name}: {one or 'unknown'}, now {other or 'unknown'}" for name, one, other in pairs if one != other]


def reproduce(
    folder: Path, out: Path, report: Report = silent, overwrite: bool = False, allow_code: bool = False
) -> Reproduction:
    """Repeat a run in a new folder as its record says, and compare both.

    On the same processor with the same versions, learning curve, policies and validation figures are the same to the
    last bit, if no worker processes stepped the copies.

    Args:
        folder: of the run, which is not changed.
        out: folder of the repetition.
        report: see ``train``.
        overwrite: replace the run that ``out`` holds.
        allow_code: see load_scenario.

    Raises:
        ValueError: no finished run there, it was ended by what watched it, ``out`` is its folder or holds a run, or the
            days are no longer those of the run.
    """
    before = load_run(folder)
    if before.status != "finished":
        raise ValueError(f"the run in {str(folder)!r} did not finish; dss-marl train --resume {folder} lets it go on")
    if before.stopped:
        raise ValueError(
            f"the run in {str(folder)!r} was ended before its agent-steps by what watched it, such as a search; repeat "
            "the search, or a run that went to its end"
        )
    if out.resolve() == folder.resolve():
        raise ValueError(f"the repetition of {str(folder)!r} needs a folder of its own")
    check_free(out, overwrite)
    scenario = scenario_of_run(folder, before, allow_code)
    check_days(before, scenario)
    stages = [*((one.agent_steps, one.evaluations) for one in before.stages), _asked(before)]
    agent_steps, evaluations = stages[0]
    at_first = {"agent_steps": agent_steps, "evaluations": evaluations} if before.stages else {}
    first = scenario.replace(training=at_first)
    after = train(
        first, out, before.seed, before.num_cpus, before.route, report, overwrite, before.with_sb3, before.engine
    )
    for agent_steps, _ in stages[1:]:
        after = resume(out, agent_steps, report, allow_code=allow_code)
    return Reproduction(before, after)


def _asked(record: RunRecord) -> tuple[int, int]:
    return record.settings["agent_steps"], record.settings["evaluations"]


def _is_policy(name: str) -> bool:
    return name.endswith(".safetensors")  # an archive of SB3's holds its time


def _curves_differ(before: RunRecord, after: RunRecord) -> str:
    one, other = (
        np.array([(row["agent_steps"], row["score"]) for row in record.history]) for record in (before, after)
    )
    if one.shape != other.shape:
        return f"learning curve: {len(other)} evaluations, not {len(one)}"
    if np.array_equal(one, other):
        return ""
    first = int(np.flatnonzero((one != other).any(axis=1))[0])
    gap = float(np.abs(one[:, 1] - other[:, 1]).max())
    return f"learning curve: from {one[first, 0]:.0f} agent-steps on, by {gap:.2g} at most"
