"""Shipping: a run's policy, record, results and card copied to where the package looks for policies."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from dss_marl._assets import replacing, write_text
from dss_marl.experiments.runs.run_folder import check_files
from dss_marl.experiments.runs.run_record import FILE, RunRecord, load_run
from dss_marl.experiments.shipped.model_card import CARD, card
from dss_marl.experiments.study.collected import results_of_runs
from dss_marl.experiments.study.results import RESULTS, StudyResults, load_results

_SAFE = ".safetensors"  # nothing else is shipped: other files can run code as they are loaded


def ship(run: Path, folder: Path, name: str = "", results: Path | None = None, allow_code: bool = False) -> Path:
    """Copy a run's policy into a folder of policies, with its record, results and model card.

    Args:
        run: folder of the run.
        folder: of all policies: ``policies`` of a checkout.
        name: of the policy; default: that of the scenario.
        results: of a benchmark that the run is a part of, folder or file; None: the run alone is played on test days.
        allow_code: see load_scenario.

    Returns:
        the policy's folder, whose earlier content is replaced.

    Raises:
        ValueError: no run, one without a policy or that did not finish, a name that is none, or the results do not hold
            the run.
    """
    record = load_run(run)
    check_files(run, record)
    name = name or str(record.scenario["name"])
    if not re.fullmatch(r"\w[\w.-]{0,99}", name):
        raise ValueError(f"a policy's name must be at most 100 letters, digits, '_', '-' and '.'; got {name!r}")
    found = results_of_runs([run], "this", allow_code) if results is None else own_part(load_results(results), record)
    place = folder / name
    if place.exists():
        shutil.rmtree(place)
    safe = {
        file: sha256 for file, sha256 in record.files.items() if file.endswith(_SAFE) and not file.startswith("last")
    }
    for file in safe:
        with replacing(place / file) as part:
            shutil.copyfile(run / file, part)
    shipped = record.model_copy(update={"files": safe})
    shipped.save(place)
    found.save(place)
    write_text(place / CARD, card(name, shipped, found))
    return place


def own_part(results: StudyResults, record: RunRecord) -> StudyResults:
    """The scenario and recipe of a benchmark's results that a run belongs to.

    Raises:
        ValueError: none of its trainings is the run.
    """
    task = str(record.scenario["name"])
    for cell in results.cells:
        if (cell.scenario, cell.seed, cell.history) == (task, record.seed, record.history):
            own = results.scenarios[task].model_copy(
                update={"settings": {cell.recipe: results.scenarios[task].settings[cell.recipe]}}
            )
            suite = {
                "scenarios": [task],
                "recipes": {cell.recipe: results.suite["recipes"][cell.recipe]},
                "training": results.suite["training"],
            }
            cells = results.of(task, cell.recipe)
            return results.model_copy(update={"suite": suite, "scenarios": {task: own}, "cells": cells, "failed": []})
    raise ValueError(
        f"the results hold no training of scenario {task!r} with seed {record.seed} and the learning curve of the run; "
        "give those of the benchmark that trained it"
    )


def overview(places: Sequence[Path]) -> tuple[list[str], list[list[str]]]:
    """Headings and cells of a table of shipped policies."""
    rows = []
    for place in places:
        record, results = load_run(place), load_results(place / RESULTS)
        task, scenario = next(iter(results.scenarios.items()))
        cell = next(one for one in results.cells if one.seed == record.seed)
        score = scenario.score(cell.returns)
        figures = [f"{cell.returns.mean():.3g}", "" if score is None else f"{score:.2f}", f"{record.agent_steps:,}"]
        rows.append([place.name, task, str(scenario.version), str(record.settings["algorithm"]), *figures])
    return ["policy", "scenario", "version", "algorithm", "return", "score", "agent-steps"], rows


def shipped_card(place: Path) -> str:
    """The card of a shipped policy as its record and results say now."""
    return card(place.name, load_run(place), load_results(place / RESULTS))


def has_policy(place: Path) -> bool:
    """Whether a folder holds a shipped policy."""
    return (place / FILE).is_file() and (place / RESULTS).is_file()
