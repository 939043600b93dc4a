"""Resuming: a run that was stopped goes on from its checkpoint, and a finished one to more agent-steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dss_marl.experiments.runs.run_folder import RunFolder, check_days
from dss_marl.experiments.runs.run_record import RunRecord, load_run, note_more, note_resumption
from dss_marl.experiments.runs.run_scenario import scenario_of_run, training_of_run
from dss_marl.experiments.training.checkpoint_file import read_checkpoint
from dss_marl.experiments.training.checkpointing import Report, Tell
from dss_marl.experiments.training.trackers import check_trackers
from dss_marl.experiments.training.train import checked_task, learn, silent


def resume(
    folder: Path,
    agent_steps: int | None = None,
    report: Report = silent,
    log: Sequence[str] = (),
    allow_code: bool = False,
    tell: Tell = lambda text: None,
) -> RunRecord:
    """Let a run go on from its last checkpoint, or from its start if it was stopped before the first.

    With one process, the result is to the last bit that of a run that was never stopped. A finished run goes on to more
    agent-steps; the learning rate then falls from where the longer course has it, which is higher than where it ended.
    Other versions of code or packages than before are allowed, and noted in the record.

    Args:
        folder: of the run.
        agent_steps: for a finished run: those in the end, more than it has.
        report: see ``train``.
        log: see ``train``.
        allow_code: see load_scenario.
        tell: see ``train``.

    Returns:
        the record, also saved in the folder.

    Raises:
        ValueError: no run there; it is finished and ``agent_steps`` are not more, or it is not finished and they are
            given; its scenario, days or checkpoint are not those of its record.
        ImportError: as of ``train``.
    """
    check_trackers(log)
    record = load_run(folder)
    finished = record.status == "finished"
    _check_agent_steps(folder, record, agent_steps)
    scenario = scenario_of_run(folder, record, allow_code)
    if agent_steps is not None:
        note_more(record, agent_steps)
    scenario = scenario.replace(training=training_of_run(record))
    check_days(record, scenario)
    task = checked_task(scenario, record.route)
    found = read_checkpoint(folder, record)
    if finished and found is None:
        raise ValueError(
            f"the run in {str(folder)!r} has no checkpoint any more, from which it could go on; train again"
        )
    note_resumption(record, 0 if found is None else found["agent_steps"])
    if found is None:
        record.history, record.files, record.validation, record.agent_steps = [], {}, {}, 0
    learn(RunFolder(folder, record), task, report, log, tell, overwrite=True, found=found)
    return record


def _check_agent_steps(folder: Path, record: RunRecord, agent_steps: int | None) -> None:
    where = f"the run in {str(folder)!r}"
    if record.status == "finished" and (agent_steps is None or agent_steps <= record.agent_steps):
        raise ValueError(
            f"{where} is finished, with {record.agent_steps:,} agent-steps; say how many it shall have in the end: "
            f"--steps {2 * record.agent_steps} (agent_steps={2 * record.agent_steps})"
        )
    if record.status != "finished" and agent_steps is not None:
        raise ValueError(
            f"{where} was stopped before its {record.settings['agent_steps']:,} agent-steps; resume it without --steps "
            "(agent_steps) first, and then with more"
        )
