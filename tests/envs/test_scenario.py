"""Scenarios as data: YAML, bases, changes, and extensions of one's own named in them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml
from common import EVERY, ROOT, task_of

import dss_marl
from dss_marl import Scenario, ZoneEnv, list_scenarios, load_scenario, make
from dss_marl._assets import data_folder, known_names
from dss_marl.devices.base import DeviceGroup, DeviceSpec
from dss_marl.envs.task import build_task
from dss_marl.mdp.rewards import COSTS, REWARDS

SMALL = """\
title: two zones on a small circuit
feeder: {name: small.dss}
devices: [{kind: inverter, bus: end, kw: 300}, {kind: capacitor, names: all}]
zones: {method: cut, kinds: [], branches: [middle]}
profiles: {kind: synthetic, seed: 1}
observations: [zone_voltage, time_of_day]
rewards: {voltage_violation: 10}
"""
CIRCUIT = """\
clear
new circuit.small phases=3 basekv=10 pu=1 mvasc3=500 mvasc1=500
new line.first bus1=sourcebus bus2=mid r1=1 x1=2 r0=1 x0=2 c1=0 c0=0 length=1 units=km normamps=100
new line.middle bus1=mid bus2=end r1=1 x1=2 r0=1 x0=2 c1=0 c0=0 length=1 units=km normamps=100
new load.a bus1=mid phases=3 kv=10 kw=500 kvar=200 model=1
new load.b bus1=end phases=3 kv=10 kw=500 kvar=200 model=1
new capacitor.c bus1=mid phases=3 kv=10 kvar=300
set voltagebases=[10]
calcvoltagebases
"""


@pytest.fixture
def folder(tmp_path):
    """A YAML file with its circuit in the same folder."""
    (tmp_path / "small.yaml").write_text(SMALL)
    (tmp_path / "small.dss").write_text(CIRCUIT)
    return tmp_path


# --- what ships ------------------------------------------------------------------------------------------------------


def test_the_scenarios_of_the_issue_ship():
    assert {"ieee34_volt_var", "ieee13_volt_var"} <= set(list_scenarios())
    assert list_scenarios() == sorted(list_scenarios()) == known_names("scenarios") == EVERY


def test_shipped_scenarios_give_every_agent_something_to_do(scenario):
    task = build_task(load_scenario(scenario))
    assert len(task.zones) >= 3 or scenario.endswith("_central") or scenario.startswith("powergym")
    assert (task.agents.action_layout.place >= 0).any(axis=1).all()
    slow = {"regulator", "switch", "open_point"}  # what the circuit would operate by itself, or nobody
    moved = task.scenario.circuit_controls or any(spec["kind"] in slow for spec in task.scenario.devices)
    assert moved or not task.feeder.taps


def test_data_is_found_where_the_package_lies():
    assert data_folder("feeders") in (ROOT / "feeders", Path(dss_marl.__file__).parent / "_data" / "feeders")
    with pytest.raises(FileNotFoundError, match="'fedders' is missing"):
        data_folder("fedders")


def test_data_is_found_from_any_working_directory(monkeypatch):
    monkeypatch.chdir("/")
    assert make("ieee13_volt_var").reset(seed=1)[0]


# --- loading ---------------------------------------------------------------------------------------------------------


def test_a_scenario_survives_yaml(scenario, tmp_path):
    """Dumped, with everything spelt out, and loaded again: the run record depends on it."""
    loaded = load_scenario(scenario)
    path = tmp_path / "copy.yaml"
    path.write_text(yaml.safe_dump(loaded.model_dump(mode="json")))
    assert load_scenario(path) == loaded
    assert load_scenario(str(path)) == loaded
    assert load_scenario(loaded) is loaded


def test_a_file_names_its_circuit_relative_to_itself(folder, monkeypatch):
    monkeypatch.chdir("/")
    loaded = load_scenario(folder / "small.yaml")
    assert loaded.name == "small"
    assert Path(loaded.feeder.name) == folder / "small.dss"
    env = make(folder / "small.yaml")
    env.reset(seed=1)
    assert env.possible_agents == ["zone_1", "zone_2"]
    env.step({"zone_1": [1.0, 0.0], "zone_2": [0.0, 1.0]})
    env.close()


def test_an_absolute_path_stays(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "other.yaml"
    elsewhere.write_text(SMALL.replace("small.dss", str(folder / "small.dss")))
    assert Path(load_scenario(elsewhere).feeder.name) == folder / "small.dss"


def test_a_base_is_changed_key_by_key_or_whole(tmp_path):
    """Feeder, profiles and training key by key; lists and rewards whole."""
    path = tmp_path / "changed.yaml"
    path.write_text(
        "base: ieee34_volt_var\nfeeder: {source_pu: 1.01}\nprofiles: {seed: 99}\nrewards: {loss: 2}\nsteps: 48\n"
    )
    base, changed = load_scenario("ieee34_volt_var"), load_scenario(path)
    assert changed.name == "changed"
    assert (changed.feeder.source_pu, changed.feeder.name, changed.feeder.taps) == (1.01, "ieee34", base.feeder.taps)
    assert (changed.profiles.seed, changed.profiles.load_scale) == (99, base.profiles.load_scale)
    assert changed.rewards == {"loss": 2.0}
    assert changed.devices == base.devices
    assert (changed.steps, base.steps) == (48, 96)
    assert load_scenario("ieee34_volt_var") == base


def test_a_base_may_be_a_file_beside_it(folder, monkeypatch):
    """Found from any working directory, as the circuit is."""
    (folder / "child.yaml").write_text("base: small.yaml\nsteps: 12\n")
    (folder / "grandchild.yaml").write_text("base: child.yaml\ntitle: third\n")
    monkeypatch.chdir("/")
    loaded = load_scenario(folder / "grandchild.yaml")
    assert (loaded.name, loaded.title, loaded.steps) == ("grandchild", "third", 12)
    assert Path(loaded.feeder.name) == folder / "small.dss"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base: ieee35_volt_var\n", "unknown scenario 'ieee35_volt_var'.*did you mean 'ieee34_volt_var'"),
        ("a: [1, 2\n", "wrong.yaml' is not YAML"),
        ("- a\n- b\n", "wrong.yaml' must be a mapping"),
        ("", r"zones: missing: [\s\S]*observations: missing"),
    ],
)
def test_a_file_that_is_no_scenario_is_explained(tmp_path, text, message):
    (tmp_path / "wrong.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        load_scenario(tmp_path / "wrong.yaml")


def test_scenarios_that_build_on_each_other_are_refused(tmp_path):
    (tmp_path / "a.yaml").write_text(f"base: {tmp_path / 'b.yaml'}\n")
    (tmp_path / "b.yaml").write_text(f"base: {tmp_path / 'a.yaml'}\n")
    with pytest.raises(ValueError, match="base"):
        load_scenario(tmp_path / "a.yaml")


# --- changing --------------------------------------------------------------------------------------------------------


def test_replace_gives_a_checked_copy(scenario):
    base = load_scenario(scenario)
    kept = base.model_dump()
    changed = base.replace(steps=10, feeder={"source_pu": 1.0}, rewards={"loss": 3})
    assert (changed.steps, changed.feeder.source_pu, changed.rewards) == (10, 1.0, {"loss": 3.0})
    assert changed.feeder.name == base.feeder.name
    assert base.model_dump() == kept
    with pytest.raises(ValueError, match=f"scenario '{scenario}': steps"):
        base.replace(steps=0)
    with pytest.raises(ValueError, match="unknown key; did you mean 'steps'"):
        base.replace(step=10)


def test_make_changes_and_checks():
    env = make("ieee34_volt_var", split="test", steps=5, rewards={"loss": 1.0})
    assert (env.task.scenario.steps, env.split, list(env.task.rewards)) == (5, "test", ["loss"])
    scenario = load_scenario("ieee34_volt_var").replace(steps=7)
    assert make(scenario).task.scenario is scenario


def test_scenarios_are_values():
    one, other = load_scenario("ieee34_volt_var"), load_scenario("ieee34_volt_var")
    assert one == other
    assert one != one.replace(steps=3)
    with pytest.raises(Exception, match="frozen"):
        one.steps = 4


def test_what_a_scenario_says_of_the_feeder_happens():
    scenario = load_scenario("ieee34_volt_var").replace(
        feeder={"source_pu": 1.011, "taps": {"reg1b": -7}, "closed": {"c848": False}, "commands": ["load.s890.kw=77"]}
    )
    task = build_task(scenario)
    named = {row.name: r for r, row in enumerate(task.feeder.taps)}
    assert task.start.tap[named["transformer.reg1b"]] == -7
    assert task.start.tap[named["transformer.reg1a"]] == 13  # as in the file
    assert task.start.closed.tolist() == [True, False]
    load = next(row for row in task.feeder.injections if row.name == "load.s890")
    assert load.kw == pytest.approx(-77)
    env = ZoneEnv(task)
    env.reset(seed=1)
    assert env.now.solution.v_pu[0] == pytest.approx(1.011, abs=1e-4)
    assert env.now.solution.closed.tolist() == [True, False]
    env.close()


def test_loads_keep_their_model_in_the_stated_range():
    """Constant power at 0.85 pu too, where the file would turn loads into impedances at 0.85 to 1.05."""
    low = {"source_pu": 0.97, "taps": dict.fromkeys(("reg1a", "reg1b", "reg1c", "reg2a", "reg2b", "reg2c"), -8)}
    served = {}
    for limits in ([0.5, 1.5], None):
        heavy = {"load_scale": (1.0, 1.0)}
        task = build_task(load_scenario("ieee34_volt_var").replace(feeder={**low, "load_v_pu": limits}, profiles=heavy))
        env = ZoneEnv(task)
        env.reset(seed=1, options={"day": 4})
        constant = [j for j, row in enumerate(task.feeder.injections) if row.name == "load.s890"]
        served[str(limits)] = env.now.solution.served_kw[constant] / env.now.setpoints.kw[constant]
        env.close()
    assert served["[0.5, 1.5]"] != pytest.approx(served["None"], rel=0.02)


# --- extensions ------------------------------------------------------------------------------------------------------


def reactive_use(zone, before, after):
    """A reward of one's own."""
    return -0.001 * np.abs(after.setpoints.kvar[zone.units]).sum()


def loss(zone, before, after):
    """A reward of one's own that has the name of a known one."""
    return -1.0


def half(zone, before, after):
    """A cost of one's own."""
    return 0.5


class SheddableSpec(DeviceSpec):
    """Which loads."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class Sheddable(DeviceGroup):
    """A device of one's own: loads that can be reduced."""

    loads: np.ndarray
    action_labels = ("share shed where positive",)
    Spec = SheddableSpec

    def act(self, action, device_state, setpoints, dt_h):
        setpoints.kw[..., self.loads] *= 1 - np.maximum(action[..., 0], 0)
        return device_state, np.zeros(action.shape[:-1], int)

    @classmethod
    def build(cls, specs, feeder):
        rows = [
            j
            for s in specs
            for name in s.names
            for j, row in enumerate(feeder.injections)
            if row.name == f"load.{name}"
        ]
        return cls(
            tuple(feeder.injections[j].name for j in rows),
            tuple(feeder.injections[j].bus for j in rows),
            np.array(rows),
        )


def test_rewards_and_costs_of_ones_own(scenario):
    env = make(
        scenario,
        rewards={"test_scenario:reactive_use": 2.0, "loss": 1.0},
        costs=["test_scenario:half", "voltage_violation_sum"],
        reward_sharing="team",
    )
    env.reset(seed=1)
    half_way = np.full(env.task.agents.action_layout.size, 0.5)  # 1 is beyond the voltage ceiling in powergym_34
    _, rewards, _, _, infos = env.step(env.task.encoding.encode(half_way))
    for agent, zone in zip(env.possible_agents, env.task.zones, strict=True):
        used = np.abs(env.after.setpoints.kvar[zone.units]).sum()
        assert infos[agent]["reward/reactive_use"] == pytest.approx(-0.002 * used)
        assert infos[agent]["cost/half"] == 0.5
    assert rewards[env.possible_agents[0]] == pytest.approx(
        sum(x for info in infos.values() for key, x in info.items() if key.startswith("reward/"))
    )
    env.close()


@pytest.mark.parametrize(
    "changes",
    [{"rewards": {"loss": 1.0, "test_scenario:loss": 1.0}}, {"costs": ["test_scenario:half", "test_scenario:half"]}],
)
def test_two_terms_of_one_name_are_refused(changes):
    """They would share a key in the infos, and one would be dropped without a word."""
    with pytest.raises(ValueError, match=r"(loss|half)"):
        build_task(load_scenario("ieee34_volt_var").replace(**changes))


def test_a_device_of_ones_own():
    base = load_scenario("ieee34_volt_var")
    shed = {"kind": "test_scenario:Sheddable", "names": ["s890", "s844"]}
    env = ZoneEnv(base.replace(devices=[*base.devices, shed]))
    env.reset(seed=1)
    entry = {a: [k for k, label in enumerate(env.labels(a)["action"]) if "share shed" in label] for a in env.agents}
    assert sum(map(len, entry.values())) == 2
    actions = {a: np.zeros(env.action_space(a).shape) for a in env.agents}
    for agent, places in entry.items():
        actions[agent][places] = 0.6
    asked = env.now.setpoints.kw.copy()
    env.step(actions)
    names = [row.name for row in env.task.feeder.injections]
    for j, name in enumerate(names):
        if name.startswith("load."):
            expected = 0.4 if name in ("load.s890", "load.s844") else 1.0
            assert env.after.setpoints.kw[j] == pytest.approx(expected * asked[j])
    env.close()


@pytest.mark.filterwarnings("error::RuntimeWarning")  # unlimited fuel is inf in the state of the devices
def test_every_term_of_the_package_can_be_named(scenario):
    with_loads = dict.fromkeys(row.bus for row in task_of(scenario).feeder.injections if row.kind == "load")
    market = {"grid_fee": 0.15, "feed_in": 0.05, "members": list(with_loads)[:2]}  # some terms need one
    env = make(scenario, rewards=dict.fromkeys(REWARDS, 1.0), costs=list(COSTS), steps=2, market=market)
    env.reset(seed=1)
    *_, infos = env.step(env.task.encoding.encode(np.full(env.task.agents.action_layout.size, 0.5)))
    assert env.after is not None, "a failed interval has all names with zeros"
    assert {f"reward/{name}" for name in REWARDS} | {f"cost/{name}" for name in COSTS} <= set(
        infos[env.possible_agents[0]]
    )
    env.close()


def test_no_costs_is_allowed(scenario):
    env = make(scenario, costs=[], steps=2)
    env.reset(seed=1)
    *_, infos = env.step(env.task.encoding.encode(np.ones(env.task.agents.action_layout.size)))
    assert not [key for key in infos[env.possible_agents[0]] if key.startswith("cost/")]
    env.close()


def test_the_public_names_are_there():
    assert all(hasattr(dss_marl, name) for name in dss_marl.__all__)
    assert issubclass(Scenario, object)
    assert dss_marl.__version__
