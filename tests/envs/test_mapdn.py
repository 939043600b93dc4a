"""The scenarios comparable with MAPDN: the published environment's numbers, step by step.

The reference values are those of an independent power flow (pandapower) under the published rules; see
``tests/data/mapdn_reference.py``, which wrote them.
"""

import json
from pathlib import Path

import numpy as np
import pytest

import dss_marl
from dss_marl.engines.opendss.engine import OpenDSSEngine
from dss_marl.envs.batch_env import BatchZoneEnv
from dss_marl.envs.zone_env import ZoneEnv

DATA = Path(__file__).parents[1] / "data"
ROWS = 480  # of a day
SPLITS = {"train": [1], "validation": [2], "test": [0]}


def reference(buses):
    return json.loads((DATA / f"mapdn_{buses}.json").read_text())


def written(folder, buses, days=3):
    """The user's copy of the data: the reference's rows at the start of each day, the last one repeated."""
    known = reference(buses)
    for name, file in (("load_mw", "load_active"), ("load_mvar", "load_reactive"), ("pv_mw", "pv_active")):
        rows = np.array(known[name])
        day = np.concatenate([rows, np.repeat(rows[-1:], ROWS - len(rows), axis=0)])
        lines = [",".join(["time", *(f"{name}{k}" for k in range(rows.shape[1]))])]
        for k, row in enumerate(np.tile(day, (days, 1))):
            at = np.datetime64("2012-01-01T00:00:00") + np.timedelta64(3 * k, "m")
            lines.append(",".join([str(at).replace("T", " "), *map(repr, row.tolist())]))
        (folder / f"{file}.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module", params=[33, 141])
def copy(request, tmp_path_factory):
    return request.param, written(tmp_path_factory.mktemp(f"case{request.param}"), request.param)


def scenario(buses, folder, **changes):
    profiles = {"kind": "mapdn", "path": str(folder), "splits": SPLITS}
    return dss_marl.load_scenario(f"mapdn_{buses}").replace(
        profiles={**profiles, **changes.pop("profiles", {})}, **changes
    )


def own_voltages(env, observations):
    """(A) of each inverter's bus, from what its agent observes."""
    found = []
    for agent, bus in zip(env.possible_agents, env.task.device_groups[0].buses, strict=True):
        labels = env.labels(agent)["observation"]
        k = next(i for i, label in enumerate(labels) if label.startswith(f"voltage at bus {bus} "))
        found.append(observations[agent][k] / 20 + 1)
    return np.array(found)


def policies(buses, units):
    """The reference's controllers; the last one acts on observed voltages."""
    random = np.random.default_rng(7).uniform(-1, 1, (24, units))
    gain = {33: 4.0, 141: 2.0}[buses]
    return {
        "no_control": lambda row, v: np.zeros(units),
        "random": lambda row, v: random[row],
        "feedback": lambda row, v: np.clip(-gain * (v - 1), -1, 1),
    }


@pytest.mark.parametrize("controller", ["no_control", "random", "feedback"])
def test_every_step_gives_the_published_environments_numbers(copy, controller):
    buses, folder = copy
    task = dss_marl.build_task(scenario(buses, folder))
    env = ZoneEnv(task, "test", OpenDSSEngine(task.feeder, tolerance=1e-8))
    observations, _ = env.reset(options={"day": 0})
    policy = policies(buses, len(env.agents))[controller]
    for row, expected in enumerate(reference(buses)["controllers"][controller]):
        actions = policy(row, own_voltages(env, observations))
        observations, *_ = env.step({a: np.array([x], np.float32) for a, x in zip(env.agents, actions, strict=True)})
        solution = env.after.solution
        assert env.team_reward == pytest.approx(-expected["barriers"]["l1"] - 0.1 * expected["q_loss"], abs=2e-7)
        assert solution.loss_kw == pytest.approx(1000 * expected["line_loss_mw"], rel=1e-5, abs=1e-3)
        kvar = env.after.setpoints.kvar[env.task.device_groups[0].injections]
        assert np.abs(kvar).mean() == pytest.approx(1000 * expected["q_loss"], abs=0.01)
        assert float((solution.excursion(env.task.band) == 0).all()) == expected["controllable"]
        if "v_pu" in expected:
            bus = np.array([int(node.split(".")[0]) - 1 for node in env.task.feeder.nodes])
            np.testing.assert_allclose(solution.v_pu, np.array(expected["v_pu"])[bus], atol=1e-5)
            np.testing.assert_allclose(solution.angle_rad, np.array(expected["angle_rad"])[bus], atol=1e-5)


@pytest.mark.parametrize("barrier", ["l2", "bowl", "bump", "courant_beltrami"])
def test_the_other_barriers_differ_from_the_published_mean_by_the_source_bus_alone(copy, barrier):
    buses, folder = copy
    share = (buses - 1) / buses
    env = dss_marl.make(scenario(buses, folder, rewards={barrier: share}), split="test")
    env.reset(options={"day": 0})
    of_source = 0.04 - 0.01 / np.sqrt(2 * np.pi * 0.01) if barrier == "bowl" else 0.0
    for row, expected in enumerate(reference(buses)["controllers"]["random"][:8]):
        actions = policies(buses, len(env.agents))["random"](row, None)
        env.step({a: np.array([x], np.float32) for a, x in zip(env.agents, actions, strict=True)})
        assert env.team_reward == pytest.approx(of_source / buses - expected["barriers"][barrier], abs=2e-6)


def test_inverters_are_rated_by_the_data(copy):
    buses, folder = copy
    peaks = 1000 * np.max(reference(buses)["pv_mw"], axis=0)
    task = dss_marl.build_task(scenario(buses, folder))
    np.testing.assert_allclose(task.device_groups[0].kva, 1.2 * peaks)
    half = dss_marl.build_task(scenario(buses, folder, profiles={"pv_scale": 0.5}))
    np.testing.assert_allclose(half.device_groups[0].kva, 0.6 * peaks)
    np.testing.assert_allclose(
        half.profiles.day(0).kw, np.where(half.profiles.day(0).kw > 0, 0.5, 1) * task.profiles.day(0).kw
    )


def test_training_days_have_noise_of_positive_sign_and_other_days_none(copy):
    buses, folder = copy
    profiles = dss_marl.build_task(scenario(buses, folder)).profiles
    clear, noisy = profiles.day(0, 0), profiles.day(1, 0)
    np.testing.assert_array_equal(noisy.kw, profiles.day(1, 0).kw)
    known = reference(buses)
    for rows, table, sign in (
        (profiles.feeder.loads, "load_mw", -1),
        (np.flatnonzero(clear.kw.max(0) > 0), "pv_mw", 1),
    ):
        added = sign * (noisy.kw - clear.kw)[:, rows]
        assert (added > 0).mean() > 0.99
        day = np.concatenate([known[table], np.repeat(known[table][-1:], ROWS - len(known[table]), axis=0)])
        expected = 10 * day.std(0) * np.sqrt(2 / np.pi)  # 1000 kW per MW, a hundredth; mean of a half normal
        np.testing.assert_allclose(added.mean(0), expected, rtol=0.2)


def test_observations_are_of_the_published_size_and_padded_with_zeros():
    for buses, size in ((33, 50), (141, 98)):
        env = dss_marl.make(f"mapdn_{buses}")
        observations, _ = env.reset(seed=0)
        for agent in env.agents:
            labels = env.labels(agent)["observation"]
            assert observations[agent].shape == (size,)
            assert not observations[agent][[label == "-" for label in labels]].any()


def test_a_missing_copy_says_where_to_get_it_and_where_to_put_it(tmp_path):
    with pytest.raises(
        ValueError, match=r"has no load_active.csv, load_reactive.csv, pv_active.csv.*download.*profiles.path"
    ):
        dss_marl.build_task(scenario(33, tmp_path))


def test_data_of_another_network_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"has 6 inverters, its profiles the power of 22 PV units"):
        dss_marl.build_task(scenario(33, written(tmp_path, 141)))


def test_tables_are_parsed_once_and_again_when_they_change(tmp_path):
    folder = written(tmp_path, 33)
    before = dss_marl.build_task(scenario(33, folder)).profiles.day(0, 0).kw
    assert (folder / "dss_marl_tables" / "load_active.npy").is_file()
    text = (folder / "load_active.csv").read_text().splitlines()
    text[1] = ",".join([text[1].split(",")[0], *["0.1"] * 32])
    (folder / "load_active.csv").write_text("\n".join(text) + "\n")
    after = dss_marl.build_task(scenario(33, folder)).profiles.day(0, 0).kw
    assert (after[0, :32] == -100).all() and (after[1:] == before[1:]).all()


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("nan", "column 'pv_mw0' has no number in row 4"),
        ("", "convert string '' .* row 2, column 2; rows count from 0"),
    ],
)
def test_a_cell_without_a_number_is_named(tmp_path, cell, says):
    folder = written(tmp_path, 33)
    text = (folder / "pv_active.csv").read_text().splitlines()
    text[3] = ",".join([text[3].split(",")[0], cell, *text[3].split(",")[2:]])
    (folder / "pv_active.csv").write_text("\n".join(text) + "\n")
    with pytest.raises(ValueError, match=rf"pv_active.csv.*{says}"):
        dss_marl.build_task(scenario(33, folder))


def test_many_copies_on_the_batched_engine_see_the_same_angles():
    env, batch = dss_marl.make("mapdn_33"), BatchZoneEnv(dss_marl.load_scenario("mapdn_33"), 2, engine="batched")
    observations, _ = env.reset(seed=5)
    many, _ = batch.reset([4, 5])
    rng = np.random.default_rng(0)
    for _ in range(3):
        assert batch.now.hour[1] == env.now.hour
        alone = np.stack([observations[agent] for agent in env.agents])
        np.testing.assert_allclose(many[1], alone, atol=1e-3)  # 2e-5 pu, times 20
        actions = rng.uniform(-1, 1, (2, 6, 1)).astype(np.float32)
        many = batch.step(actions).observations
        observations, *_ = env.step(dict(zip(env.agents, actions[1], strict=True)))
