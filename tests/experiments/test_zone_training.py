"""Training runs with choices beside numbers, slopes of the reward and a central critic: files, and what is refused."""

import numpy as np
import pytest

import dss_marl

pytest.importorskip("torch")
pytest.importorskip("stable_baselines3")

from dss_marl.experiments import load_policy, load_run, train
from dss_marl.experiments.evaluation import run_day
from dss_marl.integrations.sb3.zone_ppo import ZonePPO

SHORT = {"n_envs": 2, "n_steps": 4, "n_epochs": 1, "evaluations": 1, "evaluation_days": 1, "net_arch": [8, 8]}
ALL = {"entries": "mixed", "ratio": "per_entry", "log_std_final": -3, "temperature_final": 0.3, "slope": {}}


def lumpy(zone, before, after):
    """A term that nobody has differentiated: losses in whole kW, split over zones [MW]."""
    return -np.round(after.solution.loss_kw) / 1000 / zone.count


def scenario(**changes):
    return dss_marl.load_scenario("ieee13_volt_var").replace(**{"steps": 6, "start_hour": 11, **changes})


@pytest.mark.parametrize(
    ("sharing", "agents", "engine"),
    [("all", "zone", "batched"), ("all", "zone", "opendss"), ("per_kind", "device", "batched")],
)
def test_a_run_is_read_and_plays_its_days(tmp_path, sharing, agents, engine):
    training = {**SHORT, **ALL, "algorithm": "mappo", "sharing": sharing, "agent_steps": 90}
    own = scenario(agents=agents, training=training)
    record = train(own, tmp_path, engine=engine, with_sb3=True)
    assert record.settings["slope"] == {
        "weight": 1.0,
        "step": 0.15,
        "clip": 3.0,
        "margin_pu": 0.0015,
        "kinds": ["inverter"],
    }
    policy = load_policy(tmp_path)
    assert len(policy.models) == (1 if sharing == "all" else 3)
    assert load_run(tmp_path).status == "finished"
    again = load_policy(tmp_path, trust=True)
    assert all(type(model) is ZonePPO for model in again.models.values())
    env = dss_marl.ZoneEnv(own, "validation")
    one, other = (run_day(env, play, env.days[0])["team_return"] for play in (policy, again))
    assert one == pytest.approx(other, rel=1e-6)
    env.close()


def test_slopes_that_there_are_not_are_refused_before_anything_is_replaced(tmp_path):
    (tmp_path / "record.json").write_text("{}", encoding="utf-8")
    own = scenario(rewards={"loss": 1, "test_zone_training:lumpy": 1}, training={**SHORT, "slope": {}})
    with pytest.raises(ValueError, match=r"lumpy.*with_slopes"):
        train(own, tmp_path, overwrite=True)
    assert (tmp_path / "record.json").read_text(encoding="utf-8") == "{}"
