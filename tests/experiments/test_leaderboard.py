"""The leaderboard: its page is current, runs are added, and entries are played again."""

import json

import pytest
from common import ROOT
from trained_runs import NAME, only_two_days, trained
from typer.testing import CliRunner

from dss_marl.cli.app import app
from dss_marl.experiments.leaderboard import FOLDER, PAGE, load_entry, page

BOARD = ["leaderboard"]


def test_the_page_is_that_of_the_entries():
    assert (ROOT / PAGE).read_text(encoding="utf-8") == page(ROOT / FOLDER), "run 'dss-marl leaderboard'"


def test_without_entries_the_page_says_how_to_add_the_first(tmp_path):
    (tmp_path / FOLDER).mkdir()
    text = page(tmp_path / FOLDER)
    assert "yours can be the first" in text and "| --- |" not in text and "dss-marl leaderboard runs/" in text


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    pytest.importorskip("stable_baselines3")
    only_two_days(monkeypatch)
    runs = [trained(tmp_path / "runs" / str(seed), seed) for seed in (0, 1)]
    (tmp_path / FOLDER).mkdir()
    monkeypatch.chdir(tmp_path)
    return runs


def run(*arguments):
    return CliRunner().invoke(app, ["leaderboard", *map(str, arguments)], env={"COLUMNS": "140", "NO_COLOR": "1"})


def test_runs_become_an_entry_that_is_played_again(checkout, tmp_path):
    result = run(*checkout, "--name", "tiny", "--by", "A. Author", "--link", "https://example.org/tiny")
    assert result.exit_code == 0, result.output
    folder = tmp_path / FOLDER / NAME / "tiny"
    assert sorted(path.name for path in folder.iterdir()) == ["entry.json", "results.json", "seed-0", "seed-1"]
    text = (tmp_path / PAGE).read_text()
    assert "| **[tiny](https://example.org/tiny)** | A. Author | ppo | 2 |" in text
    assert "| *best_known* | *scores 1* |" in text or "| *tuned_droop* |" in text
    assert text.count("## " + NAME) == 1 and "first" not in text

    checked = run("--check", folder)
    assert checked.exit_code == 0 and checked.output.count("agrees") == 2, checked.output
    data = json.loads((folder / "results.json").read_text())
    data["cells"][1]["figures"]["team_return"][0] += 0.5  # a return that the policy does not earn
    (folder / "results.json").write_text(json.dumps(data))
    claimed = run("--check", folder / "results.json")
    assert claimed.exit_code == 1 and "differs" in claimed.output and claimed.output.count("agrees") == 1

    (folder / "seed-0" / "record.json").unlink()
    assert "1 of 2 seeds come without their network" in " ".join(run("--check", folder).output.split())
    (folder / "seed-1" / "record.json").unlink()
    assert "holds no network" in " ".join(run("--check", folder).output.split())


def test_what_is_no_entry_is_refused(checkout, tmp_path):
    assert "needs --name and --by" in run(checkout[0]).output
    assert "--check plays one entry again" in run(checkout[0], "--check", tmp_path).output
    assert "is no entry: it has no entry.json" in " ".join(run("--check", tmp_path).output.split())
    assert "name" in run(checkout[0], "--name", "a/b", "--by", "x").output
    changed = trained(tmp_path / "changed", 5, rewards={"loss": 1.0})
    refused = run(changed, "--name", "other", "--by", "x")
    assert refused.exit_code == 2 and "shipped scenarios as they are" in " ".join(refused.output.split())
    (tmp_path / FOLDER).rmdir()
    assert "is not a checkout" in " ".join(run().output.split())


def test_an_entry_of_an_earlier_version_is_marked(checkout, tmp_path, monkeypatch):
    assert run(checkout[0], "--name", "old", "--by", "A. Author").exit_code == 0
    entry = load_entry(tmp_path / FOLDER / NAME / "old")
    assert not entry.stale and ", to be made again" not in page(tmp_path / FOLDER)
    monkeypatch.setattr("dss_marl.experiments.leaderboard.scenario_digest", lambda scenario: "later")
    assert entry.stale and ", to be made again |" in page(tmp_path / FOLDER)
