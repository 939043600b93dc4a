"""Profiles from the user's own data: right values, and one clear error for each thing that can be wrong."""

import numpy as np
import pytest
from common import ROOT, feeder_with_units
from profile_tables import FEEDER, HOUSE, WORKS, profiles, rows, small, written

from dss_marl._assets import data_folder
from dss_marl.envs.scenario import scenario_from
from dss_marl.envs.scenario_files import load_scenario
from dss_marl.envs.task import build_task
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.profiles import CsvProfiles, LoadshapeProfiles, Profiles, SimbenchProfiles
from dss_marl.profiles.simbench import LICENCE

pytestmark = pytest.mark.filterwarnings("ignore:profiles of kind")

# --- what is right ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("separator", [",", ";"])
def test_a_tables_powers_are_the_loads(tmp_path, separator):
    day = profiles(tmp_path, rows(), separator=separator).day(3)
    assert day.kw[:24, 0] == pytest.approx([-53.0] * 24)
    assert day.kw[:, 1] == pytest.approx([-100.0 - h for h in [*range(24), 0]])
    assert day.kvar[:, 0] == pytest.approx(day.kw[:, 0] / 2), "at nominal power factor"
    assert day.kw[24, 0] == -54.0, "the next day's first row"


def test_what_is_not_measured_is_generated(tmp_path):
    of = profiles(tmp_path, rows(), weather={"seed": 3, "latitude": 34.0})
    day = of.day(3, 0)
    assert day.kw[12, 3] > 5
    assert day.kw[0, 3] == 0
    assert np.ptp(day.price) > 0
    assert np.ptp(day.temperature_c) > 1


def test_loads_without_a_column_share_the_feeders_total(tmp_path):
    table = rows(two=lambda d, h: 100, Feeder=lambda d, h: 155 + h)
    day = profiles(tmp_path, table, total="Feeder").day(3, 0)
    assert day.kw[:, 1] == pytest.approx([-100.0] * 24)
    assert day.kw[:, 0] == pytest.approx([-(55 + h) * 100 / 110 for h in range(24)]), "of 100 and 10 kW nominal"
    assert -day.kw[:, :3].sum(1) == pytest.approx([155.0 + h for h in range(24)])
    assert day.kvar[:, 0] == pytest.approx(day.kw[:, 0] / 2), "at nominal power factor"
    scaled = profiles(tmp_path, [[table[0][0], table[0][2]], *([row[0], row[2]] for row in table[1:])], total="feeder")
    assert scaled.day(3, 0).kw[0, :3] == pytest.approx([-50.0, -100.0, -5.0])


def test_measured_suns_prices_and_temperatures_are_taken(tmp_path):
    table = rows(
        one=lambda d, h: 50, two=lambda d, h: 100, three=lambda d, h: 5,
        roof=lambda d, h: 20 if 8 < h < 16 else 0, price=lambda d, h: 0.1 + d / 100, temperature_c=lambda d, h: h,
    )  # fmt: skip
    day = profiles(tmp_path, table).day(2, 0)
    assert day.kw[:, 3].max() == 20
    assert (day.kvar[:, 3] == 0).all()
    assert day.price == pytest.approx([0.12] * 24)
    assert day.temperature_c == pytest.approx(range(24))


@pytest.mark.parametrize(("minutes", "dt_h"), [(15, 1.0), (60, 0.25), (60, 1.0), (30, 0.5)])
def test_intervals_are_averaged_or_held(tmp_path, minutes, dt_h):
    table = rows(minutes=minutes, one=lambda d, h: 50 + h, two=lambda d, h: 100, three=lambda d, h: 5)
    day = profiles(tmp_path, table, dt_h).day(0, 0)
    hour = np.arange(0, 24, dt_h)
    held = (
        hour if minutes / 60 == dt_h else (np.floor(hour) if minutes / 60 > dt_h else hour + (dt_h - minutes / 60) / 2)
    )
    assert -day.kw[:, 0] == pytest.approx(50 + held)


def test_watts_and_other_names_can_be_told(tmp_path):
    table = rows(A=lambda d, h: 50e3, B=lambda d, h: 100e3, C=lambda d, h: 5e3, D=lambda d, h: 7)
    of = profiles(tmp_path, table, unit="W", columns={"one": "A", "load.two": "B", "three": "C"})
    assert of.day(0).kw[5, :3].tolist() == [-50.0, -100.0, -5.0]


def test_a_table_that_begins_in_the_afternoon_starts_at_midnight(tmp_path):
    of = profiles(
        tmp_path,
        rows(days=3, start="2024-03-01 14:00", one=lambda d, h: 50 + h, two=lambda d, h: 90, three=lambda d, h: 5),
    )
    assert -of.day(0).kw[0, 0] == 60.0
    with pytest.raises(ValueError, match="day must be a whole number from 0 to 1; got 2"):
        of.day(2)


def test_a_table_without_times_needs_its_interval(tmp_path):
    table = [row[1:] for row in rows()]
    path = written(tmp_path, table)
    of = Profiles(CsvProfiles(kind="csv", path=str(path), dt_h=1.0), small(tmp_path), 1.0)
    assert of.day(3).kw[0, 0] == -53.0


def test_splits_of_measured_days_are_whole_days(tmp_path):
    of = profiles(tmp_path, rows(days=20))
    assert of.days("test") == (4, 13)
    assert of.days("validation") == (8, 17)
    assert len(of.days("train")) == 16
    with pytest.raises(ValueError, match="stress split 'more_pv' changes the generator; measured profiles have train"):
        of.days("more_pv")


def test_short_gaps_are_filled_where_allowed(tmp_path):
    table = rows(one=lambda d, h: 50 + h, two=lambda d, h: 100, three=lambda d, h: 5)
    table[30][1] = ""
    del table[60:62]
    day, later = (profiles(tmp_path, table, fill_h=2.0).day(d, 0) for d in (1, 2))
    assert -day.kw[5, 0] == pytest.approx(55.0)
    assert -later.kw[:, 0] == pytest.approx(50 + np.arange(24))


def test_the_hash_follows_the_file(tmp_path):
    first = profiles(tmp_path, rows()).sha256()
    assert profiles(tmp_path, rows()).sha256() == first
    assert profiles(tmp_path, rows(one=lambda d, h: 51, two=lambda d, h: 100, three=lambda d, h: 5)).sha256() != first


def test_a_scenario_finds_the_table_beside_it(tmp_path):
    feeder = feeder_with_units("ieee13")
    names = [feeder.injections[j].name.split(".")[1] for j in feeder.loads]
    written(tmp_path, rows(**{name: (lambda d, h: 100.0) for name in names}))
    shipped = (data_folder("scenarios") / "ieee13_volt_var.yaml").read_text().splitlines()
    lines = [line for line in shipped if not line.startswith("profiles:")]
    (tmp_path / "own.yaml").write_text("\n".join([*lines, "profiles: {kind: csv, path: data.csv}"]))
    task = build_task(load_scenario(tmp_path / "own.yaml"))
    assert task.profiles.day(0).kw[0, task.feeder.loads].tolist() == [-100.0] * len(names)


# --- what is wrong ---------------------------------------------------------------------------------------------------


def change(row, column, value):
    def edit(table):
        table[row][column] = value

    return edit


def rename(old, new):
    def edit(table):
        table[0][table[0].index(old)] = new

    return edit


def drop(first, last):
    def edit(table):
        del table[first:last]

    return edit


def times(value):
    def edit(table):
        for row in table[1:]:
            row[1:] = [str(value * float(x)) for x in row[1:]]

    return edit


WRONG = {
    "a text": (change(5, 2, "x"), {}, r"column 'two', row 6: 'x' is not a number"),
    "a decimal comma": (
        change(5, 2, '"1,5"'),
        {},
        r"column 'two', row 6: '1,5' is not a number; use decimal points, not commas",
    ),
    "no time": (change(5, 0, "noon"), {}, r"row 6: 'noon' is not a time; write 2024-01-31 13:45"),
    "an empty cell": (
        change(5, 2, ""),
        {},
        r"column 'two' has 1 empty cells, the first in row 5 after midnight, up to 1 in a row",
    ),
    "missing rows": (drop(30, 33), {}, r"3 rows are missing between 2024-03-02 04:00:00 and 2024-03-02 08:00:00"),
    "a long gap": (drop(30, 33), {"fill_h": 2.0}, r"3 rows are missing between"),
    "a repeated hour": (
        change(8, 0, "2024-03-01 06:00:00"),
        {},
        r"times advance by 0 minutes .* use standard time or UTC",
    ),
    "an unknown column": (
        rename("three", "thre"),
        {},
        r"column 'thre' is not a load or unit of feeder 'small'; did you mean 'three'",
    ),
    "a double column": (rename("three", "two"), {}, r"several columns called 'two'; give each its own name"),
    "a load without column": (rename("three", "price"), {}, r"has no column for 1 of 3 loads: load\.three; add"),
    "no such total": (rename("three", "price"), {"total": "feeder"}, r"has no column 'feeder' for 'total'; it has one"),
    "a total without a load left": (
        drop(0, 0),
        {"total": "three", "columns": {"one": "one", "two": "two", "three": "three"}},
        r"no load is left to share column 'three'; remove 'total'",
    ),
    "a total below its parts": (
        rename("three", "feeder"),
        {"total": "feeder"},
        r"column 'feeder' is 145 kW less than the loads that have a column, in row 1 after midnight; it must be",
    ),
    "a column that is not there": (
        drop(0, 0),
        {"columns": {"one": "A"}},
        r"has no column 'A' for 'one'; it has one, two, three",
    ),
    "feed-in": (
        change(5, 1, "-3"),
        {},
        r"load 'load\.one' is negative \(-3 kW\) in row 5 after midnight; consumption must",
    ),
    "watts for kilowatts": (
        times(1000),
        {},
        r"the total load reaches .* kW, nominal is 310 kW; give the unit of the values",
    ),
    "megawatts for kilowatts": (
        times(0.001),
        {},
        r"the total load reaches .* give the unit of the values: unit: W, kW or MW",
    ),
    "less than a day": (drop(20, 999), {}, r"holds less than a whole day, from midnight to midnight"),
    "a single row": (drop(2, 999), {}, r"holds a single row; a day needs more"),
    "no rows": (drop(1, 999), {}, r"holds no values; it needs a header"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_table_is_explained(case, tmp_path):
    edit, fields, message = WRONG[case]
    table = rows()
    edit(table)
    with pytest.raises(ValueError, match=message) as error:
        profiles(tmp_path, table, **fields)
    assert "profile file" in str(error.value)


def test_rows_of_another_length_are_named(tmp_path):
    table = rows()
    table[4].append("7")
    with pytest.raises(ValueError, match=r"row 5 has 5 cells, the header 4"):
        profiles(tmp_path, table)


def test_a_table_without_times_or_interval_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"has no column 'time'; add one with ISO times, or give the interval as dt_h"):
        profiles(tmp_path, [row[1:] for row in rows()])


@pytest.mark.parametrize(("name", "message"), [
    ("none.csv", "does not exist; a relative path starts at the scenario's YAML file"),
    ("data.xlsx", r"unknown format '\.xlsx'; known: \.csv, \.txt, \.parquet"),
    ("empty.csv", "is empty"),
])  # fmt: skip
def test_a_file_that_is_no_table_is_refused(name, message, tmp_path):
    for existing in ("data.xlsx", "empty.csv"):
        (tmp_path / existing).write_text("")
    with pytest.raises(ValueError, match=message):
        Profiles(CsvProfiles(kind="csv", path=str(tmp_path / name)), small(tmp_path))


def test_intervals_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ValueError, match="has intervals of 10 minutes, the scenario of 15; one must be a multiple"):
        profiles(tmp_path, rows(minutes=10), 0.25)


def test_an_unknown_kind_and_a_wrong_key_name_the_known():
    scenario = load_scenario("ieee13_volt_var")
    with pytest.raises(ValueError, match=r"profiles\.kind: unknown kind of profiles 'measured'; known: csv, load"):
        scenario.replace(profiles={"kind": "measured"})
    with pytest.raises(ValueError, match=r"profiles\.paht: unknown key; did you mean 'path'"):
        scenario_from({**scenario.model_dump(), "profiles": {"kind": "csv", "path": "x.csv", "paht": "y"}})


# --- parquet ---------------------------------------------------------------------------------------------------------


def test_parquet_gives_the_same_days(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = rows()
    columns = {name: [row[k] if k == 0 else float(row[k]) for row in table[1:]] for k, name in enumerate(table[0])}
    parquet.write_table(arrow.table(columns), tmp_path / "data.parquet")
    own = Profiles(CsvProfiles(kind="csv", path=str(tmp_path / "data.parquet")), small(tmp_path), 1.0)
    assert np.array_equal(own.day(3).kw, profiles(tmp_path, table).day(3).kw)


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / "data.parquet").write_bytes(b"PAR1")
    with pytest.raises(ImportError, match="reading parquet needs pyarrow: pip install pyarrow; or save the table as"):
        Profiles(CsvProfiles(kind="csv", path=str(tmp_path / "data.parquet")), small(tmp_path))


# --- SimBench --------------------------------------------------------------------------------------------------------


def simbench(tmp_path):
    """A folder like SimBench's, with two days of three loads and two suns."""
    folder = tmp_path / "simbench" / "networks" / "1-complete_data-mixed-all-0-sw"
    folder.mkdir(parents=True)
    load = ["time;H0-A_qload;H0-A_pload;G1-B_pload;L0-A_pload"]
    sun = ["time;WP1;PV1;PV2"]
    for k in range(2 * 96 + 4):
        hour = k / 4 % 24
        time = f"0{1 + k // 96}.01.2016 {k // 4 % 24:02d}:{k % 4 * 15:02d}"
        load.append(f"{time};0.1;{0.2 + hour / 100:g};0.5;0.7")
        sun.append(f"{time};0.9;{0.6 if 8 <= hour < 16 else 0};{0.5 if 8 <= hour < 16 else 0}")
    (folder / "LoadProfile.csv").write_text("\n".join(load) + "\n")
    (folder / "RESProfile.csv").write_text("\n".join(sun) + "\n")
    return tmp_path / "simbench"


def test_simbench_is_read_from_its_files_and_its_licence_shown(tmp_path):
    spec = SimbenchProfiles(kind="simbench", folder=str(simbench(tmp_path)), commercial_share=0.0, load_scale=0.5)
    with pytest.warns(UserWarning, match="Open Database License"):
        of = Profiles(spec, small(tmp_path))
    day = of.day(0, 0)
    assert -day.kw[:, 0] == pytest.approx(0.5 * 100 * (0.2 + np.arange(96) / 400), rel=1e-5)
    assert day.kw[48, 3] / 50 in (0.6, 0.5)
    assert day.kw[0, 3] == 0
    assert "ODbL" in LICENCE
    assert -day.kvar[:, 0] == pytest.approx([0.5 * 50 * 0.1] * 96), "from SimBench's own reactive profile"
    assert str(of.calendar.date(0)) == "2016-01-01" and of.weekend(1), "the 2nd was a Saturday"


@pytest.mark.filterwarnings("ignore:SimBench")
def test_simbench_gives_businesses_other_profiles(tmp_path):
    spec = SimbenchProfiles(kind="simbench", folder=str(simbench(tmp_path)), commercial_share=1.0, load_scale=1.0)
    kw = -Profiles(spec, small(tmp_path)).day(1, 0).kw[0, :3]
    assert set(np.round(kw / [100, 200, 10], 6)) <= {0.5, 0.7}


def test_simbench_that_is_not_there_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install --no-deps simbench, or unpack its wheel and give the folder"):
        Profiles(SimbenchProfiles(kind="simbench"), small(tmp_path))
    with pytest.raises(ValueError, match="is not a SimBench package: it has no folder 'networks'"):
        Profiles(SimbenchProfiles(kind="simbench", folder=str(tmp_path)), small(tmp_path))


# --- LoadShapes ------------------------------------------------------------------------------------------------------


def test_the_circuits_own_shapes_move_the_loads(tmp_path):
    of = Profiles(LoadshapeProfiles(kind="loadshapes"), small(tmp_path), 0.5)
    day = of.day(0)
    assert -day.kw[:48, 0] == pytest.approx(100 * np.repeat(HOUSE, 2))
    assert -day.kw[:48, 1] == pytest.approx(200 * np.repeat(WORKS, 2))
    assert -day.kw[:48, 2] == pytest.approx([10.0] * 48), "a load without a shape stays at nominal"
    assert day.kw[48, 0] == -50.0, "the only day follows itself"


def test_a_circuit_without_shapes_is_refused(tmp_path):
    text = FEEDER.replace("daily=house", "").replace("daily=works", "")
    with pytest.raises(ValueError, match=r"no load of feeder 'small' has a daily LoadShape; give the loads daily="):
        Profiles(LoadshapeProfiles(kind="loadshapes"), small(tmp_path, text=text))


def test_shapes_of_different_intervals_are_held_and_repeated(tmp_path):
    text = FEEDER.replace("loadshape.works npts=24 interval=1", "loadshape.works npts=24 interval=2")
    of = Profiles(LoadshapeProfiles(kind="loadshapes"), small(tmp_path, text=text), 1.0)
    first, second = of.day(0, 0), of.day(1, 0)
    assert -first.kw[:, 1] == pytest.approx([50.0] * 24) and -second.kw[:, 1] == pytest.approx([150.0] * 24)
    assert np.array_equal(first.kw[:, 0], second.kw[:, 0]), "the shorter shape repeats, as in OpenDSS"


def test_shapes_shorter_than_a_day_are_refused(tmp_path):
    text = FEEDER.replace("npts=24 interval=1", "npts=24 minterval=30")
    with pytest.raises(ValueError, match="hold less than a day"):
        Profiles(LoadshapeProfiles(kind="loadshapes"), small(tmp_path, text=text), 1.0)


@pytest.mark.filterwarnings("ignore:SimBench")
def test_the_example_of_a_measured_year_runs_on_a_copy_of_its_data(tmp_path):
    scenario = load_scenario(ROOT / "examples" / "measured_year.yaml")
    assert scenario.profiles.kind == "simbench" and scenario.reference_controller == "linear"
    own = scenario.replace(profiles={"folder": str(simbench(tmp_path))})
    env = ZoneEnv(build_task(own))
    env.reset(seed=0)
    env.step({agent: env.action_space(agent).sample() for agent in env.agents})
    assert float(env.after.solution.source_kw) > 0
    env.close()
