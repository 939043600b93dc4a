"""The card: what it says of a scenario, on screen and as a page, and the reasons that only the file has."""

import json

import pytest
from common import EVERY, ROOT, task_of

from dss_marl.envs.scenario_comments import reasons
from dss_marl.envs.scenario_files import load_scenario
from dss_marl.envs.task import build_task
from dss_marl.experiments.reports.scenario_card import card, markdown_card
from dss_marl.experiments.validation.result_files import PROOF


def test_reasons_are_the_comments_beside_the_keys_and_of_the_base_where_it_has_them(tmp_path):
    (tmp_path / "one.yaml").write_text(
        "title: x   # not this\nrewards:    # nor this\n  loss: 1     # MW; 10 $\n  # above\n  tap_moves: 0.01\n"
        "  my.module:term: 2  # own\n      # and on\n  voltage_violation: 3\ncosts: [voltage]  # no\n"
    )
    (tmp_path / "two.yaml").write_text("base: one.yaml\ntitle: y\n")
    (tmp_path / "three.yaml").write_text("base: two.yaml\nrewards:\n  loss: 2 # dear\n")
    whole = {"loss": "MW; 10 $", "tap_moves": "above", "my.module:term": "own and on", "voltage_violation": ""}
    assert reasons(tmp_path / "one.yaml", "rewards") == reasons(tmp_path / "two.yaml", "rewards") == whole
    assert reasons(tmp_path / "three.yaml", "rewards") == {"loss": "dear"}
    assert reasons(tmp_path / "three.yaml", "costs") == {} == reasons("no such thing", "rewards")
    assert "80 $/MWh" in reasons("ieee34_var", "rewards")["loss"]  # which its base says
    (tmp_path / "four.yaml").write_text(
        'costs:  # not this\n  - operations   # wear\n  - "my.module:cost" # own\n  - unserved_kwh\nsteps: 3\n'
    )
    assert reasons(tmp_path / "four.yaml", "costs") == {
        "operations": "wear",
        "my.module:cost": "own",
        "unserved_kwh": "",
    }


@pytest.mark.parametrize("name", EVERY)
def test_every_weight_and_every_cost_of_a_shipped_scenario_has_its_reason(name):
    scenario = load_scenario(name)
    for section, terms in (("rewards", scenario.rewards), ("costs", scenario.costs)):
        why = reasons(name, section)
        assert {term: why.get(term, "") for term in terms if len(why.get(term, "").split()) < 2} == {}, section


def test_a_page_says_what_the_screen_says(task):
    page = markdown_card(task)
    for term, (weight, _) in task.rewards.items():
        assert f"| {term} | {weight:g} |" in page
    assert f"horizon {task.scenario.steps} steps" in page and "circuit: " in page
    assert all(f"| {cost} |" in page for cost in task.costs)
    assert f"scores 1: {task.scenario.reference_controller}" in page
    widths, title = {}, ""  # every table has one width
    for line in page.splitlines():
        if line.startswith("|"):
            widths.setdefault(title, set()).add(line.count(" | "))
        elif line.startswith("## "):
            title = line
    assert widths and all(len(found) == 1 for found in widths.values()), widths


def test_more_sun_is_no_split_of_a_task_without_panels():
    assert "more_pv" not in "".join(part for part in card(task_of("ieee123_switching")) if isinstance(part, str))
    assert "more_pv" in "".join(part for part in card(task_of("ieee13_volt_var")) if isinstance(part, str))


def test_references_are_shown_while_they_are_of_this_scenario(tmp_path, monkeypatch):
    name = "ieee13_microgrid"
    if not (ROOT / "results" / name / PROOF).is_file():
        pytest.skip("no results are committed")
    scores = {row[0]: row[3] for row in card(task_of(name))[-1].rows}
    assert scores["best_known"] == "1.00" and 0 < float(scores["load_following"]) < 1 and float(scores["random"]) < 0
    changed = build_task(load_scenario(name).replace(rewards={"fuel": 1.0}))
    assert "another version" in card(changed)[-1]
    assert json.loads((ROOT / "results" / name / PROOF).read_text())["passed"]
