"""Policies that ship: loaded by name and checked, listed, and with a card that says what their files say."""

import json
import shutil

import pytest
from common import ROOT
from trained_runs import NAME, only_two_days, trained
from typer.testing import CliRunner

import dss_marl
from dss_marl.cli.app import app
from dss_marl.experiments import list_policies
from dss_marl.experiments.shipped import shipped_policies
from dss_marl.experiments.shipped.model_card import CARD
from dss_marl.experiments.shipped.shipping import own_part, ship, shipped_card
from dss_marl.experiments.study.collected import results_of_runs
from dss_marl.experiments.study.results import load_results

pytest.importorskip("stable_baselines3")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("run") / "mine", 3)


@pytest.fixture
def shipped(run, tmp_path, monkeypatch):
    """A folder of policies with the run in it, in place of the package's."""
    only_two_days(monkeypatch)
    monkeypatch.setattr(shipped_policies, "data_folder", lambda noun: tmp_path / noun)
    return ship(run, tmp_path / "policies")


def test_a_shipped_policy_acts_in_two_lines(shipped):
    policy = dss_marl.load_policy(NAME)
    figures = policy.evaluate(days=1)
    assert figures[0]["team_return"] == pytest.approx(load_results(shipped).cells[0].returns[0], rel=1e-5)
    text = repr(policy)
    assert f"{NAME} version {dss_marl.load_scenario(NAME).version}, with dss_marl {dss_marl.__version__}" in text
    assert "seed 3, 24 agent-steps" in text
    assert list_policies() == [NAME] == [policy.name]
    env = policy.environment("validation")
    observations, _ = env.reset(seed=0)
    policy.reset(env)
    assert set(policy.act(env, observations)) == set(env.agents)
    assert policy.models  # what the controller itself has
    env.close()


def test_a_run_is_loaded_by_its_folder(run):
    assert dss_marl.load_policy(run).record.seed == 3
    assert dss_marl.load_policy(str(run)).name == "mine"


def test_unknown_policies_are_one_clear_error(shipped):
    with pytest.raises(ValueError, match=f"unknown policy 'iee13_volt_var'; did you mean '{NAME}'. shipped: {NAME}"):
        dss_marl.load_policy("iee13_volt_var")


def test_a_policy_of_another_version_is_refused_unless_asked_for(shipped, monkeypatch):
    now = dss_marl.load_scenario(NAME)
    later = now.replace(version=now.version + 1, rewards={**now.rewards, "loss": 3.0})
    monkeypatch.setattr(shipped_policies, "load_scenario", lambda name: later)
    with pytest.raises(
        ValueError, match=rf"version {now.version} of scenario .* has version {later.version}, with other rewards"
    ):
        dss_marl.load_policy(NAME)
    assert dss_marl.load_policy(NAME, any_version=True).scenario.rewards == now.rewards


def test_a_policy_of_other_days_or_files_is_refused(shipped):
    record = json.loads((shipped / "record.json").read_text())
    (shipped / "record.json").write_text(json.dumps({**record, "profiles_sha256": "0" * 64}))
    with pytest.raises(ValueError, match="are not those of the run"):
        dss_marl.load_policy(NAME)
    (shipped / "record.json").write_text(json.dumps(record))
    (shipped / "policy.safetensors").write_bytes(b"another")
    with pytest.raises(ValueError, match="SHA-256 differs"):
        dss_marl.load_policy(NAME)


def test_the_card_says_data_recipe_results_and_limits(shipped):
    text = (shipped / CARD).read_text()
    assert text == shipped_card(shipped)
    for part in (
        f'policy = dss_marl.load_policy("{NAME}")',
        "2 frozen test days",
        "| `n_envs` | `1` | `8` |",
        "ppo, seed 3, 24 agent-steps",
        "this policy (interval over days)",
        "One seed was trained",
        "The best rule without foresight",
    ):
        assert part in text, part
    assert {path.name for path in shipped.iterdir()} == {"policy.safetensors", "record.json", "results.json", CARD}


def test_the_figures_of_all_seeds_are_taken_from_a_benchmark(run, shipped, tmp_path, monkeypatch):
    whole = results_of_runs([run, trained(tmp_path / "other", 4)], "small")
    whole.save(tmp_path)
    place = ship(run, tmp_path / "policies", "from_benchmark", tmp_path)
    assert [cell.seed for cell in load_results(place).cells] == [3, 4]
    assert "2 seeds, interquartile mean (intervals over seeds)" in (place / CARD).read_text()
    strange = dss_marl.load_policy(tmp_path / "other").record.model_copy(update={"seed": 9})
    with pytest.raises(ValueError, match="hold no training of scenario 'ieee13_volt_var' with seed 9"):
        own_part(whole, strange)


def test_runs_that_differ_in_more_than_the_seed_are_no_recipe(run, tmp_path, monkeypatch):
    only_two_days(monkeypatch)
    other = trained(tmp_path / "other", 4, rewards={"loss": 1.0})
    with pytest.raises(ValueError, match="differ in scenario or settings"):
        results_of_runs([run, other], "mixed")
    with pytest.raises(ValueError, match="two of the runs have seed 3"):
        results_of_runs([run, shutil.copytree(run, tmp_path / "copy")], "twice")


def test_commands_list_and_ship_policies(run, shipped, tmp_path):
    listed = CliRunner().invoke(app, ["policies"], env={"COLUMNS": "120"})
    assert listed.exit_code == 0 and NAME in listed.output and "ppo" in listed.output, listed.output
    again = CliRunner().invoke(app, ["ship", str(run), "--name", "again", "--into", str(tmp_path / "more")])
    assert again.exit_code == 0 and (tmp_path / "more" / "again" / CARD).is_file(), again.output
    shutil.rmtree(shipped)
    assert "no policy ships with this version" in CliRunner().invoke(app, ["policies"]).output


@pytest.mark.parametrize("name", list_policies())
def test_a_policy_of_the_package_is_current_small_and_plays_as_its_card_says(name):
    place = ROOT / "policies" / name
    assert (place / CARD).read_text(encoding="utf-8") == shipped_card(place), f"run 'dss-marl ship' for {name}"
    assert sum(path.stat().st_size for path in place.iterdir()) < 1_000_000
    assert {path.suffix for path in place.iterdir()} <= {".json", ".md", ".safetensors"}
    policy, results = dss_marl.load_policy(name), load_results(place)
    cell = next(cell for cell in results.cells if cell.seed == policy.record.seed)
    day = next(iter(results.scenarios.values())).days[0]
    assert policy.evaluate([day])[0]["team_return"] == pytest.approx(cell.returns[0], rel=1e-3, abs=1e-3)
