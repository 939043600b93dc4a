"""Trackers that are not installed, and what is sent to those that are; they are played by modules of the test."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

import dss_marl
from dss_marl.experiments import load_run, resume, train

pytest.importorskip("stable_baselines3")

TINY = {"agent_steps": 24, "n_envs": 1, "n_steps": 4, "evaluations": 1, "evaluation_days": 1, "n_epochs": 1}


def scenario():
    return dss_marl.load_scenario("ieee13_volt_var").replace(steps=4, start_hour=10.0, training=TINY)


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_tracker_that_is_missing_names_the_cure_before_the_run_starts(tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf"log '{name}' needs .* pip install 'dss_marl\[tracking\]'"):
        train(scenario(), tmp_path / "run", log=[name])
    assert not (tmp_path / "run").exists()


def test_an_unknown_tracker_is_refused(tmp_path):
    with pytest.raises(ValueError, match="unknown tracker 'neptune'; known: wandb, mlflow"):
        train(scenario(), tmp_path / "run", log=["neptune"])


def test_wandb_gets_the_settings_and_its_own_callback(tmp_path, monkeypatch):
    from stable_baselines3.common.callbacks import BaseCallback

    seen, ended = [], []

    class WandbCallback(BaseCallback):
        steps = 0

        def _on_step(self):
            WandbCallback.steps += 1
            return True

    def init(**given):
        seen.append(given)
        return SimpleNamespace(finish=lambda: ended.append(True))

    for name, content in (("wandb", {"init": init}), ("wandb.integration", {}),
                          ("wandb.integration.sb3", {"WandbCallback": WandbCallback})):  # fmt: skip
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    train(scenario(), tmp_path / "run", seed=2, log=["wandb"])
    assert WandbCallback.steps == 8 and ended == [True]
    assert seen[0]["name"] == "run" and seen[0]["sync_tensorboard"] is True
    assert seen[0]["config"]["seed"] == 2 and seen[0]["config"]["gamma"] == 0.9
    resume(tmp_path / "run", 36, log=["wandb"])
    assert seen[1]["id"] == seen[0]["id"] and seen[1]["resume"] == "allow"


def test_mlflow_gets_the_figures_and_a_resumed_run_goes_on_there(tmp_path, monkeypatch):
    sent, started, params, runs = [], [], [], []
    mlflow = ModuleType("mlflow")

    def start_run(**given):
        started.append(given)
        runs[:] = [SimpleNamespace(info=SimpleNamespace(run_id="7"))]

    vars(mlflow).update(
        set_experiment=lambda name: None,
        search_runs=lambda filter_string, output_format: list(runs),
        start_run=start_run,
        log_params=params.append,
        log_metrics=lambda numbers, step: sent.append((step, numbers)),
        end_run=lambda: started.append("ended"),
    )
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    monkeypatch.delitem(sys.modules, "dss_marl.experiments.training.mlflow_format", raising=False)
    train(scenario(), tmp_path / "run", log=["mlflow"])
    history = load_run(tmp_path / "run").history
    scores = [numbers["validation/team_return"] for _, numbers in sent if "validation/team_return" in numbers]
    assert scores == [row["score"] for row in history]
    assert any("train/loss" in numbers for _, numbers in sent) and [step for step, _ in sent][-1] == 24
    assert started[0]["run_name"] == "run" and started[-1] == "ended" and len(params) == 1
    resume(tmp_path / "run", 36, log=["mlflow"])
    assert started[2] == {"run_id": "7"} and len(params) == 1
