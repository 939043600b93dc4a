"""Leaderboard: committed results of learned policies, the page written from them, and playing an entry again."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dss_marl._assets import known_names, read_text, replacing, write_text
from dss_marl.envs.scenario_files import load_scenario
from dss_marl.envs.validation_messages import readable
from dss_marl.experiments.evaluation import evaluate
from dss_marl.experiments.runs.run_folder import check_files
from dss_marl.experiments.runs.run_record import FILE, load_run
from dss_marl.experiments.shipped.shipped_policies import load_trained
from dss_marl.experiments.study.collected import results_of_runs
from dss_marl.experiments.study.reference_returns import SPLIT
from dss_marl.experiments.study.report import interval, table
from dss_marl.experiments.study.results import RESULTS, ScenarioResults, StudyResults, load_results
from dss_marl.experiments.study.summary import Line, lines
from dss_marl.experiments.validation.result_files import scenario_digest

FOLDER, PAGE, ABOUT = "leaderboard", "LEADERBOARD.md", "entry.json"
TOLERANCE = 1e-3  # of a return played again: relative, and absolute
_SAFE = ".safetensors"
_HEAD = (
    "# Leaderboard\n\nWritten by `dss-marl leaderboard` from `leaderboard/`; do not edit. Learned policies on the "
    "frozen test days of the shipped scenarios, played on OpenDSS whatever they were trained on.\n"
)
_EMPTY = "No results have been submitted so far: yours can be the first.\n"
_NOTE = (
    "Return: mean of a test day, interquartile mean over seeds with its 95 % bootstrap interval over them. Score: 0 "
    "and 1 are the means of the references so marked. *over days*: the interval if days are drawn instead. In italics: "
    "reference controllers. *To be made again*: of an earlier version of the scenario.\n"
)
_HOW = """## Submit a run

Train one seed or, better, five, with settings that differ in the seed alone, and add the runs in a checkout:

```bash
dss-marl benchmark my_suite.yaml --out runs/mine
dss-marl leaderboard runs/mine/runs/ieee13_volt_var/my_recipe/seed-* --name my_recipe --by "A. Author"
```

This plays each policy on the test days, writes `leaderboard/SCENARIO/NAME/`, which holds results by seed and day and
the record and network of each seed (some 50 kB), and this page. Commit both, and open a pull request.

## Check one

Anyone can play an entry again; the command says for each seed whether the figures agree:

```bash
dss-marl leaderboard --check leaderboard/SCENARIO/NAME
```

Networks are read as data: nothing in an entry is executed. The rules: no learning on test days, no choice between
policies by them, and nothing observed but what the scenario's file lists.
"""


class About(BaseModel):
    """What an entry says of itself, beside its results."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9][\w.+-]{0,39}$")
    by: str = Field(min_length=1, max_length=200)
    link: str = Field(default="", pattern=r"^(https?://\S+)?$", max_length=300)


@dataclass(frozen=True)
class Entry:
    """One entry: runs of one recipe on one scenario.

    Attributes:
        folder: of the entry; its subfolders ``seed-N`` hold records and networks.
        about: name, authors and link.
        results: of all its seeds.
    """

    folder: Path
    about: About
    results: StudyResults

    @property
    def task(self) -> str:
        """Name of the scenario."""
        return next(iter(self.results.scenarios))

    @property
    def scenario(self) -> ScenarioResults:
        """Days and references."""
        return self.results.scenarios[self.task]

    @property
    def line(self) -> Line:
        """Its figures."""
        return lines(self.results)[0]

    @property
    def stale(self) -> bool:
        """Whether the scenario has been changed since."""
        known = self.task in known_names("scenarios")
        return not known or scenario_digest(load_scenario(self.task)) != self.scenario.digest


@dataclass(frozen=True)
class PlayedAgain:
    """A seed of an entry, played again.

    Attributes:
        seed: of the run.
        said, found: mean return of the entry and now.
        largest: largest difference of a day's return.
        agrees: whether all days agree.
    """

    seed: int
    said: float
    found: float
    largest: float
    agrees: bool


def add_entry(runs: Sequence[Path], root: Path, name: str, by: str, link: str = "", allow_code: bool = False) -> Entry:
    """Make an entry of runs that differ in the seed alone; an entry of the same name and scenario is replaced.

    Args:
        runs: their folders.
        root: of a checkout.
        name: of the entry.
        by: its authors.
        link: to a description.
        allow_code: see load_scenario.

    Raises:
        ValueError: no checkout, something that is no finished run, a scenario that does not ship with the package or
            was changed, or a name that is none.
    """
    folder = _board(root)
    try:
        about = About(name=name, by=by, link=link)
    except ValidationError as error:
        raise ValueError(readable(error, About, "entry")) from None
    for run in runs:
        check_files(run, load_run(run))
    results = results_of_runs(runs, name, allow_code)
    entry = Entry(folder / next(iter(results.scenarios)) / name, about, results)
    if entry.stale:
        raise ValueError(
            f"the leaderboard is of shipped scenarios as they are; {entry.task!r} is none of them, or changed"
        )
    if entry.folder.exists():
        shutil.rmtree(entry.folder)
    for run in runs:
        record = load_run(run)
        place = entry.folder / f"seed-{record.seed}"
        safe = {
            file: sha256
            for file, sha256 in record.files.items()
            if file.endswith(_SAFE) and not file.startswith("last")
        }
        for file in safe:
            with replacing(place / file) as part:
                shutil.copyfile(run / file, part)
        record.model_copy(update={"files": safe}).save(place)
    results.save(entry.folder)
    write_text(entry.folder / ABOUT, json.dumps(about.model_dump(), indent=1) + "\n")
    return entry


def entries(folder: Path) -> list[Entry]:
    """All entries of a leaderboard's folder, by scenario.

    Raises:
        ValueError: an entry cannot be read.
    """
    return [load_entry(path.parent) for path in sorted(folder.glob(f"*/*/{ABOUT}"))]


def load_entry(path: Path) -> Entry:
    """An entry from its folder, or from a file in it.

    Raises:
        ValueError: no entry, or it cannot be read.
    """
    folder = path if path.is_dir() else path.parent
    if not (folder / ABOUT).is_file():
        raise ValueError(f"{str(path)!r} is no entry: it has no {ABOUT}; 'dss-marl leaderboard RUN' makes one")
    try:
        about = About.model_validate_json(read_text(folder / ABOUT, repr(str(folder / ABOUT))))
    except ValidationError as error:
        raise ValueError(readable(error, About, repr(str(folder / ABOUT)))) from None
    results = load_results(folder / RESULTS)
    if len(results.scenarios) != 1 or len(results.recipes) != 1:
        raise ValueError(f"{str(folder / RESULTS)!r} must hold one scenario and one recipe, with results")
    return Entry(folder, about, results)


def check_entry(entry: Entry) -> list[PlayedAgain]:
    """Play the networks of an entry again on its test days.

    Raises:
        ValueError: it holds no network, one of another scenario than it says, or the scenario has been changed since.
    """
    found = []
    for cell in entry.results.cells:
        folder = entry.folder / f"seed-{cell.seed}"
        if not (folder / FILE).is_file():
            continue
        policy = load_trained(folder)
        if (policy.scenario.name, policy.record.seed) != (entry.task, cell.seed):
            raise ValueError(
                f"{str(folder)!r} holds a run of scenario {policy.scenario.name!r} with seed {policy.record.seed}; the "
                f"entry says {entry.task!r} and {cell.seed}"
            )
        played = evaluate(policy, policy.scenario, entry.scenario.days, SPLIT)
        now = np.array([day["team_return"] for day in played])
        agrees = bool(np.allclose(now, cell.returns, rtol=TOLERANCE, atol=TOLERANCE))
        largest = float(np.abs(now - cell.returns).max())
        found.append(PlayedAgain(cell.seed, float(cell.returns.mean()), float(now.mean()), largest, agrees))
    if not found:
        raise ValueError(f"the entry in {str(entry.folder)!r} holds no network (seed-N/{FILE}) that could be played")
    return found


def write_page(root: Path) -> Path:
    """Write ``LEADERBOARD.md`` of a checkout.

    Raises:
        ValueError: not a checkout, or an entry cannot be read.
    """
    text = page(_board(root))
    write_text(root / PAGE, text)
    return root / PAGE


def page(folder: Path) -> str:
    """The page of all entries: a table for each scenario, the best score first."""
    found = entries(folder)
    parts = [_HEAD] if found else [_HEAD, _EMPTY]
    for task in dict.fromkeys(entry.task for entry in found):
        parts += [f"## {task}\n", _task_table([entry for entry in found if entry.task == task])]
    return "\n".join([*parts, *([_NOTE] if found else []), _HOW])


def _task_table(found: Sequence[Entry]) -> str:
    heads = ["", "by", "algorithm", "seeds", "return", "score", "score, over days", "agent-steps", "seconds", "version"]
    rows = [(_rank(entry.line), _row(entry)) for entry in found]
    newest = max(found, key=lambda entry: (not entry.stale, entry.results.made))
    rows += [(value, row) for value, row in _references(newest.scenario)]
    return table(heads, [row for _, row in sorted(rows, key=lambda one: -one[0])])


def _rank(line: Line) -> float:
    return line.returned[0]  # of one scenario: the order of scores


def _row(entry: Entry) -> list[str]:
    line, about = entry.line, entry.about
    name = f"[{about.name}]({about.link})" if about.link else about.name
    version = f"{entry.scenario.version}{', to be made again' if entry.stale else ''}"
    return [
        f"**{name}**",
        re.sub(r"[|<>\n]", " ", about.by),
        str(next(iter(entry.scenario.settings.values()))["algorithm"]),
        str(len(line.seeds)),
        interval(line.returned, 3),
        interval(line.score) if line.score else "",
        interval(line.score_over_days) if line.score_over_days else "",
        f"{line.agent_steps:,.0f}",
        f"{line.seconds:.0f}",
        version,
    ]


def _references(scenario: ScenarioResults) -> list[tuple[float, list[str]]]:
    """Lines of the references that score 0 and 1, and of the best rule."""
    roles = {scenario.zero: "scores 0", scenario.rule: "best rule", scenario.one: "scores 1"}
    rows = []
    for name, role in roles.items():
        if name:
            returns = scenario.returns_of(name)
            score = scenario.score(returns)
            cells = [f"{returns.mean():#.3g}".rstrip("."), "" if score is None else f"{score:.2f}"]
            rows.append((float(returns.mean()), [f"*{name}*", f"*{role}*", "", "", *cells, "", "", "", ""]))
    return rows


def _board(root: Path) -> Path:
    """The folder of entries in a checkout."""
    folder = root / FOLDER
    if not folder.is_dir():
        raise ValueError(f"{str(root)!r} is not a checkout of the package: it has no folder {FOLDER}/")
    return folder
