"""The folder of a run: one run in each, its record first, and files bound to the record by their hashes."""

from __future__ import annotations

import hashlib
from pathlib import Path

from dss_marl._assets import PART
from dss_marl.envs.scenario import Scenario
from dss_marl.envs.task import build_task
from dss_marl.experiments.runs.run_record import FILE, RunRecord, load_run
from dss_marl.integrations.sb3.trained_policy import LAST, PolicyPerKind

DERIVED = ("table.md", "table.json", "feeder.png", "voltages.png", "learning.png")  # by ``compare``
_POLICIES = (
    "policy.safetensors", "policy-*.safetensors", "last.safetensors", "last-*.safetensors", "model.zip", "model-*.zip",
)  # fmt: skip
CHECKPOINT = "checkpoint.pt"  # what learning goes on from
PROGRESS = "progress.csv"  # the figures of each update
LOGS = "logs"  # TensorBoard's


class RunFolder:
    """The folder of a run under way.

    Args:
        path: of the folder.
        record: of the run; its status becomes "finished" in the end.
    """

    def __init__(self, path: Path, record: RunRecord) -> None:
        self.path, self.record = path, record

    def start(self, overwrite: bool = False) -> None:
        """Take a folder for a run: write the record, and only then remove the files of an earlier run.

        Args:
            overwrite: replace the run that is there.

        Raises:
            ValueError: the folder holds a run and ``overwrite`` is not given, or files that the run would replace and
                that belong to no run.
        """
        check_free(self.path, overwrite)
        self.path.mkdir(parents=True, exist_ok=True)
        if not (self.path / FILE).exists():
            try:
                (self.path / FILE).open("x").close()  # of two that start at once, one gets the folder
            except FileExistsError:
                check_free(self.path, overwrite)
        self.record.save(self.path)
        for path in _files(self.path):
            path.unlink()
        for path in sorted((self.path / LOGS).rglob("*"), reverse=True):
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()  # SB3 counts the folders that are there

    def note(self, agent_steps: int, history: list[dict[str, float]], best: PolicyPerKind | None) -> None:
        """Save the policy if it is the best so far, and the record with its hashes and the history."""
        if best is not None:
            self._hash(best.save(self.path, self.record.with_sb3))
        self.record.agent_steps, self.record.history = agent_steps, history
        self.record.save(self.path)

    def note_last(self, policy: PolicyPerKind) -> None:
        """Save the policy as the last one, and the record with its hash."""
        self._hash(policy.save(self.path, file=LAST))
        self.record.save(self.path)

    def note_restored(self, paths: list[Path]) -> None:
        """Save the record with the hashes of these policy files alone, and remove what was cut short beside them."""
        for part in self.path.glob(f"{PART}*"):
            part.unlink()
        self.record.files = {}
        self._hash(paths)
        self.record.save(self.path)

    def finish(self) -> None:
        """Write the record of the finished run."""
        self.record.status = "finished"
        self.record.save(self.path)

    def _hash(self, paths: list[Path]) -> None:
        self.record.files |= {path.name: _sha256(path) for path in paths}


def check_free(folder: Path, overwrite: bool) -> None:
    """Check that a run may be written into a folder.

    Raises:
        ValueError: as ``RunFolder.start`` says.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{str(folder)!r} is a file, not a folder for a run")
    if (folder / FILE).exists():
        if overwrite:
            return
        raise ValueError(
            f"{str(folder)!r} holds {_summary(folder)}; choose another folder, or replace the run with --overwrite "
            "(overwrite=True)"
        )
    taken = sorted(str(path.relative_to(folder)) for path in _files(folder))
    if taken:
        raise ValueError(
            f"{str(folder)!r} is no run (it has no {FILE}) but holds files that a run would replace: "
            f"{', '.join(taken[:5])}; choose another folder"
        )


def check_files(folder: Path, record: RunRecord, last: bool = False) -> None:
    """Check that the files of the best policy, or of the last one, are those of the record.

    Raises:
        ValueError: there is none yet, or one is missing or another.
    """
    stem = LAST.partition(".")[0]
    files = {name: sha256 for name, sha256 in record.files.items() if name.startswith(stem) == last}
    if not files:
        what, when = ("last policy", "checkpoint") if last else ("policy", "evaluation")
        raise ValueError(f"the run in {str(folder)!r} has no {what}: it was stopped before its first {when}")
    for name, sha256 in files.items():
        path = folder / name
        if not path.is_file():
            raise ValueError(f"{str(path)!r} is missing, which the run's {FILE} names")
        if _sha256(path) != sha256:
            raise ValueError(
                f"{str(path)!r} is not the file that the run's {FILE} names: its SHA-256 differs, so it was cut short "
                "or replaced; fetch the whole folder again, or train again with --overwrite"
            )


def check_days(record: RunRecord, scenario: Scenario) -> None:
    """Check that the scenario's days are those that the run was trained on.

    Raises:
        ValueError: they differ.
    """
    if build_task(scenario).profiles.sha256() != record.profiles_sha256:
        raise ValueError(
            f"the days of scenario {scenario.name!r} are not those of the run: the SHA-256 of its profiles differs, so "
            "the profiles' files, the feeder or the generator of days have changed; train again"
        )


def clear_derived(folder: Path) -> None:
    """Remove the table and the pictures of an earlier evaluation."""
    for name in DERIVED:
        (folder / name).unlink(missing_ok=True)


def _summary(folder: Path) -> str:
    try:
        record = load_run(folder)
    except ValueError:
        return f"a run already ({FILE}, which this version cannot read)"
    done = "finished" if record.status == "finished" else "running or stopped"
    return f"a run already (scenario {record.scenario['name']!r}, seed {record.seed}, {done})"


def _files(folder: Path) -> list[Path]:
    """A run's files other than its record: policies, checkpoint, tables, pictures, logs and parts of all these."""
    logs = (PROGRESS, PROGRESS.replace(".", "-*."), f"{LOGS}/**/events.out.tfevents.*")
    patterns = (*_POLICIES, CHECKPOINT, *DERIVED, f"{PART}*", *logs)
    return [path for pattern in patterns for path in folder.glob(pattern) if path.is_file()]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
