"""Optuna's study of a search: opened or gone on with, with what it belongs to, and trials that were cut short."""

from __future__ import annotations

import json
import os
import platform
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.study import Study
    from optuna.trial import FrozenTrial

PRUNERS = ("median", "hyperband", "none")
INDEX, ERROR, PROCESS, HOST, REPEATS = "index", "error", "process", "host", "repeats"  # what a trial is noted with
_BELONGS = "belongs_to"  # what a study is noted with
_BEAT_S, _STALE_S = 20, 90  # a trial whose process has not been heard of for so long was cut short
_STARTUP = 5  # trials that go to their end before the first one is pruned


def check_installed() -> None:
    """Check that Optuna is installed.

    Raises:
        ImportError: it is not; says how to install it.
    """
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise ImportError(f"a search needs Optuna: pip install 'dss_marl[search]' ({error})") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Optuna without its log and its warnings of features that may change: the version is bounded."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


def open_study(storage: Path, name: str, sampler_seed: int, pruner: str, evaluations: int) -> Study:
    """The study of this name in an SQLite file; both are made if missing.

    Args:
        storage: file of Optuna's storage.
        name: of the study.
        sampler_seed: of the sampler; one of its own for each trial, so that a search that goes on draws as one that
            was never stopped.
        pruner: one of PRUNERS.
        evaluations: of a training.

    Raises:
        ValueError: the file is no storage of Optuna's.
    """
    import optuna
    from sqlalchemy.exc import DatabaseError

    storage.parent.mkdir(parents=True, exist_ok=True)
    url = f"sqlite:///{storage.resolve().as_posix()}"
    sampler = optuna.samplers.TPESampler(seed=sampler_seed)
    try:
        kept = optuna.storages.RDBStorage(url, heartbeat_interval=_BEAT_S, grace_period=_STALE_S)
    except (DatabaseError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{str(storage)!r} is no storage of this version of Optuna: {reason}") from None
    return optuna.create_study(
        storage=kept, sampler=sampler, pruner=_pruner(pruner, evaluations), study_name=name, direction="maximize",
        load_if_exists=True,
    )  # fmt: skip


def sampler_seed(seed: int, index: int) -> int:
    """Seed of the sampler for one trial of a search."""
    return int(np.random.SeedSequence([seed, index]).generate_state(1)[0])


def check_same(study: Study, belongs: Mapping[str, str], storage: Path) -> None:
    """Note what a new study belongs to, or check that a study that goes on belongs to the same.

    Args:
        study: new or with trials.
        belongs: what all trials have in common: name to a text.
        storage: in messages.

    Raises:
        ValueError: something differs; names it, and the cure.
    """
    kept = study.user_attrs.get(_BELONGS)
    if kept is None:
        study.set_user_attr(_BELONGS, dict(belongs))
        return
    others = [name for name, own in belongs.items() if kept.get(name) != own]
    if others:
        told = [f"{name}{_difference(kept.get(name), belongs[name])}" for name in others]
        raise ValueError(
            f"the search {study.study_name!r} in {str(storage)!r} was begun with another {', another '.join(told)}, so "
            "that its trials cannot be compared with new ones: go on as it was begun, or give another --out"
        )


def is_done(trial: FrozenTrial) -> bool:
    """Whether a trial needs no repetition: it went to its end, was pruned, or its settings failed."""
    return trial.state.name in ("COMPLETE", "PRUNED") or (trial.state.name == "FAIL" and ERROR in trial.user_attrs)


def end_dead(study: Study) -> None:
    """Mark as failed the trials whose process has ended, or has not been heard of."""
    import optuna

    optuna.storages.fail_stale_trials(study)
    for trial in study.get_trials(deepcopy=False):
        if trial.state.name == "RUNNING" and _is_dead(trial):
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)


def repeat_cut_short(study: Study) -> None:
    """Put in line again what was cut short by the end of its process, with the same values.

    Raises:
        ValueError: another process works on the study.
    """
    end_dead(study)
    trials = study.get_trials(deepcopy=False)
    running = [trial for trial in trials if trial.state.name == "RUNNING"]
    if running:
        told = running[0].user_attrs
        raise ValueError(
            f"the search {study.study_name!r} is under way in process {told.get(PROCESS)} on {told.get(HOST)!r}; wait "
            f"for it, or stop it and try again after {_STALE_S} s"
        )
    repeated = {trial.user_attrs.get(REPEATS) for trial in trials}
    for trial in trials:
        if trial.state.name == "FAIL" and not is_done(trial) and trial.number not in repeated and trial.params:
            study.enqueue_trial(trial.params, user_attrs={REPEATS: trial.number})


def _is_dead(trial: FrozenTrial) -> bool:
    """Whether the process of a running trial has ended, as far as can be told from here."""
    process = trial.user_attrs.get(PROCESS)
    if trial.user_attrs.get(HOST) != platform.node() or process is None or os.name != "posix":
        return False  # the heartbeat tells
    if process == os.getpid():
        return True  # interrupted in this process: one trial at a time runs here
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _pruner(name: str, evaluations: int) -> BasePruner:
    """Optuna's pruner; evaluation 0 is of the untrained policy, and the first quarter says little."""
    import optuna

    if name == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=_STARTUP, n_warmup_steps=max(1, evaluations // 4))
    if name == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=max(1, evaluations // 9), max_resource=max(1, evaluations))
    return optuna.pruners.NopPruner()


def _difference(before: Any, now: str) -> str:
    """Both values where they are short; keys where they are mappings."""
    try:
        one, other = json.loads(before), json.loads(now)
    except (TypeError, ValueError):
        return f" ({before}, now {now})"
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return f" ({before}, now {now})"
    keys = sorted(key for key in {*one, *other} if one.get(key) != other.get(key))
    return f" (it differs in {', '.join(keys)})"
