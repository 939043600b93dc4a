"""Changes of a scenario as key=value."""

import re

import pytest

import dss_marl
from dss_marl.envs.scenario_changes import changed

NAME = "ieee34_volt_var"


@pytest.fixture(scope="module")
def scenario():
    return dss_marl.load_scenario(NAME)


@pytest.mark.parametrize(
    ("setting", "read", "value"),
    [
        ("steps=48", lambda s: s.steps, 48),
        ("rewards.loss=2", lambda s: s.rewards["loss"], 2.0),
        ("rewards.own_plugins:quiet=0.5", lambda s: s.rewards["own_plugins:quiet"], 0.5),
        ("rewards={loss: 3}", lambda s: s.rewards, {"loss": 3.0}),
        ("training.gamma=0.5", lambda s: s.training["gamma"], 0.5),
        ("training.net_arch=[8]", lambda s: s.training["net_arch"], [8]),
        ("feeder.source_pu=1.01", lambda s: (s.feeder.source_pu, s.feeder.name), (1.01, "ieee34")),
        ("feeder.taps.reg1a=7", lambda s: (s.feeder.taps["reg1a"], s.feeder.taps["reg2a"]), (7, 5)),
        ("devices.0.kw=123", lambda s: s.devices[0]["kw"], 123),
        ("profiles.pv_scale=2", lambda s: (s.profiles.pv_scale, s.profiles.seed), (2.0, 34)),
        ("observations=[load]", lambda s: s.observations, ("load",)),
        ("sensing.noise_v_pu=0.01", lambda s: s.sensing.noise_v_pu, 0.01),
    ],
)
def test_a_change_is_where_the_key_says(scenario, setting, read, value, monkeypatch, tmp_path):
    (tmp_path / "own_plugins.py").write_text("def quiet(zone, before, after):\n    return 0.0\n")
    monkeypatch.chdir(tmp_path)
    made = changed(scenario, [setting])
    if "own_plugins" in setting:
        assert made.rewards.pop(f"{tmp_path / 'own_plugins.py'}:quiet") == value  # found from anywhere
        assert made.rewards == scenario.rewards
        return
    assert read(made) == value
    assert changed(scenario, []) is scenario


def test_several_changes_add_up_and_what_was_not_there_is_made(scenario):
    made = changed(scenario, ["attack.policy=noise", "attack.share=0.2", "rewards.loss=2", "rewards.tap_moves=0"])
    assert made.attack.policy == "noise" and made.attack.share == 0.2
    assert made.rewards["loss"] == 2 and made.rewards["tap_moves"] == 0
    assert made.rewards["voltage_violation"] == scenario.rewards["voltage_violation"]


def test_what_was_set_for_another_circuit_does_not_follow(scenario):
    data = changed(scenario, ["feeder.name=ieee13"]).feeder
    assert data.name == "ieee13" and data.source_pu is None and not data.taps


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("steps", "a change is KEY=VALUE, such as steps=48"),
        ("=3", "a change is KEY=VALUE"),
        ("stepz=3", "stepz: unknown key; did you mean 'steps'"),
        ("training.gama=3", "training.gama: unknown key; did you mean 'gamma'"),
        ("steps.x=3", "steps is no mapping or list"),
        ("steps.x.y=3", "no mapping or list that 'x' could be in"),
        ("devices.99.kw=3", "'99' is no place in a list of"),
        ("steps=[", "is not YAML"),
        ("rewards.los=1", "unknown reward 'los'; did you mean 'loss'"),
        ("rewards.nowhere:quiet=1", "there is no module 'nowhere'"),
    ],
)
def test_a_wrong_change_is_explained(scenario, setting, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        changed(scenario, [setting])


def test_an_item_is_added_to_a_list(scenario):
    extra = "devices+={kind: inverter, bus: 806, kw: 10}"
    made = changed(scenario, [extra, "devices+={kind: capacitor}", "costs+=curtailed_kwh"])
    assert len(made.devices) == len(scenario.devices) + 2 and made.devices[-2]["bus"] == 806
    assert made.costs == (*scenario.costs, "curtailed_kwh")
    with pytest.raises(ValueError, match="steps is no list that an item could be added to"):
        changed(scenario, ["steps+=1"])
