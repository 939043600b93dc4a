"""What the circuit brings, over a day: PV, generators, batteries, negative loads, moved by profiles or agents."""

import contextlib
import re
import warnings

import numpy as np
import pytest
from own_circuits import CIRCUITS, context, feeder_of, plain
from profile_tables import rows, written

from dss_marl import OpenDSSEngine, make, read_feeder
from dss_marl.devices import device_kind
from dss_marl.engines.opendss.own_units import OWN_CLASSES, SHAPES
from dss_marl.grid.elements import PROFILE_DRIVEN, AddedUnit
from dss_marl.grid.feeder import AddedSwitch
from dss_marl.grid.feeder_report import feeder_report
from dss_marl.profiles import CsvProfiles, LoadshapeProfiles, Profiles, SyntheticProfiles

pytestmark = pytest.mark.filterwarnings("ignore:profiles of kind", "ignore:scenario ")
IRR = np.array([0, 0, 0, 0, 0, 0, .1, .2, .4, .6, .8, .9, 1, 1, .9, .7, .5, .3, .1, 0, 0, 0, 0, 0])  # fmt: skip


def driven(name):
    return read_feeder(CIRCUITS[name], injections=[AddedUnit(replaces="*", kind=PROFILE_DRIVEN)])


def day_of(name, spec, number=180):
    """Injection to its (24) kW and kvar."""
    feeder = driven(name)
    day = Profiles(spec, feeder, 1.0).day(number, 0)
    return {row.name: (day.kw[:, j], day.kvar[:, j]) for j, row in enumerate(feeder.injections)}


def scenario_on(name, devices, **changes):
    return make(
        "ieee34_volt_var",
        feeder={"name": str(CIRCUITS[name]), "taps": {}, "source_pu": None, "closed": {}},
        zones={"method": "balanced", "count": 1},
        excluded_buses=[],
        devices=devices,
        **changes,
    )


# --- every class of the engine ---------------------------------------------------------------------------------------


def test_every_class_of_opendss_that_has_power_or_a_shape_is_handled():
    """Asked from the engine, not remembered: a new version's class must be decided on before it passes."""
    made, found = context(), set()
    for command in ("clear", "new circuit.all"):
        made.Text.Command(command)
    for kind in made.Basic.Classes():
        with contextlib.suppress(Exception):  # some need an element to control
            made.Text.Command(f"new {kind}.one")
        made.Circuit.SetActiveClass(kind)
        made.ActiveClass.First()
        with contextlib.suppress(Exception):
            made.Text.Command(f"select {kind}.one")
        shaped = set(SHAPES) & {name.lower() for name in made.Element.AllPropertyNames()}
        if shaped or made.ActiveClass.ActiveClassParent() == "TPCClass":
            found.add(kind.lower())
    assert found == set(OWN_CLASSES)


# --- moved by the day ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["own_pv_and_storage", "negative_load", "take_over"])
def test_own_pv_follows_the_days_sun_and_is_dark_at_midnight(name):
    day = day_of(name, SyntheticProfiles(seed=1))
    feeder = driven(name)
    (system,) = [unit for unit in feeder.units if unit.kind == "pvsystem"]
    kw = day[system.injection][0]
    alone = AddedUnit("alone", system.bus, system.kw)
    other = read_feeder(CIRCUITS[name], injections=[alone, AddedUnit(replaces="*", kind=PROFILE_DRIVEN)])
    day = Profiles(SyntheticProfiles(seed=1), other, 1.0).day(180, 0)
    here = [row.name for row in other.injections]
    assert kw[0] == kw[21] == 0 and kw[12] > 0.5 * system.kw
    beside = day.kw[:, [here.index("generator.alone"), here.index(system.injection)]]
    assert np.corrcoef(beside.T)[0, 1] > 0.99, "as any other PV unit of the feeder"


def test_own_storage_idles_with_its_losses():
    kw, kvar = day_of("own_pv_and_storage", SyntheticProfiles(seed=1))["generator.bat"]
    assert (kw == -2).all() and (kvar == 0).all(), "1 % of 200 kW, OpenDSS's default"


def test_a_generator_and_a_negative_load_follow_their_shape():
    for spec, number in ((SyntheticProfiles(seed=1), 180), (LoadshapeProfiles(kind="loadshapes"), 0)):
        day = day_of("negative_load", spec, number)
        assert day["load.pv1"][0] == pytest.approx(600 * IRR)
        assert day["generator.generator_pv2"][0] == pytest.approx(500 * IRR)


def test_a_negative_load_without_a_shape_follows_the_sun(tmp_path):
    path = tmp_path / "sun.dss"
    text = CIRCUITS["negative_load"].read_text().replace("kw=-600 pf=1 daily=irr", "kw=-600 kvar=-60")
    path.write_text(text)
    feeder = read_feeder(path)
    names = [row.name for row in feeder.injections]
    table = written(tmp_path, rows(days=9, start="2025-06-20 00:00", p=lambda d, h: 500))
    for spec in (SyntheticProfiles(seed=1, kw_per_load=900.0), CsvProfiles(kind="csv", path=str(table))):
        day = Profiles(spec, feeder, 1.0).day(3, 0)
        kw, kvar = day.kw[:, names.index("load.pv1")], day.kvar[:, names.index("load.pv1")]
        assert kw[0] == kw[23] == 0 and 100 < kw[12] <= 720
        assert kvar == pytest.approx(0.1 * kw)


def test_a_column_of_the_users_table_comes_first(tmp_path):
    columns = {"p": lambda d, h: 500, "pv1": lambda d, h: -h, "pv3": lambda d, h: 300, "generator_pv2": lambda d, h: 7}
    feeder = driven("negative_load")
    path = written(tmp_path, rows(days=9, **columns))
    day = Profiles(CsvProfiles(kind="csv", path=str(path)), feeder, 1.0).day(2, 0)
    kw = dict(zip((row.name for row in feeder.injections), day.kw.T, strict=True))
    assert kw["load.pv1"] == pytest.approx(np.arange(24)) and (kw["generator.generator_pv2"] == 7).all()
    assert (kw["generator.pv3"] == 300).all()


@pytest.mark.parametrize("hour", [0, 8, 12, 17])
def test_own_shapes_give_what_plain_opendss_gives(hour):
    """Irradiance, module temperature, inverter efficiency and cut-in: all of a PVSystem."""
    spec, made = LoadshapeProfiles(kind="loadshapes"), context()
    text = CIRCUITS["take_over"].read_text().replace("kw=900 kvar=300", "kw=900 kvar=300 daily=irr")
    for command in ("clear", *re.sub(r"(?m)^!.*$", "", text).splitlines()):
        if command.strip():
            made.Text.Command(command)
    made.Text.Command("invcontrol.ic.enabled=no")
    made.Text.Command(f"set mode=daily number=1 stepsize=1h controlmode=off hour={hour} tolerance=1e-9")
    made.Solution.Solve()
    made.Circuit.SetActiveElement("pvsystem.pv")
    truth = -made.CktElement.TotalPowers()[0]
    from dss_marl.engines import read_own_power

    minutes, kw, _ = read_own_power(driven("take_over"))["pvsystem.pv"]
    assert minutes == 60 and spec.which == "daily"
    assert kw[hour] == pytest.approx(truth, abs=0.01)


def test_the_circuit_alone_is_as_compiled():
    """Without a scenario nothing is replaced, and set points are a snapshot."""
    feeder = feeder_of("negative_load")
    solution = OpenDSSEngine(feeder, tolerance=1e-9).solve(feeder.setpoints())
    truth = plain(CIRCUITS["negative_load"])
    assert solution.source_kw == pytest.approx(truth.source_kw, abs=1e-3)
    assert "held at its power as compiled at all hours, at midnight too" in feeder_report(feeder)


def test_at_midnight_the_feeder_draws_its_load_and_no_pv_feeds_in():
    env = scenario_on("negative_load", [{"kind": "inverter", "names": "circuit"}])
    env.reset(seed=1, options={"day": 180})
    now = env.unwrapped.now if hasattr(env, "unwrapped") else env.now
    load = -now.setpoints.kw[env.task.feeder.loads].sum()
    assert 0 < load < float(now.solution.source_kw) < 1.1 * load
    env.close()


# --- said ------------------------------------------------------------------------------------------------------------


def test_what_stands_still_is_said_once_and_stands_in_the_report():
    with pytest.warns(
        UserWarning, match="1 element.* keep one power at all hours, at midnight too: generator.g1"
    ) as told:
        env = scenario_on("take_over", [{"kind": "inverter", "names": "circuit"}])
    assert len([one for one in told if "at midnight" in str(one.message)]) == 1
    report = feeder_report(env.task.feeder)
    for line in (
        "pvsystem +1: pv: device of an agent: inverter",
        "storage +1: bat: idles: -6 kW, at midnight too",
        "generator +1: g1: held at 100 kW at all hours, at midnight too: it has no LoadShape",
        "invcontrol +1: ic: inactive",
    ):
        assert re.search(line, report), report
    env.close()


def test_nothing_is_said_where_everything_moves():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scenario_on("negative_load", [{"kind": "inverter", "names": "circuit"}]).close()
        make("ieee13_volt_var").close()


def test_a_source_that_does_not_follow_its_shape_is_noted():
    notes = " ".join(feeder_of("own_power").notes)
    assert re.search("keep their value as compiled at all hours.*vsource.second, isource.small", notes)


# --- agents of what is there -----------------------------------------------------------------------------------------


def test_agents_take_over_what_is_there_with_its_limits():
    devices = [{"kind": kind, "names": "circuit"} for kind in ("inverter", "battery", "generator")]
    env = scenario_on("take_over", devices)
    inverters, batteries, generators = env.task.device_groups
    assert inverters.kva.tolist() == [1200]
    assert (batteries.kw[0], batteries.kwh[0], batteries.kva[0]) == (300, 1200, 300)
    assert (batteries.start_soc[0], batteries.minimum[0], batteries.standby_kw[0]) == (0.5, 0.25, 6)
    assert (batteries.charging[0], batteries.discharging[0]) == (0.9, 0.9)
    assert (generators.kw[0], generators.kva[0]) == (100, 120)
    env.reset(seed=1)
    for _ in range(3):
        env.step({agent: env.action_space(agent).sample() for agent in env.agents})
    env.close()


def test_named_ones_are_taken_over_beside_new_ones():
    new = {"kind": "battery", "bus": "b", "kw": 50, "kwh": 100}
    env = scenario_on("take_over", [{"kind": "battery", "names": ["bat"], "reactive": True}, new])
    (group,) = env.task.device_groups
    assert group.names == ("bat", "battery_b") and group.kw.tolist() == [300, 50]
    assert group.reactive.tolist() == [True, False]
    env.close()


@pytest.mark.parametrize(
    ("device", "words"),
    [
        ({"kind": "battery", "names": ["nothere"]}, "'storage.nothere' does not exist.*known: storage.bat"),
        ({"kind": "battery", "names": "circuit", "kwh": 5}, "names already defines kwh"),
        ({"kind": "generator", "names": "circuit", "bus": "b"}, "names already defines bus"),
        ({"kind": "generator", "names": "circuit", "kw_min": 200}, "kw_min 200 is above its 100 kW"),
        ({"kind": "capacitor", "names": "circuit"}, "has no capacitor"),
        ({"kind": "switch", "names": "circuit"}, "has no line switch"),
    ],
)
def test_what_cannot_be_taken_over_is_explained(device, words):
    with pytest.raises(ValueError, match=words):
        scenario_on("take_over", [device])


def test_a_circuit_without_batteries_says_so():
    with pytest.raises(ValueError, match="has no Storage to control"):
        scenario_on("negative_load", [{"kind": "battery", "names": "circuit"}])


def test_banks_and_switches_of_the_circuit_are_all_of_them():
    feeder = read_feeder("ieee123", switches=[AddedSwitch("spare", "54", "94")])
    for kind in ("capacitor", "switch"):
        group = device_kind(kind)
        own, every = (group.build([group.Spec(kind=kind, names=names)], feeder) for names in ("circuit", "all"))
        assert own.size > 3 and own.names == every.names
    tie = {"name": "spare", "bus1": "54", "bus2": "94"}
    switches = device_kind("switch")
    spec = switches.Spec(kind="switch", names="circuit", ties=[tie])
    assert sorted(switches.build([spec], feeder).names) == sorted(every.names)
