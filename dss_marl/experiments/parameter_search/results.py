"""What a search has found: its trials, the best settings as YAML, importances, and a picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import yaml

from dss_marl._assets import write_text
from dss_marl.envs.scenario import Scenario
from dss_marl.experiments.parameter_search.space import Space, with_values
from dss_marl.experiments.parameter_search.storage import ERROR, is_done
from dss_marl.experiments.parameter_search.trial_job import trial_folder

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

State: TypeAlias = Literal["complete", "pruned", "failed", "stopped", "running", "waiting"]
BEST, TRIALS_TABLE, PICTURE = "best.yaml", "trials.csv", "search.png"
_END = "...\n"  # of a YAML document that is a number or text alone
_LEAST = 4  # complete trials from which importances say something
_NOT_PASTED = ("agent_steps", "evaluations")  # of trials, which are shorter than a training


@dataclass(frozen=True)
class TrialResult:
    """One trial.

    Attributes:
        number: in the study, and of its folder.
        state: complete, pruned, failed (its settings could not be learned with), stopped (its process ended; it is
            repeated), running or waiting.
        value: objective, in the unit of the team's return over a day; NaN unless complete.
        values: dotted key of each setting to its value.
        returns: mean validation return of each evaluation that the search saw.
        seconds: duration; NaN until it has ended.
        folder: of its run.
        error: why it failed; "" otherwise.
    """

    number: int
    state: State
    value: float
    values: Mapping[str, Any]
    returns: tuple[float, ...]
    seconds: float
    folder: Path
    error: str = ""


@dataclass(frozen=True)
class SearchResults:
    """A search as it stands.

    Attributes:
        name: of the search.
        folder: where trials and results are.
        scenario: with the training settings that all trials have in common.
        trials: all, by number.
        importances: dotted key to its share of the variance of the objective, largest first; they add up to 1. Empty
            with fewer than 4 complete trials.
        about: what the trials have in common, for the comment of ``best.yaml``.
    """

    name: str
    folder: Path
    scenario: Scenario
    trials: tuple[TrialResult, ...]
    importances: Mapping[str, float] = field(default_factory=dict)
    about: str = ""

    @property
    def ranked(self) -> list[TrialResult]:
        """Complete trials, the best first."""
        return sorted((one for one in self.trials if one.state == "complete"), key=lambda one: -one.value)

    @property
    def best(self) -> TrialResult | None:
        """The best trial; None without a complete one."""
        return next(iter(self.ranked), None)

    def save(self) -> None:
        """Write ``trials.csv``, and with a complete trial ``best.yaml`` and, with matplotlib, a picture."""
        write_text(self.folder / TRIALS_TABLE, self._table())
        if self.best is not None:
            write_text(self.folder / BEST, self.best_yaml())
            if find_spec("matplotlib") is not None:
                self._draw()

    def files(self) -> list[Path]:
        """Paths of what ``save`` has written."""
        paths = [self.folder / name for name in (TRIALS_TABLE, BEST, PICTURE)]
        return [path for path in paths if path.is_file()]

    def best_yaml(self) -> str:
        """The training settings of the best trial, to paste under ``training:``; varied ones first."""
        best = self.best
        assert best is not None
        settings = with_values(self.scenario, best.values).model_dump(mode="json")["training"]
        varied = [key.split(".")[1] for key in best.values]
        others = [key for key in settings if key not in (*varied, *_NOT_PASTED)]
        parts = [
            f"# Trial {best.number} of {self.name}: validation return {best.value:.4g}, best of {_counts(self.trials)}",
            f"# {self.about}; dss_marl {version('dss_marl')}",
            "# Paste these lines under 'training:' of the scenario, or train with --recipe and this file.",
            *(_line(key, settings[key]) for key in dict.fromkeys(varied)),
            *(["# as in every trial:"] if others else []),
            *(_line(key, settings[key]) for key in others),
        ]
        return "\n".join(parts) + "\n"

    def _table(self) -> str:
        keys = list(dict.fromkeys(key for one in self.trials for key in one.values))
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(["trial", "state", "value", "evaluations", "seconds", *keys, "error"])
        for one in self.trials:
            own = [_cell(one.values.get(key, "")) for key in keys]
            value, seconds = (
                ("" if np.isnan(x) else f"{x:.{digits}g}") for x, digits in ((one.value, 8), (one.seconds, 4))
            )
            rows.writerow([one.number, one.state, value, len(one.returns), seconds, *own, one.error])
        return text.getvalue()

    def _draw(self) -> None:
        from dss_marl.plots import save, search_figure

        kept = [one for one in self.trials if one.state in ("complete", "pruned") and one.returns]
        values = [one.value if one.state == "complete" else max(one.returns) for one in kept]
        numbers, pruned = [one.number for one in kept], [one.state == "pruned" for one in kept]
        figure = search_figure(np.array(numbers), np.array(values), np.array(pruned), self.importances, self.name)
        save(figure, self.folder / PICTURE)


def results_of(study: Study, space: Space, scenario: Scenario, folder: Path, about: str) -> SearchResults:
    """The results of a study as it stands."""
    trials = tuple(trial_result(one, space, folder) for one in study.get_trials(deepcopy=False))
    return SearchResults(study.study_name, folder, scenario, trials, _importances(study, trials), about)


def trial_result(trial: FrozenTrial, space: Space, folder: Path) -> TrialResult:
    """What Optuna keeps of a trial, in this package's words."""
    state: State = "stopped"
    if is_done(trial):
        state = {"COMPLETE": "complete", "PRUNED": "pruned"}.get(trial.state.name, "failed")  # type: ignore[assignment]
    elif trial.state.name in ("RUNNING", "WAITING"):
        state = "running" if trial.state.name == "RUNNING" else "waiting"
    return TrialResult(
        number=trial.number,
        state=state,
        value=float(trial.value) if state == "complete" and trial.value is not None else float("nan"),
        values=space.values(trial.params),
        returns=tuple(trial.intermediate_values[k] for k in sorted(trial.intermediate_values)),
        seconds=trial.duration.total_seconds() if trial.duration is not None else float("nan"),
        folder=trial_folder(folder, trial.number),
        error=str(trial.user_attrs.get(ERROR, "")),
    )


def _importances(study: Study, trials: tuple[TrialResult, ...]) -> dict[str, float]:
    """Share of each setting in the variance of the objective, by functional ANOVA on a forest (Hutter et al. 2014)."""
    import optuna

    values = [one.value for one in trials if one.state == "complete"]
    if len(values) < _LEAST or len(set(values)) == 1:
        return {}
    return dict(
        optuna.importance.get_param_importances(study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0))
    )


def _counts(trials: tuple[TrialResult, ...]) -> str:
    states = [one.state for one in trials]
    told = [f"{states.count(state)} {state}" for state in ("pruned", "failed") if state in states]
    done = states.count("complete") + states.count("pruned") + states.count("failed")
    return f"{done} trials" + (f" ({', '.join(told)})" if told else "")


def _line(key: str, value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000)
    return f"{key}: {text.removesuffix(_END).strip()}"


def _cell(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
