"""The proof of a scenario as a whole, from the budget to the figure."""

import json

import numpy as np
import pytest
from common import load_cached, task_of
from typer.testing import CliRunner
from validation_cases import named, noon

from dss_marl import load_scenario
from dss_marl.cli.app import app
from dss_marl.envs.task import build_task
from dss_marl.experiments.reports.suite_table import figures_table, provenance
from dss_marl.experiments.validation import prove
from dss_marl.experiments.validation.budget import ValidationBudget, frozen_days
from dss_marl.experiments.validation.result_files import PROOF, load, save, scenario_digest


def test_a_scope_plays_frozen_days_and_refuses_one_day():
    task = task_of("ieee34_volt_var")
    days = frozen_days(task)
    assert len(days) >= 10 and set(ValidationBudget.of(task).few) < set(days) == set(ValidationBudget.of(task).days)
    assert len(frozen_days(load_cached("ieee34_volt_var", reference_controller="greedy"))) == 10
    with pytest.raises(ValueError, match="2 or more"):
        ValidationBudget.of(task, most=1)
    with pytest.raises(ValueError, match="no plans"):
        frozen_days(build_task(noon(name="ieee34_never", reference_controller="best_known")))


def test_a_quick_proof_makes_every_check_and_is_saved(tmp_path):
    proof = prove(noon(), quick=True)
    assert {row.check for row in proof.rows} == set("abcdefghijk")
    assert named(proof.rows, "gain on no_control").passed and named(proof.rows, "devices that move").passed
    assert named(proof.rows, "cost thermal_overload").check == "c" and named(proof.rows, "energy imbalance").passed
    assert list(proof.table.figures)[-1] == "greedy" and proof.table.zero == "opendss_controls"
    save(proof, tmp_path)
    result = load(tmp_path)
    assert result.rows == proof.rows and result.passed == proof.passed
    tuned = noon(tuned_droop={"v_ref_pu": 1.0, "dead_band_pu": 0.0, "slope": 9.0})
    assert result.metadata["digest"] == scenario_digest(noon()) != scenario_digest(tuned)
    for name in proof.table.figures:
        for figure in ("team_return", "loss_kwh"):
            np.testing.assert_allclose(result.table().column(name, figure), proof.table.column(name, figure), rtol=1e-4)
    assert "The scenario has changed since" in provenance(result, load_scenario("ieee13_volt_var"))
    assert "| `greedy` |" in figures_table(result)


def test_a_task_that_needs_no_agents_fails_and_says_so(tmp_path):
    """Regulators that the circuit moves as well by itself, with a cost that is always 0."""
    path = tmp_path / "idle.yaml"
    path.write_text(
        "base: ieee13_volt_var\nsteps: 3\nstart_hour: 11\ndt_h: 1.0\nreference_controller: opendss_controls\n"
        "costs: [voltage_violation_sum, unserved_kwh]\n"
    )
    result = CliRunner().invoke(app, ["validate", str(path), "--quick", "--out", str(tmp_path)], env={"COLUMNS": "200"})
    assert result.exit_code == 1, result.output
    assert "failed (f)" in result.output and "failed (a) gain on opendss_controls" in result.output
    assert "failed (c) cost unserved_kwh" in result.output and "failed: idle" in result.output
    said = json.loads((tmp_path / PROOF).read_text())
    assert said["passed"] is False and said["scenario"] == "idle"


def test_validate_wants_a_scenario_or_all():
    for arguments in (["validate"], ["validate", "ieee13_volt_var", "--all"], ["validate", "--all", "--out", "x"]):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 2 and "Traceback" not in result.output
