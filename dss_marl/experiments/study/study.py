"""A benchmark of learning: what is still to do, doing it, and collecting what was found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dss_marl.envs.scenario import Scenario
from dss_marl.envs.training_settings import TrainingSettings
from dss_marl.experiments.runs.run_record import FILE, RunRecord, load_run
from dss_marl.experiments.study.collected import cell_results, scenario_results, settings_of, study_results
from dss_marl.experiments.study.job import Job, evaluation_of
from dss_marl.experiments.study.processes import Outcome, in_processes
from dss_marl.experiments.study.reference_returns import (
    ReferenceReturns,
    committed_returns,
    days_of_test,
    kept_returns,
)
from dss_marl.experiments.study.results import CellResults, FailedCell, ScenarioResults, StudyResults
from dss_marl.experiments.study.suite import Cell, Plan

RUNS, REFERENCES, LOGS = "runs", "references", "logs"  # in the folder of a benchmark
LOCK = ".lock"  # held by the process that runs the benchmark; the file stays


@dataclass
class Progress:
    """How far a benchmark is.

    Attributes:
        plan: of it.
        done: names of the cells that are finished.
        running: names of the jobs under way.
        failed: name of a job to why it failed, in this call.
        learned: name of a cell under way to the share of its agent-steps done and its last validation return.
    """

    plan: Plan
    done: set[str] = field(default_factory=set)
    running: tuple[str, ...] = ()
    failed: dict[str, str] = field(default_factory=dict)
    learned: dict[str, tuple[float, float]] = field(default_factory=dict)


Watch = Callable[[Progress], None]


@dataclass
class Study:
    """A benchmark in its folder.

    Args:
        plan: the suite, checked.
        folder: where runs and results go.
        overwrite: replace runs of other settings.

    Raises:
        ValueError: the folder holds runs of other settings, and ``overwrite`` is not given.
    """

    plan: Plan
    folder: Path
    overwrite: bool = False

    def __post_init__(self) -> None:
        most = self.plan.suite.days
        self._days = {name: days_of_test(one, most) for name, one in self.plan.scenarios.items()}
        others = [cell.name for cell in self.plan.cells if self._is_other(cell)]
        if others and not self.overwrite:
            raise ValueError(
                f"{str(self.folder)!r} holds runs of other settings: {', '.join(others[:3])}"
                f"{', ...' if len(others) > 3 else ''}; choose another folder, or replace them with --overwrite "
                "(overwrite=True)"
            )
        self._others = set(others)

    def run(self, at_once: int, ray: str | None = None, watch: Watch = lambda progress: None) -> StudyResults:
        """Do what is not finished, then collect; results are written into the folder.

        Args:
            at_once: processes at the same time.
            ray: address of a Ray cluster that does it instead.
            watch: called now and then with the progress.

        Raises:
            ValueError: another process does the same in the folder: both would write the same runs.
        """
        from filelock import FileLock, Timeout

        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.folder / LOCK, timeout=0):
                return self._run(at_once, ray, watch)
        except Timeout:
            raise ValueError(
                f"another benchmark is running in {str(self.folder)!r}; wait for its end, or choose another folder"
            ) from None

    def _run(self, at_once: int, ray: str | None, watch: Watch) -> StudyResults:
        progress = Progress(self.plan, {cell.name for cell in self.plan.cells if self._result(cell) is not None})
        jobs = self.jobs()

        def tick(running: Sequence[Job]) -> None:
            progress.running = tuple(job.name for job in running)
            progress.learned = {job.name: learned for job in running if (learned := self._learned(job)) is not None}
            watch(progress)

        watch(progress)
        for job, error in self._outcomes(jobs, at_once, ray, tick):
            if error:
                progress.failed[job.name] = error
            elif job.kind == "cell":
                progress.done.add(job.name)
        progress.running = ()
        watch(progress)
        found = self.results(progress.failed)
        found.save(self.folder)
        return found

    def jobs(self) -> list[Job]:
        """What is still to do: first references that no committed results hold, then the cells."""
        jobs = []
        for name, scenario in self.plan.scenarios.items():
            if self._references(scenario) is None:
                jobs.append(self._job(f"{name}/references", "references", scenario, self._references_file(name)))
        for cell in self.plan.cells:
            if self._result(cell) is None:
                own = self._job(cell.name, "cell", cell.scenario, self._place(cell))
                anew = cell.name in self._others
                jobs.append(own.model_copy(update={"seed": cell.seed, "engine": cell.engine, "anew": anew}))
        return jobs

    def results(self, failed: Mapping[str, str]) -> StudyResults:
        """What is there now.

        Args:
            failed: name of a cell to why it failed.
        """
        cells = [found for cell in self.plan.cells if (found := self._result(cell)) is not None]
        lost = [
            FailedCell(scenario=cell.scenario.name, recipe=cell.recipe, seed=cell.seed, error=failed[cell.name])
            for cell in self.plan.cells
            if cell.name in failed
        ]
        suite = {**self.plan.suite.model_dump(mode="json"), "scenarios": list(self.plan.scenarios)}
        scenarios = {name: self._scenario(one) for name, one in self.plan.scenarios.items()}
        return study_results(suite, scenarios, cells, lost)

    def _outcomes(
        self, jobs: Sequence[Job], at_once: int, ray: str | None, tick: Callable[[Sequence[Job]], None]
    ) -> Iterator[Outcome]:
        if ray is None:
            return in_processes(jobs, at_once, self.folder / LOGS, tick)
        from dss_marl.experiments.study.ray_tasks import on_ray

        return on_ray(jobs, ray, tick)

    def _job(self, name: str, kind: str, scenario: Scenario, place: Path) -> Job:
        data = {"scenario": scenario.model_dump(mode="json"), "days": self._days[scenario.name]}
        return Job.model_validate(
            {**data, "name": name, "kind": kind, "place": place, "allow_code": scenario.allow_code}
        )

    def _place(self, cell: Cell) -> Path:
        return self.folder / RUNS / cell.name

    def _references_file(self, name: str) -> Path:
        return self.folder / REFERENCES / f"{name}.json"

    def _references(self, scenario: Scenario) -> ReferenceReturns | None:
        """Returns of the references: committed ones, else those played in an earlier call."""
        days = self._days[scenario.name]
        return committed_returns(scenario, days) or kept_returns(scenario, days, self._references_file(scenario.name))

    def _record(self, cell: Cell) -> RunRecord | None:
        place = self._place(cell)
        return load_run(place) if (place / FILE).is_file() else None

    def _is_other(self, cell: Cell) -> bool:
        """Whether the cell's folder holds a run of another scenario, other settings, seed or engine."""
        try:
            record = self._record(cell)
        except ValueError:
            return True  # of another version
        if record is None:
            return False
        wanted = (cell.scenario.model_dump(mode="json"), cell.seed, cell.engine)
        return (record.scenario, record.seed, record.engine) != wanted

    def _result(self, cell: Cell) -> CellResults | None:
        """The result of a finished cell."""
        if cell.name in self._others and self._is_other(cell):
            return None
        record = self._record(cell)
        if record is None or record.status != "finished":
            return None
        played = evaluation_of(self._place(cell), record, self._days[cell.scenario.name])
        if played is None:
            return None
        return cell_results(cell.scenario.name, cell.recipe, record, played["figures"])

    def _learned(self, job: Job) -> tuple[float, float] | None:
        """Share of agent-steps done and last validation return of a cell under way, from its record."""
        try:
            record = load_run(job.place)
        except ValueError:
            return None
        if not record.history:
            return None
        total = TrainingSettings.model_validate(record.settings).agent_steps
        return min(record.agent_steps / total, 1.0), record.history[-1]["score"]

    def _scenario(self, scenario: Scenario) -> ScenarioResults:
        days = self._days[scenario.name]
        found = self._references(scenario) or ReferenceReturns(days, {}, "none: they could not be played")
        cells = [cell for cell in self.plan.cells if cell.scenario.name == scenario.name]
        settings = {cell.recipe: (cell.scenario, cell.engine) for cell in cells}
        return scenario_results(scenario, found, {name: settings_of(*own) for name, own in settings.items()})
