"""Jobs of a benchmark: one training with its evaluation, or the references of one scenario; each in its own process."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from dss_marl._assets import read_text, write_text
from dss_marl.envs.scenario import Scenario, scenario_from
from dss_marl.experiments.evaluation import evaluate
from dss_marl.experiments.runs.policies import load_policy
from dss_marl.experiments.runs.run_record import FILE, OPENDSS, RunRecord, load_run
from dss_marl.experiments.study.reference_returns import SPLIT, play_references, rounded, save_returns
from dss_marl.experiments.training.resume import resume
from dss_marl.experiments.training.train import train

EVALUATION = "evaluation.json"  # in the folder of a run, written last: the cell is finished then


class Job(BaseModel):
    """What a process is told to do, as data.

    Attributes:
        name: in messages.
        kind: "cell" trains and evaluates, "references" plays the reference controllers.
        scenario: data of the scenario, with its training settings.
        days: test days to play.
        place: folder of the run, or file of the references.
        seed, engine: of a training.
        anew: train again, whatever run is there.
        allow_code: see load_scenario.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    kind: Literal["cell", "references"]
    scenario: dict[str, Any]
    days: tuple[int, ...]
    place: Path
    seed: int = 0
    engine: str = OPENDSS
    anew: bool = False
    allow_code: bool = False

    def run(self, alive: Callable[[], None] = lambda: None) -> None:
        """Do it; a run that was stopped before goes on, one that only lacks its evaluation gets that.

        Args:
            alive: called now and then while learning; raises to stop.
        """
        scenario = scenario_from(self.scenario, self.allow_code)
        if self.kind == "references":
            save_returns(play_references(scenario, self.days), scenario, self.place)
            return
        begun = (self.place / FILE).exists()
        if self.anew or not begun:
            train(scenario, self.place, self.seed, 0, "native", lambda *_: alive(), begun, False, self.engine)
        elif not is_trained(self.place):
            resume(self.place, report=lambda *_: alive(), allow_code=self.allow_code)
        evaluate_run(self.place, scenario, self.days)


def is_trained(folder: Path) -> bool:
    """Whether a folder holds a finished run."""
    return (folder / FILE).is_file() and load_run(folder).status == "finished"


def evaluate_run(folder: Path, scenario: Scenario, days: tuple[int, ...]) -> None:
    """Play a run's policy, the best on validation days, on test days; writes ``evaluation.json`` into its folder."""
    begin, record = time.perf_counter(), load_run(folder)
    played = evaluate(load_policy(folder), scenario, days, SPLIT)
    figures = {name: [rounded(own[name]) for own in played] for name in played[0]}
    data = {
        "split": SPLIT,
        "days": list(days),
        "files": record.files,  # of the policy that was played
        "seconds": round(time.perf_counter() - begin, 1),
        "figures": {name: values for name, values in figures.items() if name == "team_return" or any(values)},
    }
    write_text(folder / EVALUATION, json.dumps(data) + "\n")


def evaluation_of(folder: Path, record: RunRecord, days: tuple[int, ...]) -> dict[str, Any] | None:
    """The evaluation in a run's folder; None if it is missing, of other days, or of another policy."""
    path = folder / EVALUATION
    if not path.is_file():
        return None
    try:
        data = json.loads(read_text(path, repr(str(path))))
        fits = (data["split"], tuple(data["days"]), data["files"]) == (SPLIT, days, record.files)
        return dict(data) if fits and len(data["figures"]["team_return"]) == len(days) else None
    except (ValueError, LookupError, TypeError):
        return None


def stop_with(parent: int) -> Callable[[], None]:
    """A check that raises once the process's parent is gone, so that nobody trains into a folder of the next call."""

    def check() -> None:
        if os.getppid() != parent:
            raise InterruptedError("what started this run has ended")

    return check
