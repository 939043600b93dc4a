"""Derived scenarios: what follows its feeder, profiles and rewards, and what is refused when a scenario is read."""

import numpy as np
import pytest
import yaml
from common import EVERY
from episodes import still

from dss_marl import ZoneEnv, build_task, load_scenario
from dss_marl.controllers import OPT_IN, REFERENCES, reference
from dss_marl.controllers.planning.solve import PLANNERS
from dss_marl.controllers.rules.droop import DroopCurve, tuning_key
from dss_marl.envs.scenario_names import DROOP_KEYS, REFERENCE_CONTROLLERS, REGULATOR_BAND
from dss_marl.envs.scenario_names import PLANNERS as KNOWN_PLANNERS
from dss_marl.experiments.comparison import compare, fitting_references
from dss_marl.experiments.evaluation import available_controllers, environment_for, run_day

BASE = "ieee34_volt_var"
WIDE = {"feeder": {"name": "case33"}, "devices": [{"kind": "inverter", "bus": "18", "kw": 500}]}


@pytest.fixture
def scenario():
    return load_scenario(BASE)


@pytest.fixture
def read(tmp_path):
    """A scenario from YAML data or text in a file."""

    def of(data):
        path = tmp_path / "own.yaml"
        path.write_text(data if isinstance(data, str) else yaml.safe_dump(data))
        return load_scenario(path)

    return of


# --- what does not follow --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{"kind": "csv", "path": "x.csv"}, {"kind": "simbench", "folder": "x"}])
def test_another_kind_of_profiles_replaces_the_old(scenario, read, changes):
    for changed in (scenario.replace(profiles=changes), read({"base": BASE, "profiles": changes})):
        assert changed.profiles.kind == changes["kind"]
    back = scenario.replace(profiles=changes).replace(profiles={"kind": "synthetic", "seed": 5})
    assert back.profiles.model_dump(exclude_defaults=True) == {"seed": 5}


def test_the_same_kind_of_profiles_is_merged(scenario):
    assert scenario.replace(profiles={"seed": 5}).profiles == scenario.profiles.model_copy(update={"seed": 5})
    assert scenario.replace(profiles={"kind": "synthetic", "seed": 5}).profiles.load_scale == (0.4, 0.9)


def test_another_feeder_takes_nothing_of_the_old(scenario, read):
    limited = scenario.replace(
        feeder={"import_limit_kw": 900, "closed": {"c848": False}, "commands": ["load.s890.kw=77"]}
    )
    for changed in (limited.replace(**WIDE), read({"base": BASE, **WIDE})):
        assert changed.feeder.model_dump(exclude_defaults=True) == {"name": "case33"}


def test_the_same_feeder_keeps_what_was_set(scenario):
    feeder = scenario.replace(feeder={"name": "ieee34", "source_pu": 1.0}).feeder
    assert feeder == scenario.feeder.model_copy(update={"source_pu": 1.0})


def test_a_generated_feeder_and_a_file_replace_each_other(scenario):
    generated = scenario.replace(feeder={"synthetic": {"nodes": 500, "seed": 1, "plants": 6}})
    assert generated.feeder.name == "" and generated.feeder.source_pu is None
    again = generated.replace(feeder={"name": "case33"})
    assert again.feeder.synthetic is None and again.feeder.name == "case33"
    other = generated.replace(feeder={"commands": ["set maxiterations=50"]}).replace(
        feeder={"synthetic": {"nodes": 600, "seed": 1, "plants": 6}}
    )
    assert other.feeder.commands == ()


def test_zones_of_another_method_bring_no_options(scenario):
    assert scenario.replace(zones={"method": "balanced", "count": 3}).zones == {"method": "balanced", "count": 3}


# --- the tuned droop -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERY)
def test_every_shipped_curve_was_tuned_on_its_scenario(name):
    shipped = load_scenario(name)
    assert bool(shipped.tuned_droop) == bool(shipped.tuned_on)
    if shipped.tuned_droop:
        assert shipped.tuned_on == tuning_key(shipped)
        droop, curve = reference("tuned_droop", shipped), dict(shipped.tuned_droop)
        assert droop.regulator_band_v == curve.pop("regulator_band_v", None)
        assert droop.curve == DroopCurve(**curve)


@pytest.mark.parametrize(
    "changes",
    [
        {"rewards": {"loss": 1}},
        {"rewards": {"voltage_violation": 100, "violating_share": 5, "loss": 1, "tap_moves": 0.02}},
        {"feeder": {"source_pu": 1.03}},
        {"devices": [{"kind": "inverter", "bus": 890, "kw": 281}]},
        WIDE,
        {"tuned_droop": {"v_ref_pu": 1.0, "dead_band_pu": 0.0, "slope": 3}},
    ],
)
def test_a_stale_curve_is_left_out_with_its_reason(scenario, changes):
    changed = scenario.replace(**changes)
    with pytest.raises(ValueError, match=r"tuned_droop of scenario .* was tuned on .*'dss-marl tune'"):
        reference("tuned_droop", changed)
    found, refused = available_controllers(
        changed.replace(profiles={"seed": 3}, zones={"method": "balanced", "count": 1}), ["tuned_droop"]
    )
    assert not found and "tuned on" in refused["tuned_droop"]


def test_what_a_curve_does_not_depend_on_leaves_it(scenario):
    kept = scenario.devices[:-1]
    changed = scenario.replace(
        steps=4, profiles={"seed": 5}, zones={"method": "balanced", "count": 2}, devices=kept[::-1], name="other"
    )
    assert reference("tuned_droop", changed).curve == reference("tuned_droop", scenario).curve
    spelled = [{**spec, "act_every": 1} for spec in scenario.devices]
    assert tuning_key(scenario.replace(devices=spelled)) == tuning_key(scenario)


def test_the_key_knows_files_by_name(scenario):
    a, b = (scenario.replace(feeder={"name": f"/{place}/own.dss"}) for place in ("here", "there"))
    assert tuning_key(a) == tuning_key(b) != tuning_key(scenario)


# --- regulators and banks alone --------------------------------------------------------------------------------------

ALONE = [{"kind": "regulator", "names": "all"}, {"kind": "capacitor", "names": "all"}]
IDLE = {"kind": "battery", "bus": "890", "kw": 1, "kwh": 1}


@pytest.mark.parametrize("devices", [ALONE, ALONE[:1], ALONE[1:]])
def test_the_circuits_controls_play_where_there_is_nothing_else(scenario, devices):
    """As they play beside an idle battery, which leaves the circuit as it is."""
    only = scenario.replace(devices=devices, zones={"method": "balanced", "count": 1}, steps=12, start_hour=10)
    found, refused = available_controllers(only, ["opendss_controls", "no_control"])
    assert set(found) == {"opendss_controls", "no_control"} and not refused
    beside = only.replace(devices=[*devices, IDLE])
    states = []
    for one in (only, beside):
        env = environment_for(found["opendss_controls"], one, "test")
        states.append([])
        run_day(env, found["opendss_controls"], env.days[0], states[-1].append)
        env.close()
    for ours, theirs in zip(*states, strict=True):
        assert np.array_equal(ours.setpoints.tap, theirs.setpoints.tap)
        assert np.allclose(ours.solution.v_pu, theirs.solution.v_pu, atol=1e-6)
    taps = {tuple(state.setpoints.tap) for state in states[0]}
    assert len(taps) > 1


def test_no_agent_is_compromised_where_the_circuit_acts_alone(scenario):
    attack = {"policy": "full", "share": 0.5}
    only = scenario.replace(devices=ALONE, attack=attack, zones={"method": "balanced", "count": 2})
    assert only.under_circuit_controls().attack is None


# --- what a comparison leaves out ------------------------------------------------------------------------------------


def test_a_comparison_says_what_it_leaves_out(scenario):
    changed = scenario.replace(rewards={"loss": 1.0}, steps=2)
    found, left_out = fitting_references(changed)
    assert set(found) | set(left_out) == set(REFERENCES) and not set(found) & set(left_out)
    assert set(OPT_IN) <= set(left_out) and "tuned on another feeder" in left_out["tuned_droop"]
    table = compare(changed, most_days=1)
    assert table.left_out == left_out
    assert f"- `tuned_droop`: {left_out['tuned_droop']}" in table.markdown()
    with pytest.raises(ValueError, match="names must be a list of controllers"):
        compare(changed, "droop")


# --- refused when the scenario is read -------------------------------------------------------------------------------


def test_the_known_names_are_those_of_the_registries():
    assert set(REFERENCE_CONTROLLERS) == set(REFERENCES) and set(KNOWN_PLANNERS) == set(PLANNERS)
    assert set(DROOP_KEYS) == {*DroopCurve.__dataclass_fields__, REGULATOR_BAND}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training": {"gammma": 3}}, r"training\.gammma: unknown key; did you mean 'gamma'\? known: agent_steps, "),
        ({"training": {"gamma": 3}}, r"training\.gamma: .*less than or equal to 1"),
        ({"training": {"net_arch": "64"}}, r"training\.net_arch: must be a list"),
        (
            {"tuned_droop": {"zz": 1}},
            "tuned_droop: unknown key 'zz'; known: v_ref_pu, dead_band_pu, slope, limit, regul",
        ),
        ({"tuned_droop": {"v_ref_pu": 1}}, "tuned_droop: dead_band_pu is missing"),
        (
            {"reference_controller": "nobody"},
            "reference_controller: unknown controller 'nobody'; known: best_constant, best_known, ",
        ),
        ({"reference_controller": "os:sep"}, "controller 'os:sep' is neither"),
        ({"planner": "exact"}, "planner: unknown planner 'exact'; did you mean 'exact_dp'"),
        (
            {"rewards": {"os:sep": 1}},
            r"rewards: reward 'os:sep' must be a function \(zone, before, after\), but is str",
        ),
        ({"rewards": {"os:getcwdb": 1, "os.path:join": 1}}, r"reward 'os:getcwdb' must be a function \(zone, before"),
        ({"rewards": {"voltage": 1}}, "rewards: unknown reward 'voltage'; known: "),
        ({"costs": ["os.path:basename"]}, r"costs: cost 'os.path:basename' must be a function \(zone, before, after\)"),
        ({"observations": ["voltages"]}, "observations: unknown observation 'voltages'; did you mean "),
        ({"observations": ["os:curdir"]}, r"observation 'os:curdir' must be a function \(zone, state\)"),
        ({"observations": "load"}, r"observations: must be a list, such as \[load\]; got 'load'"),
        ({"costs": "loss"}, "costs: must be a list"),
        ({"faults": "line.x"}, r"faults: must be a list, such as \[line.x\]"),
        ({"excluded_buses": "800"}, "excluded_buses: must be a list"),
        ({"feeder": {"commands": "solve"}}, r"feeder\.commands: must be a list"),
        ({"attack": {"policy": "full", "agents": "zone_1"}}, r"attack\.agents: must be a list"),
    ],
)
def test_refused_when_read(scenario, read, changes, message):
    with pytest.raises(ValueError, match=message):
        scenario.replace(**changes)
    with pytest.raises(ValueError, match=message):
        read({"base": BASE, **changes})


def test_repeated_keys_are_refused(read, tmp_path):
    with pytest.raises(ValueError, match="the key 'steps' stands twice, in lines 2 and 3"):
        read(f"base: {BASE}\nsteps: 4\nsteps: 5\n")
    with pytest.raises(ValueError, match="the key 'loss' stands twice, in lines 3 and 4"):
        read(f"base: {BASE}\nrewards:\n  loss: 4\n  loss: 5\n")
    zones = tmp_path / "zones.yaml"
    zones.write_text("north: [a]\nnorth: [b]\n")
    with pytest.raises(ValueError, match="the key 'north' stands twice"):
        build_task(load_scenario(BASE).replace(zones={"method": "mapping", "file": str(zones)}))
    merged = read(f"base: {BASE}\nrewards: &r\n  loss: 4\ntraining: {{gamma: 0.5}}\n")
    assert merged.rewards == {"loss": 4.0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "cut", "kinds": "switch"}, r"zones: kinds must be a list, such as \[switch\]; got 'switch'"),
        (
            {"method": "cut", "kinds": ["swich"]},
            "unknown kind of branch 'swich'; did you mean 'switch'. known: regulator",
        ),
        ({"method": "cut", "kinds": ["fuse"]}, "unknown kind of branch 'fuse'; known: regulator, switch, transformer"),
        ({"method": "cut", "kinds": [], "branches": "670671"}, r"zones: branches must be a list, such as \[670671\]"),
        ({"method": "cut", "kinds": [], "branches": 670671}, "zones: branches must be a list"),
        ({"method": "laterals", "main": "shard"}, "main must be 'own' or 'shared'"),
        ({"method": "mapping", "zones": {"a": "671"}}, "must be a list of buses; got '671'"),
    ],
)
def test_zone_options_that_are_no_lists_or_no_words(options, message):
    with pytest.raises(ValueError, match=message):
        build_task(load_scenario("ieee13_volt_var").replace(zones=options))


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ({"kind": "regulator", "names": "reg1"}, r"device 1: names: must be a list, such as \[reg1\]; got 'reg1'"),
        ({"kind": "switch", "lines": "670671"}, "device 1: lines: must be a list"),
        ({"kind": "estimator", "meters": "671"}, "device 1: meters: must be a list"),
        ({"kind": "inverter", "bus": 671, "kw": 1, "phases": "1"}, "device 1: phases: must be a list"),
    ],
)
def test_device_settings_that_are_no_lists(device, message):
    with pytest.raises(ValueError, match=message):
        build_task(load_scenario("ieee13_volt_var").replace(devices=[device]))


def test_a_scenario_derived_from_all_this_plays(read):
    env = ZoneEnv(read({"base": BASE, **WIDE, "zones": {"method": "balanced", "count": 1}, "steps": 2}))
    env.reset(seed=1)
    env.step(still(env))
    env.close()
