"""What a user can get wrong: each is a ValueError that names the thing, the place and what is allowed."""

import re

import numpy as np
import pytest
from common import EVERY

from dss_marl import ZoneEnv, load_scenario, make, read_feeder
from dss_marl.envs.task import build_task
from dss_marl.grid.feeder import AddedUnit
from dss_marl.grid.feeder_report import feeder_report

BASE = "ieee34_volt_var"
INVERTERS = [{"kind": "inverter", "bus": 812, "kw": 280}, {"kind": "inverter", "bus": 848, "kw": 280}]
ONE_ZONE = {"method": "balanced", "count": 1}


def disconnected(graph):
    """A partition whose first zone is in two pieces."""
    apart = {"810", "840"}
    return [apart, set(graph) - apart]


def unsorted(graph):
    """A partition that forgets a bus."""
    return [set(graph) - {"890"}]


def build(**changes):
    return build_task(load_scenario(BASE).replace(**changes))


def one_device(**fields):
    return {"devices": [{"kind": "inverter", "bus": 848, "kw": 100, **fields}], "zones": ONE_ZONE}


# name: (change of the scenario, what the message must say, in order)
CASES = {
    # unknown names
    "feeder": ({"feeder": {"name": "ieee35"}}, "unknown feeder 'ieee35'.*known:.*ieee34.*dss file"),
    "feeder file": ({"feeder": {"name": "/nowhere/master.dss"}}, "'/nowhere/master.dss'.*known:.*ieee34"),
    "reward": (
        {"rewards": {"voltage_violations": 1}},
        "unknown reward 'voltage_violations'; did you mean 'voltage_violation'\\? known:.*loss",
    ),
    "reward of one's own": (
        {"rewards": {"test_bad_input:nothing": 1}},
        "reward 'test_bad_input:nothing' cannot be imported",
    ),
    "cost": ({"costs": ["voltag"]}, "unknown cost 'voltag'; known:.*voltage"),
    "observation": ({"observations": ["volts"]}, "unknown observation 'volts'; known:.*voltage"),
    "partition method": (
        {"zones": {"method": "voronoi"}},
        "unknown partition method 'voronoi'; known: around, balanced, ",
    ),
    "device kind": ({"devices": [{"kind": "windmill", "bus": 1}]}, "unknown device kind 'windmill'; known: .*inverter"),
    "device of one's own": (
        {"devices": [{"kind": "test_bad_input:build"}]},
        "'test_bad_input:build' is not a DeviceGroup",
    ),
    "regulator": (
        {"devices": [*INVERTERS, {"kind": "regulator", "names": ["reg9"]}]},
        "regulator 'reg9' does not exist on feeder 'ieee34'; known:.*reg1a",
    ),
    "capacitor": (
        {"devices": [*INVERTERS, {"kind": "capacitor", "names": ["c1"]}]},
        "capacitor 'c1' does not exist on feeder 'ieee34'; known:.*c844",
    ),
    "starting tap": (
        {"feeder": {"taps": {"reg9": 1}}},
        "regulator 'reg9' does not exist on feeder 'ieee34'; known:.*reg1a.*; a regulator has the name of its transf",
    ),
    "starting switch": ({"feeder": {"closed": {"sw9": True}}}, "'sw9' does not exist on feeder 'ieee34'; known:.*c844"),
    "excluded_buses bus": ({"excluded_buses": ["999"]}, "bus '999' does not exist on feeder 'ieee34'; known:.*800"),
    "zone branch": (
        {"zones": {"method": "cut", "branches": ["l99"]}},
        "branch 'l99' does not exist on 'ieee34'; known:",
    ),
    # unknown keys
    "key": ({"reward": {"loss": 1}}, f"scenario '{BASE}': reward: unknown key; did you mean 'rewards'.*known:.*steps"),
    "key of the feeder": (
        {"feeder": {"source_pv": 1}},
        f"'{BASE}': feeder.source_pv: unknown key; did you mean 'source_pu'",
    ),
    "key of the profiles": ({"profiles": {"lattitude": 1}}, "profiles.lattitude: unknown key; did you mean 'latitude'"),
    "key of a device": (one_device(kwp=3), f"'{BASE}': device 1: kwp: unknown key.*known:.*kva.*kw"),
    "option of the zones": ({"zones": {"method": "balanced", "counts": 3}}, "'balanced' does not take.*counts"),
    # missing
    "no kind": ({"devices": [{"bus": 848}]}, f"'{BASE}': device 1 .*848.* has no kind"),
    "no bus": ({"devices": [{"kind": "inverter", "kw": 1}]}, "device 1: bus: missing: bus of the feeder"),
    "no method": ({"zones": {"count": 3}}, f"'{BASE}': zones needs a method, such as"),
    "no devices": ({"devices": []}, "devices: .*at least 1"),
    "no rewards": ({"rewards": {}}, "rewards: .*at least 1"),
    "no observations": ({"observations": []}, "observations: .*at least 1"),
    # places
    "bus": (one_device(bus="999"), "inverter 'inverter_999': bus '999' does not exist on feeder 'ieee34'; known:.*800"),
    "phase": (
        one_device(bus="810", phases=[1]),
        r"inverter 'inverter_810_1': bus '810' of feeder 'ieee34' has phases \[2\], not \[1\]",
    ),
    "phases of a one-phase bus": (
        one_device(bus="822", phases=[1, 2, 3]),
        r"bus '822' of feeder 'ieee34' has phases \[1\], not \[2, 3\]",
    ),
    "two phases": (one_device(phases=[1, 2]), "bus '848': use one or three phases, or two units"),
    "twice the same name": (
        {"devices": [INVERTERS[0], INVERTERS[0]], "zones": ONE_ZONE},
        "inverter 'inverter_812' is defined twice; give each device a unique name",
    ),
    "twice the same regulator": (
        {"devices": [*INVERTERS, {"kind": "regulator"}, {"kind": "regulator", "names": ["reg1a"]}], "zones": ONE_ZONE},
        "regulator 'reg1a' is defined twice",
    ),
    "capacitors where there are none": (
        {"feeder": {"name": "ieee37", "taps": {}}, "zones": ONE_ZONE, "devices": [{"kind": "capacitor"}]},
        "feeder 'ieee37' has no capacitor; remove the kind",
    ),
    "regulators where there are none": (
        {"feeder": {"name": "case33", "taps": {}}, "zones": ONE_ZONE, "devices": [{"kind": "regulator"}]},
        "feeder 'case33' has no regulator; remove the kind",
    ),
    # zones
    "zone in pieces": (
        {"zones": {"method": "test_bad_input:disconnected"}},
        "zone_1 of feeder 'ieee34' is not connected: .*8[14]0",
    ),
    "zones that leave a bus out": (
        {"zones": {"method": "test_bad_input:unsorted"}},
        "no zone contains bus 890 of feeder 'ieee34'",
    ),
    "zone without a device": (
        {"devices": INVERTERS},
        r"zone_\d \(buses .*\) has no device.*add a device there, choose other",
    ),
    "too many zones": (
        {"zones": {"method": "balanced", "count": 99}},
        "count must be between 1 and 56.*'ieee34'.*got 99",
    ),
    # values
    "kw": (one_device(kw=-3), "device 1: kw: .*greater than 0"),
    "endless kw": (one_device(kw=float("inf")), "device 1: kw: .*finite"),
    "kva": (one_device(kva=50), "inverter 'inverter_848': kva 50 is below kw 100; raise kva"),
    "moves": (
        {"devices": [*INVERTERS, {"kind": "regulator", "moves": 0}]},
        "device 3: moves: .*greater than or equal to 1",
    ),
    "tap": ({"feeder": {"taps": {"reg1a": 17}}}, "regulator 'reg1a': tap 17 is outside -16 to 16"),
    "source": ({"feeder": {"source_pu": 12.0}}, f"'{BASE}': feeder.source_pu: .*less than 1.5"),
    "load range": ({"feeder": {"load_v_pu": [1.2, 0.8]}}, "load_v_pu.*"),
    "steps": ({"steps": 0}, "steps: .*greater than or equal to 1"),
    "longer than a day": ({"steps": 97}, f"'{BASE}': steps \\* dt_h is 24.25 h, longer than a day"),
    "interval": ({"dt_h": 0.7, "steps": 10}, "dt_h must divide the day of 24 h into whole intervals; got 0.7"),
    "weight": ({"rewards": {"loss": "much"}}, "rewards.loss: .*valid number"),
    "weight that is no number": ({"rewards": {"loss": float("nan")}}, "rewards.loss: .*finite"),
    "endless penalty": ({"failure_penalty": float("inf")}, "failure_penalty: .*finite"),
    "seed": ({"profiles": {"seed": -1}}, "profiles.seed: .*greater than or equal to 0"),
    "share": ({"profiles": {"commercial_share": 1.5}}, "profiles.commercial_share: .*less than or equal to 1"),
    "load scale": ({"profiles": {"load_scale": [0.9, 0.4]}}, "load_scale.*"),
    "negative load scale": ({"profiles": {"load_scale": [-0.5, 0.4]}}, "load_scale.*"),
    "kind of profiles": ({"profiles": {"kind": "measured"}}, "profiles.kind: .*synthetic"),
    "observed voltages": ({"observed_voltages": "next"}, "observed_voltages: .*'coming' or 'last'"),
    "command": ({"feeder": {"commands": ["load.s999.kw=1"]}}, "OpenDSS refuses 'load.s999.kw=1'.*ieee34.*s999"),
}


@pytest.mark.parametrize("what", CASES)
def test_a_scenario_that_cannot_be_is_explained(what):
    changes, message = CASES[what]
    with pytest.raises(ValueError) as caught:
        build(**changes)
    assert re.search(message, str(caught.value), re.DOTALL), f"{caught.value}\n does not say {message}"
    assert len(str(caught.value)) < 2500, "nobody reads that"


@pytest.mark.parametrize("name", ["ieee34_volt_vra", "nothing_like_it", "missing.yaml"])
def test_an_unknown_scenario_is_explained(name):
    with pytest.raises(ValueError, match=f"unknown scenario '{name}'") as caught:
        make(name)
    assert ", ".join(EVERY) in str(caught.value)
    assert "the path of a YAML file" in str(caught.value)
    assert ("did you mean 'ieee34_volt_var'?" in str(caught.value)) == (name == "ieee34_volt_vra")


def test_messages_read_as_sentences():
    """What is unknown and what is known are kept apart by punctuation, whether or not something is close."""
    for name in ("ieee34_volt_vra", "xyz"):
        with pytest.raises(ValueError) as caught:
            make(name)
        assert re.search(r"[;?.] known: ", str(caught.value)), str(caught.value)
    for key in ("stepz", "qqqqqq"):
        with pytest.raises(ValueError) as caught:
            build(**{key: 1})
        assert re.search(r"[;?.] known: ", str(caught.value)), str(caught.value)


def test_an_unknown_split_is_explained():
    with pytest.raises(ValueError, match="unknown split 'tset'; known: train, validation, test"):
        make(BASE, split="tset")


def test_an_unknown_render_mode_is_explained():
    with pytest.raises(ValueError, match=r"unknown render_mode 'gif'; known: .*ansi.*rgb_array"):
        make(BASE, render_mode="gif")


def test_every_mistake_is_told_at_once():
    with pytest.raises(ValueError) as caught:
        build(stepz=3, steps=-1, dt_h="long")
    assert all(word in str(caught.value) for word in ("stepz", "steps", "dt_h"))


def test_a_circuit_that_does_not_compile_is_explained(tmp_path):
    path = tmp_path / "mine.dss"
    path.write_text("clear\nnew circuit.mine basekv=10\nnew line.l bus1=sourcebus bus2=b linecode=nothing\n")
    with pytest.raises(ValueError) as caught:
        make(BASE, feeder={"name": str(path), "taps": {}})
    assert "mine.dss" in str(caught.value)
    assert "nothing" in str(caught.value)
    assert make(BASE).reset(seed=1)[0], "and the next one works"


def test_a_circuit_without_base_voltages_gets_them(tmp_path):
    """From its sources and windings; read_feeder's own tests have more of this."""
    path = tmp_path / "mine.dss"
    path.write_text("clear\nnew circuit.mine basekv=10\nnew line.l bus1=sourcebus bus2=b r1=1 x1=1 length=1\n")
    feeder = read_feeder(path, injections=[AddedUnit("pv", "b", 10.0)])
    assert feeder.injections[0].kv == pytest.approx(10)
    assert "computed" in feeder_report(feeder)


# --- actions ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def env(scenario):
    made = make(scenario, actions="box")  # the other encodings have their own: test_encodings
    made.reset(seed=1)
    yield made
    made.close()


def still(env):
    return env.task.encoding.encode(env.task.default_action)


def first(env):
    return env.possible_agents[0]


def last(env):
    """Where one agent has all devices, the first."""
    return env.possible_agents[-1]


def refused(env, actions, message):
    """The step is refused and nothing has happened."""
    now, state = env.now, env.state()
    for method in (env.step, env.what_if):
        with pytest.raises(ValueError, match=message):
            method(actions)
    assert env.now is now
    assert np.array_equal(env.state(), state)
    assert env.agents == env.possible_agents
    env.step(still(env))


def test_missing_actions_are_refused(env):
    actions = still(env)
    del actions[last(env)]
    refused(env, actions, f"no action for {last(env)!r}; needed for each of {', '.join(env.possible_agents)}")
    refused(env, {}, f"no action for {first(env)!r}")


def test_actions_of_unknown_agents_are_refused(env):
    refused(
        env,
        {**still(env), "zone_99": np.zeros(3)},
        f"unknown agent 'zone_99'; agents are {', '.join(env.possible_agents)}",
    )


@pytest.mark.parametrize("shape", [(), (0,), (1, 1), "one more", "one fewer"])
def test_actions_of_the_wrong_shape_are_refused(env, shape):
    width = env.action_space(first(env)).shape[0]
    shape = {"one more": (width + 1,), "one fewer": (width - 1,)}.get(shape, shape)
    actions = {**still(env), last(env): np.zeros(shape)}
    refused(env, actions, re.escape(f"action of {last(env)!r} has shape {shape}; it must be ({width},)"))


def test_actions_that_are_all_of_one_wrong_shape_are_refused(env):
    width = env.action_space(first(env)).shape[0]
    actions = {agent: np.zeros(width + 1) for agent in env.agents}
    refused(env, actions, re.escape(f"action of {first(env)!r} has shape ({width + 1},); it must be ({width},)"))


def test_actions_that_are_not_numbers_are_refused(env):
    width = env.action_space(first(env)).shape[0]
    for wrong in (None, "up", ["up"] * width, [None] * width, {"a": 1}):
        with pytest.raises(ValueError, match=f"action of {last(env)!r}"):
            env.step({**still(env), last(env): wrong})


@pytest.mark.parametrize("place", [0, -1])
def test_nan_is_refused_even_in_padding(env, place):
    actions = still(env)
    actions[last(env)][place] = np.nan
    refused(env, actions, f"action of {last(env)!r} contains NaN")


def test_nan_beside_a_value_out_of_range_is_refused(env):
    actions = still(env)
    actions[first(env)][0] = 5.0
    actions[last(env)][np.flatnonzero(env.task.agents.action_layout.used[-1])[-1]] = np.nan
    refused(env, actions, f"action of {last(env)!r} contains NaN")


def test_out_of_range_actions_are_clipped_and_counted(env):
    actions = still(env)
    actions[first(env)][np.flatnonzero(env.task.agents.action_layout.used[0])[0]] = 1.001
    *_, infos = env.step(actions)
    assert infos[first(env)]["clipped"] == 1
    assert all(infos[agent]["clipped"] == 0 for agent in env.possible_agents[1:])


@pytest.mark.parametrize("day", [-1, 365, 2.5, "3"])
def test_a_day_that_does_not_exist_is_refused_and_harms_nothing(day):
    env, other = make(BASE), make(BASE)
    env.reset(seed=1)
    other.reset(seed=1)
    env.step(still(env))
    other.step(still(other))
    with pytest.raises(ValueError, match=f"day must be a whole number from 0 to 364; got {day!r}"):
        env.reset(options={"day": day})
    *_, infos = env.step(still(env))
    *_, expected = other.step(still(other))
    assert infos == expected, "the episode goes on as if nothing had been asked"
    env.close()
    other.close()


def test_unknown_reset_options_are_told(scenario):
    env = make(scenario)
    with pytest.warns(UserWarning, match="unknown option 'days'; known: day"):
        env.reset(seed=1, options={"days": 3})
    env.close()


def test_an_environment_needs_a_scenario_or_a_task():
    assert isinstance(ZoneEnv(load_scenario(BASE)), ZoneEnv)
