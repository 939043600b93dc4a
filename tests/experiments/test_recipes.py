"""Recipes: all that ship can be learned with, and go between a scenario's own settings and those of a command."""

import json

import pytest
from common import EVERY
from trained_runs import NAME, TINY
from typer.testing import CliRunner

from dss_marl import build_task, load_scenario
from dss_marl.cli.app import app
from dss_marl.cli.arguments import chosen_scenario, sized
from dss_marl.experiments import TrainingSettings, list_recipes, load_recipe, load_run
from dss_marl.experiments.study import plan_of, read_suite

PAIRS = [(name, scenario) for name in list_recipes() for scenario in load_recipe(name).scenarios]


@pytest.mark.parametrize(("name", "scenario"), PAIRS)
def test_a_shipped_recipe_suits_each_scenario_that_it_is_for(name, scenario):
    pytest.importorskip("stable_baselines3")
    from dss_marl.experiments.training.train import learned_variant
    from dss_marl.integrations.sb3.setting_checks import check_settings

    assert scenario in EVERY
    changed = load_recipe(name).on(load_scenario(scenario))
    settings = TrainingSettings.model_validate(changed.training)
    check_settings(build_task(learned_variant(changed, settings)), settings)
    assert settings.n_envs * settings.n_steps >= 256


@pytest.mark.parametrize("name", list_recipes())
def test_a_shipped_recipe_says_what_it_is_for_and_where_it_comes_from(name):
    recipe = load_recipe(name)
    assert recipe.name == name and recipe.scenarios and len(recipe.description) > 20 and len(recipe.found) > 20


def test_three_families_ship():
    assert {"guarded_slopes", "cloned_rule", "cloned_plans"} <= {*list_recipes()}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[1]", "must be a mapping"),
        ("a: [", "is not YAML"),
        ("{training: {gamma: 1}, scenario: []}", "unknown key; did you mean 'scenarios'"),
        ("training: 3", "training: must be a mapping"),
    ],
)
def test_mistakes_in_a_recipe_name_its_file(tmp_path, content, says):
    path = tmp_path / "own.yaml"
    path.write_text(content)
    with pytest.raises(ValueError, match=rf"own\.yaml.*{says}"):
        load_recipe(path)


def test_an_unknown_recipe_and_one_that_does_not_fit_are_refused(tmp_path):
    with pytest.raises(ValueError, match="unknown recipe 'cloned_rul'; did you mean 'cloned_rule'"):
        load_recipe("cloned_rul")
    (tmp_path / "own.yaml").write_text("gama: 0.9")
    with pytest.raises(ValueError, match=r"(?s)recipe 'own': .*gama.*did you mean 'gamma'"):
        load_recipe(tmp_path / "own.yaml").on(load_scenario(NAME))


def test_a_recipe_wins_over_the_scenario_and_options_over_the_recipe(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text("training: {gamma: 0.7, slope: {clip: 5}, n_envs: 12, n_steps: 9}")
    scenario = chosen_scenario(NAME, ["training.slope.step=0.3", "training.n_steps=10"], recipe=str(path))
    settings = TrainingSettings.model_validate(scenario.training)
    assert (settings.gamma, settings.slope.clip, settings.slope.step) == (0.7, 5, 0.3)
    assert (settings.n_envs, settings.n_steps, settings.ignore_padding) == (12, 10, True)
    assert sized(scenario, None, None, "batched", str(path)).training["n_envs"] == 12
    assert sized(scenario, 24, None, "batched", str(path)).training["n_envs"] == 24
    assert sized(scenario, None, None, "batched").training["n_envs"] == 256


def test_train_takes_a_recipe(tmp_path):
    pytest.importorskip("stable_baselines3")
    given = [text for key, value in TINY.items() for text in ("--set", f"training.{key}={value}")]
    command = ["train", NAME, "--recipe", "guarded_slopes", "--num-cpus", "0", "--out", str(tmp_path / "run"), *given]
    result = CliRunner().invoke(app, [*command, "--set", "steps=4", "--set", "start_hour=10"])
    assert result.exit_code == 0, result.output
    settings = load_run(tmp_path / "run").settings
    assert settings["guard"] is not None and settings["slope"] is not None and settings["n_envs"] == 1


def test_the_list_has_every_recipe():
    result = CliRunner().invoke(app, ["recipes"], env={"COLUMNS": "160"})
    assert result.exit_code == 0 and all(name in result.output for name in list_recipes())


def test_a_suite_names_shipped_recipes_and_changes_them(tmp_path):
    suite = {
        "scenarios": [NAME], "seeds": [0],
        "recipes": {
            "plain": "cloned_rule",
            "fast": {"recipe": "cloned_rule", "engine": "batched", "gamma": 0.5},
            "own": "own.yaml",
        },
    }  # fmt: skip
    (tmp_path / "own.yaml").write_text("training: {gamma: 0.6}\ndescription: mine\n")
    (tmp_path / "suite.yaml").write_text(json.dumps(suite))
    plain, fast, own = (cell.scenario.training for cell in plan_of(read_suite(tmp_path / "suite.yaml")).cells)
    assert plain["teacher"] == "tuned_droop" and plain["n_envs"] == fast["n_envs"] == 32
    assert (plain["gamma"], fast["gamma"], own["gamma"]) == (0.9, 0.5, 0.6)
    suite["recipes"] = {"bad": {"recipe": "nope"}}
    (tmp_path / "suite.yaml").write_text(json.dumps(suite))
    with pytest.raises(ValueError, match="unknown recipe 'nope'"):
        read_suite(tmp_path / "suite.yaml")
