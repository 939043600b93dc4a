"""Recordings: what they hold is what the environment held, and files read back as they were."""

import csv
import dataclasses
import datetime
import json
import sys

import numpy as np
import pytest
from common import ROOT, load_cached, task_of
from profile_tables import profiles, rows
from stub_engines import Failing

import dss_marl
from dss_marl import ZoneEnv
from dss_marl.controllers import NoControl, PlanReplay, RandomControl, reference
from dss_marl.envs.flattening import split_mask
from dss_marl.experiments.evaluation import run_day
from dss_marl.experiments.metrics import FIGURES
from dss_marl.experiments.recording.record import _chosen, find_controller


def short_env():
    return ZoneEnv(load_cached("ieee13_volt_var", steps=6), "test")


@pytest.fixture(scope="module")
def recording():
    env = short_env()
    made = dss_marl.record(env, "random", days=[4, 13])
    env.close()
    return made


def test_every_value_is_the_environments_own_to_the_bit(scenario):
    env, controller = ZoneEnv(load_cached(scenario, steps=8), "test"), RandomControl(3)
    recording = dss_marl.record(env, RandomControl(3), days=20)
    observations, _ = env.reset(seed=20, options={"day": 20})
    controller.reset(env)
    for t in range(len(recording.day)):
        seen = {agent: split_mask(observations[agent])[0] for agent in env.agents}
        actions = controller.act(env, observations)
        observations, rewards, _, _, infos = env.step(actions)
        after = env.after

        def row(table, t=t):
            return recording[table].values[t]

        assert (row("voltages") == after.solution.v_pu).all()
        assert (row("kw_set") == after.setpoints.kw).all() and (row("kvar_set") == after.setpoints.kvar).all()
        assert (row("kw_served") == after.solution.served_kw).all()
        assert (row("kw_available") == after.forecast[0]).all()
        assert (row("actions_operated") == after.action).all()
        assert (row("actions") == env.task.encoding.decode(actions).joint_action).all()
        assert (row("agent_rewards") == list(rewards.values())).all()
        assert recording["system"]["team_reward"][t] == env.team_reward
        assert recording["system"]["source_kw"][t] == after.solution.source_kw
        assert recording["system"]["loss_kw"][t] == after.solution.loss_kw
        for table, values in (("taps", after.setpoints.tap), ("switches", after.setpoints.closed)):
            if values.size:
                assert (row(table) == values).all()
        for agent, zone in zip(rewards, env.task.agents.zone, strict=True):
            own = env.task.zones[zone].name
            for name in env.task.rewards:
                assert recording["rewards"][f"{own}/{name}"][t] == infos[agent][f"reward/{name}"]
            labels = [label for label in env.labels(agent)["observation"] if label != "-"]
            kept = [k for k, label in enumerate(env.labels(agent)["observation"]) if label != "-"]
            columns = [k for k, name in enumerate(recording["observations"].names) if name.startswith(f"{agent}/")]
            assert len(columns) == len(labels)
            assert (row("observations")[columns] == seen[agent][kept]).all()
    assert not env.agents
    env.close()


def test_every_table_is_explained(scenario):
    env = ZoneEnv(load_cached(scenario, steps=1), "test")
    page = (ROOT / "docs" / "guide" / "data.md").read_text(encoding="utf-8")
    for name, table in dss_marl.record(env, NoControl(), days=20).tables.items():
        assert f"`{name}`" in page and len(set(table.names)) == len(table.names), name


def test_figures_are_those_of_evaluate_and_rewards_sum_to_the_return():
    env = ZoneEnv(task_of("powergym_13"), "test")
    planned = dss_marl.record(env, "best_known", days=4)
    figures = run_day(env, reference("best_known", env.task.scenario), 4)
    env.close()
    assert planned.figures == (figures,) and planned.controller == "best_known"
    assert planned["system"]["team_reward"].sum() == pytest.approx(figures["team_return"], rel=1e-12)
    assert planned["rewards"].values.sum() == pytest.approx(figures["team_return"], rel=1e-12)
    assert planned["system"]["loss_kw"].sum() * env.task.scenario.dt_h == pytest.approx(figures["loss_kwh"], rel=1e-12)


def test_without_days_all_days_of_the_split_with_a_plan_are_played():
    env = short_env()
    assert _chosen(env, NoControl(), None) == list(env.days)
    planned = find_controller("best_known", task_of("ieee13_volt_var").scenario)
    assert isinstance(planned, PlanReplay)
    assert _chosen(env, planned, None) == [day for day in env.days if day in planned.days]
    assert _chosen(env, planned, np.int64(4)) == [4]
    with pytest.raises(ValueError, match="no day to record; days of split 'test': 4, "):
        _chosen(env, NoControl(), [])


def test_the_circuits_own_controls_play_in_an_environment_of_their_own():
    env = short_env()
    under = dss_marl.record(env, "opendss_controls", days=4)
    assert under.scenario.circuit_controls and not env.task.scenario.circuit_controls
    assert env.day == -1  # nothing was played in it
    assert under["voltages"].values.shape == (6, 41) and "taps" in under.tables


def test_days_times_and_places(recording):
    assert recording.days == (4, 13) and recording.day.tolist() == [4] * 6 + [13] * 6
    assert recording.step.tolist() == [*range(6)] * 2
    assert recording.hour.tolist() == [0, 0.25, 0.5, 0.75, 1, 1.25] * 2
    assert list(recording.times()) == ["day", "step", "hour"]  # generated days belong to no year
    [column] = [one for one in recording["kw_set"].columns if one.name == "load.671"]
    assert column == ("load.671", "kW", "load", "671", "zone_2")
    [column] = [one for one in recording["switches"].columns if one.name == "capacitor.cap1"]
    assert column.kind == "capacitor" and column.bus == "675"
    assert "'ieee13_volt_var' under 'random': 2 days, 12 intervals" in repr(recording)


def test_unknown_tables_columns_and_environments_are_named(recording):
    with pytest.raises(ValueError, match="no table 'volts'; it has system, voltages"):
        recording["volts"]
    with pytest.raises(ValueError, match=r"table 'voltages' has no column '671'; it has sourcebus.1"):
        recording["voltages"]["671"]
    with pytest.raises(ValueError, match="record plays a ZoneEnv or a CentralEnv, got str"):
        dss_marl.record("ieee13_volt_var", "random")
    env = short_env()
    with pytest.raises(ValueError, match="unknown controller 'drop'"):
        dss_marl.record(env, "drop", days=4)


def test_controllers_of_ones_own_and_the_central_view():
    env = dss_marl.gym_env("ieee13_volt_var", steps=2)
    made = dss_marl.record(env, "own_plugins:HalfSun", days=4)
    assert made.controller == "own_plugins:HalfSun" and (made["actions"].values == -0.5).all()
    assert dss_marl.record(env, NoControl(), days=4).controller == "NoControl"
    env.close()


def test_a_failed_power_flow_is_a_row_without_physics():
    env = short_env()
    env = ZoneEnv(env.task, "test", Failing(env.engine, at=5))
    failed = dss_marl.record(env, NoControl(), days=4)
    env.close()
    assert len(failed.day) == 3 and failed["system"]["failed"].tolist() == [0, 0, 1]
    assert np.isnan(failed["voltages"].values[2]).all() and np.isfinite(failed["voltages"].values[:2]).all()
    assert np.isnan(failed["rewards"].values[2]).all()
    assert failed["system"]["team_reward"][2] == -env.task.scenario.failure_penalty
    assert failed["taps"].values.dtype == np.int64 and (failed["taps"].values[2] == failed["taps"].values[1]).all()
    assert np.isfinite(failed["observations"].values).all()
    assert failed.figures[0]["failed"] == 1


def test_csv_reads_back_exactly(recording, tmp_path):
    assert recording.to_csv(str(tmp_path / "day")) == tmp_path / "day"
    for table in recording.tables.values():
        heads, *lines = list(csv.reader((tmp_path / "day" / f"{table.name}.csv").open(encoding="utf-8")))
        assert heads[:3] == ["day", "step", "hour [h]"]
        assert heads[3:] == [f"{c.name} [{c.unit}]" if c.unit else c.name for c in table.columns]
        numbers = np.array(lines, float)
        assert (numbers[:, 0] == recording.day).all() and (numbers[:, 2] == recording.hour).all()
        assert (numbers[:, 3:].astype(table.values.dtype) == table.values).all()
    legend = list(csv.DictReader((tmp_path / "day" / "columns.csv").open(encoding="utf-8")))
    assert len(legend) == sum(len(table.columns) for table in recording.tables.values())
    assert {"table": "voltages", "name": "671.1", "unit": "pu", "bus": "671", "zone": "zone_2"}.items() <= next(
        row for row in legend if row["name"] == "671.1"
    ).items()
    figures = list(csv.DictReader((tmp_path / "day" / "figures.csv").open(encoding="utf-8")))
    assert [float(row["team_return"]) for row in figures] == [row["team_return"] for row in recording.figures]
    assert len(figures[0]) == 1 + len(FIGURES)
    about = json.loads((tmp_path / "day" / "recording.json").read_text(encoding="utf-8"))
    assert about["controller"] == "random" and about["scenario"] == recording.scenario.model_dump(mode="json")


def test_a_bus_is_asked_for_in_capitals_or_not(recording):
    voltages = recording["voltages"]
    own = voltages.at_bus("671")
    assert own.names == ("671.1", "671.2", "671.3") and (own.values[:, 1] == voltages["671.2"]).all()
    named = next(name for name in recording["kw_served"].names if name.startswith("load."))
    assert (recording["kw_served"][named.upper()] == recording["kw_served"][named]).all()
    with pytest.raises(ValueError, match=r"table 'voltages' has nothing at bus 'B9'; it has .*671"):
        voltages.at_bus("B9")
    with pytest.raises(ValueError, match="has nothing at bus '671'; it has no buses"):
        recording["system"].at_bus("671")


def test_an_unknown_value_is_an_empty_cell(tmp_path):
    env = short_env()
    env = ZoneEnv(env.task, "test", Failing(env.engine, at=1))
    dss_marl.record(env, NoControl(), days=4).to_csv(tmp_path)
    heads, line = list(csv.reader((tmp_path / "voltages.csv").open(encoding="utf-8")))
    assert line == ["4", "0", "0.0", *[""] * (len(heads) - 3)]


def test_frames(recording):
    pandas = pytest.importorskip("pandas")
    wide = recording.to_frame("voltages")
    assert wide.index.names == ["day", "step", "hour"] and wide.attrs["units"]["671.1"] == "pu"
    assert (wide.loc[13, "671.1"].to_numpy() == recording["voltages"]["671.1"][6:]).all()
    long = recording.to_frame()
    assert list(long.columns) == ["day", "step", "hour", "table", "name", "unit", "kind", "bus", "zone", "value"]
    assert len(long) == 12 * sum(len(table.columns) for table in recording.tables.values())
    own = long[(long.table == "voltages") & (long.name == "671.1")]
    assert (own.value.to_numpy() == recording["voltages"]["671.1"]).all() and (own.zone == "zone_2").all()
    assert isinstance(long.zone.dtype, pandas.CategoricalDtype)


def test_parquet_reads_back_exactly(recording, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    recording.to_parquet(tmp_path)
    for table in recording.tables.values():
        read = parquet.read_table(tmp_path / f"{table.name}.parquet")
        assert read.column_names[3:] == [column.heading for column in table.columns]
        assert (np.stack([read[k].to_numpy() for k in range(3, read.num_columns)], axis=1) == table.values).all()
    assert (tmp_path / "columns.csv").is_file() and (tmp_path / "recording.json").is_file()


def test_netcdf_reads_back_exactly(recording, tmp_path):
    xarray = pytest.importorskip("xarray")
    path = recording.to_netcdf(tmp_path / "new" / "day.nc")
    with xarray.open_dataset(path) as data:
        for table in recording.tables.values():
            if table.axis:
                assert (data[table.name].to_numpy() == table.values).all(), table.name
        assert (data["loss_kw"].to_numpy() == recording["system"]["loss_kw"]).all()
        assert data["voltages"].attrs["units"] == "pu"
        assert (data["voltages"].sel(node="671.1").to_numpy() == recording["voltages"]["671.1"]).all()
        assert data["node_zone"].sel(node="671.1").item() == "zone_2"
        assert data.attrs["controller"] == "random"


@pytest.mark.parametrize(
    ("library", "write"),
    [
        ("pandas", lambda recording, _: recording.to_frame()),
        ("pyarrow", lambda recording, folder: recording.to_parquet(folder)),
        ("xarray", lambda recording, _: recording.to_xarray()),
    ],
)
def test_a_missing_library_is_named_with_its_cure(recording, tmp_path, monkeypatch, library, write):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(
        ImportError, match=rf"needs? {library}: pip install 'dss_marl\[data\]'; to_csv works without it"
    ):
        write(recording, tmp_path)


def test_days_of_a_table_have_dates(recording, tmp_path):
    assert recording.dates == (None, None)
    own = profiles(tmp_path, rows(10, start="2024-02-28 12:00"))
    assert own.calendar.date(0) == datetime.date(2024, 2, 29) and own.calendar.date(1) == datetime.date(2024, 3, 1)
    dated = dataclasses.replace(recording, dates=(datetime.date(2024, 1, 5), datetime.date(2024, 1, 14)))
    assert dated.times()["date"].tolist() == ["2024-01-05"] * 6 + ["2024-01-14"] * 6
    dated.to_csv(tmp_path)
    assert (tmp_path / "taps.csv").read_text().startswith("day,date,step,hour [h],transformer.reg1,")


def test_a_controller_that_does_not_mention_the_circuits_controls_plays_without_them():
    class Idle:
        def reset(self, env):
            self.action = env.task.encoding.encode(env.task.default_action)

        def act(self, env, observations):
            return self.action

    env = short_env()
    own, none = (dss_marl.record(env, controller, days=4).figures[0] for controller in (Idle(), "no_control"))
    env.close()
    assert own == none
