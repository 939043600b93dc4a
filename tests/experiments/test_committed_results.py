"""Committed results are still true, and the tables are those of the results."""

import pytest
from common import EVERY, ROOT, task_of

from dss_marl.controllers import reference
from dss_marl.envs.scenario_files import load_scenario
from dss_marl.experiments.evaluation import environment_for, run_day
from dss_marl.experiments.reports.suite_table import END, IN_BRIEF, START, brief, committed, whole, write_suite
from dss_marl.experiments.validation import failures, prove
from dss_marl.experiments.validation.budget import frozen_days
from dss_marl.experiments.validation.result_files import PROOF, load, stale_folder

RESULTS = {name: ROOT / "results" / name for name in EVERY if (ROOT / "results" / name / PROOF).is_file()}


STALE = {name: stale_folder(load_scenario(name), folder) for name, folder in RESULTS.items()}


# Of an earlier version of these scenarios, as the tables say: 'dss-marl solve' and 'validate' make them again.
PENDING: set[str] = {
    "eulv_ev",
    "eulv_fair_curtailment",
    "eulv_volt_var",
    "ieee123_hybrid",
    "ieee123_restoration",
    "ieee123_restoration_central",
    "ieee123_single_pv",
    "ieee123_switching",
    "ieee123_two_timescale",
    "ieee123_volt_var_attack",
    "ieee8500_legacy",
    "ieee8500_restoration",
    "ieee8500_volt_var",
    "powergym_13",
    "synthetic10k_volt_var",
}


def test_stale_results_are_those_that_the_tables_mark():
    """The one test that says which results to compute again, and why."""
    stale = {name: reason for name, reason in STALE.items() if reason}
    text = "\n".join(f"{name}: {reason}" for name, reason in stale.items() if name not in PENDING)
    assert set(stale) == PENDING, f"run 'dss-marl validate NAME' for each:\n{text}"
    page = (ROOT / "docs" / "suite.md").read_text()
    assert page.count("to be made again: ") == len(PENDING)


@pytest.mark.parametrize("name", [name for name, reason in STALE.items() if not reason])
def test_committed_results_are_of_this_scenario_and_can_be_played_again(name):
    result, scenario = load(RESULTS[name]), load_scenario(name)
    assert result.passed == (not failures(result.rows))
    assert f"`{name}`" in (ROOT / "docs" / "suite.md").read_text()  # which reports a failed proof, and by how much
    assert set(result.metadata["days"]) == set(frozen_days(task_of(name)))
    assert (
        result.metadata["reference_controller"] == scenario.reference_controller
        and scenario.reference_controller in result.figures
    )
    day = result.metadata["days"][0]
    for controller in {"no_control", scenario.reference_controller} & {"no_control", "best_known"}:
        own = reference(controller, scenario)
        env = environment_for(own, scenario, "test")
        again = run_day(env, own, day)
        env.close()
        kept = result.table().column(controller, "team_return")[0]
        assert again["team_return"] == pytest.approx(kept, rel=1e-3, abs=1e-3)


def test_the_suites_table_is_that_of_the_results(tmp_path):
    results = committed(ROOT / "results")
    assert set(results) == set(RESULTS)
    readme = (ROOT / "README.md").read_text()
    assert readme.split(START)[1].split(END)[0].strip().startswith(brief(results).strip()), "run 'dss-marl suite'"
    assert (ROOT / "docs" / "suite.md").read_text() == whole(results), "run 'dss-marl suite'"
    with pytest.raises(ValueError, match="not a checkout"):
        write_suite(tmp_path)


def test_the_readme_keeps_what_is_outside_the_markers(tmp_path):
    (tmp_path / "results").mkdir()
    for name, folder in RESULTS.items():
        (tmp_path / "results" / name).mkdir()
        for file in folder.glob("*.json"):
            (tmp_path / "results" / name / file.name).write_text(file.read_text())
    readme = tmp_path / "README.md"
    readme.write_text(f"above\n{START}\nold\n{END}\nbelow\n")
    write_suite(tmp_path)
    text = readme.read_text()
    assert text.startswith(f"above\n{START}\n") and text.endswith(f"{END}\nbelow\n") and "old" not in text
    assert all(f"`{name}`" in text for name in IN_BRIEF)
    assert all(f"`{name}`" in (tmp_path / "docs" / "suite.md").read_text() for name in RESULTS)
    readme.write_text("no markers")
    with pytest.raises(ValueError, match="once each"):
        write_suite(tmp_path)


# Without case33_reconfiguration: at 1 $ a switching, one of its open points rests on the days of a quick proof.
QUICKLY_PROVEN = (
    "case33_volt_var",
    "ieee13_legacy",
    "ieee34_local_pv",
)


# Seconds each, and of four families; the proofs on all days are in results/.
@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in QUICKLY_PROVEN if name in RESULTS])
def test_a_shipped_scenario_passes_a_quick_proof(name):
    proof = prove(load_scenario(name), quick=True)
    assert not failures(proof.rows)
    assert {row.check for row in proof.rows if row.passed} >= set("abcdfg")
